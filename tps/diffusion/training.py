"""Training on weighted frames: ψ through its gradient, or a denoiser by denoising score matching."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from tps.diffusion.networks import (
    DenoiserNetwork,
    LogPartitionNetwork,
    bounded_inputs,
    denoising_scale,
    expectation,
)
from tps.diffusion.posterior import posterior_moments
from tps.diffusion.schedule import alpha_sigma
from tps.errors import ModelError, ParameterError

Loss = Callable[[], Tensor]
Module = TypeVar("Module", bound=nn.Module)
_MAX_TORSIONS_POSTERIOR_MEAN = 3  # beyond, the tilted frames collapse onto the nearest one
_POOL = 30_000
_HELD_OUT_POOL = 2_000
_KAPPA_RANGE = (0.05, 250.0)
_LOG_SNR_RANGE = (-5.0, 6.0)
_ENOUGH_FRAMES = 10.0  # effective sample size at which a target counts half
_BLOCKS = 50  # of consecutive frames; every tenth is held out


@dataclass(frozen=True)
class TrainingSettings:
    """How long and how a network learns; `target` is for ψ only.

    Attributes
    ----------
    n_steps, batch_size : int
    learning_rate : float
        Peak of the one-cycle schedule (Adam).
    patience : int
        Evaluations of the held-out loss without improvement before training stops.
    evaluate_every : int
        Steps between two of them.
    width, depth : int
        Of the network.
    target : {"auto", "posterior-mean", "per-sample"}
        Exact for the frames, or T(x_i) of single forward-noised frames. "auto": exact up to three torsions.
    """

    n_steps: int = 6000
    batch_size: int = 512
    learning_rate: float = 4e-3
    patience: int = 20
    evaluate_every: int = 200
    width: int = 128
    depth: int = 3
    target: Literal["auto", "posterior-mean", "per-sample"] = "auto"

    def __post_init__(self) -> None:
        for name in ("n_steps", "batch_size", "learning_rate", "patience", "evaluate_every", "width", "depth"):
            if not getattr(self, name) > 0:
                raise ParameterError(f"training needs a positive {name}, but got {getattr(self, name)}")


@dataclass(frozen=True)
class TrainingRecord:
    """What happened: losses (on frames trained on, on frames held out) at each evaluation.

    `best_step` is the step whose weights were kept; `stopped_early` says that the held-out loss had stopped falling.
    """

    steps: list[int] = field(default_factory=list)
    training_loss: list[float] = field(default_factory=list)
    held_out_loss: list[float] = field(default_factory=list)
    best_step: int = 0
    stopped_early: bool = False
    target: str = ""

    @property
    def best_held_out_loss(self) -> float:
        """Held-out loss of the weights that were kept."""
        return min(self.held_out_loss)


def held_out_frames(n_frames: int) -> Tensor:
    """Return a mask of the frames held out: every tenth of fifty blocks, so that neighbours in time stay together."""
    block = torch.arange(n_frames) * _BLOCKS // n_frames
    return block % 10 == 9


def torsion_statistics(torsions: Tensor) -> Tensor:
    """Return T = (cos θ1, sin θ1, …): (n, d) rad -> (n, 2 d)."""
    return torch.stack([torsions.cos(), torsions.sin()], dim=-1).flatten(-2)


def train_log_partition(
    torsions: Tensor,
    log_weights: Tensor,
    settings: TrainingSettings,
    generator: torch.Generator,
    *,
    device: str = "cpu",
    progress: Callable[[int], None] = lambda step: None,
) -> tuple[LogPartitionNetwork, TrainingRecord]:
    """Learn ψ(η) of weighted frames.

    The loss is Σ_i sqrt(1 + κ_i²/4) |μ_i - μ̄_i|², the error of μ in (nearly) the units of the Fisher-Rao metric of a
    free torsion, so that errors of ψ grow evenly along a path from weak to strong tilts.

    Parameters
    ----------
    torsions : (n_frames, n_torsions) tensor
        [rad].
    log_weights : (n_frames,) tensor
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
        If there are too few frames, or the loss is not a finite number.
    """
    statistics, log_weights, held_out = _prepare(torsions, log_weights, device)
    network = _seeded(lambda: LogPartitionNetwork(torsions.shape[1], settings.width, settings.depth), generator)
    network = network.to(device)
    exact = settings.target == "posterior-mean" or (
        settings.target == "auto" and torsions.shape[1] <= _MAX_TORSIONS_POSTERIOR_MEAN
    )
    make = _posterior_mean_losses if exact else _per_sample_losses
    training_loss, held_out_loss, modules = make(
        network, torsions.float().to(device), statistics, log_weights, held_out, settings, generator
    )
    record = _fit(network, modules, training_loss, held_out_loss, settings, progress)
    return network, TrainingRecord(**{**record, "target": "posterior-mean" if exact else "per-sample"})


def train_denoiser(
    torsions: Tensor,
    log_weights: Tensor,
    settings: TrainingSettings,
    generator: torch.Generator,
    *,
    device: str = "cpu",
    progress: Callable[[int], None] = lambda step: None,
) -> tuple[DenoiserNetwork, TrainingRecord]:
    """Learn E[f | f_t, λ] by denoising score matching with an adaptive noise schedule.

    Frames are drawn by their Boltzmann weights, so the denoiser knows little of regions that are rarely visited: see
    `train_log_partition` for what does not suffer from this. Parameters and errors as there.

    References
    ----------
    Kingma and Gao, NeurIPS 2023 (arXiv 2303.00848), Appendix F: the adaptive noise schedule.
    """
    statistics, log_weights, held_out = _prepare(torsions, log_weights, device)
    network = _seeded(lambda: DenoiserNetwork(torsions.shape[1], settings.width, settings.depth), generator)
    network = network.to(device)
    schedule = AdaptiveNoiseSchedule()

    def loss(mask: Tensor, n: int, rng: torch.Generator, adapt: bool) -> Tensor:
        frames = statistics[mask]
        weights = torch.exp(log_weights[mask] - log_weights[mask].max())
        clean = frames[torch.multinomial(weights.cpu(), n, replacement=True, generator=rng).to(device)]
        log_snr, importance = schedule.draw(n, rng) if adapt else schedule.uniform(n)
        log_snr, importance = log_snr.to(device), importance.to(device)
        alpha, sigma = alpha_sigma(log_snr)
        noise = torch.randn(clean.shape, generator=rng).to(device)
        found = network(alpha[:, None] * clean + sigma[:, None] * noise, log_snr)
        error = (found - clean).square().sum(1) / denoising_scale(log_snr).square()
        if adapt:
            schedule.update(log_snr.cpu(), error.detach().cpu())
        return (importance * error).mean()

    held_out_seed = int(torch.randint(2**62, (1,), generator=generator))
    record = _fit(
        network,
        [network],
        lambda: loss(~held_out, settings.batch_size, generator, adapt=True),
        lambda: loss(held_out, 4096, torch.Generator().manual_seed(held_out_seed), adapt=False),
        settings,
        progress,
    )
    return network, TrainingRecord(**{**record, "target": "denoising"})


class AdaptiveNoiseSchedule:
    """Draws log-SNR where the loss is large, with importance weights that leave the objective as it was.

    Keeps a moving mean square of the loss in 60 bins of log-SNR; the density is its root, half mixed with a uniform.
    """

    def __init__(self, low: float = _LOG_SNR_RANGE[0], high: float = _LOG_SNR_RANGE[1], n_bins: int = 60) -> None:
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

    def uniform(self, n: int) -> tuple[Tensor, Tensor]:
        """Return n log-SNR spaced evenly over the range, with unit weights."""
        return torch.linspace(self.low, self.high, n), torch.ones(n)

    def update(self, log_snr: Tensor, loss: Tensor, decay: float = 0.98) -> None:
        """Take in the losses (n,) seen at log_snr (n,)."""
        bins = ((log_snr - self.low) / (self.high - self.low) * self.n_bins).long().clamp(0, self.n_bins - 1)
        count = torch.bincount(bins, minlength=self.n_bins)
        total = torch.bincount(bins, weights=loss.square(), minlength=self.n_bins)
        seen = count > 0
        self.mean_square[seen] = decay * self.mean_square[seen] + (1 - decay) * (total[seen] / count[seen]).float()


def _prepare(torsions: Tensor, log_weights: Tensor, device: str) -> tuple[Tensor, Tensor, Tensor]:
    n_frames = len(torsions)
    if n_frames < 2 * _BLOCKS:
        raise ModelError(f"training needs at least {2 * _BLOCKS} frames, but got {n_frames}: sample longer")
    statistics = torsion_statistics(torsions.double()).float().to(device)
    log_weights = (log_weights.double() - torch.logsumexp(log_weights.double(), 0)).float().to(device)
    held_out = held_out_frames(n_frames).to(device)
    if not torch.isfinite(log_weights[held_out]).any():
        raise ModelError("the frames held out carry no weight: sample longer, or check the weights file")
    return statistics, log_weights, held_out


def _seeded(build: Callable[[], Module], generator: torch.Generator) -> Module:
    """Build a network whose initial weights come from `generator`, leaving torch's own generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
        return build()


def _natural_error(mu: Tensor, target: Tensor, eta: Tensor) -> Tensor:
    """Return Σ_i sqrt(1 + κ_i²/4) |μ_i - target_i|² for each row: (n, 2 d) -> (n,)."""
    scale = (1 + eta.unflatten(-1, (-1, 2)).square().sum(-1) / 4).sqrt()
    return (scale * (mu - target).unflatten(-1, (-1, 2)).square().sum(-1)).sum(-1)


def draw_tilts(torsions: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Draw η (n, 2 d) all over spacetime: directions of random frames, κ log-uniform, shared by the torsions or not."""
    n_torsions = torsions.shape[1]
    angles = torsions[torch.randint(len(torsions), (n,), generator=rng)]
    low, high = (math.log(k) for k in _KAPPA_RANGE)
    log_kappa = low + (high - low) * torch.rand(n, n_torsions, generator=rng)
    shared = torch.rand(n, 1, generator=rng) < 0.5
    kappa = torch.where(shared, log_kappa[:, :1], log_kappa).exp()
    return torsion_statistics(angles) * kappa.repeat_interleave(2, dim=1)


def _posterior_mean_losses(
    network: LogPartitionNetwork,
    torsions: Tensor,
    statistics: Tensor,
    log_weights: Tensor,
    held_out: Tensor,
    settings: TrainingSettings,
    rng: torch.Generator,
) -> tuple[Loss, Loss, list[nn.Module]]:
    """Regress on the exact posterior means of the frames at a pool of tilts drawn once."""

    def pool(mask: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
        eta = draw_tilts(torsions.cpu(), n, rng).to(statistics.device)
        moments = posterior_moments(eta, statistics[mask], log_weights[mask])
        trust = moments.effective_sample_size / (moments.effective_sample_size + _ENOUGH_FRAMES)
        return eta, moments.mu, trust

    training, held = pool(~held_out, _POOL), pool(held_out, _HELD_OUT_POOL)

    def loss(batch: tuple[Tensor, Tensor, Tensor], train: bool) -> Tensor:
        eta, target, trust = batch
        mu = expectation(network, eta, create_graph=train)
        return (trust * _natural_error(mu, target, eta)).mean()

    def training_loss() -> Tensor:
        chosen = torch.randint(_POOL, (settings.batch_size,), generator=rng).to(statistics.device)
        return loss((training[0][chosen], training[1][chosen], training[2][chosen]), train=True)

    return training_loss, lambda: loss(held, train=False), [network]


def _per_sample_losses(
    network: LogPartitionNetwork,
    torsions: Tensor,
    statistics: Tensor,
    log_weights: Tensor,
    held_out: Tensor,
    settings: TrainingSettings,
    rng: torch.Generator,
) -> tuple[Loss, Loss, list[nn.Module]]:
    """Regress on T(x_i) at η = e^λ f_i + e^{λ/2} ε, weighted by exp(log w_i - h(η)).

    h is a fitted mean of log w given η: a factor that depends on η alone moves no minimum but tames the weights.
    """
    baseline = _seeded(lambda: _Baseline(torsions.shape[1]), rng).to(statistics.device)

    def loss(mask: Tensor, n: int, chance: torch.Generator, train: bool) -> Tensor:
        frames = torch.nonzero(mask)[:, 0]
        chosen = frames[torch.randint(len(frames), (n,), generator=chance).to(frames.device)]
        log_snr = _LOG_SNR_RANGE[0] + (_LOG_SNR_RANGE[1] - _LOG_SNR_RANGE[0]) * torch.rand(n, 1, generator=chance)
        snr = log_snr.exp().to(statistics.device)
        clean = statistics[chosen]
        eta = snr * clean + snr.sqrt() * torch.randn(clean.shape, generator=chance).to(clean.device)
        fitted = baseline(eta)
        log_w = log_weights[chosen]
        weight = torch.exp(log_w - fitted.detach())
        mu = expectation(network, eta, create_graph=train)
        error = (weight * _natural_error(mu, clean, eta)).sum() / weight.sum()
        return error + (fitted - log_w).square().mean() if train else error

    held_out_seed = int(torch.randint(2**62, (1,), generator=rng))
    return (
        lambda: loss(~held_out, settings.batch_size, rng, train=True),
        lambda: loss(held_out, 4096, torch.Generator().manual_seed(held_out_seed), train=False),
        [network, baseline],
    )


class _Baseline(nn.Module):
    """h(η), a fitted mean of log w."""

    def __init__(self, n_torsions: int, width: int = 64) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(6 * n_torsions, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)
        )

    def forward(self, eta: Tensor) -> Tensor:
        return self.net(bounded_inputs(eta)).squeeze(-1)


def _fit(
    network: nn.Module,
    modules: list[nn.Module],
    training_loss: Loss,
    held_out_loss: Loss,
    settings: TrainingSettings,
    progress: Callable[[int], None],
) -> dict[str, Any]:
    """Run Adam with a one-cycle schedule; leave the weights of the lowest held-out loss in `network`."""
    parameters = [p for module in modules for p in module.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.n_steps
    )
    steps: list[int] = []
    training: list[float] = []
    held_out: list[float] = []
    best: dict[str, Tensor] = {}
    best_step, total, count, stopped = 0, 0.0, 0, False
    for step in range(1, settings.n_steps + 1):
        loss = training_loss()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        total, count = total + loss.item(), count + 1
        if step % settings.evaluate_every and step != settings.n_steps:
            continue
        with torch.no_grad():
            value = held_out_loss().item()
        if not math.isfinite(value) or not math.isfinite(total):
            raise ModelError(f"the loss is not a finite number at step {step}: lower train.learning_rate")
        steps.append(step)
        training.append(total / count)
        held_out.append(value)
        total, count = 0.0, 0
        if value <= min(held_out):
            best, best_step = copy.deepcopy(network.state_dict()), step
        progress(step)
        if len(held_out) - 1 - held_out.index(min(held_out)) >= settings.patience:
            stopped = True
            break
    network.load_state_dict(best)
    network.eval()
    return {
        "steps": steps,
        "training_loss": training,
        "held_out_loss": held_out,
        "best_step": best_step,
        "stopped_early": stopped,
    }
