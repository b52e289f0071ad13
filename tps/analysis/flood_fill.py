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
from tps.features import FeatureSpace
from tps.systems import SurfaceSystem


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
    axes: Sequence[ArrayLike],
    energies: ArrayLike,
    start: ArrayLike,
    end: ArrayLike,
    periodic: Sequence[bool] | None = None,
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
    periodic : sequence of bool, optional
        Which axes are angles [rad] that cover one turn, without its end; none by default.

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
    periodic = (False,) * u.ndim if periodic is None else tuple(periodic)
    if len(periodic) != u.ndim:
        raise ParameterError(f"{u.ndim} axes are periodic or not each, but got {list(periodic)}")
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
    return flood_fill(axes, energies, system.point_a, system.point_b, periodic=system.space.periodic)


def frames_lower_bound(
    space: FeatureSpace,
    values: NDArray[np.float64],
    log_weights: NDArray[np.float64],
    start: ArrayLike,
    end: ArrayLike,
    n: int = 60,
) -> LowerBound:
    """Return the lower bound of the free energy that a path over one or two features must climb to [kT].

    The free energy is that of the weighted frames' histogram, least value 0; a cell without frames cannot be passed.
    The error holds both the spacing of the cells and the sampling of the highest one, 1/sqrt of its effective frames.

    Parameters
    ----------
    space : FeatureSpace
        Of one or two features.
    values : (n_frames, d) array
        Those outside the space's bounds are left out.
    log_weights : (n_frames,) array
    start, end : array (d,)
    n : int
        Cells per feature: of a turn, or of the range of what lies on a line.

    Raises
    ------
    ParameterError
        As `flood_fill`.
    """
    d = space.n_features
    axes, cells = zip(
        *(
            _cells(column, periodic, low, high, n)
            for column, periodic, (low, high) in zip(
                values.T, space.periodic, space.ranges(values), strict=True
            )
        ),
        strict=True,
    )
    inside = np.all([(cell >= 0) & (cell < n) for cell in cells], axis=0)
    index = np.ravel_multi_index(tuple(cell[inside] for cell in cells), (n,) * d)
    weight = np.exp(log_weights[inside] - log_weights[inside].max())
    total, squares = (np.bincount(index, w, minlength=n**d).reshape((n,) * d) for w in (weight, weight**2))
    with np.errstate(divide="ignore"):
        free_energy = -np.log(total / total.max())
    found = flood_fill(axes, free_energy, start, end, periodic=space.periodic)
    highest = np.argmin(np.abs(free_energy - found.energy))
    sampling = np.sqrt(squares.ravel()[highest]) / total.ravel()[highest]
    return LowerBound(found.energy, float(np.hypot(found.error, sampling)), found.point, 0)


def joined_cells(
    space: FeatureSpace,
    values: NDArray[np.float64],
    log_weights: NDArray[np.float64],
    start: ArrayLike,
    end: ArrayLike,
) -> NDArray[np.float64]:
    """Return where the lowest path of weighted frames is highest (d,), on the finest of some grids that joins the ends.

    See `frames_lower_bound`: few frames leave holes between small cells.

    Raises
    ------
    ParameterError
        If the frames do not join the ends on any grid.
    """
    for n in (60, 30):
        try:
            return np.array(frames_lower_bound(space, values, log_weights, start, end, n).point)
        except ParameterError:  # the coarsest grid below says what is wrong
            continue
    return np.array(frames_lower_bound(space, values, log_weights, start, end, 15).point)


def _cells(
    column: NDArray[np.float64], periodic: bool, low: float, high: float, n: int
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the middles (n,) of a feature's cells and the cell (n_frames,) of each value, 0 to n - 1 inside."""
    if periodic:  # the first cell is about -pi
        axis = np.linspace(-np.pi, np.pi, n, endpoint=False)
        return axis, np.rint((column + np.pi) * n / (2 * np.pi)).astype(np.intp) % n
    width = (high - low) / n
    found = np.floor((column - low) / width)
    found[column == high] = n - 1
    return np.asarray(low + width * (np.arange(n) + 0.5)), found.astype(np.intp)


def _nearest_cell(
    grid: list[NDArray[np.float64]], point: NDArray[np.float64], periodic: Sequence[bool]
) -> tuple[int, ...]:
    if point.shape != (len(grid),):
        raise ParameterError(f"a point needs {len(grid)} numbers, one per axis, but got {point.tolist()}")
    cells = []
    for x, axis, turns in zip(point, grid, periodic, strict=True):
        distance = np.arcsin(np.abs(np.sin((x - axis) / 2))) if turns else np.abs(x - axis)
        cells.append(int(np.argmin(distance)))
    return tuple(cells)


def _joined(wet: NDArray[np.bool_], ends: list[tuple[int, ...]], periodic: Sequence[bool]) -> bool:
    """Return whether wet cells join the two ends."""
    lakes, n = label(wet, structure=np.ones((3,) * wet.ndim))
    a, b = (int(lakes[cell]) for cell in ends)
    around = [axis for axis in range(wet.ndim) if periodic[axis]]
    if a == 0 or b == 0 or a == b or not around:
        return a == b != 0
    pairs = [_across(lakes, axis, len(around) == wet.ndim) for axis in around]
    left, right = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(left)), (left, right)), shape=(n + 1, n + 1))
    seas = connected_components(graph, directed=False)[1]
    return bool(seas[a] == seas[b])


def _across(lakes: NDArray[np.int_], axis: int, corners: bool) -> NDArray[np.int_]:
    """Return pairs of labels (2, n) that touch over the border of a periodic axis; `corners`: the other one is too."""
    first, last = (np.atleast_1d(np.take(lakes, end, axis=axis)) for end in (0, -1))
    pairs = np.concatenate(
        [_beside(first, last, s, corners) for s in ((0,) if lakes.ndim == 1 else (-1, 0, 1))], axis=1
    )
    return pairs[:, (pairs > 0).all(axis=0)]


def _beside(first: NDArray[np.int_], last: NDArray[np.int_], shift: int, around: bool) -> NDArray[np.int_]:
    """Return two borders (2, n), the first one moved along by `shift` cells, around its own ends or not."""
    moved = np.roll(first, shift)
    if not around and shift:
        moved[0 if shift > 0 else -1] = 0
    return np.stack([moved, last])


def _curvature(u: NDArray[np.float64], cell: tuple[int, ...], periodic: Sequence[bool]) -> float:
    """Return the largest second-order change of u within half a cell; a neighbour without energy counts as level."""
    padded = u
    for axis in range(u.ndim):
        width = [(int(axis == k),) * 2 for k in range(u.ndim)]
        padded = np.pad(padded, width, mode="wrap" if periodic[axis] else "edge")
    around = padded[tuple(slice(i, i + 3) for i in cell)]
    around = np.where(np.isfinite(around), around, u[cell])
    if u.ndim == 1:
        return float(abs(around[0] - 2 * around[1] + around[2]) / 8)
    xx = around[0, 1] - 2 * around[1, 1] + around[2, 1]
    yy = around[1, 0] - 2 * around[1, 1] + around[1, 2]
    xy = (around[0, 0] + around[2, 2] - around[0, 2] - around[2, 0]) / 4
    return float((abs(xx) + abs(yy)) / 8 + abs(xy) / 4)
