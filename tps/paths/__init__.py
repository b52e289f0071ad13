"""Paths: annealed Langevin dynamics of molecules and surfaces, reactive segments, path ensembles."""

from tps.paths.annealed.held import (
    HeldSeries,
    HeldSettings,
    held_series,
    held_timesteps,
    surface_held_series,
)
from tps.paths.annealed.molecule import AnnealingSettings, annealed_paths
from tps.paths.annealed.surface import OverdampedSettings, overdamped_annealed_paths
from tps.paths.committor.model import (
    CommittorChoice,
    CommittorModel,
    LinearCommittor,
    fit_committor,
    learn_committor,
)
from tps.paths.committor.network import NetworkCommittor
from tps.paths.committor.shots import CommittorEstimate, committor_of_points, estimate_committor
from tps.paths.committor.transition_state import (
    CommittorHistogram,
    TransitionStates,
    committor_histogram,
    find_transition_states,
)
from tps.paths.ensemble import Passages, PathEnsemble, PathRecord, load_paths, save_paths
from tps.paths.protocol import CurveFriction, equal_steps, tangents
from tps.paths.shooting.choice import FeatureChoice, FrameChoice, UniformChoice
from tps.paths.shooting.files import (
    PathNumbers,
    add_numbers,
    load_transition_paths,
    save_table,
    save_transition_paths,
    with_numbers,
)
from tps.paths.shooting.fitted_selection import LARGEST_MISFIT, fitted_selection
from tps.paths.shooting.frames import (
    LogSelection,
    biased_selection,
    n_tasks,
    pooled_selection,
    shoot_from_frames,
    unselected,
)
from tps.paths.shooting.moves import Chain, ShootingSettings, shooting_move
from tps.paths.shooting.packed import Frames
from tps.paths.shooting.paths import TransitionPaths
from tps.paths.shooting.pull import PullSettings, pull_task, pulled_candidate
from tps.paths.shooting.records import Direction, Outcome, ShootingStatistics, shooting_statistics
from tps.paths.shooting.reweighted import FrameShots, ReweightedPaths
from tps.paths.shooting.run import ShootingRun, load_shooting, shoot
from tps.paths.windows.lineages import Lineages, crossings, lineages
from tps.paths.windows.molecule import sample_windows
from tps.paths.windows.samples import WindowSamples
from tps.paths.windows.starts import barrier_place, starts_along
from tps.paths.windows.surface import sample_surface_windows
from tps.paths.windows.windows import Windows, WindowSettings, evenly, tightening

__all__ = [
    "LARGEST_MISFIT",
    "AnnealingSettings",
    "Chain",
    "CommittorChoice",
    "CommittorEstimate",
    "CommittorHistogram",
    "CommittorModel",
    "CurveFriction",
    "Direction",
    "FeatureChoice",
    "FrameChoice",
    "FrameShots",
    "Frames",
    "HeldSeries",
    "HeldSettings",
    "Lineages",
    "LinearCommittor",
    "LogSelection",
    "NetworkCommittor",
    "Outcome",
    "OverdampedSettings",
    "Passages",
    "PathEnsemble",
    "PathNumbers",
    "PathRecord",
    "PullSettings",
    "ReweightedPaths",
    "ShootingRun",
    "ShootingSettings",
    "ShootingStatistics",
    "TransitionPaths",
    "TransitionStates",
    "UniformChoice",
    "WindowSamples",
    "WindowSettings",
    "Windows",
    "add_numbers",
    "annealed_paths",
    "barrier_place",
    "biased_selection",
    "committor_histogram",
    "committor_of_points",
    "crossings",
    "equal_steps",
    "estimate_committor",
    "evenly",
    "find_transition_states",
    "fit_committor",
    "fitted_selection",
    "held_series",
    "held_timesteps",
    "learn_committor",
    "lineages",
    "load_paths",
    "load_shooting",
    "load_transition_paths",
    "n_tasks",
    "overdamped_annealed_paths",
    "pooled_selection",
    "pull_task",
    "pulled_candidate",
    "sample_surface_windows",
    "sample_windows",
    "save_paths",
    "save_table",
    "save_transition_paths",
    "shoot",
    "shoot_from_frames",
    "shooting_move",
    "shooting_statistics",
    "starts_along",
    "surface_held_series",
    "tangents",
    "tightening",
    "unselected",
    "with_numbers",
]
