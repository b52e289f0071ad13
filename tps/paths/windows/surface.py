"""Sample the windows of a surface: overdamped dynamics under fixed tilts, with replica exchange between the windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.dynamics import exchanged
from tps.dynamics.overdamped import STABILITY, largest_curvature, overdamped_step
from tps.errors import ParameterError
from tps.paths.ensemble import COMPLETED
from tps.paths.windows.samples import WindowSamples
from tps.paths.windows.windows import Windows, WindowSettings
from tps.systems import SurfaceSystem

_FAILED = "failed: a walker left the surface or the numbers"


def sample_surface_windows(
    system: SurfaceSystem,
    windows: Windows,
    starts: ArrayLike,
    settings: WindowSettings,
    seeds: Sequence[int],
    *,
    stability: float = STABILITY,
    curvature: float | None = None,
    done: Callable[[], None] = lambda: None,
) -> WindowSamples:
    """Sample a surface in every window, in independent ladders.

    Parameters
    ----------
    system : SurfaceSystem
    windows : Windows
    starts : (L, K, d) array
        Start of every window in every ladder; see `starts_along`.
    settings : WindowSettings
    seeds : sequence of int
        One per ladder, which depends on its own alone.
    stability : float
        Time step times curvature of each window: stationary variances are too large by 1/(1 - stability/2).
    curvature : float, optional
        Largest curvature of u = U/kT; the largest at the two end points unless given.
    done : callable
        Called after each round of all ladders.

    Returns
    -------
    WindowSamples
        A walker that leaves the numbers ends its window, and with exchange its whole ladder, from that frame on.

    Raises
    ------
    ParameterError
        If the starts do not fit.
    """
    x = np.array(starts, dtype=np.float64)
    n_windows, n_ladders = windows.n_windows, len(seeds)
    if x.shape != (n_ladders, n_windows, system.n_axes) or n_ladders == 0:
        raise ParameterError(
            f"windows need starts (n_ladders, n_windows, n_axes) = {(n_ladders, n_windows, system.n_axes)}, "
            f"but got {x.shape}"
        )
    rigid = largest_curvature(system) if curvature is None else curvature
    timesteps = np.array([[stability / (rigid + system.space.stiffness(eta))] for eta in windows.eta])
    generators = [np.random.default_rng(seed) for seed in seeds]
    shape = (n_ladders, settings.n_frames, n_windows)
    points = np.full((*shape, system.n_axes), np.nan)
    replica = np.tile(np.arange(n_windows), (n_ladders, settings.n_frames, 1))
    held = np.tile(np.arange(n_windows), (n_ladders, 1))
    evaluations = 0 if curvature is not None else 4 * system.n_axes
    ladders = np.arange(n_ladders)[:, None]
    for frame in range(-settings.n_equilibration_frames, settings.n_frames):
        size = (settings.frame_interval, n_windows, system.n_axes)
        noise = np.stack([rng.standard_normal(size) for rng in generators])
        evaluations += settings.frame_interval * int(np.isfinite(x).all(axis=2).sum())
        x = _round(system, windows, x, timesteps, noise)
        if settings.exchange:  # a replica that failed ends its whole ladder
            x = np.where(np.isfinite(x).all(axis=(1, 2), keepdims=True), x, np.nan)
        if frame >= 0:
            points[:, frame], replica[:, frame] = x, held
        if settings.exchange:
            tilts = np.einsum("ks,lns->lkn", windows.eta, system.space.statistic(x))
            order = np.stack(
                [
                    exchanged(tilt, rng) if np.isfinite(tilt).all() else np.arange(n_windows)
                    for tilt, rng in zip(tilts, generators, strict=True)
                ]
            )
            x, held = x[ladders, order], held[ladders, order]
        done()
    energy = np.full(shape, np.nan)
    alive = np.isfinite(points).all(axis=-1)
    energy[alive] = system.energy(points[alive])
    points[~np.isfinite(energy)], energy[~np.isfinite(energy)] = np.nan, np.nan
    values = system.values(points.reshape(-1, system.n_axes))
    inside = [state.region.contains(values).reshape(shape) for state in (system.state_a, system.state_b)]
    return WindowSamples(
        windows=windows,
        values=system.feature_values(points),
        statistics=system.space.statistic(points),
        potential_energy=energy,
        in_a=inside[0],
        in_b=inside[1],
        replica=replica.astype(np.int64),
        status=np.where(np.isfinite(energy).all(axis=1), COMPLETED, _FAILED),
        n_evaluations=evaluations,
        positions=points[:, settings.kept_frames],
    )


def _round(
    system: SurfaceSystem,
    windows: Windows,
    x: NDArray[np.float64],
    timesteps: NDArray[np.float64],
    noise: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return positions (L, K, d) after the steps of one round, noise (L, n_steps, K, d), timesteps (K, 1)."""
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(noise.shape[1]):
            x = overdamped_step(system, x, windows.eta, timesteps, noise[:, step])
    return x
