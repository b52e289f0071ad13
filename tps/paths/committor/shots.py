"""The committor p_B: the chance to reach B before A, counted over shots from a point.

Each shot has velocities (or on a surface, noise) of its own and runs until it is in A or in B. Shots that reach neither
within the most frames are counted apart: they belong to neither state, and many of them mean that the limit is too low.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.dynamics.transition import FAILED, IN_A, IN_B, OUTSIDE, Points, TransitionDynamics, generators
from tps.engine import map_tasks
from tps.errors import ParameterError

#: Shots of one task, where many at once cost less.
_BATCH = 4096


@dataclass(frozen=True, eq=False)
class CommittorEstimate:
    """How the shots from each point ended, (n_points,) int arrays; `n_steps` counts MD steps."""

    n_a: NDArray[np.int64]
    n_b: NDArray[np.int64]
    n_unfinished: NDArray[np.int64]
    n_failed: NDArray[np.int64]
    n_steps: int

    @property
    def n_finished(self) -> NDArray[np.int64]:
        """Shots that reached A or B (n_points,)."""
        return self.n_a + self.n_b

    @property
    def p_b(self) -> NDArray[np.float64]:
        """Fraction of the finished shots that ended in B (n_points,); NaN where none finished."""
        n = self.n_finished
        return np.where(n > 0, self.n_b / np.maximum(n, 1), np.nan)

    @property
    def error(self) -> NDArray[np.float64]:
        """Binomial standard error of `p_b` (n_points,), of the Wilson centre and so never zero.

        References
        ----------
        Agresti and Coull, Am. Stat. 52, 119 (1998).
        """
        n = self.n_finished + 4
        p = (self.n_b + 2) / n
        return np.where(self.n_finished > 0, np.sqrt(p * (1 - p) / n), np.nan)

    @property
    def in_transition_ensemble(self) -> NDArray[np.bool_]:
        """Which points have 0.4 <= p_b <= 0.6 (n_points,)."""
        return (self.p_b >= 0.4) & (self.p_b <= 0.6)


@dataclass(frozen=True, eq=False)
class CommittorTask:
    """Shots from some points, picklable."""

    dynamics: TransitionDynamics
    points: Points
    keys: tuple[tuple[int, ...], ...]
    seed: int
    max_frames: int
    fresh: bool


def estimate_committor(
    dynamics: TransitionDynamics,
    positions: ArrayLike,
    n_shots: int,
    *,
    seed: int,
    max_frames: int,
    executor: Executor | None = None,
    key: Sequence[int] = (),
) -> CommittorEstimate:
    """Estimate p_B of positions by shots with fresh velocities.

    Parameters
    ----------
    dynamics : TransitionDynamics
    positions : (n_points, *position) array
    n_shots : int
        From each point.
    seed : int
        Shot j from point i depends on (seed, key, i, j) alone.
    max_frames : int
        Longest shot.
    executor : concurrent.futures.Executor, optional
        Where the shots run; here by default.
    key : sequence of int
        Tells estimates with the same seed apart.

    Returns
    -------
    CommittorEstimate
        Points in A or B themselves have p_B = 0 or 1 without a shot.
    """
    return committor_of_points(
        dynamics,
        dynamics.points(positions),
        n_shots,
        seed=seed,
        max_frames=max_frames,
        executor=executor,
        key=key,
    )


def committor_of_points(
    dynamics: TransitionDynamics,
    points: Points,
    n_shots: int,
    *,
    seed: int,
    max_frames: int,
    executor: Executor | None = None,
    key: Sequence[int] = (),
    fresh: bool = True,
) -> CommittorEstimate:
    """Estimate p_B of phase points (n_points, *point), with velocities drawn anew if `fresh`: see `committor`."""
    if n_shots < 1 or max_frames < 1 or not np.isfinite(points).all():
        raise ParameterError(
            "a committor needs at least one shot, one frame and points that are finite numbers, but got "
            f"{n_shots} shots, {max_frames} frames and {int((~np.isfinite(points)).sum())} numbers that are not finite"
        )
    where = dynamics.states(points) if len(points) else np.empty(0, dtype=np.int8)
    shot_from = np.repeat(np.flatnonzero(where == OUTSIDE), n_shots)
    keys = [(*key, int(i), j % n_shots) for j, i in enumerate(shot_from)]
    size = _BATCH if dynamics.batched else n_shots
    tasks = [
        CommittorTask(
            dynamics, points[shot_from[k : k + size]], tuple(keys[k : k + size]), seed, max_frames, fresh
        )
        for k in range(0, len(keys), size)
    ]
    done = map(run_shots, tasks) if executor is None else map_tasks(executor, run_shots, tasks)
    found = np.concatenate([np.empty((0, 2), dtype=np.int64), *done])
    counts = {
        end: np.bincount(shot_from[found[:, 0] == end], minlength=len(points)).astype(np.int64)
        for end in (IN_A, IN_B, OUTSIDE, FAILED)
    }
    for state in (IN_A, IN_B):
        counts[state][where == state] = n_shots
    n_steps = int(found[:, 1].sum()) * dynamics.steps_per_frame
    return CommittorEstimate(counts[IN_A], counts[IN_B], counts[OUTSIDE], counts[FAILED], n_steps)


def run_shots(task: CommittorTask) -> NDArray[np.int64]:
    """Run shots and return the end and the frames of each (n_shots, 2)."""
    dynamics, rngs = copy(task.dynamics), generators(task.seed, *task.keys)
    points = dynamics.fresh(task.points, rngs) if task.fresh else task.points
    flights = dynamics.fly(points, rngs, task.max_frames, keep=False)
    return np.array([(flight.end, flight.n_frames) for flight in flights], dtype=np.int64).reshape(-1, 2)
