"""What networks of η learn by: the posterior mean of T at tilts drawn all over spacetime, or T of noisy frames.

The loss is Σ_i sqrt(1 + κ_i²/4) |μ_i - μ̄_i|² of angles: the error of μ in nearly the unit of the Fisher-Rao metric of a
free angle, so that errors of ψ grow evenly on the way from weak to strong tilts; and the like for lines.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from tps.diffusion.model import Model
from tps.diffusion.posterior import posterior_moments
from tps.diffusion.residual import Embedding
from tps.diffusion.training import (
    LOG_SNR_RANGE,
    Loss,
    TrainingFrames,
    TrainingSettings,
    draw_seed,
    seeded,
)

_MAX_FEATURES_POSTERIOR_MEAN = 3  # beyond, the tilted frames collapse onto the nearest one
_MAX_POOL = 30_000
_HELD_OUT_POOL = 2_000
_KAPPA_RANGE = (0.2, 200.0)
_ENOUGH_FRAMES = 10.0  # effective sample size at which a target counts half


def posterior_losses(
    network: Model, frames: TrainingFrames, settings: TrainingSettings, generator: torch.Generator
) -> tuple[tuple[Loss, Loss], list[dict[str, Any]], str]:
    """Return the losses of training and of the frames held out, what else has to learn, and what the target is."""
    n_features = frames.blocks.n_circles + frames.blocks.n_lines
    if settings.target == "posterior-mean" or (
        settings.target == "auto" and n_features <= _MAX_FEATURES_POSTERIOR_MEAN
    ):
        return _posterior_mean_losses(network, frames, settings, generator), [], "posterior-mean"
    baseline = seeded(lambda: _WeightBaseline(frames), generator).to(frames.statistics)
    losses = _per_sample_losses(network, baseline, frames, settings, generator)
    return losses, [{"params": list(baseline.parameters()), "lr": 1e-2}], "per-sample"


def draw_tilts(frames: TrainingFrames, n: int, rng: torch.Generator) -> Tensor:
    """Draw η (n, K) all over spacetime: about random frames, κ and e^λ of the lines log-uniform, shared or not.

    Centers on lines carry the noise of their level, as a diffusion model's do.
    """
    blocks, statistics = frames.blocks, frames.statistics.cpu()
    around = statistics[torch.randint(len(statistics), (n,), generator=rng)]
    pairs, lines, last = blocks.split(around)
    low, high = (math.log(k) for k in _KAPPA_RANGE)
    log_kappa = low + (high - low) * torch.rand(n, blocks.n_circles, generator=rng)
    shared = torch.rand(n, 1, generator=rng) < 0.5
    kappa = torch.where(shared, log_kappa[:, :1], log_kappa).exp() if blocks.n_circles else log_kappa
    if blocks.n_lines:
        own = low + (high - low) * torch.rand(n, 1, generator=rng)
        same = torch.where(shared, log_kappa[:, :1], own) if blocks.n_circles else own
        snr = same.exp() / frames.line_variance
        lines = snr * lines + snr.sqrt() * torch.randn(lines.shape, generator=rng)
        last = -snr / 2
    return blocks.join(pairs * kappa[..., None], lines, last).to(statistics.dtype)


def natural_error(mu: Tensor, target: Tensor, eta: Tensor, frames: TrainingFrames) -> Tensor:
    """Return the error of μ (n, K) for each row (n,): squares over the variance that T would have.

    Of an angle |Δμ_i|² sqrt(1 + κ_i²/4); of lines, whose Gaussian of the data's variance V tilts to v = V/(1 + e^λ V),
    |Δμ_x|²/v and (ΔE|x|² - 2 μ_x·Δμ_x)²/(2 D v²): the error of the second moment about the mean.
    """
    blocks, error = frames.blocks, mu - target
    pairs, lines, last = blocks.split(error)
    scale = (1 + blocks.split(eta).pairs.square().sum(-1) / 4).sqrt()
    found = (scale * pairs.square().sum(-1)).sum(-1)
    if not blocks.n_lines:
        return found
    precision = 1 / frames.line_variance + blocks.snr(eta)
    second = last - 2 * (blocks.split(target).lines * lines).sum(-1, keepdim=True)
    more = precision * lines.square().sum(-1, keepdim=True) + (precision * second).square() / (
        2 * blocks.n_lines
    )
    return found + more[:, 0]


def _posterior_mean_losses(
    network: Model, frames: TrainingFrames, settings: TrainingSettings, rng: torch.Generator
) -> tuple[Loss, Loss]:
    """Regress on the exact posterior means of the frames at a pool of tilts drawn once."""
    device = frames.statistics.device

    def pool(mask: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
        eta = draw_tilts(frames, n, rng).to(device)
        moments = posterior_moments(eta, frames.statistics[mask], frames.log_weights[mask])
        trust = moments.effective_sample_size / (moments.effective_sample_size + _ENOUGH_FRAMES)
        return eta, moments.mu, trust

    def loss(eta: Tensor, target: Tensor, trust: Tensor) -> Tensor:
        return (trust * natural_error(network.mu(eta), target, eta, frames)).mean()

    n_pool = min(_MAX_POOL, settings.n_steps * settings.batch_size)
    training, held_out = pool(~frames.held_out, n_pool), pool(frames.held_out, _HELD_OUT_POOL)

    def training_loss() -> Tensor:
        chosen = torch.randint(n_pool, (settings.batch_size,), generator=rng).to(device)
        return loss(*(part[chosen] for part in training))

    return training_loss, lambda: loss(*held_out)


def _per_sample_losses(
    network: Model,
    baseline: _WeightBaseline,
    frames: TrainingFrames,
    settings: TrainingSettings,
    rng: torch.Generator,
) -> tuple[Loss, Loss]:
    """Regress on T(x_i) at η of noisy features e^λ f_i + e^{λ/2} ε, weighted by exp(log w_i - h(η)).

    h is a fitted mean of log w given η: a factor that depends on η alone moves no minimum but tames the weights.
    """
    device = frames.statistics.device

    def loss(mask: Tensor, n: int, chance: torch.Generator, *, fit_baseline: bool) -> Tensor:
        pool = torch.nonzero(mask)[:, 0]
        chosen = pool[torch.randint(len(pool), (n,), generator=chance).to(device)]
        clean, log_weight = frames.statistics[chosen], frames.log_weights[chosen]
        eta = _noisy(frames, clean, chance)
        fitted = baseline(eta)
        weight = torch.exp(log_weight - fitted.detach())
        error = (weight * natural_error(network.mu(eta), clean, eta, frames)).sum() / weight.sum()
        return error + (fitted - log_weight).square().mean() if fit_baseline else error

    held_out_seed = draw_seed(rng)
    return (
        lambda: loss(~frames.held_out, settings.batch_size, rng, fit_baseline=True),
        lambda: loss(frames.held_out, 4096, torch.Generator().manual_seed(held_out_seed), fit_baseline=False),
    )


def _noisy(frames: TrainingFrames, clean: Tensor, chance: torch.Generator) -> Tensor:
    """Return η (n, K) of frames with T (n, K), noised at one level each: relative to their variance on lines."""
    low, high = LOG_SNR_RANGE
    blocks, n = frames.blocks, len(clean)
    snr = (low + (high - low) * torch.rand(n, 1, generator=chance)).exp().to(clean)
    if blocks.n_lines:
        on_lines = snr / frames.line_variance
        snr = torch.cat([snr.expand(n, 2 * blocks.n_circles), on_lines.expand(n, blocks.n_lines)], dim=1)
    features = clean[:, : blocks.n_means]
    noise = torch.randn(features.shape, generator=chance).to(clean)
    eta = snr * features + snr.sqrt() * noise
    return torch.cat([eta, -snr[:, -1:] / 2], dim=1) if blocks.n_lines else eta


class _WeightBaseline(nn.Module):
    """h(η), a fitted mean of log w."""

    def __init__(self, frames: TrainingFrames, width: int = 64) -> None:
        super().__init__()
        self.embedding = Embedding(frames.blocks)
        self.embedding.fit(frames.statistics)
        layers = [nn.Linear(self.embedding.n_outputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()]
        self.net = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, eta: Tensor) -> Tensor:
        result: Tensor = self.net(self.embedding(eta)).squeeze(-1)
        return result
