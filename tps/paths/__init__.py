"""Paths: annealed Langevin dynamics of molecules and surfaces, reactive segments, path ensembles."""

from tps.paths.annealed import AnnealingSettings, annealed_paths
from tps.paths.committor_model import (
    CommittorChoice,
    CommittorModel,
    LinearCommittor,
    fit_committor,
    learn_committor,
)
from tps.paths.committor_network import NetworkCommittor
from tps.paths.committor_shots import CommittorEstimate, committor, committor_of_points
from tps.paths.ensemble import PathEnsemble, PathRecord, load_paths, save_paths
from tps.paths.overdamped import SurfaceSamples, sample_surface
from tps.paths.overdamped_annealed import OverdampedSettings, overdamped_annealed_paths
from tps.paths.segments import reactive_segment
from tps.paths.shooting_choice import FeatureChoice, FrameChoice, UniformChoice
from tps.paths.shooting_dynamics import FAILED, IN_A, IN_B, OUTSIDE, Flight, TransitionDynamics
from tps.paths.shooting_frames import ReweightedPaths, shoot_from_frames
from tps.paths.shooting_molecule import MoleculeDynamics
from tps.paths.shooting_moves import Chain, ShootingSettings, shooting_move
from tps.paths.shooting_paths import TransitionPaths
from tps.paths.shooting_pull import PullSettings, pull_task, pulled_candidate
from tps.paths.shooting_records import Direction, Outcome, ShootingStatistics, shooting_statistics
from tps.paths.shooting_run import ShootingRun, load_shooting, shoot
from tps.paths.shooting_surface import SurfaceDynamics
from tps.paths.transition_files import load_transition_paths, save_transition_paths
from tps.paths.transition_state import (
    CommittorHistogram,
    TransitionStates,
    committor_histogram,
    find_transition_states,
)
from tps.paths.window_samples import WindowSamples
from tps.paths.window_sampling import sample_windows
from tps.paths.window_starts import barrier_place, starts_along
from tps.paths.window_surfaces import sample_surface_windows
from tps.paths.windows import Windows, WindowSettings, tightening

__all__ = [
    "FAILED",
    "IN_A",
    "IN_B",
    "OUTSIDE",
    "AnnealingSettings",
    "Chain",
    "CommittorChoice",
    "CommittorEstimate",
    "CommittorHistogram",
    "CommittorModel",
    "Direction",
    "FeatureChoice",
    "Flight",
    "FrameChoice",
    "LinearCommittor",
    "MoleculeDynamics",
    "NetworkCommittor",
    "Outcome",
    "OverdampedSettings",
    "PathEnsemble",
    "PathRecord",
    "PullSettings",
    "ReweightedPaths",
    "ShootingRun",
    "ShootingSettings",
    "ShootingStatistics",
    "SurfaceDynamics",
    "SurfaceSamples",
    "TransitionDynamics",
    "TransitionPaths",
    "TransitionStates",
    "UniformChoice",
    "WindowSamples",
    "WindowSettings",
    "Windows",
    "annealed_paths",
    "barrier_place",
    "committor",
    "committor_histogram",
    "committor_of_points",
    "find_transition_states",
    "fit_committor",
    "learn_committor",
    "load_paths",
    "load_shooting",
    "load_transition_paths",
    "overdamped_annealed_paths",
    "pull_task",
    "pulled_candidate",
    "reactive_segment",
    "sample_surface",
    "sample_surface_windows",
    "sample_windows",
    "save_paths",
    "save_transition_paths",
    "shoot",
    "shoot_from_frames",
    "shooting_move",
    "shooting_statistics",
    "starts_along",
    "tightening",
]
