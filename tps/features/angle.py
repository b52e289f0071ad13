"""The kind `angle`: between two bonds, from 0 to pi, so on a line and not on a circle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, PositiveFloat

from tps.features.section import AtomIndex, Surroundings, VariableSection
from tps.features.variable import CollectiveVariable, checked_positions, nearest_image, scatter


@dataclass(frozen=True)
class Angle(CollectiveVariable):
    """The angle at the second of three atoms, in [0, pi] [rad]."""

    kind = "angle"
    n_atoms = 3
    unit = "rad"
    highest = math.pi

    def values(self, positions: ArrayLike, box: ArrayLike | None = None) -> NDArray[np.float64]:
        """Map positions (..., n_atoms, 3) [nm] to angles (...) in [0, pi] [rad]."""
        first, last = self._arms(checked_positions(positions, self.atoms), box)
        return np.arctan2(np.linalg.norm(np.cross(first, last), axis=-1), np.sum(first * last, axis=-1))

    def gradient(self, positions: ArrayLike, box: ArrayLike | None = None) -> NDArray[np.float64]:
        """Map positions (..., n_atoms, 3) [nm] to the derivative (..., n_atoms, 3) [rad/nm]; not finite at 0 and pi."""
        xyz = checked_positions(positions, self.atoms)
        first, last = self._arms(xyz, box)
        a, b = (np.linalg.norm(v, axis=-1, keepdims=True) for v in (first, last))
        u, v = first / a, last / b
        cosine = np.sum(u * v, axis=-1, keepdims=True)
        sine = np.sqrt(1 - cosine**2)
        at_first, at_last = (cosine * u - v) / (a * sine), (cosine * v - u) / (b * sine)
        return scatter(xyz, self.atoms, np.stack([at_first, -at_first - at_last, at_last], axis=-2))

    def expression(self, points: tuple[str, ...]) -> str:
        """Return OpenMM's angle of three points."""
        return f"angle({', '.join(points)})"

    def force(self, energy: str, periodic: bool = False) -> openmm.CustomAngleForce:
        """Return a CustomAngleForce: see `CollectiveVariable.force`."""
        force = openmm.CustomAngleForce(f"{energy}; value = theta")
        force.addAngle(*self.atoms, [])
        force.setUsesPeriodicBoundaryConditions(periodic)
        return force

    def _arms(
        self, xyz: NDArray[np.float64], box: ArrayLike | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        at = [xyz[..., atom, :] for atom in self.atoms]
        return nearest_image(at[0] - at[1], box), nearest_image(at[2] - at[1], box)


class AngleSection(VariableSection):
    """An angle by atoms (indices from zero), its vertex second."""

    angle: tuple[AtomIndex, AtomIndex, AtomIndex] = Field(description="Three atom indices.")
    bounds_degree: tuple[float, float] | None = Field(None, description="Range of grids and pictures.")
    scale_degree: PositiveFloat | None = Field(None, description="What counts as one in the geometry.")

    def build(self, name: str, around: Surroundings) -> tuple[CollectiveVariable, ...]:
        """Return the angle."""
        bounds = None
        if self.bounds_degree is not None:
            bounds = (math.radians(self.bounds_degree[0]), math.radians(self.bounds_degree[1]))
        scale = None if self.scale_degree is None else math.radians(self.scale_degree)
        return (Angle(name, self.angle, bounds=bounds, scale=scale),)
