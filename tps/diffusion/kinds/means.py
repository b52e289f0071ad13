"""How residual networks of E[T | η] learn."""

from __future__ import annotations

import torch

from tps.diffusion.denoising import DenoisingModel
from tps.diffusion.losses import posterior_losses
from tps.diffusion.model import Model
from tps.diffusion.training import (
    Progress,
    TrainingFrames,
    TrainingRecord,
    TrainingSettings,
    fit,
    seeded,
)

_LEARNING_RATE = 3e-3


def learn_means(
    network: type[DenoisingModel],
    width: int,
    depth: int,
    frames: TrainingFrames,
    settings: TrainingSettings,
    generator: torch.Generator,
    progress: Progress,
) -> tuple[Model, TrainingRecord]:
    """Return a residual network of E[T | η] that has learned from frames; the weights kept are a moving average."""
    blocks = frames.blocks
    model = seeded(lambda: network(blocks.n_circles, blocks.n_lines, width, depth), generator)
    model = model.to(frames.statistics.device)
    model.trunk.embedding.fit(frames.statistics)
    groups = [{"params": list(model.parameters()), "lr": settings.learning_rate or _LEARNING_RATE}]
    losses, added, target = posterior_losses(model, frames, settings, generator)
    return model, fit(model, [*groups, *added], *losses, settings, target, progress, average=True)
