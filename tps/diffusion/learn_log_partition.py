"""Learning ψ(η) through its gradient."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from tps.diffusion.log_partition import LogPartitionNetwork
from tps.diffusion.posterior import posterior_moments
from tps.diffusion.training import (
    LOG_SNR_RANGE,
    Loss,
    Progress,
    TrainingFrames,
    TrainingRecord,
    TrainingSettings,
    draw_seed,
    fit,
    prepare_frames,
    seeded,
)
from tps.features import FeatureSpace

_LEARNING_RATE = 0.1
_MAX_ANGLES_POSTERIOR_MEAN = 3  # beyond, the tilted frames collapse onto the nearest one
_MAX_POOL = 30_000
_HELD_OUT_POOL = 2_000
_KAPPA_RANGE = (0.2, 200.0)
_ENOUGH_FRAMES = 10.0  # effective sample size at which a target counts half


class HasMean(Protocol):
    """A network that maps natural parameters (n, K) to E[T | η] (n, K)."""

    def mu(self, eta: Tensor) -> Tensor:
        """The mean, differentiable."""


def train_log_partition(
    space: FeatureSpace,
    values: ArrayLike,
    log_weights: ArrayLike,
    settings: TrainingSettings,
    generator: torch.Generator,
    *,
    device: str = "cpu",
    progress: Progress = lambda step: None,
) -> tuple[LogPartitionNetwork, TrainingRecord]:
    """Learn ψ(η) of weighted frames.

    The loss is Σ_i sqrt(1 + κ_i²/4) |μ_i - μ̄_i|²: the error of μ in nearly the unit of the Fisher-Rao metric of a free
    angle, so that errors of ψ grow evenly on the way from weak to strong tilts.

    Parameters
    ----------
    space : FeatureSpace
        Of angles alone.
    values : (n_frames, d) array
        Angles [rad].
    log_weights : (n_frames,) array
    settings : TrainingSettings
    generator : torch.Generator
        Of the CPU; everything random comes from it.
    device : str
        Where the network learns.
    progress : callable
        Told the number of steps done.

    Raises
    ------
    ModelError
        If there are too few frames, those held out carry no weight, a feature is no angle, or the loss is not a finite
        number.
    """
    frames = prepare_frames(space, values, log_weights, device)
    kept = ~frames.held_out
    network = LogPartitionNetwork.from_frames(
        frames.statistics[kept], frames.log_weights[kept], settings.n_components
    )
    rate = settings.learning_rate or _LEARNING_RATE
    groups = [
        {"params": [network.xi], "lr": rate},
        {"params": [network.log_weights], "lr": rate / 2},
    ]
    losses, added, target = posterior_losses(network, frames, settings, generator)
    return network, fit(network, [*groups, *added], *losses, settings, target, progress)


def posterior_losses(
    network: HasMean, frames: TrainingFrames, settings: TrainingSettings, generator: torch.Generator
) -> tuple[tuple[Loss, Loss], list[dict[str, Any]], str]:
    """Return the losses of training and of the frames held out, what else has to learn, and what the target is."""
    n_circles = frames.statistics.shape[1] // 2
    if settings.target == "posterior-mean" or (
        settings.target == "auto" and n_circles <= _MAX_ANGLES_POSTERIOR_MEAN
    ):
        return _posterior_mean_losses(network, frames, settings, generator), [], "posterior-mean"
    baseline = seeded(lambda: _WeightBaseline(n_circles), generator).to(frames.statistics.device)
    losses = _per_sample_losses(network, baseline, frames, settings, generator)
    return losses, [{"params": list(baseline.parameters()), "lr": 1e-2}], "per-sample"


def draw_tilts(statistics: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Draw η (n, 2 d) all over spacetime: directions of random frames, κ log-uniform, shared by the angles or not.

    Parameters
    ----------
    statistics : (n_frames, 2 d) tensor
        T of the frames.
    n : int
    rng : torch.Generator
    """
    d = statistics.shape[1] // 2
    directions = statistics[torch.randint(len(statistics), (n,), generator=rng)]
    low, high = (math.log(k) for k in _KAPPA_RANGE)
    log_kappa = low + (high - low) * torch.rand(n, d, generator=rng)
    shared = torch.rand(n, 1, generator=rng) < 0.5
    kappa = torch.where(shared, log_kappa[:, :1], log_kappa).exp()
    return directions * kappa.repeat_interleave(2, dim=1)


def natural_error(mu: Tensor, target: Tensor, eta: Tensor) -> Tensor:
    """Return Σ_i sqrt(1 + κ_i²/4) |μ_i - target_i|² for each row: (n, 2 d) -> (n,)."""
    scale = (1 + eta.unflatten(-1, (-1, 2)).square().sum(-1) / 4).sqrt()
    return (scale * (mu - target).unflatten(-1, (-1, 2)).square().sum(-1)).sum(-1)


def _posterior_mean_losses(
    network: HasMean, frames: TrainingFrames, settings: TrainingSettings, rng: torch.Generator
) -> tuple[Loss, Loss]:
    """Regress on the exact posterior means of the frames at a pool of tilts drawn once."""
    device = frames.statistics.device

    def pool(mask: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
        eta = draw_tilts(frames.statistics.cpu(), n, rng).to(device)
        moments = posterior_moments(eta, frames.statistics[mask], frames.log_weights[mask])
        trust = moments.effective_sample_size / (moments.effective_sample_size + _ENOUGH_FRAMES)
        return eta, moments.mu, trust

    def loss(eta: Tensor, target: Tensor, trust: Tensor) -> Tensor:
        return (trust * natural_error(network.mu(eta), target, eta)).mean()

    n_pool = min(_MAX_POOL, settings.n_steps * settings.batch_size)
    training, held_out = pool(~frames.held_out, n_pool), pool(frames.held_out, _HELD_OUT_POOL)

    def training_loss() -> Tensor:
        chosen = torch.randint(n_pool, (settings.batch_size,), generator=rng).to(device)
        return loss(*(part[chosen] for part in training))

    return training_loss, lambda: loss(*held_out)


def _per_sample_losses(
    network: HasMean,
    baseline: _WeightBaseline,
    frames: TrainingFrames,
    settings: TrainingSettings,
    rng: torch.Generator,
) -> tuple[Loss, Loss]:
    """Regress on T(x_i) at η = e^λ f_i + e^{λ/2} ε, weighted by exp(log w_i - h(η)).

    h is a fitted mean of log w given η: a factor that depends on η alone moves no minimum but tames the weights.
    """
    device = frames.statistics.device
    low, high = LOG_SNR_RANGE

    def loss(mask: Tensor, n: int, chance: torch.Generator, *, fit_baseline: bool) -> Tensor:
        pool = torch.nonzero(mask)[:, 0]
        chosen = pool[torch.randint(len(pool), (n,), generator=chance).to(device)]
        snr = (low + (high - low) * torch.rand(n, 1, generator=chance)).exp().to(device)
        clean, log_weight = frames.statistics[chosen], frames.log_weights[chosen]
        eta = snr * clean + snr.sqrt() * torch.randn(clean.shape, generator=chance).to(device)
        fitted = baseline(eta)
        weight = torch.exp(log_weight - fitted.detach())
        error = (weight * natural_error(network.mu(eta), clean, eta)).sum() / weight.sum()
        return error + (fitted - log_weight).square().mean() if fit_baseline else error

    held_out_seed = draw_seed(rng)
    return (
        lambda: loss(~frames.held_out, settings.batch_size, rng, fit_baseline=True),
        lambda: loss(frames.held_out, 4096, torch.Generator().manual_seed(held_out_seed), fit_baseline=False),
    )


class _WeightBaseline(nn.Module):
    """h(η), a fitted mean of log w; sees η / sqrt(c² + κ²) at three scales c, bounded however strong the tilt."""

    def __init__(self, n_circles: int, width: int = 64) -> None:
        super().__init__()
        layers = [nn.Linear(6 * n_circles, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()]
        self.net = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, eta: Tensor) -> Tensor:
        pairs = eta.unflatten(-1, (-1, 2))
        kappa2 = pairs.square().sum(-1, keepdim=True)
        scaled = [(pairs / (c * c + kappa2).sqrt()).flatten(-2) for c in (1.0, 4.0, 16.0)]
        result: Tensor = self.net(torch.cat(scaled, dim=-1)).squeeze(-1)
        return result
