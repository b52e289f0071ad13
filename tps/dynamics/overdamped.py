"""Overdamped Langevin dynamics on surfaces, batched over walkers.

The dynamics is dx = -∇u dτ + √2 dW with u = U/kT, the tilt included where there is one, by Euler and Maruyama: a step
takes one force evaluation of the surface per walker. The mobility is 1, so τ is in squared units of the axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.errors import ParameterError
from tps.systems import Region, SurfaceSystem

#: Time step times curvature, unless told otherwise.
STABILITY = 0.1
#: Step of the finite differences that measure curvature, relative to the surface's size.
_DIFFERENCE = 1e-4
#: Where a step is looked at, lest it leap over a wall; the same places from either end.
_PLACES = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, eq=False)
class SurfaceSamples:
    """What plain dynamics saw: positions (n_walkers, n_frames, d), NaN from where a walker failed, and its cost."""

    positions: NDArray[np.float64]
    n_evaluations: int


def largest_curvature(system: SurfaceSystem) -> float:
    """Return the largest curvature of u = U/kT at the two end points, from 4 d gradients [1/unit²].

    At least (2π/width)², that of one wave across the surface, so that a flat one gives no endless time step.
    """
    width = np.diff(system.space.bounds, axis=1)[:, 0]
    steps = _DIFFERENCE * width
    curvature = float((2 * np.pi / width.min()) ** 2)
    for point in (system.point_a, system.point_b):
        shift = np.diag(steps)
        slopes = (system.gradient(point + shift) - system.gradient(point - shift)) / system.kt
        hessian = slopes / (2 * steps[:, None])
        curvature = max(curvature, float(np.abs(np.linalg.eigvalsh((hessian + hessian.T) / 2)).max()))
    return curvature


def overdamped_step(
    system: SurfaceSystem,
    positions: NDArray[np.float64],
    eta: NDArray[np.float64] | None,
    timestep: float | NDArray[np.float64],
    noise: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the positions (n, d) after one Euler-Maruyama step x - ∇u dτ + √(2 dτ) noise.

    Parameters
    ----------
    system : SurfaceSystem
    positions : (n, d) array
    eta : (K,) or (n, K) array, or None
        Natural parameters of the tilt, of all or of each.
    timestep : float or (n, 1) array
        dτ [unit²].
    noise : (n, d) array
        Standard normal numbers.
    """
    force = -system.gradient(positions) / system.kt
    if eta is not None:
        force = force + system.space.tilt_gradient(positions, eta)
    return positions + timestep * force + np.sqrt(2 * timestep) * noise


def kept_out(
    system: SurfaceSystem,
    positions: NDArray[np.float64],
    moved: NDArray[np.float64],
    walls: Sequence[Region],
) -> NDArray[np.float64]:
    """Return where walkers (n, d) come that do not take a step into a region, but stay where they are.

    As many steps would lead from x to y as from y to x, so what is as likely everywhere stays so outside the walls.

    Parameters
    ----------
    system : SurfaceSystem
    positions, moved : (n, d) arrays
        Before the step and after it.
    walls : sequence of Region
    """
    blocked = np.zeros(len(positions), dtype=bool)
    for place in _PLACES if walls else ():
        values = system.values(positions + place * (moved - positions))
        blocked |= np.any([wall.contains(values) for wall in walls], axis=0)
    return np.where(blocked[:, None], positions, moved)


def sample_surface(
    system: SurfaceSystem,
    starts: ArrayLike,
    n_frames: int,
    frame_interval: int,
    rng: np.random.Generator,
    *,
    eta: ArrayLike | None = None,
    timestep: float | None = None,
) -> SurfaceSamples:
    """Run plain overdamped dynamics of many walkers.

    Parameters
    ----------
    system : SurfaceSystem
    starts : (n_walkers, d) array
    n_frames, frame_interval : int
        Stored frames, and steps from one to the next.
    rng : numpy.random.Generator
    eta : (K,) array, optional
        A tilt that stays as it is.
    timestep : float, optional
        dτ [unit²]; 0.1 over the largest curvature at the end points plus the tilt's stiffness unless given.

    Returns
    -------
    SurfaceSamples
    """
    x = np.array(starts, dtype=np.float64, ndmin=2)
    tilt = None if eta is None else np.asarray(eta, dtype=np.float64)
    if timestep is None:
        stiffness = 0.0 if tilt is None else system.space.stiffness(tilt)
        timestep = STABILITY / (largest_curvature(system) + stiffness)
    if not timestep > 0 or min(n_frames, frame_interval) < 1:
        raise ParameterError(
            f"sampling needs a positive time step, frames and interval: {timestep}, {n_frames}, {frame_interval}"
        )
    frames = np.empty((len(x), n_frames, system.n_axes))
    evaluations = 0
    with np.errstate(over="ignore", invalid="ignore"):
        for frame in range(n_frames):
            for _ in range(frame_interval):
                evaluations += int(np.isfinite(x).all(axis=1).sum())
                x = overdamped_step(system, x, tilt, timestep, rng.standard_normal(x.shape))
            frames[:, frame] = x
    return SurfaceSamples(frames, evaluations)
