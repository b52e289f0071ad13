"""Diffusion models of features: a registry of kinds, training on weighted frames, model files."""

from tps.diffusion.blocks import Blocks
from tps.diffusion.checkpoint import ModelSettings, load_model, save_model
from tps.diffusion.kinds import KINDS, DenoiserSection, FlowSection, LogPartitionSection, ModelSection
from tps.diffusion.learn import held_out_error, train_model
from tps.diffusion.model import Model
from tps.diffusion.posterior import PosteriorMoments, posterior_moments
from tps.diffusion.schedule import alpha_sigma
from tps.diffusion.training import (
    MIN_FRAMES,
    Progress,
    TrainingFrames,
    TrainingRecord,
    TrainingSettings,
    check_device,
    fit,
    held_out_frames,
)

__all__ = [
    "KINDS",
    "MIN_FRAMES",
    "Blocks",
    "DenoiserSection",
    "FlowSection",
    "LogPartitionSection",
    "Model",
    "ModelSection",
    "ModelSettings",
    "PosteriorMoments",
    "Progress",
    "TrainingFrames",
    "TrainingRecord",
    "TrainingSettings",
    "alpha_sigma",
    "check_device",
    "fit",
    "held_out_error",
    "held_out_frames",
    "load_model",
    "posterior_moments",
    "save_model",
    "train_model",
]
