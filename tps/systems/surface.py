"""Surfaces: analytic or tabulated potentials in one or two dimensions, as systems with exact answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.errors import ParameterError, SystemDefinitionError
from tps.features import FeatureSpace
from tps.systems.ends import End, check_avoided_regions, check_states
from tps.systems.regions import Region, State
from tps.systems.surface_axis import Axis

MAX_AXES = 2


class Potential(Protocol):
    """A potential energy over one or two axes, vectorised, in float64."""

    def energy(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points (..., d) to energies (...); NaN where there is none."""

    def gradient(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points (..., d) to the exact derivative of `energy` (..., d)."""


@dataclass(frozen=True, eq=False)
class SurfaceSystem:
    """A potential with end points and states, checked: what every later stage takes in place of a molecule.

    Energies are in the surface's own unit, in which `kt` is given too. Points are (..., d), d = 1 or 2; the axes are
    the features, all of them angles or none.

    Parameters
    ----------
    name, description : str
    directory : Path
        Folder of its system.toml.
    potential : Potential
    axes : tuple of Axis
        One or two, all periodic or none.
    kt : float
        Thermal energy, in the unit of the energy.
    energy_unit : str
        Label of that unit.
    point_a, point_b : array (d,)
        End points, [rad] for angles.
    state_a, state_b : State
        Disjoint; A contains end point A and not B, and the other way round.
    definition : bytes
        Everything the files say about the potential, to tell whether it has changed.

    Raises
    ------
    SystemDefinitionError
        If these do not fit together.
    """

    name: str
    description: str
    directory: Path
    potential: Potential
    axes: tuple[Axis, ...]
    kt: float
    energy_unit: str
    point_a: NDArray[np.float64]
    point_b: NDArray[np.float64]
    state_a: State
    state_b: State
    definition: bytes = b""
    notes: tuple[str, ...] = ()

    #: Of the overdamped dynamics dx = -grad U/kT dt + sqrt(2) dW.
    time_unit: ClassVar[str] = "unit²"
    energy_name: ClassVar[str] = "potential energy"
    solvated: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.axes) <= MAX_AXES or len(set(self.axis_names)) != len(self.axes):
            raise SystemDefinitionError(
                f"a surface has one or two axes of different names, but got {', '.join(self.axis_names) or 'none'}"
            )
        if len({axis.periodic for axis in self.axes}) == 2:
            raise SystemDefinitionError(
                "either every axis of a surface is periodic or none is: not one of two"
            )
        if not 0 < self.kt < math.inf:
            raise SystemDefinitionError(f"kt must be positive and finite, but got {self.kt}")
        for label, name in (("A", "point_a"), ("B", "point_b")):
            point = np.array(getattr(self, name), dtype=np.float64)
            if point.shape != (self.n_axes,):
                raise SystemDefinitionError(
                    f"[states.{label}] point needs {self.n_axes} numbers, one per axis, but got {point.tolist()}"
                )
            if not np.isfinite(self.potential.energy(point)):
                raise SystemDefinitionError(
                    f"[states.{label}] point {point.tolist()} has no finite energy: move it to where the surface is"
                )
            self._check_bounds(label, point)
            point.setflags(write=False)
            object.__setattr__(self, name, point)
        check_states(*self._ends())

    def _check_bounds(self, label: str, point: NDArray[np.float64]) -> None:
        """Check that an end lies within the bounds of the grid, outside of which no frame lies."""
        for axis, x in zip(self.axes, point, strict=True):
            if not (axis.periodic or axis.low <= x <= axis.high):
                raise SystemDefinitionError(
                    f"[states.{label}] point has {axis.name} = {x:g}, outside of the bounds {axis.low:g} to "
                    f"{axis.high:g}: move one of them"
                )

    @property
    def n_axes(self) -> int:
        """Number of axes d."""
        return len(self.axes)

    @property
    def axis_names(self) -> tuple[str, ...]:
        """Names of the axes."""
        return tuple(axis.name for axis in self.axes)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the axes: all of them are features."""
        return self.axis_names

    @cached_property
    def space(self) -> FeatureSpace:
        """The space of the axes."""
        return FeatureSpace(
            self.axis_names,
            tuple(axis.periodic for axis in self.axes),
            tuple("rad" if axis.periodic else "" for axis in self.axes),
            (1.0,) * self.n_axes,
            np.array([(axis.low, axis.high) for axis in self.axes]),
        )

    @cached_property
    def collective_variables(self) -> Mapping[str, Axis]:
        """The axes by name."""
        return {axis.name: axis for axis in self.axes}

    @property
    def ends(self) -> NDArray[np.float64]:
        """End points A and B (2, d)."""
        return np.stack([self.point_a, self.point_b])

    def energy(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points (..., d) to the potential energy (...) [the surface's unit]; NaN where there is none."""
        return self.potential.energy(self._checked(points))

    def gradient(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points (..., d) to the gradient of `energy` (..., d) [the surface's unit per unit of the axis]."""
        return self.potential.gradient(self._checked(points))

    def values(self, points: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Map points (n, d) to the value (n,) of every axis; angles in (-pi, pi] [rad]."""
        x = self._checked(points)
        return {axis.name: axis.values(x) for axis in self.axes}

    def feature_values(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return points (..., d) with their angles in (-pi, pi] [rad]."""
        return self.space.wrap(self._checked(points))

    def energy_grid(self, n: int) -> tuple[tuple[NDArray[np.float64], ...], NDArray[np.float64]]:
        """Return n values of each axis and the energies on their grid (n,) or (n, n), first axis first."""
        if n < 2:
            raise ParameterError(f"a grid needs at least 2 points per axis, but got {n}")
        axes = tuple(axis.grid(n) for axis in self.axes)
        return axes, self.energy(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))

    def check_avoided_regions(self, regions: Sequence[Region]) -> None:
        """Check that regions that paths shall stay out of contain neither end point, and leave a way between them.

        Raises
        ------
        SystemDefinitionError
            Naming the end point that lies in one, or the regions that wall it off.
        """
        check_avoided_regions(regions, *self._ends())

    def _checked(self, points: ArrayLike) -> NDArray[np.float64]:
        x = np.asarray(points, dtype=np.float64)
        if x.ndim == 0 or x.shape[-1] != self.n_axes:
            raise ParameterError(
                f"points must be (..., {self.n_axes}), one column per axis, but got {x.shape}"
            )
        return x

    def _ends(self) -> tuple[End, End]:
        variables = self.collective_variables
        return (
            End("A", self.state_a, "point", self.values(self.point_a[None]), variables),
            End("B", self.state_b, "point", self.values(self.point_b[None]), variables),
        )
