"""Rates and times of transitions, where a long unbiased run could check them.

The rate from A is the number of transitions A → B per time during which A was the last state visited. It factors into
the flux through a surface round A and the committor of the phase points in which the surface is crossed, velocities
kept: exactly, whatever the surface, so that the surface decides the cost and not the answer.

References
----------
Van Erp, Moroni, Bolhuis, J. Chem. Phys. 118, 7762 (2003); Allen, Frenkel, ten Wolde, J. Chem. Phys. 124, 024102 (2006).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.analysis.metrics import FEWEST_EFFECTIVE, Metric, proportion_error
from tps.dynamics import TransitionDynamics
from tps.dynamics.transition import FAILED, IN_A, IN_B, Points, generators
from tps.engine import map_tasks
from tps.errors import ParameterError
from tps.paths import TransitionPaths, committor_of_points

#: Frames that a walker flies at a time; bounds memory, and is part of what a seed means.
_CHUNK = 500
_FLUX, _SHOTS = 0, 1

#: Maps positions (n, *position) to whether they lie beyond the surface, seen from A (n,).
Beyond = Callable[[NDArray[np.floating]], NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class Flux:
    """First crossings of a surface by walkers that come from A.

    Attributes
    ----------
    points : (n_crossings, *point) array
        The first frame beyond the surface after each visit of A.
    walker : (n_crossings,) int array
    time : (n_walkers,) array
        Time during which A was the last state visited [ps; of a surface: its squared unit].
    n_steps : int
    """

    points: Points
    walker: NDArray[np.int64]
    time: NDArray[np.float64]
    n_steps: int

    @property
    def value(self) -> tuple[float, float | None]:
        """Crossings per time, and the standard error over walkers."""
        return ratio_of_sums(np.bincount(self.walker, minlength=len(self.time)).astype(float), self.time)


@dataclass(frozen=True)
class Rate:
    """Rate from A to B [1/ps; of a surface: per squared unit] with its standard error over walkers.

    Attributes
    ----------
    value : float
    error : float or None
    flux : (value, error)
    p_b : float
        Mean committor of the crossing points.
    n_shots, n_in_b : int
        Shots from the crossings, and those of them that reached B.
    n_unfinished : int
        Shots that reached neither state, left out: the rate is only as good as they are few.
    n_steps : int
        Flux and shots together.
    """

    value: float
    error: float | None
    flux: tuple[float, float | None]
    p_b: float
    n_shots: int
    n_in_b: int
    n_unfinished: int
    n_steps: int


@dataclass(frozen=True, eq=False)
class FluxTask:
    """One group of walkers, picklable if `beyond` is a module-level function."""

    dynamics: TransitionDynamics
    points: Points
    walkers: tuple[int, ...]
    beyond: Beyond | None
    n_frames: int
    seed: int


def ratio_of_sums(
    numerators: NDArray[np.float64], denominators: NDArray[np.float64]
) -> tuple[float, float | None]:
    """Return Σ numerators / Σ denominators over independent units (n,), and its standard error (None below two).

    References
    ----------
    Cochran, Sampling Techniques, 3rd ed. (1977), Eq. 6.13: the variance of a ratio estimator.
    """
    total = float(denominators.sum())
    if not total > 0:
        return float("nan"), None
    n, value = len(numerators), float(numerators.sum()) / total
    if n < 2:
        return value, None
    residual = numerators - value * denominators
    return value, float(np.sqrt(n / (n - 1) * np.sum(residual**2)) / total)


def flux_from_a(
    dynamics: TransitionDynamics,
    positions: ArrayLike,
    n_frames: int,
    *,
    seed: int,
    beyond: Beyond | None = None,
    executor: Executor | None = None,
) -> Flux:
    """Count the crossings of a surface round A by free dynamics.

    Parameters
    ----------
    dynamics : TransitionDynamics
    positions : (n_walkers, *position) array
        Where the walkers start; in equilibrium in A, or the first crossings are not representative.
    n_frames : int
        Frames of each walker.
    seed : int
    beyond : callable, optional
        The surface: which positions lie beyond it. None: the border of A. Frames in B always do.
    executor : concurrent.futures.Executor, optional

    Raises
    ------
    ParameterError
        If a walker does not start in A.
    """
    points = dynamics.points(positions)
    if n_frames < 1 or not len(points) or (dynamics.states(points) != IN_A).any():
        raise ParameterError("a flux needs at least one frame, and walkers that all start in A")
    everyone = tuple(range(len(points)))
    groups = [everyone] if dynamics.batched else [(i,) for i in everyone]
    tasks = [FluxTask(dynamics, points[list(g)], g, beyond, n_frames, seed) for g in groups]
    parts = [run_flux(t) for t in tasks] if executor is None else map_tasks(executor, run_flux, tasks)
    return Flux(
        np.concatenate([p.points for p in parts]),
        np.concatenate([p.walker for p in parts]),
        np.concatenate([p.time for p in parts]),
        sum(p.n_steps for p in parts),
    )


def run_flux(task: FluxTask) -> Flux:
    """Run a group of walkers; `walker` holds their own numbers, `time` is in their order."""
    dynamics = copy(task.dynamics)  # tasks in threads share the original
    x = dynamics.fresh(task.points, generators(task.seed, *((_FLUX, w) for w in task.walkers))).copy()
    n = len(x)
    from_a, armed, alive = np.ones(n, dtype=bool), np.ones(n, dtype=bool), np.ones(n, dtype=bool)
    time, crossings, walkers, flown = np.zeros(n), [task.points[:0]], [], 0
    for chunk, first in enumerate(range(0, task.n_frames, _CHUNK)):
        rows = np.flatnonzero(alive)
        if not len(rows):
            break
        rngs = generators(task.seed, *((_FLUX, task.walkers[i], chunk) for i in rows))
        flights = dynamics.fly(x[rows], rngs, min(_CHUNK, task.n_frames - first), stop=False)
        for row, flight in zip(rows.tolist(), flights, strict=True):
            flown += flight.n_frames
            frames = flight.points
            if flight.end == FAILED:  # one walker fails alone: what it did before counts
                alive[row], frames = False, frames[:-1]
            if not len(frames):
                continue
            where = dynamics.states(frames)
            outside = where != IN_A if task.beyond is None else task.beyond(dynamics.positions(frames))
            label = np.where(where == IN_A, 0, np.where(outside | (where == IN_B), 1, -1))
            marked = np.flatnonzero(label >= 0)
            before = np.concatenate([[0 if armed[row] else 1], label[marked]])
            hits = marked[(before[:-1] == 0) & (before[1:] == 1)]
            crossings.append(frames[hits])
            walkers += [task.walkers[row]] * len(hits)
            armed[row] = before[-1] == 0
            visited = np.flatnonzero(where >= 0)
            last = np.concatenate([[from_a[row]], where[visited] == IN_A])
            history = last[np.searchsorted(visited, np.arange(len(frames)), side="right")]
            time[row] += history.sum() * dynamics.frame_time
            from_a[row] = last[-1]
            x[row] = frames[-1]
    return Flux(
        np.concatenate(crossings), np.array(walkers, dtype=np.int64), time, flown * dynamics.steps_per_frame
    )


def rate_from_flux(
    dynamics: TransitionDynamics,
    flux: Flux,
    n_shots: int,
    *,
    seed: int,
    max_frames: int,
    executor: Executor | None = None,
) -> Rate:
    """Return the rate: the sum of the crossing points' committors per time spent coming from A.

    Raises
    ------
    ParameterError
        If nothing crossed the surface.
    """
    if not len(flux.points):
        raise ParameterError("no walker crossed the surface: let them run longer, or move it closer to A")
    estimate = committor_of_points(
        dynamics,
        flux.points,
        n_shots,
        seed=seed,
        max_frames=max_frames,
        executor=executor,
        key=(_SHOTS,),
        fresh=False,
    )
    known = estimate.n_finished > 0
    p_b = np.where(known, estimate.p_b, 0.0)
    value, error = ratio_of_sums(np.bincount(flux.walker, p_b, len(flux.time)).astype(np.float64), flux.time)
    return Rate(
        value,
        error,
        flux.value,
        float(p_b[known].mean()) if known.any() else float("nan"),
        len(flux.points) * n_shots,
        int(estimate.n_b.sum()),
        int(estimate.n_unfinished.sum() + estimate.n_failed.sum()),
        flux.n_steps + estimate.n_steps,
    )


def flux_metrics(rate: Rate, time_unit: str) -> dict[str, Metric]:
    """Return the rate by flux and committor, the flux and the committor; withheld from too few shots in B."""
    few = (
        f"only {rate.n_in_b} of {rate.n_shots} shots from the border of A reached B, too few for a rate: the barrier "
        "is too high for direct flux, so give more walkers, frames and shots, or take wider states"
    )
    return {
        "rate_by_flux": Metric(
            rate.value,
            rate.error,
            f"1/{time_unit}",
            "Transitions A → B per time during which A was the last state visited: flux out of A times the committor "
            f"of its crossings; {rate.n_in_b} of {rate.n_shots} shots reached B; standard error over walkers.",
        ).unless("" if rate.n_in_b >= FEWEST_EFFECTIVE else few),
        "flux_from_a": Metric(
            *rate.flux,
            f"1/{time_unit}",
            "Crossings of the border of A, coming from A, per time during which A was the last state visited; standard "
            "error over walkers.",
        ),
        "crossing_committor": Metric(
            rate.p_b,
            proportion_error(rate.p_b, rate.n_shots - rate.n_unfinished),
            "",
            "Mean p_B of the crossings, velocities kept; binomial standard error, as if every shot were independent.",
        ),
    }


def mean_transition_time(paths: TransitionPaths, unit: str = "ps") -> Metric:
    """Return the mean time from the last frame in A to the first in B, with its standard error over chains."""
    chains = np.unique(paths.chain)
    sums = [
        np.array([(values * paths.multiplicity)[paths.chain == c].sum() for c in chains])
        for values in (paths.durations, np.ones(len(paths)))
    ]
    value, error = ratio_of_sums(*sums)
    return Metric(
        value,
        error,
        unit,
        "Mean time between the last frame in A and the first in B over the transition-path ensemble from shooting; "
        "standard error over independent chains (none for a single chain).",
    )
