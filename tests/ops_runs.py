"""Run folders of alanine dipeptide with transition paths in them, and without the stages before."""

import numpy as np

from tps.config import load_config
from tps.dynamics import IN_A, IN_B, MoleculeDynamics, reactive_segment
from tps.engine import LangevinSettings, PlatformChoice
from tps.paths import PullSettings, TransitionPaths, pull_task, pulled_candidate, save_transition_paths
from tps.pipeline import RunFolder
from tps.systems import data_directory

LANGEVIN, REFERENCE = LangevinSettings(300.0), PlatformChoice("Reference")


def empty_run(folder, **settings):
    """A run folder of alanine dipeptide on the Reference platform, without any stage."""
    config = load_config(data_directory("configs") / "smoke.toml")
    return RunFolder.create(folder, config.updated("run", {"platform": "Reference", **settings}))


def pulled(system, seed, *, over_zero=False):
    """Frames of a molecule pulled from end to end, φ and ψ turning the shorter ways, or φ the way most paths go."""
    settings = PullSettings(n_steps_per_frame=4000, stiffness=150.0)
    frames = system.ends
    if over_zero:
        frames = np.stack([frames[0], phi_turned(frames[0], np.radians(120)), frames[1]])
    return pulled_candidate(pull_task(system, frames, LANGEVIN, REFERENCE, seed, settings))


def phi_turned(positions, angle):
    """Alanine dipeptide with φ larger by an angle: what lies beyond CA (atom 8) turned about N-CA."""
    turned, axis = positions.copy(), positions[8] - positions[6]
    axis = axis / np.linalg.norm(axis)
    arm = positions[9:] - positions[8]
    along = np.outer(arm @ axis, axis)
    turned[9:] = positions[8] + along + np.cos(angle) * (arm - along) + np.sin(angle) * np.cross(axis, arm)
    return turned


def segment(system, frames):
    """The part of a pull from its last frame in A to its first in B."""
    dynamics = MoleculeDynamics.of(system, LANGEVIN, REFERENCE)
    where = dynamics.states(dynamics.points(frames))
    first, last = reactive_segment(where == IN_A, where == IN_B)
    return frames[first : last + 1]


def save_ensemble(folder, system, paths):
    """Write transition paths as shooting does, but for the energies."""
    save_transition_paths(
        folder,
        paths,
        [system.feature_values(p) for p in paths.positions],
        [np.zeros(len(p)) for p in paths.positions],
        system.feature_names,
        time_unit=system.time_unit,
    )


def ensemble(positions, chain, frame_time=0.01):
    """Transition paths of these positions and chains, each current once."""
    n = len(positions)
    ones = np.ones(n, dtype=np.int64)
    return TransitionPaths(
        tuple(positions), ones, np.array(chain), np.arange(n), ones.astype(bool), frame_time
    )
