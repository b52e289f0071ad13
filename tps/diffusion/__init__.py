"""Diffusion models of a molecule's torsions: networks, training on weighted frames, model files."""

from tps.diffusion.checkpoint import ModelSettings, load_model, save_model
from tps.diffusion.networks import DenoiserNetwork, LogPartitionNetwork
from tps.diffusion.posterior import PosteriorMoments, posterior_moments
from tps.diffusion.schedule import alpha_sigma
from tps.diffusion.training import (
    TrainingRecord,
    TrainingSettings,
    held_out_frames,
    torsion_statistics,
    train_denoiser,
    train_log_partition,
)

__all__ = [
    "DenoiserNetwork",
    "LogPartitionNetwork",
    "ModelSettings",
    "PosteriorMoments",
    "TrainingRecord",
    "TrainingSettings",
    "alpha_sigma",
    "held_out_frames",
    "load_model",
    "posterior_moments",
    "save_model",
    "torsion_statistics",
    "train_denoiser",
    "train_log_partition",
]
