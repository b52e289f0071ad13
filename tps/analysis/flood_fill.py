"""The lower bound of every path's highest energy: how high water must rise until two points are joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import label
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tps.errors import ParameterError
from tps.systems import Axis, SurfaceSystem


@dataclass(frozen=True)
class LowerBound:
    """The least highest energy that any path between two points can have.

    Parameters
    ----------
    energy : float
        The highest energy on the best path over the grid's cells, in the unit of the grid.
    error : float
        By how much the grid can miss the surface's own bound, to second order in the spacing: the saddle point lies at
        most half a cell away, so |U_xx| / 8 + |U_yy| / 8 + |U_xy| / 4 of the second differences at the cell.
    point : tuple of float
        Where the best path is highest, in the axes' units.
    n_evaluations : int
        Energies on the grid.
    """

    energy: float
    error: float
    point: tuple[float, ...]
    n_evaluations: int


def flood_fill(
    axes: Sequence[ArrayLike], energies: ArrayLike, start: ArrayLike, end: ArrayLike, periodic: bool = False
) -> LowerBound:
    """Return the minimum over all paths from start to end of the highest energy on the path.

    Exact for paths that step from a cell to any of its neighbours, diagonal ones too (2 in one dimension, 8 in two).

    Parameters
    ----------
    axes : one or two arrays
        Rising grid values, evenly spaced.
    energies : array (n,) or (n, m)
        On the grid, first axis first; nothing passes a cell whose energy is not finite.
    start, end : array (d,)
        Points; the nearest cells count.
    periodic : bool
        Whether the axes are angles [rad] that cover one turn each, without its end.

    Returns
    -------
    LowerBound

    Raises
    ------
    ParameterError
        If shapes do not fit, an end lies in a cell without a finite energy, or nothing joins the two.
    """
    grid = [np.asarray(axis, dtype=np.float64) for axis in axes]
    u = np.asarray(energies, dtype=np.float64)
    if u.shape != tuple(len(axis) for axis in grid) or u.ndim not in (1, 2):
        raise ParameterError(
            "a flood fill needs one or two axes and energies on their grid, but got axes of "
            f"{[len(axis) for axis in grid]} and energies {u.shape}"
        )
    u = np.where(np.isfinite(u), u, np.inf)
    ends = [_nearest_cell(grid, np.asarray(point, dtype=np.float64), periodic) for point in (start, end)]
    for name, cell in zip(("start", "end"), ends, strict=True):
        if u[cell] == np.inf:
            raise ParameterError(
                f"the {name} lies in a cell without a finite energy: move it to where energies are"
            )
    levels = np.unique(u[np.isfinite(u)])
    low, high = int(np.searchsorted(levels, max(u[cell] for cell in ends))), len(levels) - 1
    if not _joined(u <= levels[high], ends, periodic):
        raise ParameterError("no path of cells with finite energies joins the two points")
    while low < high:  # the level where they are first joined
        middle = (low + high) // 2
        low, high = (low, middle) if _joined(u <= levels[middle], ends, periodic) else (middle + 1, high)
    cell = tuple(int(i) for i in np.argwhere(u == levels[high])[0])
    return LowerBound(
        energy=float(levels[high]),
        error=_curvature(u, cell, periodic),
        point=tuple(float(axis[i]) for axis, i in zip(grid, cell, strict=True)),
        n_evaluations=u.size,
    )


def surface_lower_bound(system: SurfaceSystem, n: int = 361) -> LowerBound:
    """Return the lower bound between a surface's end points, on a grid of n energies per axis [the surface's unit]."""
    axes, energies = system.energy_grid(n)
    return flood_fill(axes, energies, system.point_a, system.point_b, periodic=all(system.periodic))


def frames_lower_bound(
    torsions: NDArray[np.float64],
    log_weights: NDArray[np.float64],
    start: ArrayLike,
    end: ArrayLike,
    n: int = 60,
) -> LowerBound:
    """Return the lower bound of the free energy that a path over one or two torsions must climb to [kT].

    The free energy is that of the weighted frames' histogram, least value 0; a cell without frames cannot be passed.
    The error holds both the spacing of the cells and the sampling of the highest one, 1/sqrt of its effective frames.

    Parameters
    ----------
    torsions : (n_frames, d) array
        d = 1 or 2 [rad].
    log_weights : (n_frames,) array
    start, end : array (d,)
        [rad].
    n : int
        Cells per turn.

    Raises
    ------
    ParameterError
        As `flood_fill`.
    """
    d = torsions.shape[1]
    axis = Axis("torsion", 0, -np.pi, np.pi, periodic=True).grid(n)
    cells = np.rint((torsions + np.pi) * n / (2 * np.pi)).astype(np.intp) % n
    index = np.ravel_multi_index(tuple(cells.T), (n,) * d)
    weight = np.exp(log_weights - log_weights.max())
    total, squares = (np.bincount(index, w, minlength=n**d).reshape((n,) * d) for w in (weight, weight**2))
    with np.errstate(divide="ignore"):
        free_energy = -np.log(total / total.max())
    found = flood_fill([axis] * d, free_energy, start, end, periodic=True)
    highest = np.argmin(np.abs(free_energy - found.energy))
    sampling = np.sqrt(squares.ravel()[highest]) / total.ravel()[highest]
    return LowerBound(found.energy, float(np.hypot(found.error, sampling)), found.point, 0)


def _nearest_cell(
    grid: list[NDArray[np.float64]], point: NDArray[np.float64], periodic: bool
) -> tuple[int, ...]:
    if point.shape != (len(grid),):
        raise ParameterError(f"a point needs {len(grid)} numbers, one per axis, but got {point.tolist()}")
    distances = [x - axis for x, axis in zip(point, grid, strict=True)]
    if periodic:
        distances = [np.arcsin(np.abs(np.sin(d / 2))) for d in distances]
    return tuple(int(np.argmin(np.abs(d))) for d in distances)


def _joined(wet: NDArray[np.bool_], ends: list[tuple[int, ...]], periodic: bool) -> bool:
    """Return whether wet cells join the two ends."""
    lakes, n = label(wet, structure=np.ones((3,) * wet.ndim))
    a, b = (int(lakes[cell]) for cell in ends)
    if a == 0 or b == 0 or a == b or not periodic:
        return a == b != 0
    pairs = [_across(lakes, axis) for axis in range(wet.ndim)]
    left, right = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(left)), (left, right)), shape=(n + 1, n + 1))
    seas = connected_components(graph, directed=False)[1]
    return bool(seas[a] == seas[b])


def _across(lakes: NDArray[np.int_], axis: int) -> NDArray[np.int_]:
    """Return pairs of labels (2, n) that touch over the border of a periodic axis."""
    first, last = np.take(lakes, 0, axis=axis), np.take(lakes, -1, axis=axis)
    shifts = (0,) if lakes.ndim == 1 else (-1, 0, 1)
    pairs = np.stack(
        [np.stack([np.roll(np.atleast_1d(first), s), np.atleast_1d(last)]) for s in shifts], axis=-1
    )
    pairs = pairs.reshape(2, -1)
    return pairs[:, (pairs > 0).all(axis=0)]


def _curvature(u: NDArray[np.float64], cell: tuple[int, ...], periodic: bool) -> float:
    """Return the largest second-order change of u within half a cell; a neighbour without energy counts as level."""
    padded = np.pad(u, 1, mode="wrap") if periodic else np.pad(u, 1, mode="edge")
    around = padded[tuple(slice(i, i + 3) for i in cell)]
    around = np.where(np.isfinite(around), around, u[cell])
    if u.ndim == 1:
        return float(abs(around[0] - 2 * around[1] + around[2]) / 8)
    xx = around[0, 1] - 2 * around[1, 1] + around[2, 1]
    yy = around[1, 0] - 2 * around[1, 1] + around[1, 2]
    xy = (around[0, 0] + around[2, 2] - around[0, 2] - around[2, 0]) / 4
    return float((abs(xx) + abs(yy)) / 8 + abs(xy) / 4)
