"""What a run will cost: seconds and bytes of each stage, from its settings and the speed of the platform."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import NDArray

from tps.config import RunConfig, n_lessons
from tps.engine import Dynamics, LangevinSettings, PlatformChoice
from tps.pipeline.dynamics import FLIGHT

#: Seconds of training per step and component of the mixture, and of what else goes without dynamics.
TRAINING_SECONDS = 2e-4
READING_SECONDS = CURVE_SECONDS = 30.0
ANALYSIS_SECONDS, REPORT_SECONDS = 10.0, 20.0
#: Stages of less than this say little of how fast longer ones go: they begin, read and write [s].
_OVERHEAD_SECONDS = 10.0
_EQUILIBRATION_STEPS = 5_000
_WINDOW_EQUILIBRATION_FRAMES = 20
#: MD steps that turn one coarse path into a start for shooting, and paths made along other geodesics for that.
_PULL_STEPS, _PATHS_OF_OTHER_CHANNELS = 30_500, 8
#: Frames at which a path's committor is bisected.
_BISECTIONS = 5
_SINGLE = 4  # bytes
_MEASURE_SECONDS = 0.5


@dataclass(frozen=True)
class StageEstimate:
    """What one stage costs.

    Parameters
    ----------
    stage : str
        Its name, as `tps run` says it.
    md_steps : int
        MD steps of all its simulations together.
    seconds : float
        By the clock.
    disk_bytes : int
    assumed : str
        What had to be assumed; empty if nothing.
    """

    stage: str
    md_steps: int
    seconds: float
    disk_bytes: int
    assumed: str = ""


@dataclass(frozen=True)
class _Cost:
    """Simulations side by side on `n_workers` cores, each at a speed."""

    steps_per_second: float
    n_workers: int
    n_atoms: int

    def stage(
        self, name: str, *tasks: tuple[int, float], n_frames: float = 0, assumed: str = ""
    ) -> StageEstimate:
        """Return the cost of groups of (number of simulations, steps of each), one group after another."""
        steps = sum(n * each for n, each in tasks)
        rounds = sum(math.ceil(n / self.n_workers) * each for n, each in tasks)
        disk = n_frames * 3 * self.n_atoms * _SINGLE
        return StageEstimate(name, int(steps), rounds / self.steps_per_second, int(disk), assumed)


def estimate_stages(
    config: RunConfig, steps_per_second: float, n_workers: int, n_atoms: int, *, angles: bool = True
) -> tuple[StageEstimate, ...]:
    """Return what each stage of a molecule's run will cost, in the order in which they run.

    Parameters
    ----------
    config : RunConfig
    steps_per_second : float
        Of one simulation on the platform (`PlatformChoice.steps_per_second`).
    n_workers : int
        Simulations side by side.
    n_atoms : int
        Of the whole system.
    angles : bool
        Whether all features are angles, for which alone a network is trained unasked.
    """
    cost = _Cost(steps_per_second, n_workers, n_atoms)
    n_flight = FLIGHT / config.run.timestep_ps
    found = [
        _conformations(config, cost),
        _train(config, angles),
        StageEstimate("geodesic", 0, CURVE_SECONDS, 0),
    ]
    found.append(_paths(config, cost))
    if config.shooting.n_moves:
        found.append(_shooting(config, cost, n_flight))
    if config.shooting.n_moves and config.committor.n_paths:
        n_shots = config.committor.n_paths * config.committor.n_shots * (1 + _BISECTIONS / 2)
        found.append(cost.stage("committor", (int(n_shots), n_flight), assumed=_assumed()))
    if config.free_energy.n_windows:
        found.append(_free_energy(config, cost))
    found += _rate(config, cost, n_flight)
    found += [StageEstimate("analyse", 0, ANALYSIS_SECONDS, 0), StageEstimate("report", 0, REPORT_SECONDS, 0)]
    return tuple(found)


def seconds_left(
    to_come: Sequence[StageEstimate], finished: Sequence[tuple[StageEstimate, float]], used: float
) -> float:
    """Return the time that stages to come will take, by how the finished ones compare with their estimates.

    Parameters
    ----------
    to_come : sequence of StageEstimate
        The first of them is at work.
    finished : sequence of (StageEstimate, float)
        With the seconds that each took; those with dynamics correct those with dynamics, the others the others.
    used : float
        Seconds for which the first of `to_come` has been at work; one that takes longer than thought adds nothing.
    """
    left = [stage.seconds * _pace(bool(stage.md_steps), finished) for stage in to_come]
    return max(left[0] - used, 0.0) + sum(left[1:]) if left else 0.0


def _pace(dynamics: bool, finished: Sequence[tuple[StageEstimate, float]]) -> float:
    """Return how much longer than estimated the finished stages with, or without, dynamics took."""
    alike = [(stage.seconds, taken) for stage, taken in finished if bool(stage.md_steps) == dynamics]
    thought, took = sum(seconds for seconds, _ in alike), sum(taken for _, taken in alike)
    return (took + _OVERHEAD_SECONDS) / (thought + _OVERHEAD_SECONDS)


def steps_per_second(system_xml: str, positions: NDArray[np.float64], platform: PlatformChoice) -> float:
    """Return the MD steps per second of one simulation, measured now where the choice of platform has not.

    Parameters
    ----------
    system_xml : str
        Serialised openmm.System.
    positions : array (n_atoms, 3)
        At rest [nm].
    platform : PlatformChoice
    """
    if platform.name in platform.steps_per_second:
        return float(platform.steps_per_second[platform.name])
    dynamics = Dynamics(openmm.XmlSerializer.deserialize(system_xml), LangevinSettings(300.0), platform, 0)
    dynamics.start(positions)
    dynamics.step(10)
    n_steps, start = 10, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < _MEASURE_SECONDS:
        n_steps *= 2
        dynamics.step(n_steps // 2)
        dynamics.positions()  # waits for a GPU's queue
    return (n_steps - 10) / elapsed


def spoken_time(seconds: float) -> str:
    """Return a time as people say it: 40 s, 12 min, 3.5 h, 2 days."""
    for unit, name, limit in ((1, "s", 100), (60, "min", 100), (3600, "h", 48)):
        if seconds < limit * unit:
            return f"{seconds / unit:.2g} {name}"
    return f"{seconds / 86400:.2g} days"


def spoken_size(n_bytes: float) -> str:
    """Return a size as people say it: 3 MB."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if n_bytes >= unit:
            return f"{n_bytes / unit:.3g} {name}"
    return "under 1 MB"


def _assumed() -> str:
    return f"if a shot flies {FLIGHT:g} ps"


def _conformations(config: RunConfig, cost: _Cost) -> StageEstimate:
    section = config.conformations
    if section.method == "import":
        return StageEstimate("conformations", 0, READING_SECONDS, 0, "reading trajectories")
    if section.method == "grow":
        n_steps = config.grow.max_steps
        tasks = cost.n_workers, n_steps / cost.n_workers
        return cost.stage("conformations", tasks, n_frames=n_steps / section.frame_interval_steps)
    n_build = 0 if section.method in ("md", "replica-exchange") else section.n_build_steps
    steps = n_build + section.n_sample_steps + _EQUILIBRATION_STEPS
    n_frames = section.n_walkers * (section.n_sample_steps // section.frame_interval_steps)
    return cost.stage("conformations", (section.n_walkers, steps), n_frames=n_frames)


def _train(config: RunConfig, angles: bool) -> StageEstimate:
    section = config.train
    n_components = config.train.of("log-partition").model_dump()["n_components"]
    seconds = TRAINING_SECONDS * section.n_steps * n_components
    none = section.model == "frames" or (section.model == "auto" and not angles)
    return StageEstimate("train", 0, 0.0 if none else seconds, 0)


def _paths(config: RunConfig, cost: _Cost) -> StageEstimate:
    section = config.paths
    steps, n_baselines = section.n_steps + section.n_equilibration_steps, 2 * section.n_baseline_paths
    n_frames = (section.n_paths + n_baselines) * (section.n_frames + 1)
    return cost.stage("paths", (section.n_paths, steps), (n_baselines, steps), n_frames=n_frames)


def _shooting(config: RunConfig, cost: _Cost, n_flight: float) -> StageEstimate:
    section, paths = config.shooting, config.paths
    n_shots = section.n_frame_shots + n_lessons(section.n_frame_shots)
    tasks = [
        (2 * n_shots, n_flight),
        (min(_PATHS_OF_OTHER_CHANNELS, paths.n_paths), paths.n_steps + paths.n_equilibration_steps),
        (section.n_chains, _PULL_STEPS),
        (section.n_chains, section.n_moves / section.n_chains * n_flight),
    ]
    n_frames = section.n_moves * n_flight / section.frame_interval_steps
    return cost.stage("shoot", *tasks, n_frames=n_frames, assumed=_assumed())


def _rate(config: RunConfig, cost: _Cost, n_flight: float) -> list[StageEstimate]:
    """Return the rates' own shots and walkers, if there are any; the shots of shooting are there already."""
    section, shooting = config.rate, config.shooting
    n_shots = max(0, config.n_rate_shots - (shooting.n_frame_shots if shooting.n_moves else 0))
    walk = section.n_frames * shooting.frame_interval_steps
    if not n_shots and not section.n_walkers:
        return []
    assumed = _assumed() + (", without the shots from crossings" if section.n_walkers else "")
    return [cost.stage("rate", (2 * n_shots, n_flight), (section.n_walkers, walk), assumed=assumed)]


def _free_energy(config: RunConfig, cost: _Cost) -> StageEstimate:
    section, paths = config.free_energy, config.paths
    n_windows = section.n_windows + 1 + section.n_bridge_windows
    ladder = n_windows * (section.n_frames + _WINDOW_EQUILIBRATION_FRAMES) * section.frame_interval_steps
    pull = paths.n_steps + paths.n_equilibration_steps
    n_backward = section.n_backward_paths if paths.n_baseline_paths else 0
    tasks = (section.n_ladders, ladder), (n_backward, pull), (section.n_ladders // 2, pull)
    return cost.stage("free-energy", *tasks)
