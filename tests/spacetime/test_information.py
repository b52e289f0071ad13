"""Divergences, dual geodesics, the Pythagorean identity, invariances and distances."""

from __future__ import annotations

import math

import pytest
import torch

from tps.errors import CurveError
from tps.spacetime import (
    DenoiserFamily,
    GaussianFamily,
    GaussianMixtureFamily,
    SpacetimeCurve,
    SpacetimePoint,
    bregman_divergence,
    diffusion_edit_distance,
    distance_matrix,
    e_geodesic,
    eta_of,
    find_geodesic,
    fisher_metric,
    fisher_rao_length,
    kl_along_curve,
    kl_divergence,
    kl_from_point,
    m_geodesic,
    natural_from_expectation,
    squared_chords,
    straight_line,
    symmetrised_kl,
)


@pytest.fixture(scope="module")
def mixture() -> GaussianMixtureFamily:
    means = torch.tensor([[-1.5, 0.3], [1.0, 1.0], [0.5, -1.2]])
    return GaussianMixtureFamily(torch.tensor([0.5, 0.3, 0.2]), means, torch.tensor([0.3, 0.15, 0.25]))


def some_eta(family, n: int = 6) -> torch.Tensor:
    rng = torch.Generator().manual_seed(4)
    center = torch.randn(n, family.spacetime.n_features, generator=rng, dtype=torch.float64)
    return family.spacetime.eta(center, torch.linspace(-2, 3, n, dtype=torch.float64))


def denoiser_of(family: GaussianMixtureFamily) -> DenoiserFamily:
    """The family, known through its denoiser alone."""

    def denoise(x: torch.Tensor, log_snr: torch.Tensor) -> torch.Tensor:
        return family.mu(family.spacetime.eta(x / torch.sigmoid(log_snr).sqrt()[:, None], log_snr))[:, :-1]

    return DenoiserFamily(denoise, family.spacetime.n_features)


def test_divergences_agree_with_each_other(mixture):
    """KL = Bregman of psi = Bregman of the entropy the other way round; the sum of both is the squared chord."""
    one, two = some_eta(mixture), some_eta(mixture).flip(0)
    kl = kl_divergence(mixture, one, two)
    dual = bregman_divergence(mixture, mixture.mu(one), mixture.mu(two), one, two)
    assert torch.allclose(kl, dual, atol=1e-10)
    both = kl + kl_divergence(mixture, two, one)
    assert torch.allclose(both, symmetrised_kl(mixture, one, two), atol=1e-10)
    assert bool((kl > 0).all())


def test_nearby_divergence_is_half_the_metric(mixture):
    """KL(eta || eta + d) = d' G d / 2 + O(d^3)."""
    eta = some_eta(mixture)
    step = 1e-3 * torch.randn(eta.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    quadratic = 0.5 * torch.einsum("ni,nij,nj->n", step, fisher_metric(mixture, eta), step)
    assert torch.allclose(kl_divergence(mixture, eta, eta + step), quadratic, rtol=2e-2)
    half = kl_divergence(mixture, eta, eta + step / 2) / quadratic - 0.25
    whole = kl_divergence(mixture, eta, eta + step) / quadratic - 1
    # the third-order remainder halves with the step
    assert torch.allclose(whole / (4 * half), torch.full_like(half, 2.0), rtol=0.02)


def test_expectations_are_inverted(mixture, torsion_family):
    """eta -> mu -> eta from another start."""
    for family in (mixture, torsion_family):
        rng = torch.Generator().manual_seed(0)
        eta = torch.randn(5, family.spacetime.n_statistics, generator=rng, dtype=torch.float64)
        if family is mixture:
            eta[:, -1] = -eta[:, -1].abs()
        found = natural_from_expectation(family, family.mu(eta), torch.zeros_like(eta))
        assert torch.allclose(found, eta, atol=1e-6)
    with pytest.raises(CurveError, match="inside the hull"):
        natural_from_expectation(torsion_family, torch.full((1, 4), 1.5).double(), torch.zeros(1, 4).double())


def test_generalised_pythagorean_identity(mixture):
    """Where an m-geodesic meets an e-geodesic at a right angle, KL(P || R) = KL(P || Q) + KL(Q || R)."""
    q = torch.tensor([[0.6, -0.2, -0.8]], dtype=torch.float64)
    metric = fisher_metric(mixture, q)[0]
    along_e = torch.tensor([0.5, 0.3, -0.2], dtype=torch.float64)
    other = torch.tensor([0.1, -0.4, 0.15], dtype=torch.float64)
    other = other - along_e * (along_e @ metric @ other) / (along_e @ metric @ along_e)
    r = q + 0.4 * along_e
    # an m-geodesic leaves q in the mu direction G other
    p = natural_from_expectation(mixture, mixture.mu(q) + 0.4 * (metric @ other), q)
    left = kl_divergence(mixture, p, r)
    right = kl_divergence(mixture, p, q) + kl_divergence(mixture, q, r)
    assert torch.allclose(left, right, rtol=1e-9)
    # and it is the right angle that matters
    tilted = natural_from_expectation(mixture, mixture.mu(q) + 0.4 * (metric @ (other + 0.2 * along_e)), q)
    crooked = (
        kl_divergence(mixture, tilted, r) - kl_divergence(mixture, tilted, q) - kl_divergence(mixture, q, r)
    )
    assert float(crooked.abs()) > 1e-3


def test_flat_geodesics_are_straight_and_bound_the_length(mixture, torsion_family):
    """One is straight in eta, the other in mu; neither is shorter than the geodesic."""
    a, b = SpacetimePoint(torch.tensor([-1.0, 0.3]), 1.5), SpacetimePoint(torch.tensor([0.8, 0.9]), 2.0)
    e, m = e_geodesic(mixture, a, b), m_geodesic(mixture, a, b)
    assert float(e.eta.diff(n=2, dim=0).abs().max()) < 1e-12
    # its points miss their mu by at most 1e-10 of the largest, and a second difference takes four of them
    assert float(m.mu.diff(n=2, dim=0).abs().max()) < 4e-10 * float(m.mu.abs().max())
    shortest = find_geodesic(mixture, a, b).length
    assert shortest <= fisher_rao_length(e) * (1 + 1e-4)
    assert shortest <= fisher_rao_length(m) * (1 + 1e-4)
    wide = SpacetimePoint(torch.tensor([8.0, 0.0]), 4.0)
    with pytest.raises(CurveError, match=r"leaves spacetime at s = 0\.02"):
        m_geodesic(GaussianFamily(torch.zeros(2), 1.0), SpacetimePoint(torch.tensor([-8.0, 0.0]), 4.0), wide)


def test_kl_from_a_denoiser_alone(mixture):
    """Eq. 62 from z* itself: within 1 % of the exact divergence at every point of a curve, and absolute."""
    family = denoiser_of(mixture)
    a, b = SpacetimePoint(torch.tensor([-1.5, 0.3]), 3.0), SpacetimePoint(torch.tensor([1.0, 1.0]), 3.0)
    curve = find_geodesic(mixture, a, b, n_points=128).curve
    target = eta_of(mixture.spacetime, SpacetimePoint(torch.tensor([0.5, -1.2]), 2.0))
    exact = kl_divergence(mixture, target[None].expand_as(curve.eta), curve.eta)
    along = kl_along_curve(family, target, curve.eta, family.mu(curve.eta))
    assert torch.allclose(along, exact, rtol=0.01)
    assert torch.allclose(kl_from_point(family, target, curve.eta, n_nodes=32), exact, rtol=0.01)
    assert torch.allclose(kl_along_curve(mixture, target, curve.eta, curve.mu), exact, rtol=1e-9)


def test_length_of_a_curve_does_not_depend_on_schedule_or_chart(mixture):
    """The same points written with another schedule (variance exploding) or chart: 1e-8 relative."""
    a, b = SpacetimePoint(torch.tensor([-1.5, 0.3]), 3.0), SpacetimePoint(torch.tensor([1.0, 1.0]), 4.0)
    line = straight_line(mixture, a, b, n_points=64)
    length = fisher_rao_length(line)
    preserving = denoiser_of(mixture)
    assert fisher_rao_length(SpacetimeCurve.from_eta(preserving, line.eta)) == pytest.approx(length, rel=1e-8)

    # variance exploding: x = f + sigma eps, and E|f|^2 = |d|^2 + sigma^2 div d
    sigma = (-line.log_snr / 2).exp()[:, None]
    x = line.center.clone().requires_grad_(True)
    denoised = mixture.mu(torch.cat([x / sigma**2, -0.5 / sigma**2], dim=1))[:, :-1]
    divergence = sum(
        torch.autograd.grad(denoised[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(2)
    )
    second = denoised.square().sum(1) + sigma[:, 0] ** 2 * divergence
    mu = torch.cat([denoised, second[:, None]], dim=1).detach()
    eta = torch.cat([x / sigma**2, -0.5 / sigma**2], dim=1).detach()
    exploding = SpacetimeCurve(mixture.spacetime, eta, mu, None, line.s)
    assert fisher_rao_length(exploding) == pytest.approx(length, rel=1e-8)

    back = mixture.spacetime.from_chart(mixture.spacetime.to_chart(line.eta))
    assert fisher_rao_length(SpacetimeCurve.from_eta(mixture, back)) == pytest.approx(length, rel=1e-8)


@pytest.mark.parametrize("scale", [0.01, 30.0])
def test_scaling_the_features_changes_nothing(mixture, scale):
    """Log-SNR shifted to match: 1e-6 for a given curve, 0.1 % for what the solver finds."""
    scaled = GaussianMixtureFamily(
        mixture.log_weights.exp(), scale * mixture.means, scale**2 / mixture.precisions
    )
    a, b = SpacetimePoint(torch.tensor([-1.5, 0.3]), 3.0), SpacetimePoint(torch.tensor([1.0, 1.0]), 4.0)
    far = [SpacetimePoint(scale * p.center, p.log_snr - 2 * math.log(scale)) for p in (a, b)]
    given = fisher_rao_length(straight_line(mixture, a, b))
    assert fisher_rao_length(straight_line(scaled, *far)) == pytest.approx(given, rel=1e-6)
    found, expected = find_geodesic(scaled, *far), find_geodesic(mixture, a, b)
    assert found.status == "converged"
    assert found.length == pytest.approx(expected.length, rel=1e-3)


def test_solver_does_not_care_about_the_reference_of_its_chart(mixture):
    """A chart built for data ten times wider or narrower and off-centre: 0.1 %."""
    from tps.spacetime import EuclideanSpacetime

    a, b = SpacetimePoint(torch.tensor([-1.5, 0.3]), 3.0), SpacetimePoint(torch.tensor([1.0, 1.0]), 4.0)
    expected = find_geodesic(mixture, a, b).length
    for variance in (0.1, 10.0):
        family = denoiser_of(mixture)
        family.spacetime = EuclideanSpacetime(2, variance, (1.0, -2.0))
        assert find_geodesic(family, a, b).length == pytest.approx(expected, rel=1e-3)


def test_distance_matrix_is_a_distance(mixture):
    """Symmetric, zero on the diagonal, the triangle inequality, and the same as single solves."""
    points = [SpacetimePoint(m, 3.0) for m in mixture.means] + [SpacetimePoint(torch.zeros(2), 0.0)]
    found = distance_matrix(mixture, points)
    d = found.lengths
    assert bool(found.converged.all())
    assert torch.equal(d, d.T)
    assert float(d.diagonal().abs().max()) == 0
    # chords at 32 points are off by up to 0.3 %
    assert bool((d[:, :, None] + d[None, :, :] >= d[:, None, :] * (1 - 0.005)).all())
    alone = find_geodesic(mixture, points[0], points[1], n_points=32)
    assert float(d[0, 1]) == pytest.approx(alone.length, rel=1e-4)


def test_edit_distance_states_its_anchor(mixture):
    """And grows with it, at the rate the Gaussian in each well predicts: sqrt(D/2) per end at high signal."""
    low, high = (
        diffusion_edit_distance(mixture, mixture.means[0], mixture.means[1], anchor_log_snr=x)
        for x in (7.0, 8.0)
    )
    assert (low.anchor_log_snr, high.anchor_log_snr) == (7.0, 8.0)
    assert high.geodesic.converged
    # d ln v / d log_snr = -1 / (1 + e^-l / v), 0.2 % to 0.4 % below 1 here
    assert high.length - low.length == pytest.approx(2.0, rel=0.02)


def test_chords_are_twice_a_symmetrised_divergence(mixture):
    """Each d eta . d mu is a sum of two divergences, so never negative."""
    curve = e_geodesic(mixture, SpacetimePoint(torch.zeros(2), 0.0), SpacetimePoint(torch.ones(2), 3.0))
    pairs = kl_divergence(mixture, curve.eta[1:], curve.eta[:-1]) + kl_divergence(
        mixture, curve.eta[:-1], curve.eta[1:]
    )
    assert torch.allclose(squared_chords(curve), pairs, atol=1e-11)
