"""Weighted frames of a molecule: metadynamics, plain MD, or the user's own trajectories."""

from tps.conformations.bias import MAX_BIASED, bias_energies
from tps.conformations.dataset import Conformations
from tps.conformations.frames import read_dcd, write_dcd
from tps.conformations.imported import ImportedFrames, import_trajectories
from tps.conformations.mean_force import check_mean_forces
from tps.conformations.metadynamics import MetadynamicsSettings, run_metadynamics
from tps.conformations.sampling import SampledFrames, SamplingTask, sample_frames
from tps.conformations.verdict import FramesVerdict, Source, judge_frames
from tps.conformations.weights import WeightKind

__all__ = [
    "MAX_BIASED",
    "Conformations",
    "FramesVerdict",
    "ImportedFrames",
    "MetadynamicsSettings",
    "SampledFrames",
    "SamplingTask",
    "Source",
    "WeightKind",
    "bias_energies",
    "check_mean_forces",
    "import_trajectories",
    "judge_frames",
    "read_dcd",
    "run_metadynamics",
    "sample_frames",
    "write_dcd",
]
