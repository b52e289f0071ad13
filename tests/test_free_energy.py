"""Free energies against closed forms: von Mises and Gaussian tilts, work of known distribution, all roads at once."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import i0e, i1e, ndtr
from surfaces import make_surface, table

from tps.analysis import (
    WINDOWS,
    WINDOWS_BY_MEANS,
    Metric,
    agreement,
    analyse_windows,
    anchored_difference,
    anchored_frames_road,
    barrier_metrics,
    frames_anchored_difference,
    frames_region_difference,
    free_energy_surface,
    independent,
    integrated_difference,
    model_road,
    region_difference,
    region_energies,
    region_frames_road,
    sampling_metrics,
    spring_difference,
    surface_barriers,
    together,
    window_profile,
    with_springs,
    work_differences,
    work_roads,
)
from tps.analysis.free_energy.integration import corrected_integral
from tps.analysis.free_energy.mbar import jackknife_error
from tps.analysis.free_energy.memory import load_pymbar
from tps.analysis.free_energy.solver import first_guess, overlap_matrix, solve_mbar
from tps.analysis.free_energy.work import acceptance_ratio
from tps.conformations import Conformations
from tps.errors import ParameterError, SimulationError
from tps.features import FeatureSpace
from tps.paths import (
    OverdampedSettings,
    Windows,
    WindowSamples,
    WindowSettings,
    overdamped_annealed_paths,
    sample_surface_windows,
)

KT = 2.5


def exact_psi(kappa):
    """ψ = ln I0(κ) of a free torsion."""
    return np.log(i0e(kappa)) + kappa


def made(windows, draw, *, n_ladders=2, n_frames=300, seed=0, energy=lambda x: 0 * x, torus=True):
    """Return samples of one feature drawn independently: draw(rng, k, shape) from window k."""
    rng = np.random.default_rng(seed)
    shape = (n_ladders, n_frames)
    x = np.stack([draw(rng, k, shape) for k in range(windows.n_windows)], axis=-1)
    statistics = np.stack([np.cos(x), np.sin(x)] if torus else [x, x**2], axis=-1)
    return WindowSamples(
        windows=windows,
        values=x[..., None],
        statistics=statistics,
        potential_energy=energy(x),
        in_a=np.abs(x + 1) < 0.5,
        in_b=np.abs(x - 1.2) < 0.25,
        replica=np.tile(np.arange(windows.n_windows), (*shape, 1)),
        status=np.full((n_ladders, windows.n_windows), "completed"),
        n_evaluations=0,
    )


def von_mises(seed=0, **how):
    """Free torsion, κ from 4 at -1 to 8 at 1.2 rad by six windows, and the untilted one."""
    s = np.linspace(0, 1, 6)
    kappa, angle = 4 + 4 * s, -1 + 2.2 * s
    eta = kappa[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    windows = Windows.along(s, eta, 6)
    strength = np.append(kappa, 0.0)
    places = np.append(angle, 0.0)
    return made(windows, lambda rng, k, shape: rng.vonmises(places[k], strength[k], shape), seed=seed, **how)


@pytest.fixture(scope="module")
def torsion():
    return analyse_windows(von_mises(energy=lambda x: 1 + np.cos(x)), KT)


def test_free_energies_of_a_free_torsion_are_those_of_bessel_functions(torsion):
    """F(η) = -kT ln I0(κ), independent frames: |z| < 4 for the profile, its end, and the integral of μ."""
    exact = -KT * (exact_psi(8.0) - exact_psi(4.0))
    for metric in (anchored_difference(torsion), integrated_difference(torsion)):
        assert abs(metric.value - exact) < 4 * metric.error
        assert metric.error < 0.4
        assert metric.unit == "kJ/mol"
    profile = window_profile(torsion)
    kappa = 4 + 4 * profile.s
    assert profile.free_energy_error[0] == 0
    z = (profile.free_energy + KT * (exact_psi(kappa) - exact_psi(4.0)))[1:] / profile.free_energy_error[1:]
    assert np.abs(z).max() < 4
    mean = 1 + i1e(kappa) / i0e(kappa) * np.cos(-1 + 2.2 * profile.s)
    assert (np.abs(profile.mean_energy - mean) < 4 * profile.mean_energy_error).all()


def test_regions_of_a_free_torsion_weigh_their_widths(torsion):
    """A is 1 rad wide, B 0.5: F(B) - F(A) = kT ln 2; the mean of 1 + cos x in A is 1 + ∫cos."""
    metric = region_difference(torsion)
    assert abs(metric.value - KT * math.log(2)) < 4 * metric.error
    assert metric.error < 0.5
    mean, error = region_energies(torsion)["a"]
    assert abs(mean - (1 + math.sin(-0.5) - math.sin(-1.5))) < 4 * error < 0.2
    top = barrier_metrics(torsion)["effective_barrier_a"]
    profile = window_profile(torsion)
    assert top.value == pytest.approx(profile.mean_energy.max() - mean)


def test_errors_are_as_large_as_the_scatter_of_repeats():
    """30 independent data sets: the mean square of z is 1 ± sqrt(2/30) for Gaussian z; the error may be too large, by
    the larger of two, but not too small (z² above 1 + 4 sqrt(2/30)) nor more than twice too large (below 1/4)."""
    exact = np.array([-KT * (exact_psi(8.0) - exact_psi(4.0)), KT * math.log(2)])
    z = []
    for seed in range(30):
        analysis = analyse_windows(von_mises(seed, n_frames=100), KT)
        found = [anchored_difference(analysis), region_difference(analysis)]
        z.append([(m.value - e) / m.error for m, e in zip(found, exact, strict=True)])
    scatter = np.mean(np.square(z), axis=0)
    assert (scatter < 1 + 4 * math.sqrt(2 / 30)).all() and (scatter > 0.25).all()


def test_correlated_frames_have_larger_errors():
    """Every frame four times: four times the inefficiency, and not half of the error."""
    once = analyse_windows(von_mises(n_frames=100), KT, start=0)
    four = von_mises(n_frames=100)
    repeated = WindowSamples(
        four.windows,
        *(np.repeat(getattr(four, name), 4, axis=1) for name in ("values", "statistics")),
        *(
            np.repeat(getattr(four, name), 4, axis=1)
            for name in ("potential_energy", "in_a", "in_b", "replica")
        ),
        four.status,
        0,
    )
    more = analyse_windows(repeated, KT, start=0)
    assert more.psi == pytest.approx(once.psi, abs=1e-8)
    assert 3 < np.median(more.statistical_inefficiency) < 6
    assert anchored_difference(more).error > 0.8 * anchored_difference(once).error


def test_ladders_that_disagree_are_noticed():
    """Two humps that one ladder each holds: frames of a ladder are independent, yet the window tells nothing."""
    windows = Windows(np.array([0.0, 1.0]), np.array([[1.0, 0.0], [1.5, 0.0]]))
    samples = made(windows, lambda rng, k, shape: rng.normal([[-1.0], [1.0]], 0.1, shape), n_frames=400)
    analysis = analyse_windows(samples, KT)
    assert (analysis.effective_samples < 10).all()
    assert any("2 windows hold fewer than 30" in text for text in analysis.warnings())


def test_windows_apart_are_noticed():
    windows = Windows(np.array([0.0, 1.0]), np.array([[-4.0, -1.0], [4.0, -1.0]]))
    samples = made(
        windows, lambda rng, k, shape: rng.normal([-2.0, 2.0][k], 0.7, shape), torus=False, n_frames=500
    )
    analysis = analyse_windows(samples, KT)
    assert analysis.neighbour_overlap[0] < 0.03
    assert any("overlap" in text for text in analysis.warnings())
    assert sampling_metrics(analysis)["window_overlap"].value == analysis.neighbour_overlap[0]


def test_the_solver_and_the_overlap_are_those_of_pymbar():
    samples = von_mises(n_frames=60)
    statistics = samples.statistics.transpose(2, 0, 1, 3).reshape(-1, 2)
    eta, counts = samples.windows.eta, np.full(7, 120)
    tilts = eta @ statistics.T
    mbar = load_pymbar().MBAR(-tilts, counts, solver_protocol="robust")
    f = solve_mbar(np.zeros(7), tilts, counts)
    assert f == pytest.approx(mbar.f_k, abs=1e-7)
    assert overlap_matrix(f, tilts, counts) == pytest.approx(mbar.compute_overlap()["matrix"], abs=1e-7)
    analysis = analyse_windows(samples, KT, start=0)
    assert analysis.psi[0] - analysis.psi == pytest.approx(mbar.f_k, abs=1e-7)
    kept = np.tile(np.arange(120) >= 12, 7)  # the first of ten blocks left out
    rest = load_pymbar().MBAR(-tilts[:, kept], np.full(7, 108), solver_protocol="robust")
    assert analysis.block_psi[0, 0] - analysis.block_psi[0] == pytest.approx(rest.f_k, abs=1e-7)


@pytest.mark.parametrize("scale", [3.0, 30.0, 300.0])
def test_the_solver_finds_the_one_solution_from_guesses_far_off(scale):
    """The objective is convex, so where it starts is no matter; Newton's steps end below 1e-9."""
    samples = von_mises(n_frames=60)
    statistics = samples.statistics.transpose(2, 0, 1, 3).reshape(-1, 2)
    tilts, counts = samples.windows.eta @ statistics.T, np.full(7, 120)
    exact = solve_mbar(np.zeros(7), tilts, counts)
    for guess in np.random.default_rng(1).normal(size=(10, 7)) * scale:
        f = solve_mbar(guess, tilts, counts)
        assert f - f[0] == pytest.approx(exact, abs=1e-8)


def test_the_first_guess_is_exact_for_gaussians():
    """ψ of a Gaussian is quadratic in the mean's tilt, so the trapezoidal rule along any tree is exact."""
    eta = np.array([[0.0], [3.0], [1.0], [-2.0]])
    assert first_guess(eta, 0.7 * eta) == pytest.approx(-0.35 * eta[:, 0] ** 2)


def test_integration_is_of_fourth_order():
    """∫ μ·dη over one chord of κ of a von Mises tilt, without noise: halving the chord divides the error by 2⁵."""
    theta = (np.arange(200_000) + 0.5) / 200_000 * 2 * np.pi
    statistics = np.stack([np.cos(theta), np.sin(theta)], axis=1)

    def errors(width):
        eta = np.array([[2.0, 0.0], [2.0 + width, 0.0]])
        rows = [_resampled(statistics, np.exp(e[0] * np.cos(theta))) for e in eta]
        value, expected = corrected_integral(eta, rows)
        return abs(value - (exact_psi(2 + width) - exact_psi(2.0))), expected

    (wide, expected), (narrow, _) = errors(2.0), errors(1.0)
    assert 2**4.2 < wide / narrow < 2**5.8
    assert wide < expected < 0.1


def test_integration_over_a_rare_hump_stays_between_its_ends():
    """One frame in 100 lies 30 kT away: the plain correction would be -89.1/12 = -7.4 where μ·Δη rises by 0.3 only."""
    eta, frames = np.array([[0.0], [1.0]]), [np.zeros((100, 1)), np.zeros((100, 1))]
    frames[1][0] = 30.0
    value, expected = corrected_integral(eta, frames)
    assert value == pytest.approx(0.15 - 0.3 * 3 / 12) and expected == pytest.approx(0.075)


def _resampled(rows, weights):
    """Return rows at equal steps of the cumulated weight: a sample without noise."""
    cumulated = np.cumsum(weights) / weights.sum()
    return rows[np.searchsorted(cumulated, (np.arange(200_000) + 0.5) / 200_000)]


@pytest.mark.parametrize("spread", [1.0, 2.5])
def test_work_of_gaussian_shape_gives_its_free_energy(spread):
    """W ~ N(ΔF ± σ²/2, σ²) both ways satisfies Crooks' relation exactly (ΔF = -3 kT)."""
    rng, n = np.random.default_rng(4), 400
    forward = rng.normal(-3 + spread**2 / 2, spread, n)
    backward = rng.normal(3 + spread**2 / 2, spread, n)
    found = work_differences(forward, backward, KT)
    assert abs(found["bar"].value + 3 * KT) < 4 * found["bar"].error
    assert found["bar"].error < 0.2 * spread * KT
    if spread == 1.0:  # where Jarzynski's average converges
        for name in ("jarzynski_forward", "jarzynski_backward"):
            assert abs(found[name].value + 3 * KT) < 4 * found[name].error
    pymbar = load_pymbar()
    assert found["work_overlap"].value == pytest.approx(pymbar.bar_overlap(forward, backward), abs=1e-4)
    exact = pymbar.bar(forward, backward[:100])["Delta_f"]
    assert acceptance_ratio(forward[None], backward[None, :100])[0] == pytest.approx(exact, abs=1e-6)
    again = work_differences(forward, backward, KT)
    assert again["bar"].error == found["bar"].error


def test_works_that_do_not_overlap_give_bounds_only():
    """σ = 10: each direction dissipates 50 kT, so no estimate is near ΔF = 0, and the second law still holds."""
    rng = np.random.default_rng(1)
    forward, backward = rng.normal(50, 10, 30), rng.normal(50, 10, 30)
    found = work_differences(forward, backward, KT)
    assert found["work_overlap"].value < 0.03
    for name in ("bar", "jarzynski_forward", "jarzynski_backward"):
        assert found[name].value is None and "No value" in found[name].definition
    assert found["work_bound_upper"].value == pytest.approx(KT * forward.mean())
    assert found["work_bound_lower"].value == pytest.approx(-KT * backward.mean())
    assert agreement({"bar": found["bar"], "x": Metric(0.0, None, "kJ/mol", "x")}).missing == ("bar",)


def weighted_frames(n=20_000, seed=0):
    """Frames drawn evenly over the circle in two walkers, weighted by exp(2 cos x)."""
    x = np.random.default_rng(seed).uniform(-np.pi, np.pi, n)
    walker = np.repeat([0, 1], n // 2)
    return x, Conformations(x[:, None], 2 * np.cos(x), np.zeros(n), walker)


def test_weighted_frames_give_their_free_energies():
    """ψ(η) = ln I0(2 + κ) - ln I0(2) for a tilt along x = 0; and p(B)/p(A) of the weight 2 cos x by quadrature."""
    x, frames = weighted_frames()
    statistics = np.stack([np.cos(x), np.sin(x)], axis=1)
    found = frames_anchored_difference(frames, statistics, [1.0, 0.0], [5.0, 0.0], KT)
    assert abs(found.value + KT * (exact_psi(7.0) - exact_psi(3.0))) < 4 * found.error < 0.4
    grid = np.linspace(-np.pi, np.pi, 100_000)
    a, b = np.abs(grid + 1) < 0.5, np.abs(grid - 2) < 0.5
    exact = -KT * np.log(np.exp(2 * np.cos(grid[b])).sum() / np.exp(2 * np.cos(grid[a])).sum())
    regions = frames_region_difference(frames, np.abs(x + 1) < 0.5, np.abs(x - 2) < 0.5, KT)
    assert abs(regions.value - exact) < 4 * regions.error < 0.4
    nothing = frames_region_difference(frames, np.abs(x + 1) < 0.5, x > 9, KT)
    assert nothing.value is None and nothing.error is None


def test_roads_of_the_frames_are_their_differences_by_name():
    """On the circle as on a surface: the road has the value of the difference, and a grid no error."""
    system = make_surface(table(np.cos, 360, periodic=True), periodic=True, kt=KT)
    x, frames = weighted_frames(n=4000)
    eta = np.array([[1.0, 0.0], [5.0, 0.0]])
    statistics = np.stack([np.cos(x), np.sin(x)], axis=1)
    (name, road), *_ = anchored_frames_road(system, frames, *eta, made_by="metadynamics").items()
    assert (name, road.unit) == ("metadynamics", "kT")
    assert road.value == frames_anchored_difference(frames, statistics, *eta, KT).value
    grid = anchored_frames_road(system, frames, *eta, made_by="", on_grid=True)["grid"]
    assert (grid.value, grid.error) == (road.value, None) and "grid" in grid.definition
    values = system.values(x[:, None])
    inside = [state.region.contains(values) for state in (system.state_a, system.state_b)]
    region = region_frames_road(system, frames, values, made_by="plain dynamics")["plain dynamics"]
    assert region.value == frames_region_difference(frames, *inside, KT).value
    assert region_frames_road(system, frames, values, made_by="", on_grid=True)["grid"].error is None
    by_model = model_road(system, Metric(-2.5, 0.5, "kT", "x"))["ψ of the model"]
    assert (by_model.value, by_model.error, by_model.unit) == (-2.5 * system.kt, 0.5 * system.kt, "kT")


def test_springs_of_gaussian_tilts_have_no_free_energy_of_their_own():
    """Two springs of one strength on a flat line: F as springs is equal, so -kT Δψ and the springs' share cancel.

    ψ(η) = e^l c²/2 + const for the tilt η = (e^l c, -e^l/2) of a uniform density.
    """
    space = line(-np.inf, np.inf)
    a, b = space.eta(np.array([[1.0], [-3.0]]), np.log([2.0, 2.0]))
    psi = [0.5 * 2.0 * c**2 for c in (1.0, -3.0)]
    assert spring_difference(space, a, b) == pytest.approx(8.0)
    road = {"x": Metric(-KT * (psi[1] - psi[0]), 0.1, "kT", ""), "none": Metric(None, None, "kT", "")}
    found = with_springs(road, KT * spring_difference(space, a, b))
    assert found["x"].value == pytest.approx(0.0, abs=1e-12) and found["x"].error == 0.1
    assert found["none"].value is None
    circle = FeatureSpace(("x",), (True,), ("rad",), (1.0,), np.array([[-np.pi, np.pi]]))
    assert spring_difference(circle, [3.0, 0.0], [0.0, 5.0]) == 0.0


def test_jackknife_of_a_mean_is_its_standard_error():
    x = np.random.default_rng(0).normal(size=12)
    left_out = (x.sum() - x) / 11
    assert jackknife_error(left_out) == pytest.approx(x.std(ddof=1) / math.sqrt(12))


def test_the_surface_of_a_tilted_well_is_its_potential():
    """Windows exp(η x) on a parabola are Gaussians about η: F is the logarithm of the normal distribution's cells."""
    centers = np.linspace(-2, 2, 5)
    windows = Windows(np.linspace(0, 1, 5), np.stack([centers, np.zeros(5)], axis=1))
    samples = made(
        windows,
        lambda rng, k, shape: rng.normal(centers[k], 1.0, shape),
        torus=False,
        n_frames=2000,
        energy=lambda x: KT * x**2 / 2,
    )
    analysis = analyse_windows(samples, KT)
    surface = free_energy_surface(analysis, line(-8.0, 8.0), 24)
    assert surface.periodic == (False,)
    edges = np.linspace(-8, 8, 25)
    exact = -KT * np.log(np.diff(ndtr(edges)))
    filled = np.bincount(np.digitize(analysis.values[:, 0], edges) - 1, minlength=24)[:24] > 50
    difference = surface.free_energy - exact
    offset = difference[np.argmin(np.abs(surface.axes[0] - 0.33))]
    assert filled.sum() > 12
    assert (
        np.abs(difference - offset)[filled] < 4 * np.hypot(surface.error, surface.error[12])[filled]
    ).all()
    empty = np.bincount(np.digitize(analysis.values[:, 0], edges) - 1, minlength=24)[:24] == 0
    assert empty.any() and np.isnan(surface.free_energy[empty]).all() and np.isnan(surface.error[empty]).all()
    barriers = surface_barriers(
        surface
    )  # the higher of the two ends' own lowest cells is the top of a parabola's path
    assert barriers["free_energy_barrier_b"].value == pytest.approx(0, abs=KT)
    holes = surface.block_free_energy.copy()
    holes[0, 1:] = np.nan
    gone = surface_barriers(replace(surface, block_free_energy=holes))["free_energy_barrier_a"]
    assert gone.value is None and "no cells with frames join" in gone.withheld
    with pytest.raises(ParameterError, match=r"\[0, 1\]"):
        free_energy_surface(analysis, line(-8.0, 8.0), columns=[0, 1])
    open_ended = free_energy_surface(analysis, line(-8.0, np.inf), 24).axes[0]
    top = analysis.values.max()
    assert open_ended[-1] == pytest.approx(top - (top + 8) / 48)


def line(low, high):
    """A pure number between bounds."""
    return FeatureSpace(("x",), (False,), ("",), (1.0,), np.array([[low, high]]))


def test_half_a_turn_lies_in_the_first_cell(torsion):
    """π and -π are one angle."""
    circle = FeatureSpace(("x",), (True,), ("rad",), (1.0,), np.array([[-np.pi, np.pi]]))
    here, there = (replace(torsion, values=np.where(torsion.in_a[:, None], x, 0.1)) for x in (np.pi, -np.pi))
    found = [free_energy_surface(analysis, circle, 12).free_energy for analysis in (here, there)]
    np.testing.assert_array_equal(*found)
    assert np.flatnonzero(np.isfinite(found[0])).tolist() == [0, 6]


def test_the_surface_over_a_torsion_and_a_distance_is_the_sum_of_theirs(torsion):
    """A distance that is uniform on 0.2 to 0.6 nm beside the free torsion: F is flat over both, kT ln of the cells."""
    far = np.random.default_rng(5).uniform(0.2, 0.6, len(torsion.window))
    both = replace(torsion, values=np.column_stack([torsion.values, far]))
    space = FeatureSpace(
        ("phi", "ends"), (True, False), ("rad", "nm"), (1.0, 0.1), np.array([[-np.pi, np.pi], [0.2, 0.6]])
    )
    surface = free_energy_surface(both, space, 6)
    assert surface.periodic == (True, False) and surface.axes[1] == pytest.approx(
        0.2 + 0.4 * (np.arange(6) + 0.5) / 6
    )
    profile = free_energy_surface(both, space, 6, columns=[0])
    across = -KT * np.log(np.exp(-surface.free_energy / KT).sum(axis=1))
    assert across - across.min() == pytest.approx(profile.free_energy, abs=1e-9)
    assert np.abs(surface.free_energy - np.median(surface.free_energy)).max() < 4 * surface.error.max()


def test_agreement_names_the_pairs_that_disagree():
    def road(value, error=None):
        return Metric(value, error, "kJ/mol", "x")

    close = agreement({"a": road(1.0, 0.1), "b": road(1.9), "c": road(None)})
    assert close.agree and close.missing == ("c",)
    assert "within 1 kJ/mol" in close.sentence() and "0.90 ± 0.10" in close.sentence()
    loose = agreement({"a": road(1.0, 1.0), "b": road(3.5, 1.0)})
    assert loose.agree and "1 of 1 pairs only within 2 combined errors" in loose.sentence()
    apart = agreement({"a": road(1.0, 0.5), "b": road(3.5, 0.5), "c": road(3.4, 0.1)})
    assert not apart.agree and "a and b" in apart.sentence() and "2 of 3 pairs" in apart.sentence()
    assert "no value" in close.table() and "   ?" in close.table()
    assert not agreement({"a": road(1.0)}).agree and "nothing" in agreement({}).sentence()
    with pytest.raises(ParameterError, match="kT"):
        agreement({"a": road(1.0), "b": Metric(1.0, None, "kT", "x")})


def test_independent_roads_together():
    """Weights 1 and 4 by hand; a scatter of chi² = 5 where one is expected makes the error sqrt(5) times as large."""

    def road(value, error=None, withheld=""):
        return Metric(value, error, "kJ/mol", "Of A.", withheld)

    found = together(
        {"a": road(1.0, 1.0), "b": road(2.0, 0.5), "c": road(9.0), "d": road(None, None, "no data")}
    )
    assert (found.value, found.error) == pytest.approx((1.8, 0.8**0.5 / 2))
    assert "Mean of a and b, which share no simulation" in found.definition
    wide = together({"a": road(1.0, 1.0), "b": road(3.5, 0.5)})
    assert (wide.value, wide.error) == pytest.approx((3.0, 1.0))  # 1 / sqrt(1 + 4), times sqrt(5)
    apart = together({"a": road(1.0, 0.1), "b": road(3.5, 0.1)})
    assert apart.value is None and apart.withheld == "a and b contradict each other"
    assert together({"a": road(1.0), "b": road(2.0, 0.1)}).value == 2.0
    assert together({"a": road(None, None, "no data"), "b": road(None)}).withheld == "no data"


def test_roads_that_share_simulations_count_once():
    """Of windows MBAR, of straight pulls both ways, and the frames; not what is made of the same data again."""
    named = (WINDOWS, WINDOWS_BY_MEANS, "pulls, both ways (BAR)", "pulls from A (Jarzynski)", "metadynamics")
    roads = {name: Metric(1.0, 0.1, "kJ/mol", "x") for name in (*named, "ψ of the model")}
    assert list(independent(roads)) == [WINDOWS, "pulls, both ways (BAR)", "metadynamics"]


def test_refusals():
    samples = von_mises(n_frames=10)
    with pytest.raises(ParameterError, match="21"):
        analyse_windows(samples, KT, n_blocks=21)
    with pytest.raises(ParameterError, match=r"\(1,\)"):
        work_differences([1.0], [1.0, 2.0], KT)
    with pytest.raises(ParameterError, match="failed"):
        work_differences([1.0, np.nan], [1.0, 2.0], KT)
    samples.statistics[:, :, 2] = np.nan
    with pytest.raises(SimulationError, match="window 2"):
        analyse_windows(samples, KT)


def test_all_roads_agree_on_a_rough_torsion():
    """Overdamped dynamics on U = 1.5 cos(x) + cos(2 x) [kT]: windows, μ, work and quadrature, |z| < 4 each."""
    system = make_surface(
        table(lambda x: 1.5 * np.cos(x) + np.cos(2 * x), 720, periodic=True), periodic=True, a=-1.5, b=1.5
    )
    s = np.linspace(0, 1, 31)
    eta = np.stack([6 * np.cos(-1.5 + 3 * s), 6 * np.sin(-1.5 + 3 * s) + s], axis=1)
    grid = np.linspace(-np.pi, np.pi, 20_000, endpoint=False)
    tilts = eta[[0, -1]] @ np.stack([np.cos(grid), np.sin(grid)])
    z = np.exp(tilts - system.energy(grid[:, None])).sum(axis=1)
    exact = -math.log(z[1] / z[0])
    windows = Windows.along(s, eta, 11)
    samples = sample_surface_windows(
        system,
        windows,
        np.full((20, 12, 1), -1.5),
        WindowSettings(100, 20, 40),
        list(range(20)),
        stability=0.04,
        curvature=5.5,
    )
    analysis = analyse_windows(samples, 1.0, unit="kT")
    settings = OverdampedSettings(800, 100, 10, 200, stability=0.04, curvature=5.5)
    works = [
        overdamped_annealed_paths(system, s, eta, settings, list(range(i, i + 200)), backward=back)[0]
        for i, back in ((0, False), (500, True))
    ]
    assert next(iter(work_roads(system, *works))) == "straight pulls, both ways (BAR)"
    bar = work_differences(*(w.cumulative_work[:, -1] for w in works), 1.0, unit="kT")["bar"]
    for metric in (anchored_difference(analysis), integrated_difference(analysis), bar):
        assert abs(metric.value - exact) < 4 * metric.error
        assert metric.error < 0.3
    weight = np.exp(-system.energy(grid[:, None]))
    inside = [np.abs(grid - x) < 0.5 for x in (-1.5, 1.5)]
    regions = region_difference(analysis)
    assert (
        abs(regions.value + math.log(weight[inside[1]].sum() / weight[inside[0]].sum())) < 4 * regions.error
    )
    roads = agreement(
        {
            "windows": anchored_difference(analysis),
            "bar": bar,
            "exact": Metric(exact, None, "kT", ""),
        }
    )
    assert roads.agree
