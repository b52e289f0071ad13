"""Short runs in each end: how far every candidate fluctuates there, and whether the ends stay where they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tps.conformations import SamplingTask, sample_frames
from tps.engine import LangevinSettings, PlatformChoice
from tps.errors import SimulationError, SystemDefinitionError
from tps.features import Features, FeatureSpace
from tps.pipeline import Progress
from tps.prepare.candidates import Candidate
from tps.prepare.ends import Ends

#: Seconds spent on each end at most, but for runs shorter than this [ps].
SECONDS, SHORTEST = 20.0, 2.0
#: Runs from each end, each with a seed of its own, and frames of each.
N_RUNS, N_FRAMES = 2, 200
#: What of each run goes before the statistics: this share, and so long [ps], but no more than half of it.
EQUILIBRATION, HEATING = 0.1, 1.0
#: What counts as a difference when it is asked which end a frame is nearer to.
TELLING = {"rad": np.radians(30), "nm": 0.1, "": 0.5}
#: A run has gone over to the other end when for so long [ps], and so many frames, it is nearer to it in so large a
#: share of what tells the ends apart; it was at its own while it was less than this share of the way.
LEAVING_TIME, LEAVING_FRAMES, LEAVING_SHARE = 0.5, 5, 0.75
STILL_THERE = 0.25
#: Fewest frames that an end must keep before it turns into the other one.
FEWEST_FRAMES = 20


@dataclass(frozen=True, eq=False)
class ShortRuns:
    """What runs from both ends saw of the candidates.

    Parameters
    ----------
    space : FeatureSpace
        Of the candidates (d).
    ends : array (2, d)
        Their values in the end structures.
    values : tuple of two arrays (n_frames, d)
        Their values in frames of A's and of B's runs, up to where a run comes nearer to the other end.
    picoseconds : float
        Length of each run.
    left : tuple of two
        When a run from A, from B first came nearer to the other end [ps]; None where none did.
    lengths : tuple of two tuples of int
        Frames of each run from A and of each from B, which follow one another in `values`.
    """

    space: FeatureSpace
    ends: NDArray[np.float64]
    values: tuple[NDArray[np.float64], NDArray[np.float64]]
    picoseconds: float
    left: tuple[float | None, float | None]
    lengths: tuple[tuple[int, ...], tuple[int, ...]]

    def beginnings(self, share: float) -> ShortRuns:
        """Return the same runs without what comes after a share of their frames."""
        lengths = [tuple(math.ceil(share * n) for n in each) for each in self.lengths]
        values = [
            np.concatenate(
                [run[:n] for run, n in zip(np.split(x, np.cumsum(whole)[:-1]), short, strict=True)]
            )
            for x, whole, short in zip(self.values, self.lengths, lengths, strict=True)
        ]
        return replace(self, values=(values[0], values[1]), lengths=(lengths[0], lengths[1]))


def short_runs(
    ends: Ends,
    system_xml: str,
    candidates: Sequence[Candidate],
    langevin: LangevinSettings,
    platform: PlatformChoice,
    longest: float,
    seed: int,
    progress: Progress,
) -> ShortRuns:
    """Run from both ends and evaluate the candidates.

    Parameters
    ----------
    ends : Ends
        At rest.
    system_xml : str
        Serialised openmm.System.
    candidates : sequence of Candidate
    langevin : LangevinSettings
    platform : PlatformChoice
    longest : float
        Of each run [ps].
    seed : int
    progress : Progress

    Raises
    ------
    SimulationError
        If a run leaves the numbers.
    SystemDefinitionError
        If an end turns into the other one at once.
    """
    features = Features(tuple(candidate.variable for candidate in candidates))
    space, at_ends = features.space, features.values(ends.positions, ends.box)
    counted = np.array([candidate.rank != "span" for candidate in candidates])
    interval = max(1, round(longest / langevin.timestep / N_FRAMES))
    frame_time = interval * langevin.timestep
    seeds = np.random.SeedSequence([seed, 11]).generate_state(2 * N_RUNS).tolist()
    runs: list[NDArray[np.float64]] = []
    with progress.task(f"short runs of {N_FRAMES * frame_time:.0f} ps", len(seeds)) as advance:
        for k, own_seed in enumerate(seeds):
            start = ends.positions[k // N_RUNS]
            n_steps = interval * N_FRAMES
            task = SamplingTask(system_xml, start, n_steps, interval, langevin, platform, own_seed, 0)
            runs.append(features.values(_frames(task, "AB"[k // N_RUNS]), ends.box))
            advance(k + 1)
    stays = [
        frames_before_leaving(space, at_ends, run, k // N_RUNS, frame_time, counted)
        for k, run in enumerate(runs)
    ]
    heating = round(HEATING / frame_time)
    skipped = [min(n // 2, max(int(EQUILIBRATION * n), heating)) for n in stays]
    kept = [run[first:n] for run, first, n in zip(runs, skipped, stays, strict=True)]
    first = [min(stays[:N_RUNS]), min(stays[N_RUNS:])]
    left = [n * frame_time if n < N_FRAMES else None for n in first]
    values = np.concatenate(kept[:N_RUNS]), np.concatenate(kept[N_RUNS:])
    n = tuple(len(run) for run in kept)
    found = ShortRuns(
        space, at_ends, values, N_FRAMES * frame_time, (left[0], left[1]), (n[:N_RUNS], n[N_RUNS:])
    )
    _check_stays(found)
    return found


def affordable(speed: float, timestep: float) -> float:
    """Return how long each run may be [ps] at a speed [steps/s] and a time step [ps]."""
    return max(SECONDS * speed / N_RUNS * timestep, SHORTEST)


def _frames(task: SamplingTask, end: str) -> NDArray[np.floating]:
    try:
        return sample_frames(task).positions
    except SimulationError as reason:
        raise SimulationError(
            f"the short run from end {end} broke down: {reason}: is the structure of this force field?"
        ) from None


def frames_before_leaving(
    space: FeatureSpace,
    ends: NDArray[np.float64],
    run: NDArray[np.float64],
    end: int,
    frame_time: float,
    counted: NDArray[np.bool_] | None = None,
) -> int:
    """Return the number of frames before a run goes over to the other end.

    It has when it is nearer to it for a while, in nearly all that tells the ends apart. The way over does not count:
    the last frame is the last one that was less than `STILL_THERE` of the way.

    Parameters
    ----------
    space : FeatureSpace
    ends : array (2, d)
        Values in the end structures.
    run : array (n_frames, d)
    end : int
        0 for A, 1 for B.
    frame_time : float
        Between frames [ps].
    counted : array (d,) of bool, optional
        Features that count; all unless given.
    """
    n_in_a_row = max(LEAVING_FRAMES, round(LEAVING_TIME / frame_time))
    unit = np.array([TELLING[unit] for unit in space.units])
    telling = np.abs(space.difference(ends[0], ends[1])) > unit
    telling &= True if counted is None else counted
    if not telling.any():
        return len(run)
    own, other = (np.abs(space.difference(ends[k], run) / unit)[:, telling] for k in (end, 1 - end))
    nearer = np.mean(other < own, axis=1) >= LEAVING_SHARE
    nearer = np.convolve(nearer, np.ones(n_in_a_row), mode="valid") >= n_in_a_row
    if not nearer.any():
        return len(run)
    way = np.linalg.norm(own, axis=1) / (np.linalg.norm(own, axis=1) + np.linalg.norm(other, axis=1))
    there = np.flatnonzero(way[: int(np.argmax(nearer))] < STILL_THERE)
    return int(there[-1]) + 1 if len(there) else 0


def _check_stays(runs: ShortRuns) -> None:
    for end, (values, left) in enumerate(zip(runs.values, runs.left, strict=True)):
        if len(values) < FEWEST_FRAMES and left is not None:
            raise SystemDefinitionError(
                f"end {'AB'[end]} turns into {'BA'[end]} within {left:.2g} ps in each of {N_RUNS} runs: no barrier "
                "parts the two here: give structures of different basins, or another force field"
            )
