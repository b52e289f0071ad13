"""Mixtures, grids and denoisers against quadrature and against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tps.errors import ParameterError
from tps.spacetime import (
    Box,
    DenoiserFamily,
    GaussianFamily,
    GaussianMixtureFamily,
    GridFamily,
    TorusDenoiserFamily,
    fisher_metric,
    kl_divergence,
)

WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
MEANS = torch.tensor([[-1.5, 0.3], [1.0, 1.0], [0.5, -1.2]], dtype=torch.float64)
VARIANCES = torch.tensor([[0.3, 0.2], [0.15, 0.4], [0.25, 0.1]], dtype=torch.float64)


def mixture(n_features: int) -> GaussianMixtureFamily:
    return GaussianMixtureFamily(WEIGHTS, MEANS[:, :n_features], VARIANCES[:, :n_features])


def integrate(function, n_features: int, low=(-6.0, -6.0), high=(6.0, 6.0), n_nodes: int = 160) -> float:
    """Gauss-Legendre over the box: exact to round-off for these densities (80 nodes give the same 12 digits)."""
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    axes = [(h - lo) / 2 * nodes + (h + lo) / 2 for lo, h in zip(low, high, strict=True)][:n_features]
    scale = [(h - lo) / 2 * weights for lo, h in zip(low, high, strict=True)][:n_features]
    points = np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")], axis=1)
    return float(function(points) @ np.prod([g.ravel() for g in np.meshgrid(*scale, indexing="ij")], axis=0))


def data_density(x: np.ndarray) -> np.ndarray:
    m, v = MEANS[:, : x.shape[1]].numpy(), VARIANCES[:, : x.shape[1]].numpy()
    exponent = -0.5 * ((x[:, None] - m) ** 2 / v).sum(2)
    return (WEIGHTS.numpy() * np.exp(exponent) / np.sqrt((2 * np.pi * v).prod(1))).sum(1)


ETA = {1: [0.7, -0.4], 2: [0.7, -0.3, -0.5]}


@pytest.mark.parametrize("n_features", [1, 2])
def test_mixture_agrees_with_quadrature(n_features):
    """Psi, mu, metric, KL at 1e-8 and a region's probability at 1e-6, all by integration of the definition."""
    family = mixture(n_features)
    eta = torch.tensor([ETA[n_features], [-0.2] * n_features + [-1.5]], dtype=torch.float64)

    def statistic(x: np.ndarray) -> np.ndarray:
        return np.column_stack([x, (x**2).sum(1)])

    def tilt(x: np.ndarray, row: int = 0) -> np.ndarray:
        return data_density(x) * np.exp(statistic(x) @ eta[row].numpy())

    z = [integrate(lambda x, r=r: tilt(x, r), n_features) for r in (0, 1)]

    def mean(g) -> float:
        return integrate(lambda x: g(x) * tilt(x), n_features) / z[0]

    size = range(n_features + 1)
    mu = np.array([mean(lambda x, i=i: statistic(x)[:, i]) for i in size])
    assert np.allclose(family.psi(eta), np.log(z), rtol=0, atol=1e-8)
    assert np.allclose(family.mu(eta)[0], mu, rtol=0, atol=1e-8)
    covariance = [
        [mean(lambda x, i=i, j=j: (statistic(x)[:, i] - mu[i]) * (statistic(x)[:, j] - mu[j])) for i in size]
        for j in size
    ]
    assert np.allclose(family.metric(eta)[0], covariance, rtol=0, atol=1e-8)
    exact = mean(lambda x: np.log(tilt(x, 0) / z[0]) - np.log(tilt(x, 1) / z[1]))
    assert float(kl_divergence(family, eta[:1], eta[1:])) == pytest.approx(exact, abs=1e-8)
    low, high = (-0.4, -0.7), (1.1, 0.9)
    region = Box(low[:n_features], high[:n_features])
    exact = integrate(tilt, n_features, low, high) / z[0]
    assert float(family.probability(eta, region)[0]) == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize("n_features", [1, 2])
def test_eta_tilts_the_data_into_bayes_s_posterior(n_features):
    """p(x | f_t) by Bayes, with alpha and sigma written out: mu, and the evidence p(f_t), at 1e-8."""
    family, noisy, log_snr = mixture(n_features), np.array([0.4, -0.3])[:n_features], 1.3
    alpha2, sigma2 = 1 / (1 + math.exp(-log_snr)), 1 / (1 + math.exp(log_snr))

    def joint(x: np.ndarray) -> np.ndarray:
        noise = np.exp(-0.5 * ((noisy - math.sqrt(alpha2) * x) ** 2).sum(1) / sigma2)
        return data_density(x) * noise / (2 * math.pi * sigma2) ** (n_features / 2)

    evidence = integrate(joint, n_features)
    first = [integrate(lambda x, i=i: x[:, i] * joint(x), n_features) / evidence for i in range(n_features)]
    second = integrate(lambda x: (x**2).sum(1) * joint(x), n_features) / evidence
    center = torch.from_numpy(noisy)[None] / math.sqrt(alpha2)
    eta = family.spacetime.eta(center, torch.tensor([log_snr], dtype=torch.float64))
    assert np.allclose(family.mu(eta)[0], [*first, second], rtol=0, atol=1e-8)
    # ln p(f_t) = psi(eta) - |f_t|^2 / (2 sigma^2) - the normalisation of the noise
    psi = math.log(evidence) + 0.5 * (noisy**2).sum() / sigma2
    psi += 0.5 * n_features * math.log(2 * math.pi * sigma2)
    assert float(family.psi(eta)) == pytest.approx(psi, abs=1e-8)


def test_mixture_metric_is_the_derivative_of_mu():
    """Closed form against automatic differentiation, 5 features, to round-off."""
    rng = torch.Generator().manual_seed(0)
    means = torch.randn(4, 5, generator=rng, dtype=torch.float64)
    family = GaussianMixtureFamily(
        torch.rand(4, generator=rng) + 0.1, means, torch.rand(4, 5, generator=rng) + 0.1
    )
    eta = family.spacetime.eta(torch.randn(6, 5, generator=rng).double(), torch.linspace(-3, 4, 6).double())
    leaf = eta.requires_grad_(True)
    jacobian = torch.stack(
        [torch.autograd.grad(family.mu(leaf)[:, i].sum(), leaf)[0] for i in range(6)], dim=1
    )
    assert torch.allclose(family.metric(eta), jacobian, atol=1e-11)


def test_probability_of_far_boxes_does_not_cancel():
    """A box 10 standard deviations out, on either side: the tail's known logarithm."""
    family = GaussianFamily(torch.zeros(1), 1.0)
    prior = torch.zeros(1, 2, dtype=torch.float64)
    for box in (Box([10.0], [math.inf]), Box([-math.inf], [-10.0])):
        # ln Q(10)
        assert float(family.log_probability(prior, box)) == pytest.approx(-53.23128515051247, rel=1e-10)
    assert float(family.probability(prior, Box([-math.inf], [math.inf]))) == pytest.approx(1, abs=1e-12)


def test_denoiser_of_a_mixture_gives_back_the_mixture():
    """mu from f_hat and its divergence alone; its Jacobian is the metric, so symmetric."""
    family = mixture(2)

    def denoise(x: torch.Tensor, log_snr: torch.Tensor) -> torch.Tensor:
        return family.mu(family.spacetime.eta(x / torch.sigmoid(log_snr).sqrt()[:, None], log_snr))[:, :-1]

    rng = torch.Generator().manual_seed(0)
    eta = family.spacetime.eta(torch.randn(9, 2, generator=rng).double(), torch.linspace(-3, 5, 9).double())
    exact = DenoiserFamily(denoise, 2)
    assert torch.allclose(exact.mu(eta), family.mu(eta), atol=1e-10)
    assert torch.allclose(fisher_metric(exact, eta), family.metric(eta), atol=1e-8)
    probed = DenoiserFamily(denoise, 2, n_probes=4000).mu(eta)
    # a probe's variance is 2 (sum of squared off-diagonal Jacobian entries), here below 0.1 gain^2
    assert torch.allclose(probed, family.mu(eta), atol=0.02)
    assert torch.equal(probed, DenoiserFamily(denoise, 2, n_probes=4000).mu(eta))
    with pytest.raises(ParameterError, match="does not know psi"):
        exact.psi(eta)
    with pytest.raises(ParameterError, match="1 of 1 points have none"):
        exact.mu(torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64))


def test_torus_denoiser_depends_on_eta_alone(torsion_family):
    """The exact denoiser of torsion frames, at whatever noise level it is asked, gives their mu."""

    def denoise(x: torch.Tensor, log_snr: torch.Tensor) -> torch.Tensor:
        return torsion_family.mu(log_snr.exp()[:, None] * x / torch.sigmoid(log_snr).sqrt()[:, None])

    family = TorusDenoiserFamily(denoise, torsion_family.spacetime)
    eta = (
        torch.randn(8, 4, generator=torch.Generator().manual_seed(0)).double()
        * torch.logspace(-1, 2, 8).double()[:, None]
    )
    assert torch.allclose(family.mu(eta), torsion_family.mu(eta), atol=1e-12)


def test_grid_agrees_with_bessel_functions_and_with_a_gaussian():
    """A uniform circle is a von Mises family; a Gaussian table is a Gaussian family."""
    angle = torch.linspace(0, 2 * math.pi, 73, dtype=torch.float64)[:-1]
    circle = GridFamily([angle], torch.zeros(72), periodic=True)
    eta = torch.tensor([[1.2, -0.5]], dtype=torch.float64)
    kappa = eta.norm()
    assert float(circle.psi(eta)) == pytest.approx(float(torch.special.i0(kappa).log()), abs=1e-12)
    ratio = torch.special.i1(kappa) / torch.special.i0(kappa)
    assert torch.allclose(circle.mu(eta), eta / kappa * ratio, atol=1e-12)
    x = torch.linspace(-8, 8, 161, dtype=torch.float64)
    y = torch.linspace(-7, 7, 141, dtype=torch.float64)
    table = -0.5 * (x[:, None] - 0.5).square() / 0.7 - 0.5 * y[None, :].square() / 0.7
    grid, exact = GridFamily([x, y], table, periodic=False), GaussianFamily(torch.tensor([0.5, 0.0]), 0.7)
    eta = torch.tensor([[0.3, -0.2, -0.4]], dtype=torch.float64)
    # the trapezoidal rule converges faster than any power for a Gaussian
    assert float(grid.psi(eta)) == pytest.approx(float(exact.psi(eta)), abs=1e-10)
    assert torch.allclose(grid.metric(eta), exact.metric(eta), atol=1e-9)


def test_grid_region_and_holes():
    """Where the density vanishes there are no frames, and masks follow."""
    angle = torch.linspace(-math.pi, math.pi, 65, dtype=torch.float64)[:-1]
    density = torch.zeros(64, 64).double()
    density[:32] = -math.inf
    grid = GridFamily([angle, angle], density, periodic=True)
    mask = (angle[:, None] < 0.5 * math.pi).expand(64, 64)
    assert float(grid.probability(torch.zeros(1, 4).double(), grid.indicator(mask))) == pytest.approx(0.5)
    with pytest.raises(ParameterError, match=r"covers 6\.3829"):
        GridFamily([torch.linspace(0, 2 * math.pi, 64)], torch.zeros(64), periodic=True)
    with pytest.raises(ParameterError, match=r"\(64,\) and \(63,\)"):
        GridFamily([angle], torch.zeros(63), periodic=True)


def test_bad_mixtures_are_refused_with_numbers():
    """Shapes and signs."""
    with pytest.raises(ParameterError, match=r"\(2,\), \(3, 1\)"):
        GaussianMixtureFamily(torch.ones(2), torch.zeros(3, 1), torch.ones(3))
    with pytest.raises(ParameterError, match="1 and -2"):
        GaussianMixtureFamily(torch.ones(2), torch.zeros(2, 1), torch.tensor([1.0, -2.0]))
    with pytest.raises(ParameterError, match="low < high"):
        Box([1.0], [0.0])
