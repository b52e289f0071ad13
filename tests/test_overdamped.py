"""Overdamped dynamics on surfaces: exact variances, work relations, paths that repeat, and walkers that fail alone."""

import math

import numpy as np
import pytest
import torch
from scipy.special import i0e
from surfaces import make_surface, table

from tps.analysis.flood_fill import surface_lower_bound
from tps.dynamics import sample_surface
from tps.dynamics.overdamped import kept_out, largest_curvature
from tps.errors import ParameterError
from tps.paths import OverdampedSettings, load_paths, overdamped_annealed_paths, save_paths
from tps.paths.protocol import equal_steps
from tps.spacetime import (
    EuclideanSpacetime,
    GridFamily,
    LogSnrFloor,
    SpacetimeCurve,
    TorusSpacetime,
    anchors,
    find_geodesic,
    winding_line,
)
from tps.systems import DoubleWell, load_system, parse_region


def spring(center, stiffness):
    """Natural parameters (n, d + 1) of springs with centers (n, d)."""
    center = torch.tensor(np.array(center), dtype=torch.float64)
    log_snr = torch.full((len(center),), math.log(stiffness), dtype=torch.float64)
    return EuclideanSpacetime(center.shape[1]).eta(center, log_snr).numpy()


def pull(system, stiffness, n=41):
    """A straight pull from A to B by a spring."""
    s = np.linspace(0, 1, n)
    return s, spring((1 - s)[:, None] * system.point_a + s[:, None] * system.point_b, stiffness)


@pytest.mark.parametrize("stiffness", [0.0, 30.0])
def test_stationary_variance_is_that_of_euler_and_maruyama(stiffness):
    """y is harmonic (k = 20 and the tilt's): variance 1/(k (1 - k dτ/2)), the scheme's own bias included.

    n independent walkers give it with a relative standard error sqrt(2/n); the bias tested is 7 and 14 of them.
    """
    system, n, timestep = load_system("double-well-2d"), 4000, 0.01
    eta = None if stiffness == 0 else spring(system.point_a[None], stiffness)[0]
    k = 20.0 + stiffness
    samples = sample_surface(
        system, np.tile(system.point_a, (n, 1)), 1, 100, np.random.default_rng(0), eta=eta, timestep=timestep
    )
    y = samples.positions[:, 0, 1]
    exact = 1 / (k * (1 - k * timestep / 2))
    assert abs(y.var() / exact - 1) < 4 * math.sqrt(2 / n)
    assert abs(y.mean()) < 4 * math.sqrt(exact / n)
    assert samples.n_evaluations == 100 * n


def test_kt_scales_the_force():
    """A surface four times as high at four times kT is the same dynamics, number for number."""
    one, four = make_surface(DoubleWell(3.0)), make_surface(DoubleWell(12.0), kt=4.0)
    runs = [sample_surface(s, [[-1.0]] * 3, 5, 10, np.random.default_rng(1)) for s in (one, four)]
    assert runs[0].positions == pytest.approx(runs[1].positions, abs=1e-12)


def test_the_boltzmann_weights_of_two_wells_come_out():
    """Walkers from one well of 2 kT end in both: each half-axis holds 1/2 by symmetry, standard error 1/(2 sqrt(n))."""
    system = make_surface(DoubleWell(2.0))
    samples = sample_surface(system, np.full((1000, 1), -1.0), 1, 2000, np.random.default_rng(0))
    assert abs((samples.positions[:, 0, 0] > 0).mean() - 0.5) < 4 * 0.5 / math.sqrt(1000)


def test_work_obeys_jarzynski_on_a_free_torsion():
    """Stiffening κ from 0.5 to 4 at a fixed angle: <exp(-W)> = I0(4)/I0(0.5), W in kT (Jarzynski 1997).

    dτ κ is at most 0.02, so the scheme's own variance is off by at most 1 %: far below four standard errors.
    """
    system = make_surface(table(np.zeros_like, 12, periodic=True), periodic=True)
    kappa = torch.linspace(0.5, 4.0, 31, dtype=torch.float64)
    center = torch.full((31, 1), 0.4, dtype=torch.float64)
    eta = TorusSpacetime(1).eta_from_angles(center, kappa[:, None]).numpy()
    settings = OverdampedSettings(
        n_steps=300, n_updates=100, n_frames=10, n_equilibration_steps=600, stability=0.02, curvature=1.0
    )
    ensemble, _ = overdamped_annealed_paths(system, np.linspace(0, 1, 31), eta, settings, list(range(2000)))
    weights = np.exp(-ensemble.cumulative_work[:, -1])
    exact = i0e(4.0) / i0e(0.5) * math.exp(3.5)
    error = weights.std(ddof=1) / math.sqrt(len(weights))
    assert abs(weights.mean() - exact) < 4 * error
    assert error < 0.03 * exact
    assert ensemble.cumulative_work[:, -1].mean() > -math.log(exact)  # the second law


def test_work_obeys_jarzynski_in_a_harmonic_valley():
    """Moving a spring K from y = 0 to 1 in k y²/2: ΔF = k K / (2 (k + K)), less K/2 that η·T leaves out of |x - c|²."""
    system = load_system("double-well-2d")
    k, stiffness, s = system.potential.stiffness, 5.0, np.linspace(0, 1, 21)
    eta = spring(np.stack([np.full(21, -1.0), s], axis=1), stiffness)
    settings = OverdampedSettings(n_steps=4000, n_updates=200, n_frames=10, n_equilibration_steps=400)
    ensemble, _ = overdamped_annealed_paths(system, s, eta, settings, list(range(400)))
    delta_f = k * stiffness / (2 * (k + stiffness)) - stiffness / 2
    weights = np.exp(-(ensemble.cumulative_work[:, -1] - delta_f))
    error = weights.std(ddof=1) / math.sqrt(400)
    assert abs(weights.mean() - 1) < 4 * error
    assert error < 0.1


@pytest.mark.parametrize("name", ["double-well-2d", "alanine-surface-300k"])
def test_work_is_summed_at_the_positions_before_each_update(name):
    """W_k - W_(k-1) = -(η_(k+1) - η_k)·T(x_k), x_k the frame stored when the k-th window ended."""
    system, s = load_system(name), np.linspace(0, 1, 9)
    rng = np.random.default_rng(5)
    eta = 3 * rng.normal(size=(9, system.space.n_statistics))
    if system.space.n_lines:
        eta[:, -1] = -np.abs(eta[:, -1])
    settings = OverdampedSettings(n_steps=60, n_updates=20, n_frames=20, n_equilibration_steps=0)
    ensemble, positions = overdamped_annealed_paths(system, s, eta, settings, [3, 4])
    steps = np.diff(equal_steps(s, eta, 20), axis=0)
    before = np.concatenate([np.tile(system.point_a, (2, 1, 1)), positions[:, :-1]], axis=1)
    expected = -np.cumsum(np.sum(steps * system.space.statistic(before), axis=-1), axis=1)
    assert ensemble.cumulative_work == pytest.approx(expected, abs=1e-10)
    assert ensemble.potential_energy == pytest.approx(system.energy(positions), rel=1e-12)
    assert ensemble.values == pytest.approx(system.feature_values(positions), abs=1e-12)


def test_paths_react_and_their_evaluations_are_counted():
    system = load_system("double-well-2d")
    settings = OverdampedSettings(n_steps=2000, n_updates=200, n_frames=100, n_equilibration_steps=50)
    ensemble, _ = overdamped_annealed_paths(system, *pull(system, 50.0), settings, list(range(20)))
    assert ensemble.completed.all()
    assert ensemble.reactive.all()
    for path in range(20):
        x = ensemble.values[path, ensemble.segment(path), 0]
        assert x[0] <= -0.7 < x[1:-1].min()
        assert x[1:-1].max() < 0.7 <= x[-1]
    # one evaluation per step, one for the last frame's energy, 8 for the curvature at the end points
    assert ensemble.n_evaluations == 20 * (2000 + 50 + 1) + 8
    curvature_known = OverdampedSettings(
        n_steps=2000, n_updates=200, n_frames=100, n_equilibration_steps=50, curvature=64.0
    )
    known, _ = overdamped_annealed_paths(system, *pull(system, 50.0), curvature_known, [0])
    assert known.n_evaluations == 2051
    # stability over curvature plus stiffness, times 2000 steps in 100 frames
    assert known.frame_interval == pytest.approx(0.1 / (64 + 50) * 20)


def test_a_path_depends_on_its_own_seed_alone(monkeypatch):
    system = load_system("double-well-2d")
    settings = OverdampedSettings(n_steps=200, n_updates=20, n_frames=10)
    all_of_them, _ = overdamped_annealed_paths(system, *pull(system, 20.0), settings, [7, 8, 9])
    alone, _ = overdamped_annealed_paths(system, *pull(system, 20.0), settings, [8])
    assert np.array_equal(alone.values[0], all_of_them.values[1])
    assert not np.array_equal(all_of_them.values[0], all_of_them.values[1])
    monkeypatch.setattr("tps.paths.annealed.surface._MAX_NOISE", 1)  # one path at a time
    finished = []
    split, _ = overdamped_annealed_paths(system, *pull(system, 20.0), settings, [7, 8, 9], finished.append)
    assert np.array_equal(split.values, all_of_them.values)
    assert finished == [1, 2, 3]


def test_a_walker_that_leaves_the_table_fails_alone():
    """A flat table from -2 to 2 has no energy outside; of 40 walkers that diffuse some leave, the others stay."""
    system = make_surface(table(np.zeros_like, 9, periodic=False, low=-2.0, high=2.0))
    settings = OverdampedSettings(
        n_steps=100, n_updates=50, n_frames=50, n_equilibration_steps=0, curvature=10.0
    )
    s, eta = np.array([0.0, 1.0]), np.zeros((2, 2))
    ensemble, positions = overdamped_annealed_paths(system, s, eta, settings, list(range(40)))
    lost = ~ensemble.completed
    assert 0 < lost.sum() < 40
    assert set(ensemble.status[lost]) == {"failed: the walker left the surface or the numbers"}
    for array in (positions, ensemble.values, ensemble.potential_energy, ensemble.cumulative_work):
        assert np.isnan(array[lost]).all()
        assert np.isfinite(array[~lost]).all()
    assert (ensemble.reactive_start[lost] == -1).all()
    assert ensemble.n_evaluations < 40 * 101  # nothing is counted after a failure


def test_a_walker_that_blows_up_fails_without_a_warning(recwarn):
    """Müller-Brown's last term rises like exp(0.7 r^2): a step far too long leaves the numbers."""
    system = load_system("mueller-brown")
    samples = sample_surface(system, [system.point_a] * 5, 3, 100, np.random.default_rng(0), timestep=1.0)
    assert np.isnan(samples.positions[:, -1]).all() or not np.isfinite(samples.positions[:, -1]).any()
    assert samples.n_evaluations < 5 * 300
    assert not recwarn.list


def test_strong_tilts_take_short_steps_and_stay_where_they_are_told():
    """κ = 1e6: the variance is 1/κ/(1 - stability/2) to the curvature's share; a fixed step of 1e-3 would explode."""
    system = load_system("double-well-2d")
    eta = spring(np.stack([system.point_a] * 2), 1e6)
    settings = OverdampedSettings(n_steps=400, n_updates=1, n_frames=1, n_equilibration_steps=0)
    _, positions = overdamped_annealed_paths(system, np.array([0.0, 1.0]), eta, settings, list(range(500)))
    variance = np.square(positions[:, 0] - system.point_a).mean()
    assert variance == pytest.approx(1e-6 / (1 - 0.05), rel=4 * math.sqrt(2 / 1000))


def test_the_curvature_is_that_of_the_end_points():
    assert largest_curvature(load_system("double-well-2d")) == pytest.approx(64.0, rel=1e-5)  # 8 barrier / kT
    assert largest_curvature(load_system("dual-channel")) == pytest.approx(160.0, rel=1e-5)
    flat = make_surface(table(np.zeros_like, 9, periodic=True), periodic=True)
    assert largest_curvature(flat) == pytest.approx(1.0)  # never less than one wave across the surface


def test_ensembles_go_through_their_file(tmp_path):
    system = load_system("double-well-2d")
    settings = OverdampedSettings(n_steps=100, n_updates=10, n_frames=10)
    ensemble, _ = overdamped_annealed_paths(system, *pull(system, 20.0), settings, [1, 2])
    save_paths(tmp_path, ensemble, [None, None])
    read = load_paths(tmp_path)
    assert np.array_equal(read.values, ensemble.values)
    assert read.feature_names.tolist() == ["x", "y"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"n_steps": 100, "n_updates": 30, "n_frames": 10},
            r"n_steps \(100\) must be a multiple of n_updates \(30\)",
        ),
        ({"n_frames": 0}, "at least one step, one update and one frame"),
        ({"stability": 2.0}, "stability must lie between 0 and 1, but got 2.0"),
        ({"curvature": 0.0}, "the curvature must be positive, but got 0.0"),
    ],
)
def test_settings_are_checked(options, expected):
    with pytest.raises(ParameterError, match=expected):
        OverdampedSettings(**options)


def test_sampling_is_checked():
    with pytest.raises(ParameterError, match="positive time step, frames and interval: -1"):
        sample_surface(load_system("double-well"), [[0.0]], 1, 1, np.random.default_rng(0), timestep=-1)


@pytest.mark.slow
def test_paths_on_the_alanine_surface_stay_within_one_unit_of_the_lower_bound():
    """1000 paths at kT = 1 kJ/mol: highest energies within 1 kJ/mol of the bound, for under 1.5 million evaluations.

    Grid and bound included. The straight line at fixed log-SNR through the same channel is 5 kJ/mol above.
    """
    system = load_system("alanine-surface")
    bound = surface_lower_bound(system)
    axes, energies = system.energy_grid(120)
    family = GridFamily(
        [torch.from_numpy(axis) for axis in axes], torch.from_numpy(-energies / system.kt), periodic=True
    )
    a, b = anchors(system.space, system.feature_values(system.ends), 6.0)
    curves = {
        "geodesic": find_geodesic(family, a, b, constraints=[LogSnrFloor(3.0)], start=(1, -1)).curve,
        "straight": SpacetimeCurve.from_eta(family, winding_line(family.spacetime, a, b, 64, (1, -1))),
    }
    settings = OverdampedSettings(n_steps=1200, n_updates=1200, n_frames=1200, n_equilibration_steps=50)
    highest = {}
    for name, curve in curves.items():
        ensemble, _ = overdamped_annealed_paths(
            system, curve.s.numpy(), curve.eta.numpy(), settings, list(range(1000))
        )
        assert ensemble.reactive.all()
        assert ensemble.n_evaluations + energies.size + bound.n_evaluations < 1_500_000
        highest[name] = ensemble.potential_energy.max(axis=1) - bound.energy
    assert highest["geodesic"].mean() < 0.5
    assert (
        highest["geodesic"].min() > -0.1
    )  # a path stored at every step can jump the ridge between two frames
    assert highest["straight"].mean() > 4


def test_walls_keep_walkers_out_and_what_is_uniform_uniform():
    """Free walkers on a torus about a box and a wall across: counts in equal cells are Poisson's."""
    system, rng = load_system("alanine-surface"), np.random.default_rng(0)
    walls = [
        parse_region(text, system.collective_variables)
        for text in ("phi=-90..0,psi=-90..90", "phi=175..-175,psi=-180..180")
    ]
    x = rng.uniform(-math.pi, math.pi, (4000, 2))
    x = x[~np.any([wall.contains(system.values(x)) for wall in walls], axis=0)]
    start = x.copy()
    for _ in range(300):
        x = kept_out(system, x, x + 0.1 * rng.standard_normal(x.shape), walls)
    assert not np.any([wall.contains(system.values(x)) for wall in walls])
    # unwrapped: none has gone through the wall, which is wider than a step between two places
    assert np.abs(x[:, 0]).max() < math.pi
    counts, _, _ = np.histogram2d(*system.feature_values(x).T, bins=8, range=[[-math.pi, math.pi]] * 2)
    free = np.ones((8, 8), dtype=bool)
    free[2:4, 2:6] = False
    # the wall covers 10 of 45 degrees of eight cells, which are left out
    expected = len(x) / (free.sum() - 8 * 10 / 45)
    seen = counts[1:-1][free[1:-1]]
    assert not counts[~free].any()
    # chi squared has n degrees of freedom for its mean and 2 n for its variance
    assert ((seen - expected) ** 2 / expected).sum() < len(seen) + 4 * math.sqrt(2 * len(seen))
    assert np.abs(x - start).mean() > 1
