"""Training a model of any kind on weighted frames."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike

from tps.diffusion.groups import TiltedFrames, group_log_weights, independent_groups
from tps.diffusion.kinds import ModelSection
from tps.diffusion.losses import natural_error
from tps.diffusion.model import Model
from tps.diffusion.product_model import ProductModel
from tps.diffusion.training import (
    Progress,
    TrainingFrames,
    TrainingRecord,
    TrainingSettings,
    prepare_frames,
)
from tps.features import FeatureSpace


def train_model(
    section: ModelSection,
    space: FeatureSpace,
    values: ArrayLike,
    log_weights: ArrayLike,
    settings: TrainingSettings,
    generator: torch.Generator,
    *,
    device: str = "cpu",
    progress: Progress = lambda step: None,
) -> tuple[Model, TrainingRecord]:
    """Learn E[T | η], and ψ(η) where the kind knows it, from weighted frames.

    Parameters
    ----------
    section : ModelSection
        The kind and its settings, for instance `LogPartitionSection(n_components=64)`.
    space : FeatureSpace
    values : (n_frames, d) array
        In internal units.
    log_weights : (n_frames,) array
    settings : TrainingSettings
    generator : torch.Generator
        Of the CPU; everything random comes from it.
    device : str
        Where the network learns.
    progress : callable
        Told the number of steps done.

    Returns
    -------
    Model
    TrainingRecord

    Raises
    ------
    ModelError
        If there are too few frames, those held out carry no weight, or the loss is not a finite number.
    """
    frames = prepare_frames(space, values, log_weights, device)
    tilted = TiltedFrames(frames)
    groups = independent_groups(frames.blocks, tilted)
    if len(groups) == 1:
        return section.train(frames, settings, generator, progress)
    trained = []
    for group in groups:
        alone = frames.of(group, group_log_weights(tilted, frames.blocks.columns(group)))
        trained.append(section.train(alone, settings, generator, progress))
    model = ProductModel(space.n_circles, space.n_lines, groups, [part for part, _ in trained])
    return model, TrainingRecord.of_parts([record for _, record in trained])


def held_out_error(
    model: Model, space: FeatureSpace, values: ArrayLike, log_weights: ArrayLike, device: str = "cpu"
) -> float:
    """Return how far a model's E[T | η] is from that of frames held out, whatever its kind learns by.

    The tilts are those that the frames held out carry well, about frames far from each other, weak and strong; the
    error is the mean of `natural_error` over them.

    Parameters
    ----------
    model : Model
    space : FeatureSpace
    values : (n_frames, d) array
        In internal units; of all frames, those that the model has learned from too.
    log_weights : (n_frames,) array
    device : str
        Where the model is.

    Returns
    -------
    float
        Infinite where no tilt is carried.
    """
    frames = prepare_frames(space, values, log_weights, device)
    kept = frames.held_out
    apart = TrainingFrames(frames.blocks, frames.statistics[kept], frames.log_weights[kept], kept[kept])
    windows = TiltedFrames(apart)
    if not len(windows.eta):
        return float("inf")
    target = (windows.share @ windows.statistics).to(frames.statistics)
    eta = windows.eta.to(frames.statistics)
    with torch.no_grad():
        return float(natural_error(model.mu(eta), target, eta, apart).mean())
