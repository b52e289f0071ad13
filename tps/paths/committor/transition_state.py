"""Transition states: frames of a path from which half of all shots reach B first, found by bisection."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tps.dynamics.transition import TransitionDynamics
from tps.errors import ParameterError
from tps.paths.committor.shots import CommittorEstimate, estimate_committor

#: Bisection stops at a frame whose p_B is this close to 1/2.
_NEAR = 0.1
_SEARCH, _CONFIRM = 0, 1


@dataclass(frozen=True, eq=False)
class TransitionStates:
    """One frame per path, where p_B is nearest 1/2 as far as the search could tell.

    Attributes
    ----------
    frames : (n_paths,) int array
    positions : (n_paths, *position) array
    estimate : CommittorEstimate
        From shots of their own: those of the search, which chose the frames, would be biased towards 1/2.
    n_search_steps : int
        MD steps of the search.
    """

    frames: NDArray[np.int64]
    positions: NDArray[np.floating]
    estimate: CommittorEstimate
    n_search_steps: int

    @property
    def ensemble(self) -> NDArray[np.floating]:
        """Positions of the transition-state ensemble: the frames with 0.4 <= p_B <= 0.6."""
        return self.positions[self.estimate.in_transition_ensemble]


@dataclass(frozen=True, eq=False)
class CommittorHistogram:
    """Distribution of estimated p_B over points.

    Attributes
    ----------
    edges : (n_bins + 1,) array
    counts : (n_bins,) int array
    mean, deviation : float
        Of p_B over the points.
    binomial_deviation : float
        The deviation that the finite number of shots alone would give at the same mean.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    mean: float
    deviation: float
    binomial_deviation: float


def find_transition_states(
    dynamics: TransitionDynamics,
    paths: Sequence[NDArray[np.floating]],
    *,
    n_shots: int,
    seed: int,
    max_frames: int,
    n_search_shots: int | None = None,
    executor: Executor | None = None,
) -> TransitionStates:
    """Bisect every path on its committor, all paths side by side.

    Parameters
    ----------
    dynamics : TransitionDynamics
    paths : sequence of (n_frames, *position) arrays
        Each from A to B.
    n_shots : int
        From each frame found, for the reported estimate.
    seed, max_frames
        As `tps.paths.estimate_committor` takes them.
    n_search_shots : int, optional
        From each frame on the way; `n_shots` by default.
    executor : concurrent.futures.Executor, optional

    Raises
    ------
    ParameterError
        If there is no path, or one has no frame between its ends.
    """
    if not paths or min(len(path) for path in paths) < 3:
        raise ParameterError(
            "a transition state is looked for between the ends of paths of at least 3 frames"
        )
    low, high = np.zeros(len(paths), dtype=np.int64), np.array([len(p) - 1 for p in paths], dtype=np.int64)
    best, distance = high // 2, np.full(len(paths), np.inf)
    steps, turn = 0, 0
    while len(active := np.flatnonzero((high - low > 1) & (distance > _NEAR))):
        middle = (low[active] + high[active]) // 2
        found = estimate_committor(
            dynamics,
            np.stack([paths[i][frame] for i, frame in zip(active.tolist(), middle, strict=True)]),
            n_search_shots or n_shots,
            seed=seed,
            max_frames=max_frames,
            executor=executor,
            key=(_SEARCH, turn),
        )
        steps, turn = steps + found.n_steps, turn + 1
        off = np.where(np.isnan(found.p_b), 0.5, found.p_b - 0.5)  # where no shot finished, as a frame near B
        closer = np.abs(off) < distance[active]
        best[active[closer]], distance[active[closer]] = middle[closer], np.abs(off)[closer]
        low[active[off < 0]], high[active[off >= 0]] = middle[off < 0], middle[off >= 0]
    positions = np.stack([path[frame] for path, frame in zip(paths, best, strict=True)])
    estimate = estimate_committor(
        dynamics,
        positions,
        n_shots,
        seed=seed,
        max_frames=max_frames,
        executor=executor,
        key=(_CONFIRM,),
    )
    return TransitionStates(best, positions, estimate, steps)


def committor_histogram(estimate: CommittorEstimate, n_bins: int = 10) -> CommittorHistogram:
    """Return how p_B is distributed over points; a good transition-state ensemble peaks at 1/2.

    Raises
    ------
    ParameterError
        If no point has a finished shot.
    """
    known = estimate.n_finished > 0
    if not known.any():
        raise ParameterError(
            "a histogram of the committor needs a point with a finished shot: raise max_frames"
        )
    p, n = estimate.p_b[known], estimate.n_finished[known]
    counts, edges = np.histogram(p, bins=n_bins, range=(0.0, 1.0))
    mean = float(p.mean())
    return CommittorHistogram(
        edges, counts, mean, float(p.std()), float(np.sqrt(mean * (1 - mean) * np.mean(1 / n)))
    )
