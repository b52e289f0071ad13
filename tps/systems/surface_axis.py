"""The axes of surfaces: what a molecule has collective variables for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.errors import SystemDefinitionError
from tps.features import wrap_angle
from tps.features.variable import NAME_PATTERN


@dataclass(frozen=True)
class Axis:
    """One coordinate of a surface; stands where a molecule has a collective variable.

    Parameters
    ----------
    name : str
        Letters, digits and underscores, starting with a letter.
    index : int
        Which column of the points it is.
    low, high : float
        Where the surface is drawn and put on grids; -pi and pi [rad] for a periodic axis.
    periodic : bool
        Whether it is an angle [rad].

    Raises
    ------
    SystemDefinitionError
        If the name or the bounds cannot be used.
    """

    name: str
    index: int
    low: float
    high: float
    periodic: bool = False

    def __post_init__(self) -> None:
        if not NAME_PATTERN.fullmatch(self.name):
            raise SystemDefinitionError(
                f"axis {self.name!r}: a name has letters, digits and underscores, and starts with a letter"
            )
        if not -math.inf < self.low < self.high < math.inf:
            raise SystemDefinitionError(
                f"axis {self.name}: bounds need two finite numbers low < high, but got {self.low:g} and {self.high:g}"
            )
        if self.periodic and (self.low, self.high) != (-math.pi, math.pi):
            raise SystemDefinitionError(
                f"axis {self.name} is periodic, so its bounds are -pi and pi [rad]: leave them out"
            )

    @property
    def kind(self) -> str:
        """What messages call it."""
        return "periodic coordinate" if self.periodic else "coordinate"

    @property
    def user_unit(self) -> str:
        """Unit at the borders."""
        return "degree" if self.periodic else ""

    @property
    def user_scale(self) -> float:
        """Internal units per user unit."""
        return math.pi / 180 if self.periodic else 1.0

    @property
    def lowest(self) -> float:
        """Least value a range may name."""
        return -math.pi if self.periodic else -math.inf

    @property
    def extent(self) -> tuple[float, float]:
        """Least and largest value that frames on a grid have."""
        return self.low, self.high

    def values(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points (..., d) to the values of this axis (...); angles come back in (-pi, pi] [rad]."""
        column = np.asarray(points, dtype=np.float64)[..., self.index]
        return wrap_angle(column) if self.periodic else column

    def grid(self, n: int) -> NDArray[np.float64]:
        """Return n equally spaced values: both bounds included, or one whole turn from -pi without its end."""
        return np.linspace(self.low, self.high, n, endpoint=not self.periodic)
