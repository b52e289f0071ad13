"""Windows and basins weighed together, windows that count, anchors and distances, against what is known exactly."""

import math

import numpy as np
import pytest
import torch
from scipy.special import i0e, i1e, logsumexp

from tps.analysis import LEAST_OVERLAP, FramePool, joining_overlap, ladder_log_ratios, region_log_ratio, weigh
from tps.errors import CurveError, ParameterError, SimulationError
from tps.features import FeatureSpace
from tps.paths import Windows, WindowSamples, crossings, lineages, pooled_selection
from tps.spacetime import (
    EmpiricalFamily,
    SpacetimeCurve,
    TorusSpacetime,
    curve_distance,
    empirical_family,
    tether_lengths,
    tightest_anchor,
)

X = np.linspace(-2.5, 2.5, 1001)
U = 4 * (X**2 - 1) ** 2 + 0.7 * X
IN_A, IN_B = (X < -0.6), (X > 0.6)
#: ln p(B)/p(A) of the grid.
EXACT = float(logsumexp(-U[IN_B]) - logsumexp(-U[IN_A]))


def tilts(n):
    """Springs of stiffness 12 at n places from -1.2 to 1.2, as η of T = (x, x²)."""
    centers = np.linspace(-1.2, 1.2, n)
    return np.stack([12 * centers, np.full(n, -6.0)], axis=1)


def drawn(eta, n_frames, n_basin, rng, n_ladders=1):
    """Exact samples of windows and of p0 in A and B, as many of each in every ladder."""
    statistic = np.stack([X, X**2], axis=1)
    densities = [eta_k @ statistic.T - U for eta_k in eta] + [np.where(i, -U, -np.inf) for i in (IN_A, IN_B)]
    state, place, ladder = [], [], []
    for number in range(n_ladders):
        for k, density in enumerate(densities):
            chance = np.exp(density - density.max())
            n = n_frames if k < len(eta) else n_basin[k - len(eta)]
            place.append(rng.choice(len(X), size=n, p=chance / chance.sum()))
            state.append(np.full(n, k))
            ladder.append(np.full(n, number))
    at = np.concatenate(place)
    inside = np.stack([IN_A[at], IN_B[at]])
    return FramePool(eta, np.concatenate(state), statistic[at], inside, np.concatenate(ladder))


@pytest.mark.parametrize("n_basin", [(400, 400), (2000, 100)])
def test_basins_of_any_size_leave_the_difference_to_the_windows(n_basin):
    """Frames of p0 in A and in B, twenty times as many of one: |z| < 4 with the scatter of 12 ladders."""
    pool = drawn(tilts(12), 100, n_basin, np.random.default_rng(3), n_ladders=12)
    alone = ladder_log_ratios(pool)
    error = alone.std(ddof=1) / math.sqrt(len(alone))
    assert error < 0.1
    assert abs(alone.mean() - EXACT) < 4 * error
    assert abs(region_log_ratio(pool, weigh(pool)) - EXACT) < 4 * error


def test_weights_are_those_of_the_selection_and_give_p0():
    pool = drawn(tilts(12), 400, (500, 500), np.random.default_rng(0))
    weights = weigh(pool)
    select = pooled_selection(
        lambda x: np.stack([x, x**2], axis=1),
        lambda x: np.stack([x < -0.6, x > 0.6]),
        pool.eta,
        weights.log_strength,
    )
    np.testing.assert_allclose(select(pool.statistics[:, 0]), -weights.log_weights, atol=1e-10)
    p0 = np.exp(-U - logsumexp(-U))
    mean, square = p0 @ X, p0 @ X**2
    found = np.exp(weights.log_weights) @ pool.statistics
    # 5,800 exact frames; the slow direction is the ratio of the wells, known to 0.05: so is the mean to 0.05
    np.testing.assert_allclose(found, [mean, square], atol=0.15)


def test_overlap_is_that_of_the_narrowest_place_and_none_where_windows_are_missing():
    eta = tilts(12)
    pool = drawn(eta, 400, (500, 500), np.random.default_rng(1))
    whole = joining_overlap(pool, weigh(pool))
    assert LEAST_OVERLAP < whole < 0.5
    gap = pool.of(~np.isin(pool.state, (4, 5, 6, 7)))
    with_gap = weigh(gap)
    assert joining_overlap(gap, with_gap) < LEAST_OVERLAP
    assert np.isnan(ladder_log_ratios(gap)).all()
    crowded = drawn(np.repeat(eta, 3, axis=0), 150, (500, 500), np.random.default_rng(1))
    assert joining_overlap(crowded, weigh(crowded)) == pytest.approx(whole, rel=0.15)


def test_pools_refuse_frames_of_a_basin_outside_it_and_basins_alone():
    pool = drawn(tilts(3), 10, (5, 5), np.random.default_rng(2))
    wrong = pool.state.copy()
    wrong[0] = 4
    with pytest.raises(ParameterError, match="frames of p0 in B must lie in B"):
        FramePool(pool.eta, wrong, pool.statistics, pool.inside, pool.ladder)
    with pytest.raises(SimulationError, match="no windows between the basins"):
        weigh(pool.of(pool.state >= 3))


def samples(values, replica, *, low=-0.5, high=0.5):
    """Window samples (L, n_frames, K) of one feature on a line, A below `low` and B above `high`."""
    n_windows = values.shape[2]
    windows = Windows(np.linspace(0, 1, n_windows), np.stack([np.arange(n_windows), -np.ones(n_windows)], 1))
    return WindowSamples(
        windows=windows,
        values=values[..., None],
        statistics=np.stack([values, values**2], axis=-1),
        potential_energy=np.zeros(values.shape),
        in_a=values < low,
        in_b=values > high,
        replica=replica,
        status=np.full((len(values), n_windows), "completed"),
        n_evaluations=0,
    )


def test_windows_count_where_chains_agree_or_walkers_of_both_sides_went_through():
    """Means 3 s.d. apart do not agree; then a window counts through which walkers went on their way from A to B."""
    rng = np.random.default_rng(4)
    values = rng.normal(0.0, 0.1, size=(2, 200, 3))
    values[1, :, 1] += 0.3
    still = np.broadcast_to(np.arange(3), values.shape)
    from_b = np.array([False, True])
    judged = lineages(samples(values, still), from_b)
    assert judged.gap[0] < 0.5 < 2.5 < judged.gap[1]  # standard error of a mean: 0.07 s.d.
    assert judged.counts.tolist() == [True, False, True]
    assert (judged.passages == 0).all()
    # replica 0 leaves A in window 0, passes window 1, and is in B in window 2; the others stay between the states
    moving = still.copy()
    moving[:, 50:100, [0, 1]] = [1, 0]
    moving[:, 100:, [0, 1, 2]] = [1, 2, 0]
    values[:, :50, 0], values[:, 100:, 2] = -1.0, 1.0
    passed = lineages(samples(values, moving), from_b)
    assert passed.passages.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert passed.counts.all()
    assert (
        crossings(samples(values, moving)).tolist() == [2, 0] and not crossings(samples(values, still)).any()
    )
    back = samples(-values, moving)  # the same walker of each ladder, from B to A
    assert crossings(back).tolist() == [0, 2]
    values[1, :50, 0] = 0.0  # ladder B's walker did not start in A: nobody went through on that side
    assert lineages(samples(values, moving), from_b).passages.tolist() == [[1, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize("stuck", [True, False])
def test_windows_do_not_count_where_walkers_remember_though_all_ladders_agree(stuck):
    """Half of the walkers at 1, half at -1, s.d. 0.1, handed at random from window to window; or each moves at will.

    Stuck ones share 0.99 of the variance, less an error of 1/√24 by 24 walkers and a little more for unequal visits.
    """
    rng, shape = np.random.default_rng(6), (4, 60, 6)
    replica = rng.permuted(np.broadcast_to(np.arange(6), shape), axis=2)
    side = 2 * (replica % 2) - 1 if stuck else rng.choice([-1, 1], size=shape)
    values = side + rng.normal(0.0, 0.1, size=shape)
    judged = lineages(samples(values, replica, low=-3.0, high=3.0), np.arange(4) % 2 == 1)
    assert judged.agree.all() and not judged.passages.any()
    if stuck:
        assert (judged.memory > 0.7).all() and (judged.memory < 0.99 - 1 / np.sqrt(24)).all()
    assert judged.counts.tolist() == [not stuck] * 6


@pytest.mark.parametrize("at", [1.0, 0.0])
def test_one_walker_of_eighty_in_another_hump_is_seen(at):
    """All were in A, at -1, first, but one in B, at 1, which stays there or comes to where the others are, at 0 ± 0.1.

    Its two halves alone are no memory beyond an error; its mean lies 10 deviations from theirs, less an error of 1.
    """
    rng, shape = np.random.default_rng(8), (4, 100, 20)
    replica = rng.permuted(np.broadcast_to(np.arange(20), shape), axis=2)
    alone = (replica == 3) & (np.arange(4) == 0)[:, None, None]
    values = rng.normal(np.where(alone, at, 0.0), 0.1)
    values[:, 0] = np.where(alone[:, 0], 1.0, -1.0)
    judged = lineages(samples(values, replica, low=-0.9, high=0.9), np.arange(4) % 2 == 1)
    assert judged.agree.all() and not judged.passages.any() and (judged.memory <= 0.1).all()
    seen = alone[:, 1:].any(axis=(0, 1))
    assert judged.humps[seen].all() == (at == 1.0) and not judged.humps[~seen].any()
    assert np.array_equal(judged.counts, ~judged.humps)


def test_a_window_without_frames_of_one_side_does_not_count():
    values = np.random.default_rng(5).normal(size=(2, 20, 3))
    values[1, 10:, 2] = np.nan
    judged = lineages(samples(values, np.broadcast_to(np.arange(3), values.shape)), np.array([False, True]))
    assert np.isinf(judged.gap[2]) and not judged.counts[2]
    with pytest.raises(ParameterError, match="there are 2 and 0"):
        lineages(samples(values, np.broadcast_to(np.arange(3), values.shape)), np.array([False, False]))


def test_tether_length_of_a_turning_angle():
    """At constant κ the length per radian is sqrt(κ I1(κ)/I0(κ)); steps of π/200 leave an error of 1e-4."""
    kappa, angle = 7.0, torch.linspace(0, math.pi, 201, dtype=torch.float64)
    eta = kappa * torch.stack([angle.cos(), angle.sin()], dim=1)
    length = tether_lengths(TorusSpacetime(1), eta)
    assert length[0] == 0
    assert float(length[-1]) == pytest.approx(math.pi * math.sqrt(kappa * i1e(kappa) / i0e(kappa)), rel=1e-4)


def test_distance_of_two_curves_is_the_root_of_their_mean_symmetrised_divergence():
    """Two points of which one differs: by hand, to round-off."""
    statistics = torch.as_tensor(np.stack([np.cos(X), np.sin(X)], axis=1))
    family = EmpiricalFamily(statistics, torch.as_tensor(-U), TorusSpacetime(1))
    one, other = (
        SpacetimeCurve.from_eta(family, torch.as_tensor(eta))
        for eta in (np.array([[1.0, 0.0], [2.0, 1.0]]), np.array([[1.0, 0.0], [2.5, 0.5]]))
    )
    gap = (one.eta[1] - other.eta[1]) @ (one.mu[1] - other.mu[1])
    assert curve_distance(one, other) == pytest.approx(math.sqrt(float(gap) / 2), rel=1e-12)
    assert curve_distance(one, one) == 0.0


def test_the_tightest_anchor_is_the_last_that_enough_frames_carry():
    space = FeatureSpace(("x",), (False,), ("",), (1.0,), np.array([[-np.inf, np.inf]]))
    rng = np.random.default_rng(6)
    values = rng.normal(0.0, 1.0, size=(5000, 1))
    family = empirical_family(space, values, np.zeros(5000))
    ends = np.array([[-0.5], [0.5]])
    level = tightest_anchor(space, ends, [family], highest=12.0)

    def smallest(at):
        return float(family.effective_sample_size(torch.as_tensor(space.eta(ends, np.full(2, at)))).min())

    assert smallest(level) >= 100 > smallest(level + 0.1)
    assert tightest_anchor(space, ends, [family], highest=1.0) == 1.0
    with pytest.raises(CurveError, match=r"has 6000 effective frames at both ends"):
        tightest_anchor(space, ends, [family], highest=1.0, frames=6000)
