"""Analytic potentials with known minima and saddle points."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tps.errors import SystemDefinitionError

#: A, a, b, c, x0, y0 of the four terms A exp(a (x - x0)^2 + b (x - x0)(y - y0) + c (y - y0)^2):
#: Müller and Brown, Theor. Chim. Acta 53, 75 (1979).
MUELLER_BROWN = np.array(
    [
        (-200.0, -1.0, 0.0, -10.0, 1.0, 0.0),
        (-100.0, -1.0, 0.0, -10.0, 0.0, 0.5),
        (-170.0, -6.5, 11.0, -6.5, -0.5, 1.5),
        (15.0, 0.7, 0.6, 0.7, -1.0, 1.0),
    ]
)


@dataclass(frozen=True)
class MuellerBrown:
    """The Müller-Brown potential: three minima along one bent valley.

    Minima -146.700 at (-0.558, 1.442), -108.167 at (0.623, 0.028) and -80.768 at (-0.050, 0.467); saddle
    points -40.665 at (-0.822, 0.624) and -72.249 at (0.212, 0.293).

    Parameters
    ----------
    scale : float
        Factor on the energy.
    """

    scale: float = 1.0

    def energy(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points (..., 2) to energies (...)."""
        return self.scale * self._terms(points)[0].sum(axis=-1)

    def gradient(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points (..., 2) to gradients (..., 2)."""
        terms, dx, dy = self._terms(points)
        _, a, b, c, _, _ = MUELLER_BROWN.T
        slopes = (2 * a * dx + b * dy, b * dx + 2 * c * dy)
        return self.scale * np.stack([(terms * slope).sum(axis=-1) for slope in slopes], axis=-1)

    def _terms(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        height, a, b, c, x0, y0 = MUELLER_BROWN.T
        dx, dy = points[..., 0, None] - x0, points[..., 1, None] - y0
        with np.errstate(over="ignore"):  # far outside the energy is infinite, and dynamics reports it
            return height * np.exp(a * dx**2 + b * dx * dy + c * dy**2), dx, dy


@dataclass(frozen=True)
class DoubleWell:
    """U = barrier (x^2 - 1)^2, plus stiffness y^2 / 2 where there is a second axis.

    Minima 0 at x = -1 and 1, saddle point `barrier` at 0, curvature 8 barrier in the wells.

    Parameters
    ----------
    barrier : float
    stiffness : float or None
        None for one axis.
    """

    barrier: float
    stiffness: float | None = None

    def energy(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points (..., d) to energies (...)."""
        well = self.barrier * (points[..., 0] ** 2 - 1) ** 2
        return well if self.stiffness is None else well + 0.5 * self.stiffness * points[..., 1] ** 2

    def gradient(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points (..., d) to gradients (..., d)."""
        x = points[..., 0]
        slopes = [4 * self.barrier * x * (x**2 - 1)]
        if self.stiffness is not None:
            slopes.append(self.stiffness * points[..., 1])
        return np.stack(slopes, axis=-1)


@dataclass(frozen=True)
class DualChannel:
    """U = stiffness (x^2 + y^2 - 1)^2 + barrier y^2 + asymmetry y^3: a ring with two wells and two channels.

    Minima 0 at (-1, 0) and (1, 0), a summit `stiffness` at the origin, saddle points on x = 0 (`saddle_points`), the
    lower one on the side where asymmetry y is negative.

    Parameters
    ----------
    stiffness, barrier, asymmetry : float

    Raises
    ------
    SystemDefinitionError
        If there are not two saddle points on either side of the origin.
    """

    stiffness: float
    barrier: float
    asymmetry: float

    def __post_init__(self) -> None:
        if not 0 < self.barrier < 2 * self.stiffness:
            raise SystemDefinitionError(
                "a dual channel needs 0 < barrier < 2 stiffness, or the ring has no two channels, but got barrier "
                f"{self.barrier:g} and stiffness {self.stiffness:g}"
            )

    @property
    def saddle_points(self) -> NDArray[np.float64]:
        """The two saddle points (2, 2): where 4 stiffness y^2 + 3 asymmetry y + 2 barrier - 4 stiffness = 0, x = 0."""
        a, b, c = 4 * self.stiffness, 3 * self.asymmetry, 2 * self.barrier - 4 * self.stiffness
        root = math.sqrt(b**2 - 4 * a * c)
        return np.array([[0.0, (-b - root) / (2 * a)], [0.0, (-b + root) / (2 * a)]])

    def energy(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points (..., 2) to energies (...)."""
        x, y = points[..., 0], points[..., 1]
        return self.stiffness * (x**2 + y**2 - 1) ** 2 + self.barrier * y**2 + self.asymmetry * y**3

    def gradient(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points (..., 2) to gradients (..., 2)."""
        x, y = points[..., 0], points[..., 1]
        ring = 4 * self.stiffness * (x**2 + y**2 - 1)
        return np.stack([ring * x, ring * y + 2 * self.barrier * y + 3 * self.asymmetry * y**2], axis=-1)
