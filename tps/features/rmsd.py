"""The kind `rmsd`: root-mean-square deviation from a structure, after the best superposition."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mdtraj
import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray
from openmm import app, unit
from pydantic import Field, PositiveFloat

from tps.errors import SystemDefinitionError, reason_of
from tps.features.section import Surroundings, VariableSection
from tps.features.selection import chosen_atoms
from tps.features.variable import CollectiveVariable, checked_positions, scatter

_FEWEST_ATOMS = 3


@dataclass(frozen=True)
class Rmsd(CollectiveVariable):
    """RMSD [nm] of some atoms from reference positions, superposed on these atoms; molecules must be whole.

    Parameters
    ----------
    reference : tuple of (x, y, z), one per atom
        [nm].
    n_particles : int
        Atoms of the whole system, which OpenMM asks for.
    """

    reference: tuple[tuple[float, float, float], ...] = ()
    n_particles: int = 0

    kind = "rmsd"
    n_atoms = None
    unit = "nm"
    usual_scale = 0.1

    def __post_init__(self) -> None:
        if len(self.atoms) < _FEWEST_ATOMS or len(self.reference) != len(self.atoms):
            raise SystemDefinitionError(
                f"collective variable {self.name!r}: an RMSD needs at least {_FEWEST_ATOMS} atoms and a reference "
                f"position for each, but got {len(self.atoms)} and {len(self.reference)}"
            )
        super().__post_init__()

    def values(self, positions: ArrayLike, box: ArrayLike | None = None) -> NDArray[np.float64]:
        """Map positions (..., n_atoms, 3) [nm] to RMSD (...) [nm]; a box plays no role."""
        apart = self._superposed(checked_positions(positions, self.atoms))
        return np.sqrt(np.sum(apart**2, axis=(-1, -2)) / len(self.atoms))

    def gradient(self, positions: ArrayLike, box: ArrayLike | None = None) -> NDArray[np.float64]:
        """Map positions (..., n_atoms, 3) [nm] to the derivative (..., n_atoms, 3); not finite where the RMSD is 0.

        The superposition is the best one, so its own derivative drops out.
        """
        xyz = checked_positions(positions, self.atoms)
        apart = self._superposed(xyz)
        rmsd = np.sqrt(np.sum(apart**2, axis=(-1, -2), keepdims=True) / len(self.atoms))
        return scatter(xyz, self.atoms, apart / (len(self.atoms) * rmsd))

    def expression(self, points: tuple[str, ...]) -> None:
        """There is none: OpenMM has a force for it."""

    def force(self, energy: str, periodic: bool = False) -> openmm.CustomCVForce:
        """Return a CustomCVForce over an RMSDForce: see `CollectiveVariable.force`."""
        everywhere = np.zeros((self.n_particles, 3))
        everywhere[list(self.atoms)] = self.reference
        force = openmm.CustomCVForce(energy)
        force.addCollectiveVariable("value", openmm.RMSDForce(everywhere.tolist(), list(self.atoms)))
        return force

    def _superposed(self, xyz: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far the atoms (..., n, 3) are from the reference, turned and moved onto them (Kabsch 1976)."""
        moving = xyz[..., list(self.atoms), :]
        moving = moving - moving.mean(axis=-2, keepdims=True)
        fixed = np.array(self.reference)
        fixed = fixed - fixed.mean(axis=0)
        u, _, vt = np.linalg.svd(np.swapaxes(moving, -1, -2) @ fixed)
        flip = np.ones((*u.shape[:-2], 3))
        flip[..., 2] = np.linalg.det(u) * np.linalg.det(vt)
        rotation = (u * flip[..., None, :]) @ vt
        return moving - fixed @ np.swapaxes(rotation, -1, -2)


class RmsdSection(VariableSection):
    """An RMSD to a structure file of the same molecule, over selected atoms."""

    rmsd: str = Field(description="Reference structure beside system.toml: PDB or mmCIF, same atoms.")
    atoms: str = Field("element != H and not water", description="MDTraj selection.")
    bounds_nm: tuple[float, float] | None = Field(None, description="Range of grids and pictures.")
    scale_nm: PositiveFloat | None = Field(None, description="What counts as one in the geometry.")

    def build(self, name: str, around: Surroundings) -> tuple[CollectiveVariable, ...]:
        """Return the RMSD.

        Raises
        ------
        SystemDefinitionError
            If the file cannot be read, is of another molecule, or the selection cannot be used.
        """
        path = around.directory / self.rmsd
        if not path.is_file():
            raise SystemDefinitionError(f"{around.where} rmsd: {path} does not exist")
        xyz = _positions(path, f"{around.where} rmsd")
        n = around.topology.getNumAtoms()
        if len(xyz) != n:
            raise SystemDefinitionError(
                f"{around.where} rmsd: {path} has {len(xyz)} atoms, but the molecule has {n}"
            )
        try:
            chosen = chosen_atoms(mdtraj.Topology.from_openmm(around.topology), self.atoms)
        except SystemDefinitionError as reason:
            raise SystemDefinitionError(f"{around.where} atoms: {reason}") from None
        reference = tuple((float(x), float(y), float(z)) for x, y, z in xyz[chosen])
        atoms = tuple(int(atom) for atom in chosen)
        return (
            Rmsd(name, atoms, bounds=self.bounds_nm, scale=self.scale_nm, reference=reference, n_particles=n),
        )


def _positions(path: Path, where: str) -> NDArray[np.float64]:
    """Return the positions (n_atoms, 3) [nm] of a PDB or mmCIF file."""
    reader = app.PDBxFile if path.suffix in (".cif", ".mmcif") else app.PDBFile
    try:
        xyz = np.asarray(reader(str(path)).getPositions(asNumpy=True).value_in_unit(unit.nanometer))
    except Exception as reason:  # OpenMM's parsers raise whatever a damaged file leads them to
        raise SystemDefinitionError(f"{where}: {path} cannot be read ({reason_of(reason)})") from None
    if not np.isfinite(xyz).all():
        raise SystemDefinitionError(f"{where}: {path} has coordinates that are not numbers")
    return xyz
