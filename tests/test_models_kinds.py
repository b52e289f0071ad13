"""The registry of models: every kind on circles and on lines against closed forms; a kind of one's own is one class."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.special import i0, i1
from spaces import feature_space
from torch import nn

from tps.config import RunConfig, TrainSection
from tps.diffusion import (
    KINDS,
    DenoiserSection,
    FlowSection,
    LogPartitionSection,
    Model,
    ModelSection,
    ModelSettings,
    TrainingRecord,
    TrainingSettings,
    load_model,
    save_model,
    train_model,
)
from tps.diffusion.convex import ConvexNetwork
from tps.diffusion.denoising import FlowNetwork, ScoreNetwork
from tps.diffusion.log_partition import LogPartitionNetwork
from tps.spacetime import GaussianMixtureFamily, fisher_metric, model_family


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def random_mixture(n_circles, n_lines, n_components=4, seed=0):
    network = LogPartitionNetwork(n_circles, n_lines, n_components).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng(seed), dtype=torch.float64))
        network.xi.mul_(3)
    return network


def random_tilts(n, n_circles, n_lines, seed=3):
    eta = 3 * torch.randn(
        n, 2 * n_circles + n_lines + (n_lines > 0), generator=rng(seed), dtype=torch.float64
    )
    if n_lines:
        eta[:, -1] = -eta[:, -1].abs()
    return eta


def test_a_mixture_on_lines_is_a_mixture_of_gaussians():
    """psi, mu and the metric of `GaussianMixtureFamily`, which is tested on its own, to round-off."""
    network = random_mixture(0, 3)
    weights = torch.softmax(network.log_weights.detach(), 0)
    exact = GaussianMixtureFamily(weights, network.centers.detach(), (-network.log_precisions.detach()).exp())
    family = model_family(feature_space("xxx"), network, ModelSettings("log-partition", feature_space("xxx")))
    eta = random_tilts(40, 0, 3)
    torch.testing.assert_close(family.psi(eta), exact.psi(eta), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(family.mu(eta), exact.mu(eta), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(family.metric(eta), exact.metric(eta), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3)])
def test_moments_of_circles_and_lines_are_the_derivatives_of_psi(shape):
    network, eta = random_mixture(*shape), random_tilts(150, *shape)
    moments = network.moments(eta)
    eta.requires_grad_(True)
    (gradient,) = torch.autograd.grad(network(eta).sum(), eta)
    torch.testing.assert_close(network.mu(eta), gradient, rtol=1e-10, atol=1e-10)
    rows = [torch.autograd.grad(column.sum(), eta, retain_graph=True)[0] for column in network.mu(eta).T]
    torch.testing.assert_close(moments.psi, network(eta).detach(), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(moments.mu, gradient, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(moments.covariance, torch.stack(rows, 1), rtol=1e-9, atol=1e-9)


def test_psi_far_from_the_origin_keeps_its_digits():
    """Moving the data by c moves psi by eta . T(c) with a slope turned to a + 2 b c: exact for a mixture."""
    near, far, shift = random_mixture(0, 2), random_mixture(0, 2), torch.tensor([80.0, -50.0]).double()
    with torch.no_grad():
        far.centers.add_(shift)
    eta = random_tilts(20, 0, 2)
    slope, last = eta[:, :-1], eta[:, -1:]
    # tilts about the data, where they are: at weights of thousands kT
    moved = torch.cat([slope - 2 * last * shift, last], dim=1)
    springs = (moved[:, :-1] * shift).sum(1) + last[:, 0] * shift.square().sum()
    torch.testing.assert_close(far(moved).detach(), near(eta).detach() + springs, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("shape", [(0, 2), (1, 1)])
def test_no_chord_of_a_convex_network_is_negative_on_lines(shape):
    for seed in range(10):
        network = ConvexNetwork(*shape, width=6, depth=3).double()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=rng(seed), dtype=torch.float64))
        eta = random_tilts(200, *shape, seed=seed)
        mu = network.mu(eta)
        # of a density on the plane: E|x|^2 exceeds |E x|^2 too
        assert ((eta[:100] - eta[100:]) * (mu[:100] - mu[100:])).sum(1).min() >= -1e-9
        assert float(network(torch.zeros_like(eta[:1])).detach()) == 0


def two_wells(n=8000, seed=0):
    """An angle and a length that know of each other: two wells, drawn flat between them and weighted."""
    chance = np.random.default_rng(seed)
    values = np.stack([chance.uniform(-math.pi, math.pi, n), chance.uniform(0.1, 0.5, n)], 1)
    angle, x = values[:, 0], values[:, 1] / 0.1
    wells = [
        4 * np.cos(angle - place) - 0.5 * (x - mean) ** 2 / 0.16 for place, mean in ((-1.0, 2.2), (1.4, 3.6))
    ]
    return values, np.logaddexp(*wells)


@pytest.mark.parametrize(
    "section",
    [
        LogPartitionSection(n_components=60),
        DenoiserSection(),
        pytest.param(DenoiserSection(conservative=False), marks=pytest.mark.slow),
        pytest.param(FlowSection(), marks=pytest.mark.slow),
    ],
)
def test_kinds_learn_an_angle_and_a_length_together(section):
    """Against the sum over a grid of the same density, wells and what lies between.

    8000 frames: a tilt of kappa = e^l = 10 holds 8000 (1/sqrt 10)^2 2 pi / (2 pi 4) = 200 of them, so that a mean is
    known to sqrt(1/10) / sqrt(200) = 0.022 each; components as wide as they are add as much.
    """
    space, (values, log_weights) = feature_space("ax", 0.1), two_wells()
    network, record = train_model(section, space, values, log_weights, TrainingSettings(n_steps=400), rng())
    family = model_family(space, network, ModelSettings("denoiser", space))
    axes = np.linspace(-math.pi, math.pi, 180, False), np.linspace(0.1, 0.5, 161)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    angle, x = grid[..., 0], grid[..., 1] / 0.1
    exact = np.logaddexp(
        4 * np.cos(angle + 1.0) - 0.5 * (x - 2.2) ** 2 / 0.16,
        4 * np.cos(angle - 1.4) - 0.5 * (x - 3.6) ** 2 / 0.16,
    )
    statistics = space.statistic(grid.reshape(-1, 2))
    eta = space.eta(np.linspace([-1.0, 0.22], [1.4, 0.36], 15), np.linspace(1.0, 2.3, 15))
    tilted = exact.reshape(-1) + eta @ statistics.T
    weight = np.exp(tilted - tilted.max(1, keepdims=True))
    mean = (weight @ statistics) / weight.sum(1, keepdims=True)
    psi = np.log(weight.sum(1)) + tilted.max(1)
    found, at = family.mu(torch.from_numpy(eta)).numpy(), torch.from_numpy(eta)
    assert np.abs(found - mean)[:, :3].max() < 0.1
    # E|x|^2 is as far off as 2 x times that
    assert (np.abs(found - mean)[:, 3] / (2 * mean[:, 2])).max() < 0.1
    if family.has_psi:
        known = family.psi(at).numpy()
        assert (known - known[0]) == pytest.approx(psi - psi[0], abs=0.3)
        metric = fisher_metric(family, at)
        assert torch.linalg.eigvalsh(0.5 * (metric + metric.mT)).min() > 0
    assert record.target == "posterior-mean"


class OneNormal(Model):
    """A single Gaussian on each line: a kind that fits in ten lines."""

    def __init__(self, n_circles, n_lines, **size):
        super().__init__(n_circles, n_lines, **size)
        self.center, self.variance = nn.Parameter(torch.zeros(n_lines)), nn.Parameter(torch.ones(n_lines))

    def mu(self, eta):
        _, slope, last = self.blocks.split(eta)
        precision = 1 / self.variance - 2 * last
        mean = (slope + self.center / self.variance) / precision
        return torch.cat([mean, (mean.square() + 1 / precision).sum(1, keepdim=True)], dim=1)


class OneNormalSection(ModelSection):
    widening: float = 1.0

    @staticmethod
    def network(n_circles, n_lines, **size):
        return OneNormal(n_circles, n_lines, **size)

    def train(self, frames, settings, generator, progress):
        blocks = frames.blocks
        network, lines = OneNormal(0, blocks.n_lines), blocks.split(frames.statistics).lines
        weight = frames.log_weights.exp()[:, None]
        mean = (weight * lines).sum(0)
        with torch.no_grad():
            network.center.copy_(mean)
            network.variance.copy_(self.widening * (weight * (lines - mean).square()).sum(0))
        progress(settings.n_steps)
        return network, TrainingRecord((1,), (0.0,), (0.0,), 1, False, "moments")


def test_a_kind_of_ones_own_is_one_class_and_a_row(tmp_path, monkeypatch):
    """It trains, becomes a family, and comes back from its file; Gaussian data are what it is exact for."""
    monkeypatch.setitem(KINDS, "one-normal", OneNormalSection)
    space, chance = feature_space("xx"), np.random.default_rng(0)
    values = chance.normal([1.0, -2.0], [0.5, 1.5], (4000, 2))
    network, _ = train_model(OneNormalSection(), space, values, np.zeros(4000), TrainingSettings(), rng())
    save_model(tmp_path / "model", network, ModelSettings("one-normal", space))
    family = model_family(space, *load_model(tmp_path / "model"))
    exact = GaussianMixtureFamily(
        torch.ones(1), torch.from_numpy(values.mean(0))[None], torch.from_numpy(values.var(0))[None]
    )
    eta = random_tilts(20, 0, 2)
    # float32 on disk
    torch.testing.assert_close(family.mu(eta), exact.mu(eta), rtol=1e-5, atol=1e-5)


def test_every_kind_has_a_section_and_earlier_keys_go_there():
    train = TrainSection.model_validate({"n_components": 12, "width": 9, "denoiser": {"depth": 2}})
    assert train.of("log-partition").n_components == 12
    assert (train.of("denoiser").width, train.of("denoiser").depth) == (9, 2)
    config = RunConfig.model_validate({"run": {"system": "alanine-dipeptide"}, "train": train.model_dump()})
    text = config.to_toml()
    assert "[train.log_partition]\nn_components = 12" in text
    for kind in KINDS:
        assert f"[train.{kind.replace('-', '_')}]" in text


@pytest.mark.parametrize("network", [ScoreNetwork, FlowNetwork])
def test_untrained_networks_know_free_angles_and_gaussians(network):
    """What they add is zero before training: I1/I0 and the Gaussian's answer, E|x|^2 by the divergence included."""
    model = network(1, 2, width=8, depth=1).double()
    eta = random_tilts(20, 1, 2)
    pair = eta[:, :2]
    kappa = pair.norm(dim=1, keepdim=True)
    exact = GaussianMixtureFamily(torch.ones(1), torch.zeros(1, 2), torch.ones(1, 2)).mu(eta[:, 2:])
    found = model.mu(eta).detach()
    torch.testing.assert_close(found[:, :2], pair / kappa * i1(kappa) / i0(kappa), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found[:, 2:], exact, rtol=1e-10, atol=1e-10)


def test_pairs_by_optimal_transport_do_not_give_the_posterior_mean():
    """Why the flow learns from independent pairs: E[f | x_t] of Gaussian data at t = 1/4, from 100 batches of 200.

    Independent pairs have the slope t / (t^2 + (1 - t)^2) = 0.4 that a tilt of the data has; assigned ones nearly 1, as
    noise and data of one distribution pair with themselves. Slopes are known to sqrt(1/20000) / 0.8 < 0.01.
    """
    chance, slopes, t = np.random.default_rng(0), {}, 0.25
    for name in ("independent", "assigned"):
        seen = []
        for _ in range(100):
            noise, data = chance.normal(size=(2, 200))
            if name == "assigned":
                rows, columns = linear_sum_assignment((noise[:, None] - data) ** 2)
                noise, data = noise[rows], data[columns]
            seen.append(np.stack([(1 - t) * noise + t * data, data]))
        x, f = np.concatenate(seen, axis=1)
        slopes[name] = (x @ f) / (x @ x)
    assert slopes["independent"] == pytest.approx(t / (t**2 + (1 - t) ** 2), abs=0.04)
    assert slopes["assigned"] > 0.9
