"""A flow from noise to the data, learned by matching its velocity."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

from tps.diffusion.denoising import FlowNetwork
from tps.diffusion.kinds.means import learn_means
from tps.diffusion.kinds.section import ModelSection
from tps.diffusion.model import Model
from tps.diffusion.training import Progress, TrainingFrames, TrainingRecord, TrainingSettings


class FlowSection(ModelSection):
    """[train.flow] The velocity of a flow from noise to the data along straight lines."""

    width: int = Field(128, gt=0, le=10_000, description="Of the residual network.")
    depth: int = Field(3, gt=0, le=1000, description="Residual blocks.")

    @staticmethod
    def network(n_circles: int, n_lines: int, **size: Any) -> Model:
        """Return an untrained network."""
        return FlowNetwork(n_circles, n_lines, **size)

    def train(
        self,
        frames: TrainingFrames,
        settings: TrainingSettings,
        generator: torch.Generator,
        progress: Progress,
    ) -> tuple[Model, TrainingRecord]:
        """Learn the velocity of independent pairs of noise and frame; the weights kept are a moving average.

        Pairs by optimal transport would straighten the flow, but E[f | x_t] of such pairs is not that of a tilted p0.
        """
        return learn_means(FlowNetwork, self.width, self.depth, frames, settings, generator, progress)
