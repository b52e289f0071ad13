"""Diffusion models of features on circles: networks, training on weighted frames, model files."""

from tps.diffusion.checkpoint import ModelSettings, Network, load_model, save_model
from tps.diffusion.denoiser import DenoiserNetwork
from tps.diffusion.learn_denoiser import train_denoiser
from tps.diffusion.learn_log_partition import draw_tilts, train_log_partition
from tps.diffusion.log_partition import LogPartitionNetwork
from tps.diffusion.posterior import PosteriorMoments, posterior_moments
from tps.diffusion.schedule import alpha_sigma
from tps.diffusion.training import MIN_FRAMES, TrainingRecord, TrainingSettings, held_out_frames

__all__ = [
    "MIN_FRAMES",
    "DenoiserNetwork",
    "LogPartitionNetwork",
    "ModelSettings",
    "Network",
    "PosteriorMoments",
    "TrainingRecord",
    "TrainingSettings",
    "alpha_sigma",
    "draw_tilts",
    "held_out_frames",
    "load_model",
    "posterior_moments",
    "save_model",
    "train_denoiser",
    "train_log_partition",
]
