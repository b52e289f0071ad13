"""Collective variables: torsions and distances of named atoms, computed in double precision."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.errors import ParameterError, SystemDefinitionError

NAME_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True)
class CollectiveVariable(ABC):
    """A number computed from the positions of a few atoms; `Torsion` and `Distance` are the kinds there are.

    Parameters
    ----------
    name : str
        Letters, digits and underscores, starting with a letter: used in region strings and OpenMM parameters.
    atoms : tuple of int
        Distinct atom indices, zero-based.

    Raises
    ------
    SystemDefinitionError
        If the name or the atoms cannot be used.
    """

    name: str
    atoms: tuple[int, ...]

    kind: ClassVar[str]
    n_atoms: ClassVar[int]
    periodic: ClassVar[bool]
    user_unit: ClassVar[str]
    user_scale: ClassVar[float]  # internal units per user unit
    lowest: ClassVar[float]

    def __post_init__(self) -> None:
        if not NAME_PATTERN.fullmatch(self.name):
            raise SystemDefinitionError(
                f"collective variable {self.name!r}: a name has letters, digits and underscores, "
                "and starts with a letter"
            )
        if len(self.atoms) != self.n_atoms or len(set(self.atoms)) != self.n_atoms or min(self.atoms) < 0:
            raise SystemDefinitionError(
                f"collective variable {self.name!r}: a {self.kind} needs {self.n_atoms} different atom "
                f"indices (zero-based), but got {list(self.atoms)}"
            )

    @abstractmethod
    def values(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Map positions (n_frames, n_atoms, 3) [nm] to values (n_frames,) [rad or nm]."""


@dataclass(frozen=True)
class Torsion(CollectiveVariable):
    """A dihedral angle in (-pi, pi] [rad], with the IUPAC sign that MDTraj and OpenMM use."""

    kind = "torsion"
    n_atoms = 4
    periodic = True
    user_unit = "degree"
    user_scale = math.pi / 180
    lowest = -math.pi

    def values(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Map positions (n_frames, n_atoms, 3) [nm] to angles (n_frames,) in (-pi, pi] [rad]."""
        return torsion_angles(positions, [self.atoms])[..., 0]


@dataclass(frozen=True)
class Distance(CollectiveVariable):
    """The distance of two atoms [nm], of the coordinates as they are: no periodic image is looked for."""

    kind = "distance"
    n_atoms = 2
    periodic = False
    user_unit = "nm"
    user_scale = 1.0
    lowest = 0.0

    def values(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Map positions (n_frames, n_atoms, 3) [nm] to distances (n_frames,) [nm]."""
        xyz = _checked(positions, self.atoms)
        return np.linalg.norm(xyz[..., self.atoms[1], :] - xyz[..., self.atoms[0], :], axis=-1)


def torsion_angles(positions: ArrayLike, atoms: ArrayLike) -> NDArray[np.float64]:
    """Return dihedral angles, positive if the far bond is turned clockwise from the near one (IUPAC).

    Parameters
    ----------
    positions : array (..., n_atoms, 3)
        Positions [nm] of whole molecules; any number of leading axes.
    atoms : array (n_torsions, 4) of int
        Atom indices, zero-based.

    Returns
    -------
    array (..., n_torsions)
        Angles in (-pi, pi] [rad], float64.

    Raises
    ------
    ParameterError
        If the positions do not end in (n_atoms, 3) or have too few atoms.
    """
    index = np.asarray(atoms, dtype=np.intp).reshape(-1, 4)
    xyz = _checked(positions, index)[..., index, :]
    bond1, bond2, bond3 = np.moveaxis(xyz[..., 1:, :] - xyz[..., :-1, :], -2, 0)
    normal = _cross(bond2, bond3)
    sine = np.sqrt(_dot(bond2, bond2)) * _dot(bond1, normal)
    cosine = _dot(_cross(bond1, bond2), normal)
    return np.arctan2(sine + 0.0, cosine)  # + 0.0 turns -0.0 into 0.0, hence -pi into pi


def _checked(positions: ArrayLike, atoms: ArrayLike) -> NDArray[np.float64]:
    xyz = np.asarray(positions, dtype=np.float64)
    if xyz.ndim < 2 or xyz.shape[-1] != 3 or xyz.shape[-2] <= np.max(atoms, initial=-1):
        raise ParameterError(
            f"positions must be (..., n_atoms, 3) with at least {np.max(atoms, initial=-1) + 1} atoms, "
            f"but got {xyz.shape}"
        )
    return xyz


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    # numpy.cross takes longer than everything else here on the single frames of a running simulation
    return a[..., [1, 2, 0]] * b[..., [2, 0, 1]] - a[..., [2, 0, 1]] * b[..., [1, 2, 0]]


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.einsum("...i,...i->...", a, b)
