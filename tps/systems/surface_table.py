"""Potentials from tables: a cubic spline through every value, periodic without a seam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, RectBivariateSpline

from tps.arrays import read_npz
from tps.errors import ParameterError, SystemDefinitionError, reason_of, shortened
from tps.files import check_unpacked

#: Cells a periodic table is continued by at each side: a cubic spline forgets its border by a factor 3.7 per cell.
_PADDING = 32
_MIN_VALUES = 4
#: Largest gap of a periodic axis, relative to the next largest.
_LARGEST_GAP = 1.5


@dataclass(frozen=True, eq=False)
class TablePotential:
    """A cubic spline (bicubic for two axes) through a table, with its exact gradient.

    Parameters
    ----------
    grid : tuple of arrays
        Rising values of each axis [rad for angles]; a periodic axis covers one turn, without its end.
    values : array (n,) or (n, m)
        Energies, first axis first.
    periodic : bool
        Whether all axes are angles. Otherwise there is no energy outside the table: NaN.

    Raises
    ------
    SystemDefinitionError
        If the table is incomplete or its axes cannot be used.
    """

    grid: tuple[NDArray[np.float64], ...]
    values: NDArray[np.float64]
    periodic: bool

    def __post_init__(self) -> None:
        shape = tuple(len(axis) for axis in self.grid)
        if self.values.shape != shape or len(shape) not in (1, 2):
            raise SystemDefinitionError(
                f"a table over axes of {shape} values needs energies of that shape, but got {self.values.shape}"
            )
        if min(shape) < _MIN_VALUES:
            raise SystemDefinitionError(
                f"a table needs at least {_MIN_VALUES} values per axis for a cubic spline, but got {shape}"
            )
        for axis in self.grid:
            steps = np.diff(axis)
            if not np.isfinite(axis).all() or not (steps > 0).all():
                raise SystemDefinitionError("the values of a table's axis must be finite and rise")
            closing = 2 * np.pi - (axis[-1] - axis[0])
            if self.periodic and not 0 < closing < _LARGEST_GAP * steps.max():
                raise SystemDefinitionError(
                    "a periodic axis must cover one whole turn without its end, but its values go from "
                    f"{np.rad2deg(axis[0]):.6g} to {np.rad2deg(axis[-1]):.6g} degree in steps of at most "
                    f"{np.rad2deg(steps.max()):.4g}"
                )
        bad = int((~np.isfinite(self.values)).sum())
        if bad:
            raise SystemDefinitionError(
                f"{bad} of {self.values.size} energies of the table are not finite numbers: fill every cell, a large "
                "number where nothing was seen"
            )

    @cached_property
    def _spline(self) -> CubicSpline | RectBivariateSpline:
        grid, values = self._continued() if self.periodic else (self.grid, self.values)
        return CubicSpline(*grid, values) if len(grid) == 1 else RectBivariateSpline(*grid, values)

    def energy(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points (..., d) to energies (...)."""
        x, outside = self._inside(points)
        return np.where(outside, np.nan, self._evaluate(x, (0,) * x.shape[-1]))

    def gradient(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points (..., d) to gradients (..., d)."""
        x, outside = self._inside(points)
        d = x.shape[-1]
        orders = [tuple(int(i == j) for j in range(d)) for i in range(d)]
        slopes = np.stack([self._evaluate(x, order) for order in orders], axis=-1)
        return np.where(outside[..., None], np.nan, slopes)

    def _inside(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return points wrapped, or moved to the border, and which were outside."""
        low = np.array([axis[0] for axis in self.grid])
        if self.periodic:
            wrapped = low + np.remainder(points - low, 2 * np.pi)
            return wrapped, np.asarray(~np.isfinite(points).all(axis=-1))
        high = np.array([axis[-1] for axis in self.grid])
        clipped = np.clip(points, low, high)
        return clipped, np.asarray((clipped != points).any(axis=-1))

    def _evaluate(self, x: NDArray[np.float64], order: tuple[int, ...]) -> NDArray[np.float64]:
        x = np.nan_to_num(x)
        if len(order) == 1:
            return np.asarray(self._spline(x[..., 0], order[0]))
        return np.asarray(self._spline.ev(x[..., 0], x[..., 1], dx=order[0], dy=order[1]))

    def _continued(self) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
        """Return axes and values with `_PADDING` more of the same at each side."""
        grid, values = [], self.values
        for i, axis in enumerate(self.grid):
            where = np.arange(-_PADDING, len(axis) + _PADDING)
            grid.append(axis[where % len(axis)] + 2 * np.pi * (where // len(axis)))
            values = np.take(values, where % len(axis), axis=i)
        return grid, values


def read_table(file: Path, keys: Sequence[str], periodic: bool) -> TablePotential:
    """Read a table.

    Parameters
    ----------
    file : Path
        Text with one row per cell: a column per axis [degree for angles], in the order of `keys`, then the energy; rows
        in any order, # starts a comment. Or npz with an array for each key, and `u` (n,) or (n, m).
    keys : sequence of str
        Axis names with their unit, such as phi_degree.
    periodic : bool
        Whether the axes are angles; the end of the turn, if given as well, must repeat its begin and is left out.

    Raises
    ------
    SystemDefinitionError
        In one sentence, without the name of the file.
    """
    axes, values = _read_npz(file, keys) if file.suffix == ".npz" else _read_text(file, keys)
    if periodic:
        for i, axis in enumerate(axes):
            if len(axis) > 1 and np.isclose(axis[-1] - axis[0], 360.0):
                first, last = np.take(values, 0, axis=i), np.take(values, -1, axis=i)
                if not np.allclose(first, last, equal_nan=True):
                    raise SystemDefinitionError(
                        f"{keys[i]} = {axis[0]:g} and {axis[-1]:g} are one angle, but their energies differ"
                    )
                axes[i], values = axis[:-1], np.delete(values, -1, axis=i)
        axes = [np.deg2rad(axis) for axis in axes]
    return TablePotential(tuple(axes), values, periodic)


def _read_npz(file: Path, keys: Sequence[str]) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    try:
        data = read_npz(file)
    except ParameterError as reason:
        raise SystemDefinitionError(str(reason)) from None
    if not set(data) >= {*keys, "u"}:
        raise SystemDefinitionError(
            f"needs the arrays {', '.join((*keys, 'u'))}, but holds {shortened(', '.join(sorted(data))) or 'none'}"
        )
    for name in (*keys, "u"):
        if data[name].dtype.kind not in "iuf":
            raise SystemDefinitionError(f"{name} should hold numbers, but holds {data[name].dtype}")
        if name != "u" and data[name].ndim != 1:
            raise SystemDefinitionError(
                f"{name} should be a list of values, but has the shape {data[name].shape}"
            )
    return [np.array(data[key], dtype=np.float64) for key in keys], np.array(data["u"], dtype=np.float64)


def _read_text(file: Path, keys: Sequence[str]) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    try:
        check_unpacked(file)
        rows = np.loadtxt(file, dtype=np.float64, ndmin=2)
    except (OSError, ValueError) as reason:
        raise SystemDefinitionError(f"cannot be read as columns of numbers: {reason_of(reason)}") from None
    if rows.shape[1] != len(keys) + 1:
        raise SystemDefinitionError(
            f"needs {len(keys) + 1} columns ({', '.join(keys)} and the energy), but has {rows.shape[1]}"
        )
    found = [np.unique(rows[:, i], return_inverse=True) for i in range(len(keys))]
    axes, index = [axis for axis, _ in found], tuple(where for _, where in found)
    shape = tuple(len(axis) for axis in axes)
    counts = np.zeros(shape, dtype=int)
    np.add.at(counts, index, 1)
    if not (counts == 1).all():
        raise SystemDefinitionError(
            f"needs one row for each of {' x '.join(map(str, shape))} cells, but {int((counts == 0).sum())} cells have "
            f"none and {int((counts > 1).sum())} have several"
        )
    values = np.empty(shape)
    values[index] = rows[:, -1]
    return axes, values
