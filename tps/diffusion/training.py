"""How a network learns from weighted frames: settings, frames held out, the loop, and its record."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from tps.diffusion.blocks import Blocks
from tps.errors import ModelError, ParameterError, quoted, reason_of
from tps.features import FeatureSpace

Loss = Callable[[], Tensor]
Progress = Callable[[int], None]
Module = TypeVar("Module", bound=nn.Module)
Target = Literal["auto", "posterior-mean", "per-sample"]

#: Log-SNR that training covers.
LOG_SNR_RANGE = (-5.0, 6.0)
_BLOCKS = 100  # of consecutive frames; every tenth is held out
MIN_FRAMES = 2 * _BLOCKS


@dataclass(frozen=True)
class TrainingSettings:
    """How long and how a network learns.

    Attributes
    ----------
    n_steps, batch_size : int
    learning_rate : float or None
        Peak of the one-cycle schedule (Adam); each kind's own by default.
    patience : int
        Evaluations of the held-out loss without improvement before training stops.
    evaluate_every : int
        Steps between two of them.
    target : {"auto", "posterior-mean", "per-sample"}
        What is learned: the frames' exact posterior mean, or T(x_i) of single forward-noised frames. "auto" takes
        the exact one for up to three features.
    """

    n_steps: int = 1000
    batch_size: int = 128
    learning_rate: float | None = None
    patience: int = 10
    evaluate_every: int = 100
    target: Target = "auto"

    def __post_init__(self) -> None:
        for name in ("n_steps", "batch_size", "patience", "evaluate_every"):
            if not getattr(self, name) > 0:
                raise ParameterError(f"training needs a positive {name}, but got {getattr(self, name)}")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise ParameterError(f"training needs a positive learning_rate, but got {self.learning_rate}")


@dataclass(frozen=True)
class TrainingRecord:
    """What happened: losses (on frames trained on, on frames held out) at each evaluation.

    `best_step` is the step whose weights were kept; `stopped_early` says that the held-out loss had stopped falling;
    `target` is what was learned.
    """

    steps: tuple[int, ...]
    training_loss: tuple[float, ...]
    held_out_loss: tuple[float, ...]
    best_step: int
    stopped_early: bool
    target: str

    @property
    def best_held_out_loss(self) -> float:
        """Held-out loss of the weights that were kept."""
        return min(self.held_out_loss)

    @classmethod
    def of_parts(cls, records: Sequence[Self]) -> Self:
        """Return the sum of what happened to the parts of a model; a part that ended keeps its last losses."""
        longest = max(records, key=lambda record: len(record.steps))

        def total(name: str) -> tuple[float, ...]:
            losses = [getattr(record, name) for record in records]
            return tuple(sum(x[min(i, len(x) - 1)] for x in losses) for i in range(len(longest.steps)))

        return cls(
            longest.steps,
            total("training_loss"),
            total("held_out_loss"),
            longest.best_step,
            all(record.stopped_early for record in records),
            " and ".join(sorted({record.target for record in records})),
        )


@dataclass(frozen=True, eq=False)
class TrainingFrames:
    """Frames on the device: T (n_frames, K), normalised log-weights, and which are held out."""

    blocks: Blocks
    statistics: Tensor
    log_weights: Tensor
    held_out: Tensor

    @cached_property
    def line_variance(self) -> float:
        """Mean variance of a feature on a line, over its scale squared; 1 where there is none."""
        lines = self.blocks.split(self.statistics).lines
        return float(lines.var(0).mean().clamp_min(1e-12)) if self.blocks.n_lines else 1.0

    def of(self, features: Sequence[int], log_weights: Tensor) -> TrainingFrames:
        """Return the same frames with some of the features only, angles first, and other weights."""
        n_circles = sum(i < self.blocks.n_circles for i in features)
        columns = self.blocks.columns(features)
        statistics = self.statistics[:, columns].clone()
        blocks = Blocks(n_circles, len(features) - n_circles)
        if blocks.n_lines:
            statistics[:, -1] = blocks.split(statistics).lines.square().sum(1)
        return TrainingFrames(blocks, statistics, log_weights.to(self.log_weights), self.held_out)


def held_out_frames(n_frames: int) -> Tensor:
    """Return a mask of the frames held out: every tenth of a hundred blocks, so that neighbours stay together."""
    block = torch.arange(n_frames) * _BLOCKS // n_frames
    return block % 10 == 9


def check_device(device: str) -> None:
    """Check that torch computes on a device here.

    Raises
    ------
    ParameterError
        If there is none of that name.
    """
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ValueError) as reason:  # by what torch was built with
        raise ParameterError(
            f"train.device = {quoted(device)} cannot be used here ({reason_of(reason)}): set it to cpu"
        ) from None


def prepare_frames(
    space: FeatureSpace, values: ArrayLike, log_weights: ArrayLike, device: str
) -> TrainingFrames:
    """Move frames to the device, normalise their weights, and hold some out.

    Raises
    ------
    ModelError
        If there are too few frames, or those held out carry no weight.
    """
    statistics = torch.as_tensor(space.statistic(values))
    if len(statistics) < MIN_FRAMES:
        raise ModelError(
            f"training needs at least {MIN_FRAMES} frames, but got {len(statistics)}: sample longer"
        )
    given = torch.as_tensor(np.asarray(log_weights, dtype=np.float64))
    # |x|² and its tilt may be thousands, of which little is left: single precision is for angles
    dtype = torch.float64 if space.n_lines else torch.float32
    normalised = torch.log_softmax(given, 0).to(dtype)
    held_out = held_out_frames(len(statistics))
    if not torch.isfinite(normalised[held_out]).any():
        raise ModelError("the frames held out carry no weight: sample longer, or check the weights file")
    tensors = (tensor.to(device) for tensor in (statistics.to(dtype), normalised, held_out))
    return TrainingFrames(Blocks.of(space), *tensors)


def seeded(build: Callable[[], Module], generator: torch.Generator) -> Module:
    """Build a network whose initial weights come from `generator`, leaving torch's own generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw_seed(generator))
        return build()


def draw_seed(generator: torch.Generator) -> int:
    """Draw a seed for a generator of its own."""
    return int(torch.randint(2**62, (1,), generator=generator))


def fit(
    network: nn.Module,
    groups: Sequence[dict[str, Any]],
    training_loss: Loss,
    held_out_loss: Loss,
    settings: TrainingSettings,
    target: str,
    progress: Progress,
    *,
    average: bool = False,
) -> TrainingRecord:
    """Run Adam with a one-cycle schedule; leave the weights of the lowest held-out loss in `network`.

    Parameters
    ----------
    network : torch.nn.Module
    groups : sequence of dict
        Adam's parameter groups, each with its peak learning rate "lr".
    training_loss, held_out_loss : callables
        Return a scalar; the first is differentiated.
    settings : TrainingSettings
    target : str
        For the record.
    progress : callable
        Told the number of steps done.
    average : bool
        Whether a moving average of the weights over about a twentieth of the steps is judged and kept.

    Raises
    ------
    ModelError
        If the loss is not a finite number.
    """
    span = max(1.0, settings.n_steps / 20)
    mean = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.Adam(list(groups))
    rates = [group["lr"] for group in groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=settings.n_steps)
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
        if step < settings.n_steps:
            schedule.step()
        total, count = total + loss.item(), count + 1
        if average:
            for name, value in network.state_dict().items():
                mean[name].lerp_(value, 1 / min(step, span))
        if step % settings.evaluate_every and step != settings.n_steps:
            continue
        present = copy.deepcopy(network.state_dict())
        if average:
            network.load_state_dict(mean)
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
        network.load_state_dict(present)
        progress(step)
        if len(held_out) - 1 - held_out.index(min(held_out)) >= settings.patience:
            stopped = True
            break
    network.load_state_dict(best)
    network.eval()
    return TrainingRecord(tuple(steps), tuple(training), tuple(held_out), best_step, stopped, target)
