"""Paths on a surface: overdamped Langevin dynamics under a tilt that moves along a spacetime curve.

What `tps.paths.annealed.molecule` does with OpenMM for molecules, for many walkers at once. What comes out is a
*candidate* path: its frame index is the position of the protocol, not physical time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tps.dynamics.overdamped import STABILITY, kept_out, largest_curvature, overdamped_step
from tps.dynamics.segments import reactive_segment
from tps.errors import ParameterError
from tps.paths.ensemble import COMPLETED, Passages, PathEnsemble
from tps.paths.protocol import equal_steps, passed
from tps.systems import Region, SurfaceSystem

#: Most random numbers held at once.
_MAX_NOISE = 8_000_000


@dataclass(frozen=True)
class OverdampedSettings:
    """Overdamped Langevin dynamics under a tilt that moves along a curve.

    Attributes
    ----------
    n_steps : int
        Steps of one path along the whole curve.
    n_updates : int
        How often the tilt is moved on its way; every update is one equal step of the clock.
    n_frames : int
        Stored frames; divides `n_updates`.
    n_equilibration_steps : int
        Steps under the first tilt before the path begins.
    stability : float
        Time step times curvature; Euler and Maruyama are stable below 2, and their stationary variance is too large by
        a factor 1/(1 - stability/2) where the curvature is largest.
    curvature : float or None
        Largest curvature of u = U/kT that paths meet; None: the largest at the two end points. The step under a tilt of
        stiffness κ is stability/(curvature + κ), so strong tilts take short steps, and weak ones long ones.
    """

    n_steps: int = 4_000
    n_updates: int = 400
    n_frames: int = 200
    n_equilibration_steps: int = 200
    stability: float = STABILITY
    curvature: float | None = None

    def __post_init__(self) -> None:
        if min(self.n_steps, self.n_updates, self.n_frames) < 1 or self.n_equilibration_steps < 0:
            raise ParameterError("overdamped dynamics needs at least one step, one update and one frame")
        if self.n_steps % self.n_updates or self.n_updates % self.n_frames:
            raise ParameterError(
                f"n_steps ({self.n_steps}) must be a multiple of n_updates ({self.n_updates}), and n_updates a "
                f"multiple of n_frames ({self.n_frames})"
            )
        if not 0 < self.stability < 1:
            raise ParameterError(f"stability must lie between 0 and 1, but got {self.stability}")
        if self.curvature is not None and not self.curvature > 0:
            raise ParameterError(f"the curvature must be positive, but got {self.curvature}")


def overdamped_annealed_paths(
    system: SurfaceSystem,
    s: NDArray[np.float64],
    eta: NDArray[np.float64],
    settings: OverdampedSettings,
    seeds: list[int],
    done: Callable[[int], None] = lambda n: None,
    *,
    clock: NDArray[np.float64] | None = None,
    walls: Sequence[Region] = (),
    backward: bool = False,
) -> tuple[PathEnsemble, NDArray[np.float64]]:
    """Run independent paths from end point A under a tilt that moves along a curve, each with its own noise.

    As with molecules, the work is W = -Σ_k (η_{k+1} - η_k)·T(x_k) [kT], summed over the updates of η (Crooks 1998).

    Parameters
    ----------
    system : SurfaceSystem
    s : (n_points,) array
        Fraction of the Fisher-Rao length at the curve's points.
    eta : (n_points, K) array
        Natural parameters of the curve, from A to B.
    settings : OverdampedSettings
    seeds : list of int
        One per path; a path depends on its own seed alone, not on which paths run beside it.
    done : callable
        Called with the number of paths that are finished so far.
    clock : (n_points,) array, optional
        Fraction of the steps after which the curve's points are passed, from 0 to 1; `s` unless given.
    walls : sequence of Region
        Into which no walker goes: a step that would is not taken.
    backward : bool
        Start at B and run the curve from B to A: frames are in the order of the protocol, `s` falls from 1 to 0, the
        work is that of the backward protocol, and reactive segments go from B to A.

    Returns
    -------
    ensemble : PathEnsemble
        `values` are those of the axes (angles wrapped), `potential_energy` is in the surface's unit, and
        `frame_interval` is the mean τ between frames. A walker that leaves the numbers, or the table, fails alone.
    positions : (n_paths, n_frames, d) array
        Unwrapped; NaN for a path that failed.
    """
    clock = s if clock is None else clock
    protocol, start = equal_steps(clock, eta, settings.n_updates), system.point_a
    if backward:
        protocol, start = protocol[::-1].copy(), system.point_b
    curvature = largest_curvature(system) if settings.curvature is None else settings.curvature
    timesteps = settings.stability / (curvature + np.array([system.space.stiffness(e) for e in protocol]))
    per_path = (settings.n_equilibration_steps + settings.n_steps) * system.n_axes
    batch = max(1, _MAX_NOISE // per_path)
    parts = []
    for first in range(0, len(seeds), batch):
        some = seeds[first : first + batch]
        parts.append(_anneal(system, start, protocol, timesteps, settings, some, walls))
        done(min(first + batch, len(seeds)))
    positions, work, alive_updates = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    completed = np.isfinite(positions).all(axis=(1, 2))
    energy = np.full(positions.shape[:2], np.nan)
    energy[completed] = system.energy(positions[completed])
    positions[~completed], work[~completed] = np.nan, np.nan
    values = system.feature_values(positions)
    ends = np.array(
        [_segment(system, x, backward) if ok else (-1, -1) for x, ok in zip(values, completed, strict=True)]
    )
    steps = settings.n_steps // settings.n_updates
    n_evaluations = (
        len(seeds) * (settings.n_equilibration_steps + 1)
        + steps * int(alive_updates.sum())
        + (4 * system.n_axes if settings.curvature is None else 0)
    )
    failure = "failed: the walker left the surface or the numbers"
    interval = float(timesteps[1:].mean() * settings.n_steps / settings.n_frames)
    reactive = tuple(x[i : j + 1] if i >= 0 else x[:0] for x, (i, j) in zip(values, ends, strict=True))
    ensemble = PathEnsemble(
        values=values,
        potential_energy=energy,
        cumulative_work=work,
        s=passed(s, clock, settings.n_frames, backward),
        reactive_start=ends[:, 0],
        reactive_end=ends[:, 1],
        status=np.where(completed, COMPLETED, failure),
        seeds=np.array(seeds, dtype=np.int64),
        feature_names=np.array(system.axis_names),
        frame_interval=interval,
        time_unit=system.time_unit,
        n_evaluations=n_evaluations,
        passages=Passages(reactive, interval),
    )
    return ensemble, positions


def _anneal(
    system: SurfaceSystem,
    start: NDArray[np.float64],
    protocol: NDArray[np.float64],
    timesteps: NDArray[np.float64],
    settings: OverdampedSettings,
    seeds: list[int],
    walls: Sequence[Region],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return positions (n, n_frames, d), work (n, n_frames) [kT] and how many updates each walker began alive (n,)."""
    n_steps = settings.n_equilibration_steps + settings.n_steps
    shape = (n_steps, system.n_axes)
    noise = iter(np.stack([np.random.default_rng(seed).standard_normal(shape) for seed in seeds], axis=1))
    x = np.tile(start, (len(seeds), 1))
    frame_every = settings.n_updates // settings.n_frames
    positions = np.empty((len(seeds), settings.n_frames, system.n_axes))
    work = np.empty((len(seeds), settings.n_frames))
    total, alive = np.zeros(len(seeds)), np.zeros(len(seeds), dtype=np.int64)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(settings.n_equilibration_steps):
            moved = overdamped_step(system, x, protocol[0], timesteps[0], next(noise))
            x = kept_out(system, x, moved, walls)
        for k in range(settings.n_updates):
            alive += np.isfinite(x).all(axis=1)
            total -= system.space.statistic(x) @ (protocol[k + 1] - protocol[k])
            for _ in range(settings.n_steps // settings.n_updates):
                moved = overdamped_step(system, x, protocol[k + 1], timesteps[k + 1], next(noise))
                x = kept_out(system, x, moved, walls)
            if (k + 1) % frame_every == 0:
                frame = (k + 1) // frame_every - 1
                positions[:, frame], work[:, frame] = x, total
    return positions, work, alive


def _segment(system: SurfaceSystem, points: NDArray[np.float64], backward: bool) -> tuple[int, int]:
    values = system.values(points)
    in_a, in_b = (state.region.contains(values) for state in (system.state_a, system.state_b))
    return (reactive_segment(in_b, in_a) if backward else reactive_segment(in_a, in_b)) or (-1, -1)
