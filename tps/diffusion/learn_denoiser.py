"""Denoising score matching with an adaptive noise schedule."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from tps.diffusion.denoiser import DenoiserNetwork, linear_denoising_error
from tps.diffusion.schedule import alpha_sigma
from tps.diffusion.training import (
    LOG_SNR_RANGE,
    Progress,
    TrainingRecord,
    TrainingSettings,
    draw_seed,
    fit,
    prepare_frames,
    seeded,
)
from tps.features import FeatureSpace

_LEARNING_RATE = 4e-3
_HELD_OUT_BATCH = 4096


class AdaptiveNoiseSchedule:
    """Draws log-SNR where the loss is large, with importance weights that leave the objective as it was.

    Keeps a moving mean square of the loss in 60 bins of log-SNR; the density is its root, half mixed with a uniform.

    References
    ----------
    Kingma and Gao, NeurIPS 2023 (arXiv 2303.00848), Appendix F.
    """

    def __init__(
        self, low: float = LOG_SNR_RANGE[0], high: float = LOG_SNR_RANGE[1], n_bins: int = 60
    ) -> None:
        self.low, self.high, self.n_bins = low, high, n_bins
        self.mean_square = torch.ones(n_bins)

    @property
    def probability(self) -> Tensor:
        """Probability of each bin, (n_bins,)."""
        root = self.mean_square.sqrt()
        return 0.5 * root / root.sum() + 0.5 / self.n_bins

    def draw(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return log-SNR (n,) and importance weights (n,) with respect to a uniform density."""
        probability = self.probability
        bins = torch.multinomial(probability, n, replacement=True, generator=rng)
        width = (self.high - self.low) / self.n_bins
        log_snr = self.low + width * (bins + torch.rand(n, generator=rng))
        return log_snr, 1.0 / (self.n_bins * probability[bins])

    def evenly(self, n: int) -> tuple[Tensor, Tensor]:
        """Return n log-SNR spaced evenly over the range, with unit weights."""
        return torch.linspace(self.low, self.high, n), torch.ones(n)

    def update(self, log_snr: Tensor, loss: Tensor, decay: float = 0.98) -> None:
        """Take in the losses (n,) seen at log_snr (n,)."""
        bins = ((log_snr - self.low) / (self.high - self.low) * self.n_bins).long().clamp(0, self.n_bins - 1)
        count = torch.bincount(bins, minlength=self.n_bins)
        total = torch.bincount(bins, weights=loss.square(), minlength=self.n_bins)
        seen = count > 0
        fresh = (total[seen] / count[seen]).to(self.mean_square.dtype)
        self.mean_square[seen] = decay * self.mean_square[seen] + (1 - decay) * fresh


def train_denoiser(
    space: FeatureSpace,
    values: ArrayLike,
    log_weights: ArrayLike,
    settings: TrainingSettings,
    generator: torch.Generator,
    *,
    device: str = "cpu",
    progress: Progress = lambda step: None,
) -> tuple[DenoiserNetwork, TrainingRecord]:
    """Learn E[f | f_t, λ] by denoising score matching.

    Frames are drawn by their Boltzmann weights, so the denoiser knows little of regions that are rarely visited:
    `train_log_partition` does not suffer from this. Parameters and errors as there.
    """
    frames = prepare_frames(space, values, log_weights, device)
    network = seeded(lambda: DenoiserNetwork(space.n_circles, settings.width, settings.depth), generator).to(
        device
    )
    schedule = AdaptiveNoiseSchedule()

    def loss(mask: Tensor, n: int, rng: torch.Generator, *, adapt: bool) -> Tensor:
        pool, log_weight = frames.statistics[mask], frames.log_weights[mask].cpu()
        weight = torch.exp(log_weight - log_weight.max())
        clean = pool[torch.multinomial(weight, n, replacement=True, generator=rng).to(device)]
        log_snr, importance = schedule.draw(n, rng) if adapt else schedule.evenly(n)
        log_snr, importance = log_snr.to(device), importance.to(device)
        alpha, sigma = alpha_sigma(log_snr)
        noise = torch.randn(clean.shape, generator=rng).to(device)
        found = network(alpha[:, None] * clean + sigma[:, None] * noise, log_snr)
        error = (found - clean).square().sum(1) / linear_denoising_error(log_snr).square()
        if adapt:
            schedule.update(log_snr.cpu(), error.detach().cpu())
        return (importance * error).mean()

    held_out_seed = draw_seed(generator)
    groups = [{"params": list(network.parameters()), "lr": settings.learning_rate or _LEARNING_RATE}]
    record = fit(
        network,
        groups,
        lambda: loss(~frames.held_out, settings.batch_size, generator, adapt=True),
        lambda: loss(
            frames.held_out, _HELD_OUT_BATCH, torch.Generator().manual_seed(held_out_seed), adapt=False
        ),
        settings,
        "denoising",
        progress,
    )
    return network, record
