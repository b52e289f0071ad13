"""Torsions as cosines and sines: the statistic T(x), and its tilt as an OpenMM force."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray

from tps.errors import ParameterError
from tps.systems import MolecularSystem, torsion_angles

#: Energy [kJ/mol] of one torsion's tilt, -kT eta . T; {x} and {y} are the names of its two global parameters.
TILT_EXPRESSION = "-({kt!r})*({x}*cos(theta) + {y}*sin(theta))"


@dataclass(frozen=True, eq=False)
class TorsionFeatures:
    """T = (cos t1, sin t1, cos t2, sin t2, ...) of d torsions.

    |T|**2 = d is constant, so these 2 d numbers are the whole sufficient statistic of the tilted family
    p(x | eta) = p0(x) exp(eta . T(x) - psi(eta)): a von Mises tilt of each torsion, periodic without a seam.

    Parameters
    ----------
    atoms : array (n_torsions, 4) of int
        Atom indices, zero-based.
    names : tuple of str, n_torsions
        Distinct names, which also name the tilt's global parameters in OpenMM.

    Raises
    ------
    ParameterError
        If the shapes do not fit or a name cannot be used.
    """

    atoms: NDArray[np.intp]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        atoms = np.array(self.atoms, dtype=np.intp)
        if atoms.ndim != 2 or atoms.shape[1:] != (4,) or len(atoms) != len(self.names) or len(atoms) == 0:
            raise ParameterError(
                f"torsion features need atoms (n_torsions, 4) and as many names, but got {atoms.shape} "
                f"and {len(self.names)} names"
            )
        if len(set(self.names)) != len(self.names) or not all(map(re.compile(r"\w+").fullmatch, self.names)):
            raise ParameterError(
                f"torsion names must be distinct, of letters, digits and underscores: {self.names}"
            )
        atoms.setflags(write=False)
        object.__setattr__(self, "atoms", atoms)

    @classmethod
    def from_system(cls, system: MolecularSystem) -> Self:
        """Return the features that a system names."""
        return cls(system.feature_atoms, system.feature_names)

    @property
    def n_torsions(self) -> int:
        """Number of torsions d."""
        return len(self.names)

    @property
    def n_features(self) -> int:
        """Number of features, 2 d."""
        return 2 * len(self.names)

    @property
    def tilt_parameters(self) -> tuple[str, ...]:
        """Names of the tilt's global parameters in the order of eta."""
        return tuple(f"tilt_{name}_{axis}" for name in self.names for axis in "xy")

    def angles(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Map positions (..., n_atoms, 3) [nm] to angles (..., n_torsions) in (-pi, pi] [rad]."""
        return torsion_angles(positions, self.atoms)

    def values(self, angles: ArrayLike) -> NDArray[np.float64]:
        """Map angles (..., n_torsions) [rad] to T (..., n_features), cosine and sine interleaved per torsion.

        Raises
        ------
        ParameterError
            If the last axis is not n_torsions long.
        """
        theta = np.asarray(angles, dtype=np.float64)
        if theta.ndim == 0 or theta.shape[-1] != self.n_torsions:
            raise ParameterError(f"angles must be (..., {self.n_torsions}), but got {theta.shape}")
        return np.stack([np.cos(theta), np.sin(theta)], axis=-1).reshape(*theta.shape[:-1], self.n_features)

    def tilt_forces(self, kt: float) -> tuple[openmm.CustomTorsionForce, ...]:
        """Return one force per torsion whose energies sum to -kT eta . T(x) [kJ/mol], with eta = 0 at first.

        Parameters
        ----------
        kt : float
            Thermal energy kT of the bath [kJ/mol].

        References
        ----------
        Karczewski et al., ICLR 2026, Eq. 57 to 59, for a statistic with constant |f|**2.
        """
        if not kt > 0:
            raise ParameterError(f"kT must be positive [kJ/mol], but got {kt}")
        forces = []
        for name, atoms in zip(self.names, self.atoms, strict=True):
            x, y = f"tilt_{name}_x", f"tilt_{name}_y"
            force = openmm.CustomTorsionForce(TILT_EXPRESSION.format(kt=float(kt), x=x, y=y))
            force.setName(f"tilt_{name}")
            force.addGlobalParameter(x, 0.0)
            force.addGlobalParameter(y, 0.0)
            force.addTorsion(*map(int, atoms), [])
            forces.append(force)
        return tuple(forces)

    def add_tilt(self, system: openmm.System, kt: float, force_group: int) -> None:
        """Add the tilt to a System, in a force group of its own so that its energy can be told apart."""
        for force in self.tilt_forces(kt):
            force.setForceGroup(force_group)
            system.addForce(force)

    def set_tilt(self, context: openmm.Context, eta: ArrayLike) -> None:
        """Set the natural parameter eta (n_features,) of a Context whose System has the tilt.

        Raises
        ------
        ParameterError
            If eta has another shape or is not finite.
        """
        vector = np.asarray(eta, dtype=np.float64)
        if vector.shape != (self.n_features,) or not np.isfinite(vector).all():
            raise ParameterError(f"eta must be ({self.n_features},) and finite, but got {vector}")
        for name, value in zip(self.tilt_parameters, vector.tolist(), strict=True):
            context.setParameter(name, value)
