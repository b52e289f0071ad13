"""Weighted frames: mu is the derivative of psi, the metric that of mu, and probabilities are sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tps.diffusion import posterior
from tps.errors import ParameterError
from tps.spacetime import (
    EmpiricalFamily,
    EuclideanSpacetime,
    LogPartitionFamily,
    TorusSpacetime,
    fisher_metric,
)
from tps.spacetime.product_grid import ProductGrid


@pytest.fixture
def eta() -> torch.Tensor:
    """A few tilts."""
    return 4 * torch.randn(7, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def direct(family: EmpiricalFamily, eta: torch.Tensor) -> np.ndarray:
    """Posterior weights (n, n_frames), from the definition."""
    logits = family.log_weights + eta @ family.statistics.T
    return torch.softmax(logits, 1).numpy()


def test_moments_equal_direct_sums(torsion_family, eta):
    """Mu, psi, metric and effective sample size from the definition, to round-off."""
    weights, statistics = direct(torsion_family, eta), torsion_family.statistics.numpy()
    mean = weights @ statistics
    covariance = (
        np.einsum("nf,fi,fj->nij", weights, statistics, statistics) - mean[:, :, None] * mean[:, None]
    )
    assert np.allclose(torsion_family.mu(eta), mean, atol=1e-12)
    assert np.allclose(torsion_family.metric(eta), covariance, atol=1e-12)
    assert np.allclose(torsion_family.effective_sample_size(eta), 1 / (weights**2).sum(1), rtol=1e-10)
    assert float(torsion_family.psi(torch.zeros(1, 4).double())) == pytest.approx(0, abs=1e-12)


def test_frames_far_from_a_tight_tilt_cost_nothing_and_change_nothing():
    """Energies up to 900 kT under tilts up to e^7: sums from the definition, to round-off."""
    angles = torch.cartesian_prod(*[torch.linspace(-3, 3, 40, dtype=torch.float64)] * 2)
    statistics = torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(1)
    family = EmpiricalFamily(statistics, -50 * angles.square().sum(1), TorusSpacetime(2))
    eta = statistics[::97] * torch.linspace(0, 7, len(statistics[::97]), dtype=torch.float64)[:, None].exp()
    weights = direct(family, eta)
    mean = weights @ statistics.numpy()
    logits = family.log_weights + eta @ statistics.T
    assert np.allclose(family.mu(eta), mean, rtol=0, atol=1e-13)
    assert torch.allclose(family.psi(eta), logits.logsumexp(1), rtol=1e-13)
    assert np.allclose(family.effective_sample_size(eta), 1 / (weights**2).sum(1), rtol=1e-12)


def test_gradients_are_the_family_s_own(torsion_family, eta):
    """Grad psi = mu, and the derivative of mu is the covariance."""
    leaf = eta.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(torsion_family.psi(leaf).sum(), leaf)
    assert torch.allclose(gradient, torsion_family.mu(eta), atol=1e-12)
    assert torch.autograd.gradcheck(torsion_family.mu, leaf, eps=1e-6, atol=1e-6)


def test_second_derivatives_are_the_third_cumulant(torsion_family, eta):
    """What a functional of the score's divergence needs; psi must not pass for linear either."""
    frames = torch.arange(0, torsion_family.n_frames, 50)
    few = EmpiricalFamily(
        torsion_family.statistics[frames], torsion_family.log_weights[frames], torsion_family.spacetime
    )
    leaf = 0.3 * eta[:3].clone().requires_grad_(True)
    assert torch.autograd.gradgradcheck(few.mu, leaf, eps=1e-6, atol=1e-6)
    assert torch.autograd.gradgradcheck(few.psi, leaf, eps=1e-6, atol=1e-6)


def test_log_partition_family_agrees_with_the_frames_it_was_made_of(torsion_family, eta):
    """The same psi as a plain differentiable function gives the same mu and metric."""

    def psi(x: torch.Tensor) -> torch.Tensor:
        return torch.logsumexp(torsion_family.log_weights + x @ torsion_family.statistics.T, 1)

    family = LogPartitionFamily(psi, torsion_family.spacetime)
    assert torch.allclose(family.mu(eta), torsion_family.mu(eta), atol=1e-12)
    assert torch.allclose(fisher_metric(family, eta), torsion_family.metric(eta), atol=1e-12)
    single = LogPartitionFamily(lambda x: psi(x.double()).float(), torsion_family.spacetime, torch.float32)
    assert single.mu(eta).dtype == torch.float64
    with pytest.raises(ParameterError, match=r"\(7,\), but returned \(7, 1\)"):
        LogPartitionFamily(lambda x: psi(x)[:, None], torsion_family.spacetime).psi(eta)


def test_chunks_change_nothing(torsion_family, eta, monkeypatch):
    """Points are independent, so memory blocks are invisible."""
    whole = torsion_family.mu(eta), torsion_family.psi(eta), torsion_family.metric(eta)
    monkeypatch.setattr(posterior, "_CHUNK_ELEMENTS", 9000)
    again = EmpiricalFamily(
        torsion_family.statistics, torsion_family.log_weights, torsion_family.spacetime
    )  # which remembers nothing
    parts = again.mu(eta), again.psi(eta), again.metric(eta)
    for a, b in zip(whole, parts, strict=True):
        assert torch.allclose(a, b, atol=1e-13)


def test_region_probability_is_the_weight_of_its_frames(torsion_family, torsion_angles, eta):
    """Complements sum to one; an empty region cannot be estimated."""
    inside = torch.from_numpy(torsion_angles[:, 0] > 0.3)
    p = torsion_family.probability(eta, inside)
    assert np.allclose(p, direct(torsion_family, eta)[:, inside.numpy()].sum(1), atol=1e-12)
    assert torch.allclose(p + torsion_family.probability(eta, ~inside), torch.ones(7).double(), atol=1e-12)
    with pytest.raises(ParameterError, match="none of 1500 frames"):
        torsion_family.probability(eta, torch.zeros(1500, dtype=torch.bool))


def test_bad_frames_are_refused():
    """Shapes and non-finite numbers, with the counts."""
    with pytest.raises(ParameterError, match=r"\(10, 3\) and \(10,\)"):
        EmpiricalFamily(torch.zeros(10, 3), torch.zeros(10), TorusSpacetime(2))
    with pytest.raises(ParameterError, match="all 10 frames"):
        EmpiricalFamily(torch.full((10, 2), torch.nan), torch.zeros(10), TorusSpacetime(1))


@pytest.mark.parametrize(
    ("shape", "spacetime"),
    [((9, 14), TorusSpacetime(2)), ((6, 5, 4), TorusSpacetime(3)), ((12, 7), EuclideanSpacetime(2))],
)
def test_a_product_grid_gives_the_sums_of_its_points(shape, spacetime):
    """Log-weights over 300 nats, tilts up to e^6: psi, mu and Cov[T] by factors, against sums over points."""
    rng = torch.Generator().manual_seed(4)
    points = torch.cartesian_prod(*[torch.linspace(-3, 2.9, n, dtype=torch.float64) for n in shape])
    statistics = torch.stack([points.cos(), points.sin()], dim=-1).flatten(1)
    if not spacetime.n_circles:
        statistics = torch.cat([points, points.square().sum(1, keepdim=True)], dim=1)
    log_weights = -300 * torch.rand(len(points), generator=rng, dtype=torch.float64)
    grid = ProductGrid.of(statistics, log_weights)
    assert grid is not None
    eta = torch.randn(40, statistics.shape[1], generator=rng, dtype=torch.float64)
    eta *= torch.linspace(-2, 6, 40, dtype=torch.float64).exp()[:, None] / eta.norm(dim=1, keepdim=True)
    found = grid.moments(eta)
    logits = log_weights + eta @ statistics.T
    share = torch.softmax(logits, 1)
    mean = share @ statistics
    second = torch.einsum("nf,fi,fj->nij", share, statistics, statistics)
    # logits near 1e4 are exact to 1e-12, and so are their exponentials, times the largest product of statistics
    tolerance = 1e-11 * float(statistics.square().max())
    assert torch.allclose(found.psi, logits.logsumexp(1), rtol=0, atol=1e-11)
    assert torch.allclose(found.mu, mean, rtol=0, atol=tolerance)
    assert torch.allclose(found.covariance, second - mean[:, :, None] * mean[:, None], rtol=0, atol=tolerance)


def test_frames_that_are_no_product_grid_are_none():
    """One point moved by 1e-6, one left out, or weights beyond what factors can hold."""
    points = torch.cartesian_prod(*[torch.linspace(-3, 2.9, n, dtype=torch.float64) for n in (8, 6)])
    statistics = torch.stack([points.cos(), points.sin()], dim=-1).flatten(1)
    even = torch.zeros(48, dtype=torch.float64)
    assert ProductGrid.of(statistics, even) is not None
    moved = statistics.clone()
    moved[20, 1] += 1e-6
    assert ProductGrid.of(moved, even) is None
    assert ProductGrid.of(statistics[:-1], even[:-1]) is None
    assert ProductGrid.of(statistics, torch.linspace(-700, 0, 48, dtype=torch.float64)) is None
