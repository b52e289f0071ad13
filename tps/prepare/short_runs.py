"""Short runs in each end: how far every candidate fluctuates there, and whether the ends stay where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tps.conformations import SamplingTask, sample_frames
from tps.engine import LangevinSettings, PlatformChoice
from tps.errors import SimulationError, SystemDefinitionError
from tps.features import Features, FeatureSpace
from tps.pipeline import Progress
from tps.prepare.candidates import Candidate
from tps.prepare.ends import Ends

#: Seconds spent on each end at most, and the least and most picoseconds of a run.
SECONDS, SHORTEST, LONGEST = 20.0, 2.0, 50.0
#: Runs from each end, each with a seed of its own, and frames of each.
N_RUNS, N_FRAMES = 2, 200
#: Share of each run that goes before the statistics.
EQUILIBRATION = 0.1
#: What counts as telling the ends apart, when it is asked whether a frame is nearer to the other end: per unit.
TELLING = {"rad": np.radians(30), "nm": 0.1, "": 0.5}
#: Frames in a row that are nearer to the other end when a run has left its own.
LEAVING_FRAMES = 5
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
    """

    space: FeatureSpace
    ends: NDArray[np.float64]
    values: tuple[NDArray[np.float64], NDArray[np.float64]]
    picoseconds: float
    left: tuple[float | None, float | None]


def short_runs(
    ends: Ends,
    system_xml: str,
    candidates: Sequence[Candidate],
    langevin: LangevinSettings,
    platform: PlatformChoice,
    speed: float,
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
    speed : float
        MD steps per second.
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
    counted = np.array([not candidate.spare for candidate in candidates])
    interval = max(1, n_steps_of(speed, langevin.timestep) // N_FRAMES)
    seeds = np.random.SeedSequence([seed, 11]).generate_state(2 * N_RUNS).tolist()
    picoseconds = interval * N_FRAMES * langevin.timestep
    values: list[NDArray[np.float64]] = []
    left: list[float | None] = []
    with progress.task(f"short runs of {picoseconds:.0f} ps", 2 * N_RUNS) as advance:
        for end, name in enumerate("AB"):
            kept, when = [], []
            for k in range(N_RUNS):
                task = SamplingTask(
                    system_xml,
                    ends.positions[end],
                    interval * N_FRAMES,
                    interval,
                    langevin,
                    platform,
                    seeds[N_RUNS * end + k],
                    n_equilibration_steps=0,
                )
                run = features.values(_frames(task, name), ends.box)
                n = _n_before_leaving(space, counted, at_ends, run, end)
                kept.append(run[int(EQUILIBRATION * n) : n])
                when += [n * interval * langevin.timestep] if n < len(run) else []
                advance(N_RUNS * end + k + 1)
            values.append(np.concatenate(kept))
            left.append(min(when, default=None))
    found = ShortRuns(space, at_ends, (values[0], values[1]), picoseconds, (left[0], left[1]))
    _check_stays(found)
    return found


def n_steps_of(speed: float, timestep: float) -> int:
    """Return the steps of each run that its time allows at a speed [steps/s] and a time step [ps]."""
    return int(np.clip(SECONDS * speed / N_RUNS, SHORTEST / timestep, LONGEST / timestep))


def _frames(task: SamplingTask, end: str) -> NDArray[np.floating]:
    try:
        return sample_frames(task).positions
    except SimulationError as reason:
        raise SimulationError(
            f"the short run from end {end} broke down: {reason}: is the structure of this force field?"
        ) from None


def _n_before_leaving(
    space: FeatureSpace,
    counted: NDArray[np.bool_],
    ends: NDArray[np.float64],
    run: NDArray[np.float64],
    end: int,
) -> int:
    """Return the number of frames before a run goes over to the other end, where it is nearer for a few frames.

    The way over does not count: the last frame is the last one that was less than `STILL_THERE` of the way.
    """
    apart = space.difference(ends[0], ends[1])
    telling = (np.abs(apart) > [TELLING[unit] for unit in space.units]) & counted
    if not telling.any():
        return len(run)
    own, other = (
        np.linalg.norm((space.difference(ends[k], run) / np.where(telling, apart, 1.0))[:, telling], axis=1)
        for k in (end, 1 - end)
    )
    nearer = np.convolve(own > other, np.ones(LEAVING_FRAMES), mode="valid") >= LEAVING_FRAMES
    if not nearer.any():
        return len(run)
    there = np.flatnonzero((own < STILL_THERE * (own + other))[: int(np.argmax(nearer))])
    return int(there[-1]) + 1 if len(there) else 0


def _check_stays(runs: ShortRuns) -> None:
    for end, (values, left) in enumerate(zip(runs.values, runs.left, strict=True)):
        if len(values) < FEWEST_FRAMES and left is not None:
            raise SystemDefinitionError(
                f"end {'AB'[end]} turns into {'BA'[end]} within {left:.2g} ps in each of {N_RUNS} runs: no barrier "
                "parts the two here: give structures of different basins, or another force field"
            )
