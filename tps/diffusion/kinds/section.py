"""What a kind of model is: a section of settings, which trains a network of its kind and builds it again."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch

from tps.diffusion.model import Model
from tps.diffusion.training import Progress, TrainingFrames, TrainingRecord, TrainingSettings
from tps.sections import Section


class ModelSection(Section):
    """[train.KIND] Settings of one kind of model."""

    @staticmethod
    @abstractmethod
    def network(n_circles: int, n_lines: int, **size: Any) -> Model:
        """Return an untrained network, as the `size` of a trained one says."""

    @abstractmethod
    def train(
        self,
        frames: TrainingFrames,
        settings: TrainingSettings,
        generator: torch.Generator,
        progress: Progress,
    ) -> tuple[Model, TrainingRecord]:
        """Return a network that has learned from frames, and what happened; everything random is the generator's."""
