"""Shooting with OpenMM: exact time reversal, Maxwell-Boltzmann velocities, and chains that repeat on any workers."""

import os
import time
from dataclasses import replace

import numpy as np
import pytest
from molecules import torsion_molecule

from tps.analysis import channel_switches, channel_weights, ensemble_divergence, halves, mean_transition_time
from tps.dynamics import IN_A, IN_B, MoleculeDynamics
from tps.engine import LangevinSettings, PlatformChoice, local_executor
from tps.errors import ParameterError
from tps.paths import (
    PullSettings,
    ShootingSettings,
    find_transition_states,
    pull_task,
    pulled_candidate,
    shoot,
)
from tps.paths.shooting.store import last_state
from tps.systems import load_system
from tps.units import thermal_energy

REFERENCE, LANGEVIN = PlatformChoice("Reference"), LangevinSettings(300.0)


@pytest.fixture(scope="module")
def alanine():
    return load_system("alanine-dipeptide")


def direct_pull(system, seed):
    """A candidate that needs no geodesic: pulled from end to end, φ and ψ turning the shorter ways."""
    settings = PullSettings(n_steps_per_frame=4000, stiffness=150.0)
    return pulled_candidate(pull_task(system, system.ends, LANGEVIN, REFERENCE, seed, settings))


def test_time_runs_back_exactly_without_friction(alanine):
    """80 steps there and back meet within what the constraints' tolerance (1e-6) grows to; -v alone ends far off."""
    dynamics = MoleculeDynamics.of(alanine, LANGEVIN, REFERENCE)
    rng = [np.random.default_rng(1)]
    start = dynamics.fly(dynamics.fresh(dynamics.points(alanine.ends[:1]), rng), rng, 20, stop=False)[
        0
    ].points[-1:]
    free = replace(dynamics, langevin=LangevinSettings(300.0, friction=1e-12))
    there = free.fly(start, rng, 16, stop=False)[0].points
    back = free.fly(free.reverse(there[-1:]), rng, 16, stop=False)[0].points
    np.testing.assert_allclose(back[-1, 0], start[0, 0], atol=1e-5)
    np.testing.assert_allclose(back[:-1, 0], there[-2::-1, 0], atol=1e-5)
    naive = there[-1:] * np.array([1, -1])[None, :, None, None]
    assert np.abs(free.fly(naive, rng, 16, stop=False)[0].points[-1, 0] - start[0, 0]).max() > 1e-3
    twice = free.fly(free.reverse(free.reverse(start)), rng, 1, stop=False)[0].points
    np.testing.assert_allclose(twice[0, 0], there[0, 0], atol=1e-6)


def test_fresh_velocities_have_the_bath_s_temperature(alanine):
    """Kinetic energy kT/2 per unconstrained degree of freedom: 66 - 12 constraints; its variance is n (kT)²/2."""
    dynamics = MoleculeDynamics.of(alanine, LANGEVIN, REFERENCE)
    points = np.repeat(dynamics.points(alanine.ends[:1]), 400, axis=0)
    fresh = dynamics.fresh(points, [np.random.default_rng(i) for i in range(400)])
    system = alanine.create_openmm_system()
    masses = np.array([system.getParticleMass(i)._value for i in range(22)])
    kinetic = 0.5 * np.einsum("a,naj->n", masses, fresh[:, 1] ** 2)
    n, kt = 3 * 22 - system.getNumConstraints(), thermal_energy(300.0)
    assert abs(kinetic.mean() - n * kt / 2) < 4 * kt * np.sqrt(n / 2 / 400)
    i, j, _ = system.getConstraintParameters(0)
    bond = np.diff(fresh[:, 0, [i, j]], axis=1)[:, 0]
    assert np.abs(np.sum(bond * np.diff(fresh[:, 1, [i, j]], axis=1)[:, 0], axis=1)).max() < 1e-4


@pytest.mark.parametrize("kind", ["two-way", "one-way"])
def test_chains_do_not_depend_on_workers_or_blocks(alanine, kind, tmp_path):
    dynamics = MoleculeDynamics.of(alanine, LANGEVIN, REFERENCE)
    candidates, settings = (
        [direct_pull(alanine, seed) for seed in (0, 1)],
        ShootingSettings(kind, max_frames=500),
    )
    with local_executor("threads", 1) as executor:
        one = shoot(
            dynamics,
            candidates,
            settings,
            tmp_path / "1",
            executor,
            n_moves=20 * len(candidates),
            seed=2,
            block_moves=20,
        )
    if kind == "two-way":
        with local_executor("processes", 2) as executor:
            two = shoot(
                dynamics,
                candidates,
                settings,
                tmp_path / "2",
                executor,
                n_moves=20 * len(candidates),
                seed=2,
                block_moves=5,
            )
    else:
        with local_executor("threads", 1) as executor:
            two = shoot(
                dynamics,
                candidates,
                settings,
                tmp_path / "2",
                executor,
                n_moves=20 * len(candidates),
                seed=2,
                block_moves=5,
            )
    for a, b in zip(one.records, two.records, strict=True):
        np.testing.assert_array_equal(a, b)
    states = [[last_state(run.folder, index).chain for index in run.counts] for run in (one, two)]
    for a, b in zip(*states, strict=True):
        np.testing.assert_array_equal(a.path.points, b.path.points)
    chain = states[0][0]
    assert chain.dynamical
    where = dynamics.states(chain.path.points)
    assert where[0] == IN_A and where[-1] == IN_B and (where[1:-1] < 0).all()
    assert_neighbours_are_reached(dynamics, chain.path)
    assert_neighbours_are_reached(dynamics, chain.path.reversed())


def assert_neighbours_are_reached(dynamics, path):
    """With other noise, 10 fs on or back from a frame lies within 0.01 nm of its neighbour; the wrong way, 0.03."""
    for k in range(1, len(path) - 1):
        for onward in (True, False):
            start = path.start(dynamics, k, onward)[None]
            end = dynamics.fly(start, [np.random.default_rng(k)], 1, stop=False)[0].points[0, 0]
            assert np.abs(end - path.points[k + 1 if onward else k - 1, 0]).max() < 0.01


def test_states_are_those_of_the_system(alanine):
    frames = np.concatenate([direct_pull(alanine, 3), alanine.ends])
    values, dynamics = alanine.values(frames), MoleculeDynamics.of(alanine, LANGEVIN, REFERENCE)
    where = dynamics.states(dynamics.points(frames))
    np.testing.assert_array_equal(where == IN_A, alanine.state_a.region.contains(values))
    np.testing.assert_array_equal(where == IN_B, alanine.state_b.region.contains(values))
    assert {-1, 0, 1} == set(where.tolist())


def test_states_need_their_variables():
    molecule = torsion_molecule()
    dynamics = MoleculeDynamics.of(molecule, LANGEVIN, REFERENCE)
    with pytest.raises(ParameterError, match="theta"):
        replace(dynamics, variables=())
    with pytest.raises(ParameterError, match="at least one MD step"):
        replace(dynamics, steps_per_frame=0)


@pytest.mark.slow
def test_a_thousand_moves_of_alanine_dipeptide(alanine, tmp_path):
    """1000 two-way moves on 2 cores in under 20 s, on the two cores alone; and what comes of them."""
    dynamics = MoleculeDynamics.of(alanine, LANGEVIN, REFERENCE)
    candidates = [direct_pull(alanine, seed) for seed in range(4)]
    with local_executor("processes", 2) as executor:
        executor.submit(int).result()
        begin = time.perf_counter()
        run = shoot(
            dynamics,
            candidates,
            ShootingSettings(max_frames=2000),
            tmp_path,
            executor,
            n_moves=250 * len(candidates),
            seed=3,
        )
        seconds = time.perf_counter() - begin
        states = find_transition_states(
            dynamics,
            run.paths.thinned(40).positions[:8],
            n_shots=100,
            n_search_shots=40,
            seed=4,
            max_frames=2000,
            executor=executor,
        )
    if os.getloadavg()[0] < 2.5:  # as far as the machine is ours
        assert seconds < 20
    assert run.statistics.acceptance > 0.05
    assert all(n is not None for n in run.statistics.burn_in)
    time_of_paths = mean_transition_time(run.paths)
    assert 0.2 < time_of_paths.value < 2.0
    assert sum(m.value for m in channel_weights(alanine, run.paths).values()) == pytest.approx(1)
    assert isinstance(channel_switches(alanine, run.paths), dict)
    assert 0 < ensemble_divergence(alanine, *halves(run.paths)) < np.log(2)
    assert abs(states.estimate.p_b.mean() - 0.5) < 0.1
    assert len(states.ensemble) >= 4
    print(seconds, run.statistics, time_of_paths, states.estimate.p_b, states.n_search_steps)
