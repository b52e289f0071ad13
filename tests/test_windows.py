"""Windows: marginals against closed forms, exchange that keeps them, backward runs, and simulations that fail alone."""

import math
from dataclasses import replace
from itertools import permutations

import numpy as np
import openmm
import pytest
from molecules import chain_positions, torsion_molecule
from scipy.integrate import quad
from scipy.special import i0e, i1e
from surfaces import make_surface, table

from tps.dynamics import exchanged
from tps.engine import LangevinSettings, PlatformChoice, local_executor
from tps.errors import ParameterError, RunFolderError
from tps.paths import (
    AnnealingSettings,
    OverdampedSettings,
    Windows,
    WindowSamples,
    WindowSettings,
    annealed_paths,
    barrier_place,
    overdamped_annealed_paths,
    sample_surface_windows,
    sample_windows,
    starts_along,
    tightening,
)
from tps.systems import load_system

REFERENCE = PlatformChoice("Reference")
HOT = LangevinSettings(300.0, timestep=0.002, friction=20.0)


def circle(angle, kappa):
    """η of one torsion."""
    return np.asarray(kappa)[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def turning(n=7, kappa=2.0):
    """A curve of constant κ from -1.5 to 1.5 rad."""
    s = np.linspace(0, 1, n)
    return s, circle(-1.5 + 3 * s, np.full(n, kappa))


def walkers_error(samples):
    """Standard error (K, ...) of the mean over frames, from ladders that know nothing of each other."""
    return samples.mean(axis=1).std(axis=0, ddof=1) / math.sqrt(len(samples))


def test_swaps_draw_permutations_from_their_distribution():
    """p(permutation) ∝ exp(Σ_k η_k·T_held(k)): frequencies of repeated swaps against all six, chi-square 5 ± √10."""
    rng = np.random.default_rng(0)
    log_weight = rng.normal(size=(3, 3))
    orders = list(permutations(range(3)))
    exact = np.exp([sum(log_weight[k, o[k]] for k in range(3)) for o in orders])
    exact /= exact.sum()
    held, counts, n = np.arange(3), np.zeros(6), 5000
    for i in range(5 * n):  # every fifth state: correlation of the chain itself is gone
        held = held[exchanged(log_weight[:, held], rng)]
        if i % 5 == 0:
            counts[orders.index(tuple(held.tolist()))] += 1
    chi_square = np.sum((counts - n * exact) ** 2 / (n * exact))
    assert chi_square < 5 + 4 * math.sqrt(10)


@pytest.mark.parametrize("exchange", [True, False])
def test_every_window_of_two_wells_keeps_its_own_distribution(exchange):
    """On x⁴ wells of 2 kT the mean and mean square of each window against quadrature; errors from 200 ladders.

    Steps κ dτ of 0.01 leave the scheme's bias an order below the errors. Started in A throughout.
    """
    system = make_surface(table(lambda x: 2 * (x**2 - 1) ** 2, 801, False, -3, 3), width=6.0)
    s = np.linspace(0, 1, 4)
    eta = np.stack([np.linspace(-3, 3, 4), np.full(4, -0.75)], axis=1)
    windows = Windows.along(s, eta, 4)
    settings = WindowSettings(30, 40, 25, exchange)
    starts = np.full((200, 5, 1), -1.0)
    samples = sample_surface_windows(
        system, windows, starts, settings, list(range(200)), stability=0.05, curvature=16.0
    )
    assert samples.n_failed == 0
    for k, tilt in enumerate(windows.eta):

        def density(x, tilt=tilt):
            return np.exp(-2 * (x**2 - 1) ** 2 + tilt[0] * x + tilt[1] * x**2)

        norm = quad(density, -3, 3)[0]
        for power in (1, 2):
            mean = quad(lambda x, p=power: x**p * density(x), -3, 3)[0] / norm
            seen = samples.values[:, :, k, 0] ** power
            assert abs(seen.mean() - mean) < 4 * walkers_error(seen) + 0.01 * abs(mean)


@pytest.fixture(scope="module")
def torsion_samples():
    """Six ladders of a torsion without potential, windows of constant κ and the untilted one."""
    system = torsion_molecule()
    windows = Windows.along(*turning(), 4).with_bridge(circle(np.array([0.3]), np.array([6.0])))
    starts = np.broadcast_to(system.positions_a, (6, windows.n_windows, 4, 3))
    with local_executor("processes", 1) as executor:
        return sample_windows(
            system,
            windows,
            starts,
            WindowSettings(150, 60, 30),
            HOT,
            REFERENCE,
            list(range(6)),
            executor,
        )


def test_windows_of_a_free_torsion_are_von_mises(torsion_samples):
    """<cos(θ - θ0)> = I1(κ)/I0(κ) in every window, 0 across it; errors from the ladders' means (t of 5 degrees)."""
    eta = torsion_samples.windows.eta
    for k, tilt in enumerate(eta):
        kappa = np.hypot(*tilt)
        unit = tilt / kappa if kappa > 0 else np.array([1.0, 0.0])
        along = torsion_samples.statistics[:, :, k] @ unit
        across = torsion_samples.statistics[:, :, k] @ np.array([-unit[1], unit[0]])
        exact = i1e(kappa) / i0e(kappa)
        assert abs(along.mean() - exact) < 6 * walkers_error(along)
        assert abs(across.mean()) < 6 * walkers_error(across)
        assert walkers_error(along) < 0.1


def test_samples_tell_states_replicas_and_energies(torsion_samples):
    samples = torsion_samples
    theta = samples.values[..., 0]
    assert (samples.in_a == ((theta >= -2.2) & (theta <= -0.8))).all()
    assert (samples.in_b == ((theta >= 0.8) & (theta <= 2.2))).all()
    assert (np.sort(samples.replica, axis=-1) == np.arange(6)).all()
    assert samples.n_traversals > 0
    assert (samples.potential_energy > 0).all()
    assert ((samples.acceptance > 0.3) & (samples.acceptance < 1)).all()
    assert samples.n_evaluations == 6 * 6 * (1 + 180 * 61)


def test_positions_are_kept_beside_their_features_of_as_many_frames_as_asked_for():
    system = torsion_molecule()
    windows = Windows.along(*turning(), 3, untilted=False)
    starts = np.broadcast_to(system.positions_a, (2, 3, 4, 3))
    with local_executor("processes", 1) as executor:
        settings = WindowSettings(5, 10, 1, n_positions=3)
        samples = sample_windows(system, windows, starts, settings, HOT, REFERENCE, [3, 4], executor)
    assert samples.positions.shape == (2, 3, 3, 4, 3)
    # single precision of 1e-8 nm over arms of 0.1 nm
    kept = samples.values[:, [0, 2, 4]]
    np.testing.assert_allclose(system.feature_values(samples.positions), kept, atol=1e-5)
    assert samples.kept_frames.tolist() == [0, 2, 4]


def test_windows_without_exchange_stay_apart_and_repeat(tmp_path):
    """Each window a simulation of its own; the same seeds give the same numbers, with one worker or two."""
    system = torsion_molecule()
    windows = Windows.along(*turning(), 3, untilted=False)
    starts = np.broadcast_to(system.positions_a, (1, 3, 4, 3))
    runs = []
    for n_workers in (1, 2):
        with local_executor("processes", n_workers) as executor:
            runs.append(
                sample_windows(
                    system,
                    windows,
                    starts,
                    WindowSettings(4, 10, 1, exchange=False),
                    HOT,
                    REFERENCE,
                    [3],
                    executor,
                )
            )
    assert (runs[0].values == runs[1].values).all()
    assert (runs[0].replica == np.arange(3)).all()
    runs[0].save(tmp_path / "windows.npz")
    again = WindowSamples.load(tmp_path / "windows.npz")
    assert (again.values == runs[0].values).all()
    assert again.n_evaluations == runs[0].n_evaluations
    assert (again.windows.eta == windows.eta).all()
    with pytest.raises(RunFolderError):
        WindowSamples.load(tmp_path / "nothing.npz")


def test_a_ladder_that_leaves_the_numbers_fails_alone():
    """One replica of ladder 1 starts with two atoms in one place, where a 1/r force has no value."""
    system = torsion_molecule()
    repulsion = openmm.CustomBondForce("0.001/r")
    repulsion.addBond(0, 3, [])
    openmm_system = system.create_openmm_system()
    openmm_system.addForce(repulsion)
    system = replace(system, system_xml=openmm.XmlSerializer.serialize(openmm_system))
    windows = Windows.along(*turning(), 2, untilted=False)
    starts = np.stack([np.stack([chain_positions(-1.5)] * 2)] * 2)
    starts[1, 1, 3] = starts[1, 1, 0]
    with local_executor("processes", 1) as executor:
        samples = sample_windows(
            system, windows, starts, WindowSettings(3, 10, 1), HOT, REFERENCE, [0, 1], executor
        )
    assert samples.n_failed == 2
    assert samples.valid[0].all() and not samples.valid[1].any()
    assert all("failed" in text for text in samples.status[1])


def test_a_surface_walker_that_runs_away_ends_its_ladder_alone():
    system = make_surface(table(lambda x: -5 * x**2, 801, False, -3, 3), width=6.0)
    s, eta = np.linspace(0, 1, 2), np.array([[-60.0, -30.0], [60.0, -30.0]])
    starts = np.array([[[-1.0], [1.0]], [[-1.0], [40.0]]])
    samples = sample_surface_windows(
        system, Windows(s, eta), starts, WindowSettings(5, 5, 1), [0, 1], curvature=10.0
    )
    assert samples.valid[0].all() and not samples.valid[1].any()
    assert samples.n_failed == 2


def test_backward_annealed_runs_mirror_forward_ones_on_a_symmetric_surface():
    """On two equal wells, B to A is A to B seen in a mirror: mean work the same within its standard errors."""
    system = make_surface(table(lambda x: 3 * (x**2 - 1) ** 2, 801, False, -3, 3), width=6.0)
    s = np.linspace(0, 1, 21)
    eta = np.stack([10 * (2 * s - 1), np.full(21, -5.0)], axis=1)
    settings = OverdampedSettings(n_steps=200, n_updates=100, n_frames=50, n_equilibration_steps=50)
    ensembles = [
        overdamped_annealed_paths(system, s, eta, settings, list(range(300)), backward=back)[0]
        for back in (False, True)
    ]
    works = [e.cumulative_work[:, -1] for e in ensembles]
    error = math.hypot(*(w.std(ddof=1) / math.sqrt(300) for w in works))
    assert abs(works[0].mean() - works[1].mean()) < 4 * error
    assert works[1].mean() > 4 * error  # a round trip dissipates
    assert ensembles[1].values[:, 0].mean() > 0.5 > ensembles[1].values[:, -1].mean()
    assert (ensembles[1].s == 1 - ensembles[0].s).all()
    reactive = [e.reactive.mean() for e in ensembles]
    assert abs(reactive[0] - reactive[1]) < 4 * math.sqrt(2 * 0.25 / 300) and reactive[1] > 0.5


def test_backward_annealed_runs_of_a_molecule_start_at_b():
    system, (s, eta) = torsion_molecule(), turning(9, 40.0)
    settings = AnnealingSettings(1, 800, 80, 40, 100)
    with local_executor("processes", 1) as executor:
        ensemble, positions = annealed_paths(
            system, s, eta, settings, HOT, REFERENCE, [0], executor, backward=True
        )
    angles = system.feature_values(positions[0])[:, 0]
    assert abs(angles[0] - 1.5) < 1.0 and abs(angles[-1] + 1.5) < 1.0
    assert ensemble.reactive[0]
    start, end = ensemble.segment(0).start, ensemble.segment(0).stop - 1
    assert angles[start] > 0.8 and angles[end] < -0.8
    assert ensemble.s[0] == 1 - 1 / 40 and ensemble.s[-1] == 0


def test_windows_lie_at_equal_distances_and_starts_are_the_nearest_frames():
    s, eta = np.array([0.0, 0.2, 1.0]), np.array([[0.0, 1.0], [2.0, 1.0], [2.0, 9.0]])
    windows = Windows.along(s, eta, 6).with_bridge(tightening([0.6, 0.8], np.log(16), 3, spread=16))
    assert windows.eta[:6] == pytest.approx(np.array([[0, 1], [2, 1], [2, 3], [2, 5], [2, 7], [2, 9]]))
    assert (windows.eta[6] == 0).all() and windows.on_curve == 6
    assert np.hypot(*windows.eta[7:].T) == pytest.approx([1, 4, 16])
    frame_s = np.array([0.1, 0.55, 0.9])
    frames = np.arange(3.0)[:, None]
    statistics = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    assert starts_along(windows, frame_s, frames, statistics)[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 0, 1, 1, 1]


def test_the_barrier_is_where_a_slow_pull_has_done_most_work():
    """κ = 100 pulled from -1.5 to 1.5 over 3 cos(2 (x - 0.4)), highest at 0.4: within three times its width 0.1."""
    system = make_surface(table(lambda x: 3 * np.cos(2 * (x - 0.4)), 720, True), periodic=True, a=-1.5, b=1.5)
    settings = OverdampedSettings(n_steps=4000, n_updates=200, n_frames=200, n_equilibration_steps=200)
    pulls, _ = overdamped_annealed_paths(system, *turning(41, 100.0), settings, list(range(20)))
    assert barrier_place(pulls, system.space) == pytest.approx([0.4], abs=0.3)
    with pytest.raises(ParameterError, match="no pull"):
        barrier_place(replace(pulls, status=np.full(20, "failed: x")), system.space)


@pytest.mark.parametrize(
    ("make", "numbers"),
    [
        (lambda: WindowSettings(0), "0"),
        (lambda: Windows.along(*turning(), 1), "1"),
        (lambda: Windows(np.array([0.0, 0.5, 0.3]), np.zeros((3, 2))), "0.3"),
        (lambda: Windows(np.zeros(2), np.zeros((3, 2))), r"\(3, 2\)"),
        (lambda: Windows(np.array([np.nan, 0.0, 1.0]), np.zeros((3, 2))), "last"),
        (lambda: tightening([1, 0], 1.5, 3, spread=0.5), "0.5"),
        (lambda: starts_along(Windows.along(*turning(), 2), [0.1], [np.zeros(3)], np.zeros((2, 2))), "2"),
        (
            lambda: sample_windows(
                torsion_molecule(),
                Windows.along(*turning(), 2),
                np.zeros((1, 2, 4, 3)),
                WindowSettings(),
                HOT,
                REFERENCE,
                [0],
                None,
            ),
            r"\(1, 3, 4, 3\)",
        ),
        (
            lambda: sample_surface_windows(
                load_system("double-well"),
                Windows.along(*turning(), 2),
                np.zeros((1, 2, 1)),
                WindowSettings(),
                [0],
            ),
            r"\(1, 3, 1\)",
        ),
    ],
)
def test_refusals_name_what_was_got(make, numbers):
    with pytest.raises(ParameterError, match=numbers):
        make()
