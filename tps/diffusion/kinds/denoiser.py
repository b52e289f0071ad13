"""A denoiser, learned all over spacetime: the gradient of a convex scalar, or a residual score network."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

from tps.diffusion.convex import ConvexNetwork
from tps.diffusion.denoising import ScoreNetwork
from tps.diffusion.kinds.means import learn_means
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
    """[train.denoiser] E[f | f_t, λ]."""

    conservative: bool = Field(
        True, description="The gradient of a convex scalar, which knows psi; or else a residual network."
    )
    width: int = Field(128, gt=0, le=10_000, description="Units for each feature, and in each layer.")
    depth: int = Field(3, gt=0, le=1000, description="Soft maxima, or residual blocks.")

    @staticmethod
    def network(n_circles: int, n_lines: int, **size: Any) -> Model:
        """Return an untrained network."""
        if "conservative" in size:
            del size["conservative"]
            return ScoreNetwork(n_circles, n_lines, **size)
        return ConvexNetwork(n_circles, n_lines, **size)

    def train(
        self,
        frames: TrainingFrames,
        settings: TrainingSettings,
        generator: torch.Generator,
        progress: Progress,
    ) -> tuple[Model, TrainingRecord]:
        """Learn E[T | η]; the weights kept are a moving average."""
        if not self.conservative:
            return learn_means(ScoreNetwork, self.width, self.depth, frames, settings, generator, progress)
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
