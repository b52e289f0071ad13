"""Learning a denoiser all over spacetime."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike

from tps.diffusion.denoiser import DenoiserNetwork
from tps.diffusion.learn_log_partition import posterior_losses
from tps.diffusion.training import (
    Progress,
    TrainingRecord,
    TrainingSettings,
    fit,
    prepare_frames,
    seeded,
)
from tps.features import FeatureSpace

_LEARNING_RATE = 0.3


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
    """Learn E[f | f_t, λ] as the gradient of a convex scalar.

    The target is the frames' weighted posterior mean at tilts drawn all over spacetime, or for many angles f itself at
    noisy frames, whose weights are tamed by a function of η alone: see `train_log_partition`, whose loss, parameters
    and errors these are. The weights kept are a moving average.
    """
    frames = prepare_frames(space, values, log_weights, device)
    network = seeded(lambda: DenoiserNetwork(space.n_circles, settings.width, settings.depth), generator).to(
        device
    )
    rate = settings.learning_rate or _LEARNING_RATE
    weights = [parameter for name, parameter in network.named_parameters() if name != "xi"]
    groups = [{"params": [network.xi], "lr": rate}, {"params": weights, "lr": rate / 2}]
    losses, added, target = posterior_losses(network, frames, settings, generator)
    return network, fit(network, [*groups, *added], *losses, settings, target, progress, average=True)
