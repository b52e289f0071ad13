"""Replica exchange in temperature: exact distributions of a torsion alone, whatever the barrier keeps apart."""

import math

import numpy as np
import openmm
import pytest
from molecules import torsion_molecule
from scipy.integrate import quad

from tps.analysis import log_selection_of_energy, temperature_log_strength
from tps.config import ConformationsSection
from tps.conformations import ReplicaTask, judge_frames, run_replicas, temperature_ladder
from tps.engine import LangevinSettings, PlatformChoice, shared_executor
from tps.errors import ConfigError
from tps.pipeline.progress import Silent
from tps.pipeline.replica_exchange import replica_exchange
from tps.pipeline.sample import frames_verdict
from tps.units import thermal_energy

KT = thermal_energy(300.0)
LANGEVIN = LangevinSettings(temperature=300.0, timestep=0.002, friction=5.0)
#: Two wells at ±π/2, the left one higher by 3 kJ/mol, 22 kJ/mol between them: 9 kT, no crossing in the test's time.
WELLS = "22*cos(theta)^2 - 1.5*sin(theta)"


def potential(theta):
    return 22 * math.cos(theta) ** 2 - 1.5 * math.sin(theta)


def share(low, high):
    """The exact probability of an interval at 300 K."""

    def boltzmann(x):
        return math.exp(-potential(x) / KT)

    return quad(boltzmann, low, high)[0] / quad(boltzmann, -math.pi, math.pi)[0]


def sampled(**changes):
    settings = {
        "method": "replica-exchange",
        "n_walkers": 4,
        "n_sample_steps": 240_000,
        "frame_interval_steps": 100,
        "n_temperatures": 4,
        "max_temperature_kelvin": 1500.0,
    }
    section = ConformationsSection(**(settings | changes))
    molecule = torsion_molecule(WELLS)
    seeds = list(range(1, section.n_walkers + 1))
    with shared_executor("processes", 1) as executor:
        found = replica_exchange(
            molecule, section, LANGEVIN, PlatformChoice("Reference"), seeds, 1, executor, Silent()
        )
    return molecule, section, found


@pytest.fixture(scope="module")
def wells():
    return sampled()


def test_a_torsion_behind_a_barrier_has_its_exact_distribution(wells):
    """The share of each quarter, within four errors of the scatter of the four independent ladders."""
    _, section, found = wells
    theta, weight = found.frames.values[:, 0], np.exp(found.frames.log_weights)
    ladder = found.frames.walker // section.n_temperatures
    for low in np.arange(-math.pi, math.pi, math.pi / 2):
        inside = (theta >= low) & (theta < low + math.pi / 2)
        parts = np.array([weight[inside & (ladder == k)].sum() / weight[ladder == k].sum() for k in range(4)])
        error = max(float(parts.std(ddof=1)) / 2, 1e-3)
        assert parts.mean() == pytest.approx(share(low, low + math.pi / 2), abs=4 * error)
        assert error < 0.04


def test_frames_of_the_lowest_temperature_need_no_weights(wells):
    """They are drawn at 300 K: the share of the right well, within four errors of the scatter of the ladders."""
    _, section, found = wells
    cold = found.at_target
    assert cold is not None
    assert cold.mean() == pytest.approx(1 / section.n_temperatures)
    theta = found.frames.values[cold, 0]
    ladder = found.frames.walker[cold] // section.n_temperatures
    right = np.array([(theta[ladder == k] > 0).mean() for k in range(section.n_walkers)])
    assert right.mean() == pytest.approx(share(0.0, math.pi), abs=4 * right.std(ddof=1) / 2)


def test_the_data_say_that_replicas_went_over_and_back(wells):
    molecule, section, found = wells
    verdict = frames_verdict(molecule, section, found.frames, found.positions)
    assert verdict.connected
    assert min(verdict.a_to_b, verdict.b_to_a) >= section.n_walkers
    assert "replicas went" in verdict.sentence


def test_without_heat_the_data_say_that_nothing_went_over():
    molecule, section, found = sampled(n_walkers=2, n_sample_steps=20_000, max_temperature_kelvin=310.0)
    verdict = frames_verdict(molecule, section, found.frames, found.positions)
    assert not verdict.connected
    assert "0 of 2 ladders" in verdict.weightless


def test_one_ladder_that_stayed_is_enough_to_doubt():
    """Two ladders of two replicas: the first goes A, B, A in one of them, the second goes nowhere."""
    walker, ladder = np.repeat(np.arange(4), 3), np.repeat([0, 0, 1, 1], 3)
    in_a = np.array([1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], dtype=bool)
    doubtful = judge_frames(walker, in_a, ~in_a, "temperatures", ladder=ladder)
    assert "1 of 2 ladders" in doubtful.weightless
    first = ladder == 0
    whole = judge_frames(walker[first], in_a[first], ~in_a[first], "temperatures", ladder=ladder[first])
    assert whole.connected


def test_weights_of_temperatures_on_exact_draws():
    """U = x²/2 at three temperatures, drawn exactly: f_k - f_0 = -ln(kT_k/kT_0)/2, and <x²> = kT_0 by weights.

    Errors: of f by the scatter of 20 draws, so is that of the mean; four of them.
    """
    kt, n = np.array([1.0, 2.0, 4.0]), 2000
    rng, found = np.random.default_rng(5), []
    for _ in range(20):
        x = rng.normal(size=(3, n)) * np.sqrt(kt)[:, None]
        energy, state = (x**2 / 2).ravel(), np.repeat(np.arange(3), n)
        strength = temperature_log_strength(energy, state, kt)
        weight = np.exp(-log_selection_of_energy(energy, kt, strength))
        free = strength - strength[0]
        found.append([free[1], free[2], weight @ (2 * energy) / weight.sum()])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / math.sqrt(20)
    exact = np.array([-math.log(2) / 2, -math.log(4) / 2, 1.0])
    assert (np.abs(mean - exact) < 4 * error).all()
    assert (error < 0.01).all()


def test_velocities_keep_their_direction_in_a_swap_and_take_the_new_temperatures_length():
    """Free particles without friction: every swap is accepted, and each goes straight on at √T times its own speed.

    Tolerances: positions of a few nm in single precision, over steps of 0.05 nm, tell these to 1e-5; <m v²> of 1,500
    particles to √(2/4500), of which four.
    """
    kelvin, n_atoms, steps = temperature_ladder(300.0, 1200.0, 3), 500, 50
    system = openmm.System()
    for _ in range(n_atoms):
        system.addParticle(12.0)
    frictionless = LangevinSettings(temperature=300.0, timestep=0.002, friction=1e-15)
    found = run_replicas(
        ReplicaTask(
            openmm.XmlSerializer.serialize(system),
            np.zeros((n_atoms, 3)),
            kelvin,
            n_frames=20,
            frame_interval=steps,
            langevin=frictionless,
            platform=PlatformChoice("Reference"),
            seed=4,
            n_equilibration_frames=0,
        )
    )
    assert (np.diff(found.state, axis=1) != 0).sum() > 20 and (found.acceptance == 1).all()
    velocity = np.diff(found.positions.astype(np.float64), axis=1) / (steps * frictionless.timestep)
    own = velocity / np.sqrt(np.array(kelvin))[found.state[:, 1:], None, None]
    spread = float(np.sqrt((own**2).mean()))
    np.testing.assert_allclose(own, np.broadcast_to(own[:, :1], own.shape), atol=1e-4 * spread)
    assert 12.0 * spread**2 == pytest.approx(KT / 300.0, rel=4 * math.sqrt(2 / (3 * 3 * n_atoms)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max_temperature_kelvin": 300.0}, "must be above the system's 300"),
        ({"n_sample_steps": 400}, "where 2 are needed"),
    ],
)
def test_what_cannot_be_exchanged_is_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        sampled(**changes)
