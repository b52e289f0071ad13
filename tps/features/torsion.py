"""The kind `torsion`: a dihedral angle on a circle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray
from pydantic import BeforeValidator, Field, model_validator

from tps.errors import quoted
from tps.features.peptides import TORSION_NAMES, find_torsion
from tps.features.section import AtomIndex, Surroundings, VariableSection
from tps.features.variable import CollectiveVariable, checked_positions, nearest_image, scatter
from tps.sections import nearest

#: So few angles at once are faster one by one: on the single frames of a running simulation numpy's overhead is all.
_FEW = 12


@dataclass(frozen=True)
class Torsion(CollectiveVariable):
    """A dihedral angle in (-pi, pi] [rad], with the IUPAC sign that MDTraj and OpenMM use."""

    kind = "torsion"
    n_atoms = 4
    periodic = True
    unit = "rad"
    lowest = -math.pi
    highest = math.pi

    def values(self, positions: ArrayLike, box: ArrayLike | None = None) -> NDArray[np.float64]:
        """Map positions (..., n_atoms, 3) [nm] to angles (...) in (-pi, pi] [rad]."""
        return torsion_angles(positions, [self.atoms], box)[..., 0]

    def gradient(self, positions: ArrayLike, box: ArrayLike | None = None) -> NDArray[np.float64]:
        """Map positions (..., n_atoms, 3) [nm] to the derivative (..., n_atoms, 3) [rad/nm].

        References
        ----------
        Blondel and Karplus, J. Comput. Chem. 17, 1132 (1996), Eq. 27.
        """
        xyz = checked_positions(positions, self.atoms)
        i, j, k, l = (xyz[..., atom, :] for atom in self.atoms)  # noqa: E741 - the reference's letters
        f, g, h = nearest_image(i - j, box), nearest_image(j - k, box), nearest_image(l - k, box)
        a, b = np.cross(f, g), np.cross(h, g)
        a2, b2, g2 = (np.sum(v * v, axis=-1, keepdims=True) for v in (a, b, g))
        length = np.sqrt(g2)
        fg, hg = np.sum(f * g, axis=-1, keepdims=True), np.sum(h * g, axis=-1, keepdims=True)
        first, last = -length / a2 * a, length / b2 * b
        along = fg / (a2 * length) * a - hg / (b2 * length) * b
        return scatter(xyz, self.atoms, np.stack([first, -first + along, -last - along, last], axis=-2))

    def expression(self, points: tuple[str, ...]) -> str:
        """Return OpenMM's dihedral of four points."""
        return f"dihedral({', '.join(points)})"

    def force(self, energy: str, periodic: bool = False) -> openmm.CustomTorsionForce:
        """Return a CustomTorsionForce: see `CollectiveVariable.force`."""
        force = openmm.CustomTorsionForce(f"{energy}; value = theta")
        force.addTorsion(*self.atoms, [])
        force.setUsesPeriodicBoundaryConditions(periodic)
        return force


def torsion_angles(
    positions: ArrayLike, atoms: ArrayLike, box: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return dihedral angles, positive if the far bond is turned clockwise from the near one (IUPAC).

    Parameters
    ----------
    positions : array (..., n_atoms, 3)
        Positions [nm]; any number of leading axes.
    atoms : array (n_torsions, 4) of int
        Atom indices, zero-based.
    box : array (3, 3), optional
        Reduced box vectors [nm], whose nearest images are taken; unless given, molecules are whole.

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
    xyz = checked_positions(positions, index)[..., index, :]
    bonds = nearest_image(xyz[..., 1:, :] - xyz[..., :-1, :], box)
    if bonds.size <= 9 * _FEW:
        angles = [_angle(*three) for three in bonds.reshape(-1, 3, 3).tolist()]
        return np.array(angles, dtype=np.float64).reshape(bonds.shape[:-2])
    bond1, bond2, bond3 = np.moveaxis(bonds, -2, 0)
    normal = _cross(bond2, bond3)
    sine = np.sqrt(_dot(bond2, bond2)) * _dot(bond1, normal)
    cosine = _dot(_cross(bond1, bond2), normal)
    return np.arctan2(sine + 0.0, cosine)  # + 0.0 turns -0.0 into 0.0, hence -pi into pi


def _angle(a: list[float], b: list[float], c: list[float]) -> float:
    """Return the torsion of three bonds, as the arrays above have it."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = a, b, c
    nx, ny, nz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    mx, my, mz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    sine = math.sqrt(bx * bx + by * by + bz * bz) * (ax * nx + ay * ny + az * nz)
    return math.atan2(sine + 0.0, mx * nx + my * ny + mz * nz)


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return a[..., [1, 2, 0]] * b[..., [2, 0, 1]] - a[..., [2, 0, 1]] * b[..., [1, 2, 0]]


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.einsum("...i,...i->...", a, b)


def _check_torsion(value: object) -> object:
    if isinstance(value, str):
        if value not in TORSION_NAMES:
            raise ValueError(f"no torsion is named {quoted(value)}{nearest(value, TORSION_NAMES)}")
    elif not isinstance(value, list | tuple) or len(value) != 4:
        raise ValueError(
            f"should be a name such as 'phi', or four atom indices from zero, but got {quoted(value)}"
        )
    return value


class TorsionSection(VariableSection):
    """A torsion by name or atoms (indices from zero)."""

    torsion: Annotated[
        str | tuple[AtomIndex, AtomIndex, AtomIndex, AtomIndex], BeforeValidator(_check_torsion)
    ] = Field(description="Name of a peptide torsion, or four atom indices.")
    residue: int | None = Field(
        None, description="Residue number, as in the structure file, of a torsion by name."
    )
    chain: str | None = Field(None, description="Chain of that residue, where there are several.")

    @model_validator(mode="after")
    def _residue_belongs_to_a_name(self) -> TorsionSection:
        if not isinstance(self.torsion, str) and (self.residue is not None or self.chain is not None):
            raise ValueError("residue and chain belong to a torsion given by name")
        return self

    def build(self, name: str, around: Surroundings) -> tuple[CollectiveVariable, ...]:
        """Return the torsion."""
        if isinstance(self.torsion, tuple):
            return (Torsion(name, self.torsion),)
        atoms = find_torsion(around.topology, self.torsion, self.residue, self.chain, around.where)
        return (Torsion(name, atoms),)
