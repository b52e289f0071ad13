"""The kind `contact`: a smooth switch of a distance, or the sum of the switches of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, PositiveFloat, PositiveInt

from tps.errors import SystemDefinitionError
from tps.features.section import AtomIndex, Surroundings, VariableSection
from tps.features.variable import CollectiveVariable, checked_positions, nearest_image


@dataclass(frozen=True)
class Contact(CollectiveVariable):
    """Sum over pairs of 1 / (1 + (r / r0)^n): the number of pairs closer than about r0.

    Parameters
    ----------
    pairs : tuple of (int, int)
        Places in `atoms`, not atoms themselves.
    r0 : float
        Distance at which a pair counts one half [nm].
    exponent : int
        n: how sharp the switch is.
    """

    pairs: tuple[tuple[int, int], ...] = ((0, 1),)
    r0: float = 0.45
    exponent: int = 6

    kind = "contact"
    n_atoms = None
    unit = ""

    def __post_init__(self) -> None:
        used = {place for pair in self.pairs for place in pair}
        if used != set(range(len(self.atoms))) or any(i == j for i, j in self.pairs):
            raise SystemDefinitionError(
                f"collective variable {self.name!r}: contacts need pairs of different atoms, and every atom in a pair"
            )
        if not self.r0 > 0 or self.exponent < 1:
            raise SystemDefinitionError(
                f"collective variable {self.name!r}: a contact needs a positive distance and exponent, but got "
                f"{self.r0:g} nm and {self.exponent}"
            )
        super().__post_init__()

    @classmethod
    def between(
        cls,
        name: str,
        pairs: Sequence[tuple[int, int]],
        *,
        r0: float = 0.45,
        exponent: int = 6,
        bounds: tuple[float, float] | None = None,
        scale: float | None = None,
    ) -> Self:
        """Return the contacts of pairs of atoms (zero-based indices)."""
        atoms = tuple(sorted({int(atom) for pair in pairs for atom in pair}))
        place = {atom: i for i, atom in enumerate(atoms)}
        local = tuple((place[int(i)], place[int(j)]) for i, j in pairs)
        return cls(name, atoms, bounds=bounds, scale=scale, pairs=local, r0=r0, exponent=exponent)

    @property
    def range(self) -> tuple[float, float]:
        """From no contact to all of them, unless bounds are given."""
        return (0.0, float(len(self.pairs))) if self.bounds is None else self.bounds

    def values(self, positions: ArrayLike, box: ArrayLike | None = None) -> NDArray[np.float64]:
        """Map positions (..., n_atoms, 3) [nm] to the number of contacts (...)."""
        vectors = self._vectors(checked_positions(positions, self.atoms), box)
        return np.sum(1 / (1 + (np.linalg.norm(vectors, axis=-1) / self.r0) ** self.exponent), axis=-1)

    def gradient(self, positions: ArrayLike, box: ArrayLike | None = None) -> NDArray[np.float64]:
        """Map positions (..., n_atoms, 3) [nm] to the derivative (..., n_atoms, 3) [1/nm]."""
        xyz = checked_positions(positions, self.atoms)
        vectors = self._vectors(xyz, box)
        r = np.linalg.norm(vectors, axis=-1, keepdims=True)
        power = (r / self.r0) ** self.exponent
        parts = -self.exponent * power / (r**2 * (1 + power) ** 2) * vectors
        found = np.zeros_like(xyz)
        for k, (i, j) in enumerate(self.pairs):
            found[..., self.atoms[i], :] -= parts[..., k, :]
            found[..., self.atoms[j], :] += parts[..., k, :]
        return found

    def expression(self, points: tuple[str, ...]) -> str:
        """Return the sum of the pairs' switches."""
        terms = (
            f"1/(1+(distance({points[i]}, {points[j]})/{self.r0!r})^{self.exponent})" for i, j in self.pairs
        )
        return " + ".join(terms)

    def _vectors(self, xyz: NDArray[np.float64], box: ArrayLike | None) -> NDArray[np.float64]:
        first, second = (np.array([self.atoms[pair[side]] for pair in self.pairs]) for side in (0, 1))
        return nearest_image(xyz[..., second, :] - xyz[..., first, :], box)


class ContactSection(VariableSection):
    """One contact or the number of several, by pairs of atoms (indices from zero)."""

    contact: tuple[tuple[AtomIndex, AtomIndex], ...] = Field(min_length=1, description="Pairs of atoms.")
    r0_nm: PositiveFloat = Field(0.45, description="Distance at which a pair counts one half.")
    exponent: PositiveInt = Field(6, description="Sharpness n of 1/(1 + (r/r0)^n).")
    bounds: tuple[float, float] | None = Field(None, description="Range of grids and pictures.")
    scale: PositiveFloat | None = Field(None, description="What counts as one in the geometry.")

    def build(self, name: str, around: Surroundings) -> tuple[CollectiveVariable, ...]:
        """Return the number of contacts."""
        return (
            Contact.between(
                name,
                self.contact,
                r0=self.r0_nm,
                exponent=self.exponent,
                bounds=self.bounds,
                scale=self.scale,
            ),
        )
