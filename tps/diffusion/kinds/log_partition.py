"""The log-partition function of a mixture, fitted by expectation maximisation and then learned through its gradient."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

from tps.diffusion.kinds.section import ModelSection
from tps.diffusion.log_partition import LogPartitionNetwork
from tps.diffusion.losses import posterior_losses
from tps.diffusion.model import Model
from tps.diffusion.training import Progress, TrainingFrames, TrainingRecord, TrainingSettings, fit

_LEARNING_RATE = 0.1  # of stiffnesses κ of order 20


class LogPartitionSection(ModelSection):
    """[train.log_partition] ψ itself, as that of a mixture of von Mises distributions and Gaussians."""

    n_components: int = Field(256, gt=0, le=100_000, description="Of the mixture.")

    @staticmethod
    def network(n_circles: int, n_lines: int, **size: Any) -> Model:
        """Return an untrained network."""
        return LogPartitionNetwork(n_circles, n_lines, **size)

    def train(
        self,
        frames: TrainingFrames,
        settings: TrainingSettings,
        generator: torch.Generator,
        progress: Progress,
    ) -> tuple[LogPartitionNetwork, TrainingRecord]:
        """Learn ψ(η) of weighted frames."""
        kept = ~frames.held_out
        network = LogPartitionNetwork.from_frames(
            frames.blocks, frames.statistics[kept], frames.log_weights[kept], self.n_components
        )
        rate = settings.learning_rate or _LEARNING_RATE
        groups = [
            {"params": [network.xi], "lr": rate},
            {"params": [network.log_weights], "lr": rate / 2},
        ]
        if frames.blocks.n_lines:
            # as far as the angles move: in units of the components' width
            width = float((-0.5 * network.log_precisions.detach()).exp().mean())
            groups.append({"params": [network.centers], "lr": rate * width / 2})
            groups.append({"params": [network.log_precisions], "lr": rate / 10})
        losses, added, target = posterior_losses(network, frames, settings, generator)
        return network, fit(network, [*groups, *added], *losses, settings, target, progress)
