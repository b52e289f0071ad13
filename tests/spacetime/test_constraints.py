"""Constrained geodesics in two-dimensional spacetimes against brute force: shortest paths on a fine grid."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from tps.errors import ParameterError
from tps.features import FeatureSpace
from tps.spacetime import (
    Box,
    Family,
    GaussianMixtureFamily,
    GridFamily,
    KLDistance,
    LogSnrFloor,
    RegionProbability,
    SpacetimePoint,
    StdCeiling,
    SupportFloor,
    empirical_family,
    eta_of,
    find_channels,
    find_geodesic,
)

#: Steps of the grid search: every direction with entries up to 5, so angles are resolved to about 0.04 rad.
STENCIL = [(i, j) for i, j in product(range(-5, 6), repeat=2) if math.gcd(i, j) == 1]


def brute_force(family: Family, a: SpacetimePoint, b: SpacetimePoint, box, shape, constraint=None) -> float:
    """Return the length of the shortest grid path from a to b in the solver's chart, over nodes that are allowed.

    `box` = (low_1, high_1, low_2, high_2) in the chart. The ends are joined to all nodes within two steps. A grid path
    is an upper bound, longer than the curve by up to 1.5 %: its directions and its distance from the limits are
    discrete.
    """
    n, m = shape
    axes = [np.linspace(box[0], box[1], n), np.linspace(box[2], box[3], m)]
    nodes = torch.from_numpy(np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")], axis=1))
    ends = family.spacetime.to_chart(torch.stack([eta_of(family.spacetime, p) for p in (a, b)]))
    eta = family.spacetime.from_chart(torch.cat([nodes, ends]))
    mu = family.mu(eta)
    allowed = torch.ones(len(eta), dtype=torch.bool)
    if constraint is not None:
        allowed = (constraint.values(family, eta, mu) <= 1e-9).all(1)
        allowed[-2:] = True
    number = np.arange(n * m).reshape(n, m)
    pairs = []
    for i, j in STENCIL:
        rows, columns = slice(max(0, -i), n - max(0, i)), slice(max(0, -j), m - max(0, j))
        shifted = (slice(max(0, i), n + min(0, i)), slice(max(0, j), m + min(0, j)))
        pairs.append(np.stack([number[rows, columns].ravel(), number[shifted].ravel()]))
    spacing = np.array([axes[0][1] - axes[0][0], axes[1][1] - axes[1][0]])
    for k in (0, 1):
        near = np.nonzero((abs((nodes - ends[k]).numpy()) <= 4 * spacing).all(1))[0]
        end = np.full_like(near, n * m + k)
        pairs += [np.stack([end, near]), np.stack([near, end])]
    first, second = torch.from_numpy(np.concatenate(pairs, axis=1))
    keep = allowed[first] & allowed[second]
    first, second = first[keep], second[keep]
    lengths = ((eta[first] - eta[second]) * (mu[first] - mu[second])).sum(1).clamp_min(0).sqrt()
    graph = coo_matrix((lengths.numpy(), (first.numpy(), second.numpy())), shape=(n * m + 2, n * m + 2))
    return float(dijkstra(graph.tocsr(), indices=n * m)[n * m + 1])


def agrees(length: float, reference: float) -> bool:
    """Within the grid's error: the search is at most 1.5 % too long, and chords at 128 points are 0.1 % off."""
    return reference * (1 - 0.015) <= length <= reference * (1 + 0.002)


@pytest.fixture(scope="module")
def mixture():
    """Two wells on a line and a third between them, off to nothing: D = 1, so spacetime is a plane."""
    family = GaussianMixtureFamily(
        torch.tensor([0.5, 0.4, 0.1]), torch.tensor([[-1.5], [1.3], [0.2]]), torch.tensor([0.1, 0.15, 0.05])
    )
    return family, SpacetimePoint(torch.tensor([-1.5]), 4.0), SpacetimePoint(torch.tensor([1.3]), 4.0)


@pytest.fixture(scope="module")
def circle():
    """Two wells on a circle, tabulated: K = 2."""
    angle = torch.linspace(-math.pi, math.pi, 181, dtype=torch.float64)[:-1]
    family = GridFamily([angle], 2.5 * (2 * angle - 0.4).cos() + 0.6 * angle.cos(), periodic=True)
    ends = [SpacetimePoint(torch.tensor([math.cos(x), math.sin(x)]), 3.0) for x in (0.2, -2.6)]
    return family, *ends


MIXTURE_BOX, CIRCLE_BOX = (-2.2, 2.0, 0.01, 5.5), (-5.5, 5.5, -5.5, 5.5)


@pytest.mark.parametrize(
    "constraint",
    [
        None,
        LogSnrFloor(1.0),
        StdCeiling(0.6),
        KLDistance(SpacetimePoint(torch.tensor([0.2]), 3.0), 2.1),
        "region",
    ],
    ids=["free", "floor", "ceiling", "KL", "region"],
)
def test_mixture_agrees_with_brute_force(mixture, constraint):
    """Each constraint is active (it lengthens the curve) and the price is the right one."""
    family, a, b = mixture
    if constraint == "region":
        constraint = RegionProbability(family, Box([0.4], [0.9]), 0.095)
    constraints = [] if constraint is None else [constraint]
    found = find_geodesic(family, a, b, n_points=128, constraints=constraints)
    assert found.status == "converged"
    assert all(report.satisfied for report in found.constraints)
    assert agrees(found.length, brute_force(family, a, b, MIXTURE_BOX, (420, 110), constraint))
    if constraint is not None:
        assert found.length > 1.001 * find_geodesic(family, a, b, n_points=128).length


@pytest.mark.parametrize(
    "constraint",
    [None, LogSnrFloor(1.5), StdCeiling(0.5), "region"],
    ids=["free", "floor", "ceiling", "region"],
)
def test_circle_agrees_with_brute_force(circle, constraint):
    """The best of the channels is the shortest path on the grid, which may go round either way."""
    family, a, b = circle
    if constraint == "region":
        angle = family.axes[0]
        constraint = RegionProbability(family, family.indicator((angle - 1.77).abs() < 0.5), 0.01)
    constraints = [] if constraint is None else [constraint]
    channels = find_channels(family, a, b, rank="length", n_points=128, constraints=constraints)
    best = channels[0].geodesic
    assert best.status == "converged"
    assert agrees(best.length, brute_force(family, a, b, CIRCLE_BOX, (180, 180), constraint))
    if isinstance(constraint, LogSnrFloor):
        # a floor cuts out the middle, so the two ways round are two channels
        assert len(channels) == 2
        assert float(family.spacetime.kappa(best.curve.eta).log().min()) >= 1.5 - 1e-3


def test_constraints_compose(circle):
    """A floor, which cuts out the middle, and a region on the short way round: the other way is left."""
    family, a, b = circle
    floor = LogSnrFloor(1.5)
    region = RegionProbability(family, family.indicator((family.axes[0] + 1.4).abs() < 0.3), 0.02)

    class Both:
        name = "both"

        @staticmethod
        def values(family, eta, mu):
            return torch.cat([floor.values(family, eta, mu), region.values(family, eta, mu)], dim=1)

    alone, other = find_channels(family, a, b, rank="length", n_points=128, constraints=[floor])
    found = find_channels(
        family, a, b, rank="length", n_points=128, constraints=[floor, region], max_iterations=150
    )[0].geodesic
    assert found.status == "converged"
    assert [r.name for r in found.constraints] == [
        "log-SNR floor 1.5",
        "probability of the region at most 0.02",
    ]
    assert agrees(found.length, brute_force(family, a, b, CIRCLE_BOX, (180, 180), Both()))
    assert found.length > 1.05 * alone.geodesic.length
    assert found.length == pytest.approx(other.geodesic.length, rel=2e-3)


def test_what_no_curve_can_obey_is_named(mixture):
    """The grid finds no path that keeps 2.3 nats from the middle well, and the solver says by how much it fails."""
    family, a, b = mixture
    constraint = KLDistance(SpacetimePoint(torch.tensor([0.2]), 3.0), 2.3)
    assert brute_force(family, a, b, MIXTURE_BOX, (420, 110), constraint) == math.inf
    found = find_geodesic(family, a, b, n_points=128, constraints=[constraint], max_iterations=150)
    assert not found.constraints[0].satisfied
    assert f"KL distance of 2.3 nats is violated by {found.constraints[0].largest:.3g}" in found.status


def test_bad_limits_are_refused():
    """Each names the number."""
    with pytest.raises(ParameterError, match="-1"):
        StdCeiling(-1.0)
    with pytest.raises(ParameterError, match="0 nats"):
        KLDistance(SpacetimePoint(torch.zeros(1), 0.0), 0)


def test_support_is_kish_and_has_the_right_slope(torsion_family):
    """ln n_eff against the sums themselves, and its derivative by central differences."""
    eta = 2 * torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    weights = (torsion_family.log_weights + eta @ torsion_family.statistics.T).exp()
    exact = weights.sum(1).square() / weights.square().sum(1)
    found = torsion_family.log_effective_sample_size(eta).exp()
    assert found.numpy() == pytest.approx(exact.numpy(), rel=1e-12)
    assert found.numpy() == pytest.approx(torsion_family.effective_sample_size(eta).numpy(), rel=1e-12)
    assert torch.autograd.gradcheck(torsion_family.log_effective_sample_size, eta.requires_grad_(True))


def test_no_curve_leaves_the_data():
    """Frames on a bent strip; a smooth family that knows nothing of it takes the short cut, where there are none."""
    rng = np.random.default_rng(5)
    angle = rng.uniform(0, 0.75 * math.pi, 3000)
    xy = np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.1 * rng.normal(size=(3000, 2))
    space = FeatureSpace(("x", "y"), (False, False), ("", ""), (1.0, 1.0), np.array([[-2.0, 2.0]] * 2))
    frames = empirical_family(space, xy, np.full(3000, -math.log(3000)))
    wide = GaussianMixtureFamily(torch.ones(1), torch.zeros(1, 2), torch.tensor([4.0]))
    a, b = (SpacetimePoint(torch.tensor([math.cos(t), math.sin(t)]), 4.6) for t in (0.1, 0.7 * math.pi))
    floor = LogSnrFloor(4.3)
    out = find_geodesic(wide, a, b, n_points=32, constraints=[floor])
    assert float(frames.effective_sample_size(out.curve.eta).min()) < 20
    inside = find_geodesic(wide, a, b, n_points=32, constraints=[floor, SupportFloor(frames, 40)])
    assert inside.status == "converged"
    assert float(frames.effective_sample_size(inside.curve.eta).min()) >= 40 * (1 - 2e-3)
    assert inside.constraints[1].number == pytest.approx(40, rel=0.02)
    with pytest.raises(ParameterError, match="3000, but got 4000"):
        SupportFloor(frames, 4000)
