"""The family of a density on a grid: exact answers for potentials in one to three dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tps.errors import ParameterError
from tps.features import FeatureSpace
from tps.spacetime.empirical import EmpiricalFamily
from tps.spacetime.frames import fitted_spacetime

#: Relative inequality of steps that is put down to rounding.
_UNIFORM = 1e-3


class GridFamily(EmpiricalFamily):
    """p0 proportional to exp(log_density) on a rectangular grid: frames at its points, weighted by the quadrature rule.

    T is that of a `FeatureSpace`: cosine and sine of the periodic axes, then the others and their squared length.

    Parameters
    ----------
    axes : sequence of Tensor (n_i,)
        Uniformly spaced coordinates, one to three axes. A periodic axis covers 2 pi once, its end left out [rad].
    log_density : Tensor (n_1, ..., n_d)
        -U/kT, up to a constant; -inf where the density vanishes.
    periodic : bool or sequence of bool (d,)
        Whether the axes are angles, all of them or each.

    Raises
    ------
    ParameterError
        If the axes are not uniform, do not fit the density, or do not cover the circle.
    """

    def __init__(
        self, axes: Sequence[Tensor], log_density: Tensor, *, periodic: bool | Sequence[bool]
    ) -> None:
        self.axes = tuple(torch.as_tensor(axis, dtype=torch.float64) for axis in axes)
        self.log_density = torch.as_tensor(log_density, dtype=torch.float64)
        shape = tuple(len(axis) for axis in self.axes)
        if (
            not 1 <= len(self.axes) <= 3
            or tuple(self.log_density.shape) != shape
            or min(shape, default=0) < 3
        ):
            raise ParameterError(
                f"a grid needs 1 to 3 axes of at least 3 points and a density of their shape, but got {shape} and "
                f"{tuple(self.log_density.shape)}"
            )
        self.periodic = (periodic,) * len(shape) if isinstance(periodic, bool) else tuple(periodic)
        if len(self.periodic) != len(shape):
            raise ParameterError(
                f"a grid needs one periodicity for each of {len(shape)} axes, but got {len(self.periodic)}"
            )
        for number, axis in enumerate(self.axes):
            _check_axis(number, axis, self.periodic[number])
        self.space = _grid_space(self.axes, self.periodic)
        points = torch.stack([m.flatten() for m in torch.meshgrid(*self.axes, indexing="ij")], dim=1)
        weights = self.log_density.flatten() + self._log_quadrature().flatten()
        self.inside = torch.isfinite(weights)
        statistics = torch.as_tensor(self.space.statistic(points.numpy()))
        spacetime = fitted_spacetime(self.space, statistics, torch.softmax(weights, 0))
        self.points = points[self.inside]
        super().__init__(statistics[self.inside], weights[self.inside], spacetime)

    def _log_quadrature(self) -> Tensor:
        """Log-weights of the trapezoidal rule, which on a circle is uniform."""
        weights = torch.zeros(self.log_density.shape, dtype=torch.float64)
        for number, periodic in enumerate(self.periodic):
            if periodic:
                continue
            ends = torch.zeros(len(self.axes[number]), dtype=torch.float64)
            ends[[0, -1]] = -torch.log(torch.tensor(2.0, dtype=torch.float64))
            weights += ends.view([-1 if i == number else 1 for i in range(len(self.axes))])
        return weights

    def indicator(self, region: Tensor) -> Tensor:
        """Map a mask on the grid (n_1, ..., n_d) to one over the points that carry density (n_frames,)."""
        return torch.as_tensor(region).flatten()[self.inside]


def _grid_space(axes: Sequence[Tensor], periodic: Sequence[bool]) -> FeatureSpace:
    bounds = [
        (-math.pi, math.pi) if circle else (float(axis[0]), float(axis[-1]))
        for axis, circle in zip(axes, periodic, strict=True)
    ]
    return FeatureSpace(
        tuple(f"x{number}" for number in range(len(axes))),
        tuple(periodic),
        tuple("rad" if circle else "" for circle in periodic),
        (1.0,) * len(axes),
        np.array(bounds),
    )


def _check_axis(number: int, axis: Tensor, periodic: bool) -> None:
    steps = axis.diff()
    if not bool(steps.min() > 0) or float(steps.max() - steps.min()) > _UNIFORM * float(steps.mean()):
        raise ParameterError(f"axis {number} of the grid must rise in equal steps; interpolate it first")
    span = float(steps.mean()) * len(axis)
    if periodic and abs(span - 2 * torch.pi) > _UNIFORM:
        raise ParameterError(
            f"axis {number} of a periodic grid must cover 2 pi = 6.2832 rad once, its end left out, but covers "
            f"{span:.4f}"
        )
