"""Independent transition paths, shot from frames whose distribution is known, and the weights that undo it.

Frames are drawn from ρ(x) S(x), ρ the Boltzmann distribution: under a bias V, S = exp(-V/kT), times the weights by
which some of them are chosen. Flown on and back with fresh velocities, a frame gives a path X with probability
proportional to P(X) Σ_j S(x_j) over the path's interior frames, as any of them could have been the one shot from. So a
path from A to B counts with the weight 1/Σ_j S(x_j). No path follows from another one: channels that chains never go
between get their shares.

References
----------
Hummer, J. Chem. Phys. 120, 516 (2004): paths from equilibrium points; Jung, Okazaki, Hummer, J. Chem. Phys. 147, 152716
(2017): shooting from a known distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from tps.dynamics.transition import IN_A, IN_B, OUTSIDE, Points, TransitionDynamics, generators
from tps.engine import map_tasks
from tps.errors import ParameterError
from tps.paths.committor.model import CommittorChoice, fit_committor
from tps.paths.shooting.choice import FrameChoice

#: Maps positions (n, *position) to ln S(x) (n,), up to a constant.
LogSelection = Callable[[NDArray[np.floating]], NDArray[np.float64]]

_FIRST, _SECOND = 0, 1
_BATCH, _TASK = 4096, 25


@dataclass(frozen=True, eq=False)
class ReweightedPaths:
    """Independent paths from A to B with the weights that make them the transition-path ensemble.

    Attributes
    ----------
    positions : tuple of (n_frames, *position) arrays
        First frame in A, last in B.
    log_weights : (n_paths,) array
        Normalised.
    shot : (n_paths,) int array
        The shot that made each.
    ends : (n_shots, 2) int array
        Where each shot ended forwards and backwards.
    n_steps : int
        Force evaluations, learning included.
    """

    positions: tuple[NDArray[np.floating], ...]
    log_weights: NDArray[np.float64]
    shot: NDArray[np.int64]
    ends: NDArray[np.int64]
    n_steps: int

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def n_shots(self) -> int:
        """Shots that gave these paths."""
        return len(self.ends)

    @property
    def effective_paths(self) -> float:
        """Effective number of paths (Kish)."""
        return float(np.exp(-logsumexp(2 * self.log_weights))) if len(self) else 0.0


@dataclass(frozen=True, eq=False)
class FrameShots:
    """Shots from some frames, picklable."""

    dynamics: TransitionDynamics
    points: Points
    keys: tuple[tuple[int, int], ...]
    seed: int
    max_frames: int


def shoot_from_frames(
    dynamics: TransitionDynamics,
    positions: ArrayLike,
    log_selection: LogSelection,
    *,
    n_shots: int,
    seed: int,
    max_frames: int,
    executor: Executor | None = None,
    n_learning: int = 0,
) -> ReweightedPaths:
    """Shoot from frames of a known distribution, the better ones more often.

    Parameters
    ----------
    dynamics : TransitionDynamics
    positions : (n_frames, *position) array
        Drawn from ρ(x) S(x); those in A or B are not shot from.
    log_selection : callable
        ln S(x) of any positions: -V/kT of frames sampled under a bias V, zero of plain dynamics.
    n_shots : int
    seed : int
    max_frames : int
        Longest flight; paths with a longer side are missing from the result.
    executor : concurrent.futures.Executor, optional
    n_learning : int
        Shots that come first, from frames far apart in the features, and only teach a committor by which the others'
        frames are chosen; 0: frames are chosen alike.

    Raises
    ------
    ParameterError
        If no frame lies outside A and B.
    """
    frames = np.asarray(positions)
    points = dynamics.points(frames)
    outside = np.flatnonzero(dynamics.states(points) == OUTSIDE)
    if not len(outside) or n_shots < 1:
        raise ParameterError(
            f"shots need frames outside both states and at least one shot: {len(outside)} frames, {n_shots} shots"
        )
    choice, n_steps, rng = None, 0, np.random.default_rng([seed, _FIRST])
    if n_learning:
        spread = outside[_far_apart(dynamics.features(frames[outside]), n_learning, rng)]
        ends, _, n_steps = _shots(dynamics, points[spread], (seed, _FIRST), max_frames, executor)
        choice = _choice(dynamics, frames[spread], ends, seed)
    chance = np.ones(len(outside)) if choice is None else choice.weights(dynamics, frames[outside])
    places = (
        (rng.random() + np.arange(n_shots)) / n_shots * chance.sum()
    )  # systematic: each as often as it should
    drawn = outside[np.minimum(np.searchsorted(np.cumsum(chance), places), len(outside) - 1)]
    ends, paths, flown = _shots(dynamics, points[drawn], (seed, _SECOND), max_frames, executor)
    shot = np.flatnonzero([path is not None for path in paths])
    made = tuple(path for path in paths if path is not None)
    log_weights = np.array([-_log_chances(dynamics, path[1:-1], log_selection, choice) for path in made])
    return ReweightedPaths(
        made, log_weights - (logsumexp(log_weights) if len(made) else 0.0), shot, ends, n_steps + flown
    )


def _log_chances(
    dynamics: TransitionDynamics,
    interior: NDArray[np.floating],
    log_selection: LogSelection,
    choice: FrameChoice | None,
) -> float:
    """Return ln Σ_j S(x_j) over interior frames."""
    log_s = log_selection(interior)
    if choice is not None:
        log_s = log_s + np.log(choice.weights(dynamics, interior))
    return float(logsumexp(log_s))


def _choice(
    dynamics: TransitionDynamics, frames: NDArray[np.floating], ends: NDArray[np.int64], seed: int
) -> FrameChoice | None:
    """Return the choice of frames that the first shots teach; None where all of them ended in one state."""
    n_a, n_b = (np.sum(ends == state, axis=1) for state in (IN_A, IN_B))
    if not (n_a.sum() and n_b.sum()):
        return None
    return CommittorChoice(fit_committor(dynamics.features(frames), n_a, n_b, "network", seed=seed))


def _far_apart(features: NDArray[np.float64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return n rows (all, if there are fewer), each the one farthest from those before it."""
    chosen = [int(rng.integers(len(features)))]
    distance = np.full(len(features), np.inf)
    for _ in range(min(n, len(features)) - 1):
        distance = np.minimum(distance, np.sum((features - features[chosen[-1]]) ** 2, axis=1))
        chosen.append(int(np.argmax(distance)))
    return np.array(chosen)


def _shots(
    dynamics: TransitionDynamics,
    points: Points,
    key: tuple[int, int],
    max_frames: int,
    executor: Executor | None,
) -> tuple[NDArray[np.int64], list[NDArray[np.floating] | None], int]:
    """Return the ends (n, 2), the positions of paths from A to B (None of others), and the steps of shots."""
    size = _BATCH if dynamics.batched else _TASK
    tasks = [
        FrameShots(
            dynamics,
            points[k : k + size],
            tuple((key[1], i) for i in range(k, min(k + size, len(points)))),
            key[0],
            max_frames,
        )
        for k in range(0, len(points), size)
    ]
    done = (
        [run_frame_shots(t) for t in tasks]
        if executor is None
        else map_tasks(executor, run_frame_shots, tasks)
    )
    return (
        np.concatenate([ends for ends, _, _ in done]),
        [path for _, paths, _ in done for path in paths],
        sum(steps for _, _, steps in done),
    )


def run_frame_shots(
    task: FrameShots,
) -> tuple[NDArray[np.int64], list[NDArray[np.floating] | None], int]:
    """Fly on and back from every frame."""
    dynamics, rngs = copy(task.dynamics), generators(task.seed, *task.keys)
    points = dynamics.fresh(task.points, rngs)
    forward = dynamics.fly(points, [rng.spawn(1)[0] for rng in rngs], task.max_frames)
    backward = dynamics.fly(dynamics.reverse(points), [rng.spawn(1)[0] for rng in rngs], task.max_frames)
    paths: list[NDArray[np.floating] | None] = []
    for point, on, back in zip(points, forward, backward, strict=True):
        if {on.end, back.end} != {IN_A, IN_B}:
            paths.append(None)
            continue
        path = dynamics.positions(np.concatenate([back.points[::-1], point[None], on.points]))
        paths.append(path if back.end == IN_A else path[::-1])
    ends = np.array([(on.end, back.end) for on, back in zip(forward, backward, strict=True)], dtype=np.int64)
    n_frames = sum(flight.n_frames for flight in (*forward, *backward))
    return ends, paths, n_frames * dynamics.steps_per_frame
