"""A denoiser, learned from anywhere all over spacetime."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field, PositiveInt

from tps.diffusion.convex import ConvexNetwork
from tps.diffusion.kinds.section import ModelSection
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

_LEARNING_RATE = 0.3


class DenoiserSection(ModelSection):
    """[train.denoiser] E[f | f_t, λ] as the gradient of a convex scalar."""

    network: ClassVar[type[Model]] = ConvexNetwork
    width: PositiveInt = Field(128, description="Units for each feature, and in each layer.")
    depth: PositiveInt = Field(3, description="Soft maxima.")

    def train(
        self,
        frames: TrainingFrames,
        settings: TrainingSettings,
        generator: torch.Generator,
        progress: Progress,
    ) -> tuple[ConvexNetwork, TrainingRecord]:
        """Learn E[T | η] as the gradient of a convex scalar; the weights kept are a moving average."""
        blocks = frames.blocks
        network = seeded(
            lambda: ConvexNetwork(blocks.n_circles, blocks.n_lines, self.width, self.depth), generator
        ).to(frames.statistics.device)
        rate = settings.learning_rate or _LEARNING_RATE
        groups = [{"params": [network.units.xi], "lr": rate}]
        if blocks.n_lines:
            spread = network.units.fit(blocks.split(frames.statistics).lines)
            groups.append({"params": [network.units.centers], "lr": rate * spread / 10})
            groups.append({"params": [network.units.log_precisions], "lr": rate / 10})
        layers = [value for name, value in network.named_parameters() if not name.startswith("units.")]
        groups.append({"params": layers, "lr": rate / 2})
        losses, added, target = posterior_losses(network, frames, settings, generator)
        return network, fit(network, [*groups, *added], *losses, settings, target, progress, average=True)
