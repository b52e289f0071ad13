"""Collective variables: numbers computed from the positions of atoms, each with its force and its exact gradient."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray

from tps.errors import ParameterError, SystemDefinitionError
from tps.features.space import USER_UNITS

NAME_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True)
class CollectiveVariable(ABC):
    """A number computed from the positions of some atoms; each kind has a file of its own.

    Parameters
    ----------
    name : str
        Letters, digits and underscores, starting with a letter: used in region strings and OpenMM parameters.
    atoms : tuple of int
        Atom indices, zero-based.
    bounds : (low, high), optional
        Range of grids and pictures, in internal units; that of the kind unless given.
    scale : float, optional
        What counts as one in the geometry, in internal units; that of the kind unless given.

    Raises
    ------
    SystemDefinitionError
        If these cannot be used.
    """

    name: str
    atoms: tuple[int, ...]
    _: KW_ONLY
    bounds: tuple[float, float] | None = None
    scale: float | None = None

    #: What messages and system.toml call it.
    kind: ClassVar[str]
    #: How many atoms it takes; None for any number.
    n_atoms: ClassVar[int | None]
    #: Whether it is an angle on a circle.
    periodic: ClassVar[bool] = False
    #: Internal unit: "rad", "nm" or "".
    unit: ClassVar[str]
    lowest: ClassVar[float] = 0.0
    highest: ClassVar[float] = math.inf
    usual_scale: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if not NAME_PATTERN.fullmatch(self.name):
            raise SystemDefinitionError(
                f"collective variable {self.name!r}: a name has letters, digits and underscores, "
                "and starts with a letter"
            )
        count = len(self.atoms) if self.n_atoms is None else self.n_atoms
        if len(self.atoms) != count or len(set(self.atoms)) != count or min(self.atoms, default=-1) < 0:
            raise SystemDefinitionError(
                f"collective variable {self.name!r}: a {self.kind} needs {self.n_atoms or 'some'} different atom "
                f"indices (zero-based), but got {list(self.atoms)}"
            )
        low, high = self.range
        if not self.lowest <= low < high <= self.highest:
            raise SystemDefinitionError(
                f"collective variable {self.name!r}: bounds need {self.lowest:g} <= low < high <= {self.highest:g} "
                f"[{self.unit or 'a number'}], but got {low:g} and {high:g}"
            )
        if not 0 < self.reach < math.inf:
            raise SystemDefinitionError(
                f"collective variable {self.name!r}: a scale must be positive and finite, but got {self.reach:g}"
            )
        if self.periodic and (self.bounds is not None or self.scale is not None):
            raise SystemDefinitionError(
                f"collective variable {self.name!r}: a {self.kind} goes round a circle, so it takes no bounds and no "
                "scale: leave them out"
            )

    @property
    def extent(self) -> tuple[float, float]:
        """Least and largest value there can be, in internal units."""
        return self.lowest, self.highest

    @property
    def range(self) -> tuple[float, float]:
        """Range of grids and pictures, in internal units."""
        return (self.lowest, self.highest) if self.bounds is None else self.bounds

    @property
    def reach(self) -> float:
        """What counts as one in the geometry, in internal units."""
        return self.usual_scale if self.scale is None else self.scale

    @property
    def user_unit(self) -> str:
        """Unit that people write."""
        return USER_UNITS[self.unit][0]

    @property
    def user_scale(self) -> float:
        """Internal units per unit that people write."""
        return USER_UNITS[self.unit][1]

    @abstractmethod
    def values(self, positions: ArrayLike, box: ArrayLike | None = None) -> NDArray[np.float64]:
        """Map positions (..., n_atoms, 3) [nm], in a box (3, 3) [nm] or none, to values (...) in internal units."""

    @abstractmethod
    def gradient(self, positions: ArrayLike, box: ArrayLike | None = None) -> NDArray[np.float64]:
        """Map positions (..., n_atoms, 3) [nm] to the derivative of `values` (..., n_atoms, 3) [unit per nm]."""

    @abstractmethod
    def expression(self, points: tuple[str, ...]) -> str | None:
        """Return the value as OpenMM's expression of its atoms, named by `points`; None where there is none."""

    def force(self, energy: str, periodic: bool = False) -> openmm.Force:
        """Return a force whose energy [kJ/mol] is an expression of `value`; global parameters are the caller's to add.

        Parameters
        ----------
        energy : str
            Such as "0.5*k*(value - c)^2".
        periodic : bool
            Whether the system has a box, whose nearest images count.
        """
        points = tuple(f"p{i + 1}" for i in range(len(self.atoms)))
        force = openmm.CustomCompoundBondForce(len(points), f"{energy}; value = {self.expression(points)}")
        force.addBond(list(self.atoms), [])
        force.setUsesPeriodicBoundaryConditions(periodic)
        return force


def checked_positions(positions: ArrayLike, atoms: ArrayLike) -> NDArray[np.float64]:
    """Return positions (..., n_atoms, 3) [nm] in double precision.

    Raises
    ------
    ParameterError
        If they do not end in (n_atoms, 3), or have too few atoms.
    """
    xyz = np.asarray(positions, dtype=np.float64)
    if xyz.ndim < 2 or xyz.shape[-1] != 3 or xyz.shape[-2] <= np.max(atoms, initial=-1):
        raise ParameterError(
            f"positions must be (..., n_atoms, 3) with at least {np.max(atoms, initial=-1) + 1} atoms, "
            f"but got {xyz.shape}"
        )
    return xyz


def nearest_image(displacement: NDArray[np.float64], box: ArrayLike | None) -> NDArray[np.float64]:
    """Return displacements (..., 3) [nm] to the nearest image in a box (3, 3) of reduced vectors, as OpenMM does."""
    if box is None:
        return displacement
    found = np.array(displacement)
    for vector, axis in zip(np.asarray(box, dtype=np.float64)[::-1], (2, 1, 0), strict=True):
        found -= np.rint(found[..., axis : axis + 1] / vector[axis]) * vector
    return found


def scatter(
    xyz: NDArray[np.float64], atoms: tuple[int, ...], parts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return a gradient shaped like xyz (..., n_atoms, 3) from the parts (..., len(atoms), 3) of its atoms."""
    found = np.zeros_like(xyz)
    for index, atom in enumerate(atoms):
        found[..., atom, :] += parts[..., index, :]
    return found
