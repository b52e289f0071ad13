"""Weighted frames of a molecule: metadynamics, plain MD, replica exchange, or the user's own trajectories."""

from tps.conformations.bias import MAX_BIASED, bias_energies
from tps.conformations.dataset import Conformations
from tps.conformations.frames import read_dcd, read_finite_dcd, write_dcd
from tps.conformations.imported import ImportedFrames, import_trajectories
from tps.conformations.mean_force import check_mean_forces
from tps.conformations.metadynamics import MetadynamicsSettings, run_metadynamics
from tps.conformations.replica_exchange import ReplicaFrames, ReplicaTask, run_replicas, temperature_ladder
from tps.conformations.sampling import SampledFrames, SamplingTask, sample_frames
from tps.conformations.third_basin import ThirdBasin, find_third_basin
from tps.conformations.verdict import FramesVerdict, Source, judge_frames, states_next_and_last
from tps.conformations.weights import WeightKind

__all__ = [
    "MAX_BIASED",
    "Conformations",
    "FramesVerdict",
    "ImportedFrames",
    "MetadynamicsSettings",
    "ReplicaFrames",
    "ReplicaTask",
    "SampledFrames",
    "SamplingTask",
    "Source",
    "ThirdBasin",
    "WeightKind",
    "bias_energies",
    "check_mean_forces",
    "find_third_basin",
    "import_trajectories",
    "judge_frames",
    "read_dcd",
    "read_finite_dcd",
    "run_metadynamics",
    "run_replicas",
    "sample_frames",
    "states_next_and_last",
    "temperature_ladder",
    "write_dcd",
]
