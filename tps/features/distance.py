"""The kind `distance`: between two atoms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, PositiveFloat

from tps.features.section import AtomIndex, Surroundings, VariableSection
from tps.features.variable import CollectiveVariable, checked_positions, nearest_image, scatter


@dataclass(frozen=True)
class Distance(CollectiveVariable):
    """The distance of two atoms [nm], to the nearest image where there is a box."""

    kind = "distance"
    n_atoms = 2
    unit = "nm"
    usual_scale = 0.1

    def values(self, positions: ArrayLike, box: ArrayLike | None = None) -> NDArray[np.float64]:
        """Map positions (..., n_atoms, 3) [nm] to distances (...) [nm]."""
        return np.linalg.norm(self._vector(checked_positions(positions, self.atoms), box), axis=-1)

    def gradient(self, positions: ArrayLike, box: ArrayLike | None = None) -> NDArray[np.float64]:
        """Map positions (..., n_atoms, 3) [nm] to the derivative (..., n_atoms, 3), without a unit."""
        xyz = checked_positions(positions, self.atoms)
        vector = self._vector(xyz, box)
        unit = vector / np.linalg.norm(vector, axis=-1, keepdims=True)
        return scatter(xyz, self.atoms, np.stack([-unit, unit], axis=-2))

    def expression(self, points: tuple[str, ...]) -> str:
        """Return OpenMM's distance of two points."""
        return f"distance({', '.join(points)})"

    def force(self, energy: str, periodic: bool = False) -> openmm.CustomBondForce:
        """Return a CustomBondForce: see `CollectiveVariable.force`."""
        force = openmm.CustomBondForce(f"{energy}; value = r")
        force.addBond(*self.atoms, [])
        force.setUsesPeriodicBoundaryConditions(periodic)
        return force

    def _vector(self, xyz: NDArray[np.float64], box: ArrayLike | None) -> NDArray[np.float64]:
        return nearest_image(xyz[..., self.atoms[1], :] - xyz[..., self.atoms[0], :], box)


class DistanceSection(VariableSection):
    """A distance by atoms (indices from zero)."""

    distance: tuple[AtomIndex, AtomIndex] = Field(description="Two atom indices.")
    bounds_nm: tuple[float, float] | None = Field(None, description="Range of grids and pictures.")
    scale_nm: PositiveFloat | None = Field(None, description="What counts as one in the geometry.")

    def build(self, name: str, around: Surroundings) -> tuple[CollectiveVariable, ...]:
        """Return the distance."""
        return (Distance(name, self.distance, bounds=self.bounds_nm, scale=self.scale_nm),)
