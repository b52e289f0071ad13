"""Data that grow along the curve that they give: the support floor keeps every round inside them."""

import numpy as np
import pytest
import torch
from spaces import feature_space

from tps.analysis.free_energy.solver import first_guess, solve_mbar
from tps.spacetime import (
    EmpiricalFamily,
    GridFamily,
    LogSnrFloor,
    SpacetimePoint,
    SupportFloor,
    empirical_family,
    find_geodesic,
    point_at,
)

LEVEL, FLOOR, N_WINDOWS, N_FRAMES, N_ROUNDS = 5.0, 15.0, 12, 40, 5
A, B = (SpacetimePoint(torch.tensor([x, 0.0], dtype=torch.float64), LEVEL) for x in (-1.0, 1.0))


@pytest.fixture(scope="module")
def landscape():
    """Return two wells whose valley bows over y = 1 while the straight way meets 20 kT."""
    x, y = (
        torch.linspace(low, high, n, dtype=torch.float64) for low, high, n in ((-2, 2, 81), (-1.2, 2.2, 69))
    )
    u = (x[:, None] ** 2 - 1) ** 2 + 2.5 * (y[None] + x[:, None] ** 2 - 1) ** 2
    return GridFamily([x, y], -8 * u, periodic=False)


def grown(landscape, floor, n_rounds, seed):
    """Sample the windows exactly, weigh all frames by MBAR, solve, put new windows on the curve, and again."""
    rng, tilts, frames, found = np.random.default_rng(seed), [], [], []
    statistics = landscape.statistics.numpy()
    eta = landscape.space.eta(np.linspace([-1.0, 0.0], [1.0, 0.0], N_WINDOWS), LEVEL)
    for _ in range(n_rounds):
        for window in eta:
            chance = torch.softmax(
                landscape.log_weights + landscape.statistics @ torch.as_tensor(window), 0
            ).numpy()
            frames.append(rng.choice(len(chance), size=N_FRAMES, p=chance / chance.sum()))
            tilts.append(window)
        counts = np.full(len(tilts), N_FRAMES)
        work = np.array(tilts) @ statistics[np.concatenate(frames)].T
        means = np.array([statistics[f].mean(axis=0) for f in frames])
        f = solve_mbar(first_guess(np.array(tilts), means), work, counts)
        log_weights = -np.logaddexp.reduce(work + (f + np.log(counts))[:, None], axis=0)
        data = EmpiricalFamily(
            torch.as_tensor(statistics[np.concatenate(frames)]),
            torch.as_tensor(log_weights),
            landscape.spacetime,
        )
        constraints = [SupportFloor(data, floor)] if floor else []
        geodesic = find_geodesic(data, A, B, constraints=constraints)
        found.append((geodesic, float(data.effective_sample_size(geodesic.curve.eta).min())))
        eta = geodesic.curve.eta.numpy()[np.linspace(0, len(geodesic.curve.eta) - 1, N_WINDOWS).astype(int)]
    return found


def true_length(landscape, eta):
    steps, rise = eta.diff(dim=0), landscape.mu(eta).diff(dim=0)
    return float((steps * rise).sum(dim=1).clamp_min(0).sqrt().sum())


@pytest.mark.parametrize("seed", [0, 1])
def test_growing_data_come_to_the_exact_geodesic_and_never_leave_the_data(landscape, seed):
    exact = find_geodesic(landscape, A, B).length
    found = grown(landscape, FLOOR, N_ROUNDS, seed)
    for geodesic, support in found:
        assert geodesic.status == "converged"
        assert support >= FLOOR * 0.995  # the solver's tolerance, in the logarithm of the support
    # A curve off the geodesic by δ is longer by δ²: 480 frames a round leave its true length within half a percent.
    assert true_length(landscape, found[-1][0].curve.eta) == pytest.approx(exact, rel=5e-3)


def test_the_first_curve_leaves_the_data_where_nothing_holds_it(landscape):
    geodesic, support = grown(landscape, 0.0, 1, 0)[0]
    assert support < FLOOR
    assert geodesic.length < 0.9 * true_length(
        landscape, geodesic.curve.eta
    )  # what the data do not cover looks short


def test_a_curve_of_many_statistics_that_obeys_unasked_is_the_free_one():
    """Five angles and a length, 12 statistics: a floor on the support that the free curve keeps changes nothing.

    A floor on the log-SNR that it does not keep is pressed for.
    """
    rng = np.random.default_rng(7)
    space = feature_space("aaaaax")
    wells = np.stack([np.full(6, -0.6), np.full(6, 0.6)])[rng.integers(2, size=3000)]
    values = wells + 0.5 * rng.normal(size=(3000, 6))
    family = empirical_family(space, values, np.zeros(3000))
    ends = [point_at(space, np.full(6, x), 0.5) for x in (-0.6, 0.6)]
    free = find_geodesic(family, *ends, n_points=24)
    least = float(family.effective_sample_size(free.curve.eta).min())
    kept = find_geodesic(family, *ends, n_points=24, constraints=[SupportFloor(family, 0.5 * least)])
    assert kept.converged
    torch.testing.assert_close(kept.curve.eta, free.curve.eta, rtol=0, atol=0)
    assert kept.constraints[0].satisfied
    lowest = float(free.curve.log_snr.min())
    assert lowest < 0.3  # the free curve goes through weaker tilts than its ends
    pressed = find_geodesic(family, *ends, n_points=24, constraints=[LogSnrFloor(0.4)])
    assert pressed.constraints[0].satisfied
    assert pressed.length > free.length
