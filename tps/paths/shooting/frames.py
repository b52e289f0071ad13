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

from collections.abc import Callable, Sequence
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
from tps.paths.committor.network import held_out_rows
from tps.paths.shooting.choice import FrameChoice
from tps.paths.shooting.reweighted import FrameShots, ReweightedPaths

#: Maps positions (n, *position) to ln S(x) (n,), up to a constant.
LogSelection = Callable[[NDArray[np.floating]], NDArray[np.float64]]

#: Least weight of a frame, the best having 1: what the committor may get wrong, against shots from where it is sure.
_FLOOR = 0.005
_FIRST, _SECOND = 0, 1
#: Frames of plain dynamics that teach, at most: a network learns from so many in seconds.
_MOST_TAUGHT = 2000
_BATCH, _TASK, _FEWEST_TASKS = 4096, 25, 16


def biased_selection(bias: Callable[[NDArray[np.floating]], NDArray[np.float64]], kt: float) -> LogSelection:
    """Return ln S = -V/kT of frames sampled under a bias V of positions, in the unit of kt."""
    return lambda positions: -bias(positions) / kt


def pooled_selection(
    statistics: Callable[[NDArray[np.floating]], NDArray[np.float64]],
    inside: Callable[[NDArray[np.floating]], NDArray[np.bool_]],
    eta: NDArray[np.float64],
    log_strength: NDArray[np.float64],
) -> LogSelection:
    """Return ln S of frames pooled from tilted windows and from A and B, weighed by MBAR.

    Parameters
    ----------
    statistics : callable
        Maps positions (n, *position) to T (n, n_statistics).
    inside : callable
        Maps them to whether they lie in A and in B (2, n).
    eta : (K, n_statistics) array
        Tilts of the windows.
    log_strength : (K + 2,) array
        ln N_k + f_k of the windows, of A and of B: S = Σ_k e^log_strength_k q_k, q_k = e^(η_k·T) of windows, 1 inside
        the states.
    """

    def log_selection(positions: NDArray[np.floating]) -> NDArray[np.float64]:
        x = np.asarray(positions)
        density = np.concatenate([eta @ statistics(x).T, np.where(inside(x), 0.0, -np.inf)])
        return np.asarray(logsumexp(density + log_strength[:, None], axis=0))

    return log_selection


def unselected(positions: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return ln S = 0 (n,): frames of plain dynamics."""
    return np.zeros(len(positions))


@dataclass(frozen=True, eq=False)
class ShotTask:
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
    known_ends: ArrayLike | None = None,
    taught_by: FrameShots | None = None,
    done: Callable[[], None] = lambda: None,
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
    known_ends : (n_frames, 2) int array, optional
        The state that each frame's own trajectory goes to next, and the one it was in last, as plain dynamics tells;
        OUTSIDE where it tells neither. Frames with both teach the committor then, in place of `n_learning` shots.
    taught_by : FrameShots, optional
        Earlier shots from the same frames, whose lessons are taken over in place of `n_learning` new ones.
    done : callable, optional
        Called after each finished task of some shots, for a progress bar: `n_tasks` of them.

    Raises
    ------
    ParameterError
        If no frame lies outside A and B.
    """
    frames = np.asarray(positions)
    points = dynamics.points(frames)
    state = dynamics.states(points)
    outside = np.flatnonzero(state == OUTSIDE)
    if not len(outside) or n_shots < 1:
        raise ParameterError(
            f"shots need frames outside both states and at least one shot: {len(outside)} frames, {n_shots} shots"
        )
    rng, n_steps = np.random.default_rng([seed, _FIRST]), 0
    taught, lessons = np.empty(0, np.int64), np.empty((0, 2), np.int64)
    teacher = seed
    if taught_by is not None:
        taught, lessons, teacher = taught_by.taught, taught_by.lessons, taught_by.seed
    elif known_ends is not None:
        ends = np.asarray(known_ends, dtype=np.int64)
        known = outside[(ends[outside] != OUTSIDE).all(axis=1)]
        taught = known[
            np.unique(np.linspace(0, len(known) - 1, min(len(known), _MOST_TAUGHT)).astype(np.int64))
        ]
        lessons = ends[taught]
    elif n_learning:
        taught = outside[_far_apart(dynamics.features(frames[outside]), n_learning, rng)]
        lessons, _, n_steps = _shots(dynamics, points[taught], (seed, _FIRST), max_frames, executor, done)
    choice = _choice(dynamics, frames[taught], lessons, teacher)
    chance, guess = np.zeros(len(frames)), state.copy()
    chance[outside] = 1.0
    if choice is not None:
        chance[outside] = choice.weights(dynamics, frames[outside])
        favours_b = choice.model.probability(dynamics.features(frames[outside])) > 0.5
        guess[outside] = np.where(favours_b, IN_B, IN_A)
    drawn = _systematic(chance, n_shots, rng)
    ends, paths, flown = _shots(dynamics, points[drawn], (seed, _SECOND), max_frames, executor, done)
    made = tuple(path for path in paths if path is not None)
    shots = FrameShots(
        log_weights=-log_selection(frames),
        choice=chance,
        state=state,
        guess=guess,
        drawn=drawn,
        ends=ends,
        shot=np.flatnonzero([path is not None for path in paths]),
        log_sums=_log_chances(dynamics, [path[1:-1] for path in made], log_selection, choice),
        taught=taught,
        lessons=lessons,
        seed=teacher,
        n_steps=n_steps + flown,
    )
    return ReweightedPaths(made, shots)


def n_tasks(dynamics: TransitionDynamics, *n_shots: int) -> int:
    """Return the tasks into which shots are cut, several lots of them added up."""
    return sum(-(-n // _task_size(dynamics, n)) for n in n_shots)


def _systematic(chance: NDArray[np.float64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return n rows drawn in proportion to `chance`, in their order, each as often as it should be."""
    places = (rng.random() + np.arange(n)) / n * chance.sum()
    last = np.flatnonzero(chance)[-1]
    return np.minimum(np.searchsorted(np.cumsum(chance), places), last)


def _log_chances(
    dynamics: TransitionDynamics,
    interiors: Sequence[NDArray[np.floating]],
    log_selection: LogSelection,
    choice: FrameChoice | None,
) -> NDArray[np.float64]:
    """Return ln Σ_j S(x_j) c(x_j) (n_paths,) over the interior frames of each path."""
    if not interiors:
        return np.empty(0)
    frames = np.concatenate(interiors)  # at once: each call to OpenMM makes a context
    log_s = log_selection(frames)
    if choice is not None:
        log_s = log_s + np.log(choice.weights(dynamics, frames))
    cuts = np.cumsum([len(interior) for interior in interiors])[:-1]
    return np.array([logsumexp(part) for part in np.split(log_s, cuts)])


def _choice(
    dynamics: TransitionDynamics, frames: NDArray[np.floating], ends: NDArray[np.int64], seed: int
) -> CommittorChoice | None:
    """Return the choice of frames that the first shots teach; None where all of them ended in one state.

    Any choice leaves the ensemble as it is: where there are too few shots for a network, a straight committor makes it.
    """
    n_a, n_b = (np.sum(ends == state, axis=1) for state in (IN_A, IN_B))
    if not (n_a.sum() and n_b.sum()):
        return None
    enough = held_out_rows(int(np.count_nonzero(n_a + n_b))).any()
    model = fit_committor(dynamics.features(frames), n_a, n_b, "network" if enough else "linear", seed=seed)
    return CommittorChoice(model, _FLOOR)


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
    done: Callable[[], None],
) -> tuple[NDArray[np.int64], list[NDArray[np.floating] | None], int]:
    """Return the ends (n, 2), the positions of paths from A to B (None of others), and the steps of shots."""
    size = _task_size(dynamics, len(points))
    tasks = [
        ShotTask(
            dynamics,
            points[k : k + size],
            tuple((key[1], i) for i in range(k, min(k + size, len(points)))),
            key[0],
            max_frames,
        )
        for k in range(0, len(points), size)
    ]
    if executor is None:
        found = []
        for task in tasks:
            found.append(run_frame_shots(task))
            done()
    else:
        found = map_tasks(executor, run_frame_shots, tasks, done)
    return (
        np.concatenate([ends for ends, _, _ in found]),
        [path for _, paths, _ in found for path in paths],
        sum(steps for _, _, steps in found),
    )


def _task_size(dynamics: TransitionDynamics, n_shots: int) -> int:
    """Return the shots of one task: fewer where there are few, each of which may be long, so that no worker waits."""
    return _BATCH if dynamics.batched else max(1, min(_TASK, -(-n_shots // _FEWEST_TASKS)))


def run_frame_shots(
    task: ShotTask,
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
