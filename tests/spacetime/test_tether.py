"""The tether alone against von Mises and normal distributions, quadrature and finite differences."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from tps.errors import CurveError, ParameterError
from tps.features import FeatureSpace
from tps.spacetime import (
    GaussianFamily,
    SpacetimePoint,
    TetherBox,
    TetherDistance,
    TetherProbability,
    eta_of,
    find_geodesic,
    kl_divergence,
    spacetime_of,
    tether_kl,
)

DEGREE = math.pi / 180


def space_of(*kinds: str, scale: float = 1.0) -> FeatureSpace:
    circle = [kind == "circle" for kind in kinds]
    return FeatureSpace(
        tuple(f"f{i}" for i in range(len(kinds))),
        tuple(circle),
        tuple("rad" if c else "nm" for c in circle),
        tuple(1.0 if c else scale for c in circle),
        np.array([[-math.pi, math.pi] if c else [-math.inf, math.inf] for c in circle]),
    )


TORSION = space_of("circle")


def torsion_box(low: float, high: float) -> TetherBox:
    return TetherBox(TORSION, {"f0": (low, high)}, TORSION.bounds)


def von_mises_integral(center: float, kappa: float, low: float, high: float) -> float:
    """Return the integral of exp(kappa (cos(x - center) - 1)), cut where the integrand turns and falls."""
    turns = [center + k * math.pi for k in range(-4, 5)]
    near = [
        t + s * w / math.sqrt(1 + kappa)
        for t in (*turns, low, high)
        for s in (-1, 1)
        for w in (0.3, 1, 4, 12)
    ]
    cuts = sorted({low, high, *(x for x in (*turns, *near) if low < x < high)})
    parts = [
        integrate.quad(lambda x: math.exp(kappa * (math.cos(x - center) - 1)), *ends, epsabs=0, epsrel=1e-13)[
            0
        ]
        for ends in pairwise(cuts)
    ]
    return math.fsum(parts)


@pytest.mark.parametrize("kappa", [0, 1e-3, 0.3, 2.0, 20.0, 55.0, 1e3, 1e4])
@pytest.mark.parametrize(
    ("low", "high"), [(-40, 40), (150, -150), (-179, 178), (-0.5, 0.5), (100, 170)], ids=str
)
def test_probability_of_an_interval_is_that_of_von_mises(kappa, low, high):
    """Round-off: 1e-10, at centers inside, at an edge, beside and opposite; ranges that wrap and nearly full ones."""
    centers = [0.0, low * DEGREE, (low + 7) * DEGREE, 3.0, -2.2]
    first, last = low * DEGREE, (high if high > low else high + 360) * DEGREE
    eta = torch.tensor([[kappa * math.cos(c), kappa * math.sin(c)] for c in centers], dtype=torch.float64)
    box = torsion_box(low * DEGREE, high * DEGREE)
    exact = [von_mises_integral(c, kappa, first, last) / (2 * math.pi * special.i0e(kappa)) for c in centers]
    assert box.probability(eta).numpy() == pytest.approx(exact, abs=1e-10)
    if kappa:
        for center, found in zip(centers, box.probability(eta).tolist(), strict=True):
            # scipy gives the distribution function over turns; its own error is 1e-7 where it takes the normal limit
            known = stats.vonmises.cdf(last - center, kappa) - stats.vonmises.cdf(first - center, kappa)
            assert found == pytest.approx(known, abs=1e-10 if kappa < 50 else 1e-5)


@pytest.mark.parametrize("kappa", [0.5, 30.0, 1e4])
def test_log_odds_are_exact_where_a_probability_is_zero_or_one(kappa):
    """ln(p/q) of a quarter turn: opposite and centred, both against quadrature of the side that is small."""
    box, low, high = torsion_box(-math.pi / 4, math.pi / 4), -math.pi / 4, math.pi / 4
    for center in (0.0, math.pi):
        eta = torch.tensor([[kappa * math.cos(center), kappa * math.sin(center)]], dtype=torch.float64)
        inside, outside = (
            math.log(integral) if (integral := von_mises_integral(center, kappa, *ends)) > 0 else -math.inf
            for ends in ((low, high), (high, low + 2 * math.pi))
        )
        if kappa < 1e4:
            assert float(box.log_odds(eta)) == pytest.approx(inside - outside, abs=1e-10)
        else:
            # the tail falls as exp(-kappa (1 - cos pi/4)), less the logarithm of a polynomial in kappa
            gap = math.pi / 4 if center == 0 else 3 * math.pi / 4
            assert abs(float(box.log_odds(eta))) == pytest.approx(kappa * (1 - math.cos(gap)), abs=10)


def test_a_product_of_intervals_and_its_gradient():
    """Two angles, one range over the whole circle, and a distance: p and its derivative by central differences."""
    space = space_of("circle", "circle", "line", scale=0.1)
    support = np.array([[-math.pi, math.pi], [-math.pi, math.pi], [-3.0, 3.0]])
    box = TetherBox(
        space, {"f0": (150 * DEGREE, -150 * DEGREE), "f1": (-math.pi, math.pi), "f2": (0.1, 0.25)}, support
    )
    generator = torch.Generator().manual_seed(1)
    eta = 4 * torch.randn(9, 6, dtype=torch.float64, generator=generator)
    eta[:, -1] = -eta[:, -1].abs()
    center, snr = eta[:, 4] / (-2 * eta[:, 5]), -2 * eta[:, 5]
    line = [
        (stats.norm.cdf((2.5 - c) * r) - stats.norm.cdf((1.0 - c) * r))
        / (stats.norm.cdf((30 - c) * r) - stats.norm.cdf((-30 - c) * r))
        for c, r in zip(center.tolist(), snr.sqrt().tolist(), strict=True)
    ]
    circle = torsion_box(150 * DEGREE, -150 * DEGREE).probability(eta[:, :2]).numpy()
    assert box.probability(eta).numpy() == pytest.approx(circle * np.array(line), abs=1e-12)
    assert torch.autograd.gradcheck(box.log_odds, eta.requires_grad_(True), atol=1e-7)


@pytest.mark.parametrize("snr", [0.0, 1e-8, 1.0, 1e5])
def test_a_range_on_a_line(snr):
    """From no tilt at all, where a share of the length is left, to a tilt far away: an open range as well."""
    space = space_of("line")
    support = np.array([[-2.0, 3.0]])
    eta = torch.tensor([[snr * c, -snr / 2] for c in (-1.0, 0.4, 9.0)], dtype=torch.float64)
    box = TetherBox(space, {"f0": (0.0, math.inf)}, support)
    if snr <= 1e-8:
        assert box.probability(eta).numpy() == pytest.approx(3 / 5, abs=1e-6)
        return
    root = math.sqrt(snr)
    exact = [
        special.log_ndtr((c - 0) * root) - special.log_ndtr(-(c - 0) * root) if abs(c) < 2 else math.inf
        for c in (-1.0, 0.4)
    ]
    tails = [float(x) for x in box.log_odds(eta)[:2]]
    if snr == 1e5:  # the ends of the support are thirty standard deviations away
        assert tails == pytest.approx(exact, rel=1e-12)
    mass = [
        stats.truncnorm.cdf(0, *((np.array([-2, 3]) - c) * root), loc=c, scale=1 / root) for c in (-1.0, 0.4)
    ]
    assert box.probability(eta)[:2].numpy() == pytest.approx(1 - np.array(mass), abs=1e-12)
    assert float(box.log_odds(eta)[2]) > 5


def test_what_a_tether_cannot_know_is_refused():
    """Another variable, a box that is everything, one outside, and p_max."""
    with pytest.raises(ParameterError, match=r"features only, f0, and 'dist'"):
        TetherBox(TORSION, {"dist": (0, 1)}, TORSION.bounds)
    with pytest.raises(ParameterError, match="all of flat space"):
        torsion_box(-math.pi, math.pi)
    with pytest.raises(ParameterError, match=r"5\.\.6 of f0"):
        TetherBox(space_of("line"), {"f0": (5, 6)}, np.array([[0.0, 1.0]]))
    with pytest.raises(ParameterError, match=r"1\.5"):
        TetherProbability(torsion_box(0, 1), 1.5)


def test_divergence_between_tethers():
    """Von Mises: kappa A(kappa) (1 - cos) at one stiffness. Lines: wide Gaussian data change a tether by 1e-6."""
    torus = spacetime_of(TORSION)
    target = torch.tensor([8.0, 0.0], dtype=torch.float64)
    eta = 8 * torch.tensor([[math.cos(c), math.sin(c)] for c in (0.0, 0.7, math.pi)], dtype=torch.float64)
    mean = special.i1(8.0) / special.i0(8.0)
    exact = [8 * mean * (1 - math.cos(c)) for c in (0.0, 0.7, math.pi)]
    assert tether_kl(torus, target, eta).numpy() == pytest.approx(exact, abs=1e-12)
    wide = GaussianFamily(torch.zeros(2), 1e7)
    point, other = (
        SpacetimePoint(torch.tensor([0.3, -1.0]), 1.0),
        SpacetimePoint(torch.tensor([1.0, 0.2]), 2.0),
    )
    one, two = (eta_of(wide.spacetime, p) for p in (point, other))
    known = float(kl_divergence(wide, one[None], two[None]))
    assert float(tether_kl(wide.spacetime, one, two[None])) == pytest.approx(known, abs=1e-5)
    constraint = TetherDistance(point, 3.0)
    value = float(constraint.values(wide, two[None], two[None]))
    assert constraint.number(value) == pytest.approx(known, abs=1e-5)


def test_a_curve_that_starts_in_the_region_is_led_out(torsion_family):
    """The straight start has odds of e^10 and more; log-odds have a slope there, so the solver finds its way."""
    spacetime = torsion_family.spacetime
    space = space_of("circle", "circle")
    a, b = (
        SpacetimePoint(torch.tensor([math.cos(p), math.sin(p), math.cos(q), math.sin(q)]), 3.0)
        for p, q in ((-1.4, 1.2), (1.1, -0.9))
    )
    box = TetherBox(space, {"f0": (-0.5, 0.4), "f1": (-0.6, 0.9)}, space.bounds)
    constraint = TetherProbability(box, 0.01)
    found = find_geodesic(torsion_family, a, b, start=(0, 0), constraints=[constraint], max_iterations=120)
    assert spacetime.kappa(found.curve.eta).min() > 0
    assert found.constraints[0].satisfied
    assert found.constraints[0].number == pytest.approx(0.01, rel=0.05)
    free = find_geodesic(torsion_family, a, b)
    assert float(box.probability(free.curve.eta).max()) > 0.03


def test_an_end_beside_the_region_adds_what_it_has_of_it(torsion_family):
    """Allowed odds: those of p_max, and the end's less a factor e for every four nats away from it."""
    spacetime, space = torsion_family.spacetime, space_of("circle", "circle")
    a, b = (
        SpacetimePoint(torch.tensor([math.cos(p), math.sin(p), math.cos(q), math.sin(q)]), 3.0)
        for p, q in ((-1.4, 1.2), (1.1, -0.9))
    )
    ends = torch.stack([eta_of(spacetime, point) for point in (a, b)])
    box = TetherBox(space, {"f0": (-2.2, -1.45)}, space.bounds)
    plain, raised = TetherProbability(box, 0.01), TetherProbability(box, 0.01, ends=ends)
    # 0.05 from the edge, and a standard deviation of 0.22
    assert 0.3 < float(box.probability(ends)[0]) < 0.5
    assert float(box.probability(ends)[1]) < 0.01
    places = torch.tensor([[-1.4, 1.2], [-1.1, 1.2], [-1.4, -0.3], [0.2, 0.0]], dtype=torch.float64)
    eta = spacetime.tilt(places, 2.5)
    odds = [box.log_odds(x).exp() for x in (ends[:1], eta)]
    nats = torch.cat([tether_kl(spacetime, one, ends[:1]) for one in eta])
    allowed = 0.01 / 0.99 + odds[0] * (-nats / 4).exp()
    found = raised.values(torsion_family, eta, eta)[:, 0]
    assert found.numpy() == pytest.approx((odds[1] / allowed).log().numpy(), abs=1e-10)
    # far away the bound is the plain one
    assert float(found[3] - plain.values(torsion_family, eta, eta)[3, 0]) == pytest.approx(0, abs=0.05)
    solved = find_geodesic(torsion_family, a, b, start=(0, 0), constraints=[raised], n_points=32)
    assert solved.status == "converged"
    middle = solved.curve.eta[[16]]
    assert float(box.probability(middle)) < 0.0101
    with pytest.raises(CurveError, match="itself violates"):
        find_geodesic(torsion_family, a, b, constraints=[plain], n_points=32)
