"""A molecule with its force field, end structures, collective variables and states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import mdtraj
import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray
from openmm import app

from tps.errors import SystemDefinitionError
from tps.features import CollectiveVariable, Features, FeatureSpace, variable_values
from tps.systems.ends import End, check_avoided_regions, check_states
from tps.systems.regions import Region, State
from tps.units import thermal_energy

#: Elements whose single atoms are taken for ions of the solvent.
IONS = frozenset(["Li", "Na", "K", "Rb", "Cs", "Mg", "Ca", "Zn", "F", "Cl", "Br", "I"])


@dataclass(frozen=True, eq=False)
class MolecularSystem:
    """Everything the user says about a molecule, checked: what every later stage takes.

    Parameters
    ----------
    name, description : str
    directory : Path
        Folder of its system.toml.
    topology : openmm.app.Topology
        Atom order of everything that follows.
    system_xml : str
        Serialised openmm.System, without any tilt or wall.
    temperature : float
        Of the bath [K].
    positions_a, positions_b : array (n_atoms, 3)
        End structures [nm], float64.
    collective_variables : mapping of str to CollectiveVariable
    feature_names : tuple of str
        Those of the collective variables that are the features.
    state_a, state_b : State
        Disjoint; A contains end structure A and not B, and the other way round.
    box : array (3, 3) or None
        Reduced box vectors [nm] of a periodic system, the same for all its frames; None in vacuum.
    chosen_solute : array (n_solute,) of int or None
        The solute, where it is not all that is neither water nor ion.
    notes : tuple of str
        What was done to the force field beyond its files, one sentence each.

    Raises
    ------
    SystemDefinitionError
        If these do not fit together.
    """

    name: str
    description: str
    directory: Path
    topology: app.Topology
    system_xml: str
    temperature: float
    positions_a: NDArray[np.float64]
    positions_b: NDArray[np.float64]
    collective_variables: Mapping[str, CollectiveVariable]
    feature_names: tuple[str, ...]
    state_a: State
    state_b: State
    box: NDArray[np.float64] | None = None
    chosen_solute: NDArray[np.intp] | None = None
    notes: tuple[str, ...] = ()

    energy_unit: ClassVar[str] = "kJ/mol"
    time_unit: ClassVar[str] = "ps"

    def __post_init__(self) -> None:
        thermal_energy(self.temperature)
        shape = (self.n_atoms, 3)
        if self.positions_a.shape != shape or self.positions_b.shape != shape:
            raise SystemDefinitionError(
                f"end structures must be (n_atoms, 3) = {shape}, but got {self.positions_a.shape} "
                f"and {self.positions_b.shape}"
            )
        for variable in self.collective_variables.values():
            if max(variable.atoms) >= self.n_atoms:
                raise SystemDefinitionError(
                    f"collective variable {variable.name}: atom {max(variable.atoms)} does not exist, "
                    f"the molecule has atoms 0 to {self.n_atoms - 1}"
                )
        if self.box is not None and self.box.shape != (3, 3):
            raise SystemDefinitionError(f"a box has three vectors (3, 3) [nm], but got {self.box.shape}")
        missing = [name for name in self.feature_names if name not in self.collective_variables]
        if missing or not self.feature_names:
            raise SystemDefinitionError(
                f"features must be collective variables, at least one, but got {', '.join(missing) or 'none'}"
            )
        check_states(*self._ends())

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return int(self.topology.getNumAtoms())

    @property
    def kt(self) -> float:
        """Thermal energy kT [kJ/mol]."""
        return thermal_energy(self.temperature)

    @property
    def ends(self) -> NDArray[np.float64]:
        """End structures A and B (2, n_atoms, 3) [nm]."""
        return np.stack([self.positions_a, self.positions_b])

    @cached_property
    def features(self) -> Features:
        """The features: what the tilt acts on."""
        return Features(tuple(self.collective_variables[name] for name in self.feature_names))

    @property
    def space(self) -> FeatureSpace:
        """The space of the features."""
        return self.features.space

    @property
    def definition(self) -> bytes:
        """Everything the files say about the energy, to tell whether it has changed."""
        return self.system_xml.encode()

    @cached_property
    def mdtraj_topology(self) -> mdtraj.Topology:
        """The topology for MDTraj."""
        return mdtraj.Topology.from_openmm(self.topology)

    @cached_property
    def solute(self) -> NDArray[np.intp]:
        """Atoms that are looked at (n_solute,): RMSD, export, report."""
        return solute_atoms(self.mdtraj_topology) if self.chosen_solute is None else self.chosen_solute

    @property
    def solvated(self) -> bool:
        """Whether there is more than the solute."""
        return len(self.solute) < self.n_atoms

    @property
    def energy_name(self) -> str:
        """What its energies are of."""
        return "potential energy" + (" of the whole system, solvent included" if self.solvated else "")

    def create_openmm_system(self) -> openmm.System:
        """Return a fresh openmm.System, to which forces may be added."""
        return openmm.XmlSerializer.deserialize(self.system_xml)

    def values(self, positions: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Return every collective variable (n_frames,) [rad, nm] of positions (n_frames, n_atoms, 3) [nm]."""
        return variable_values(tuple(self.collective_variables.values()), positions, self.box)

    def feature_values(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Map positions (..., n_atoms, 3) [nm] to the features (..., d) in internal units."""
        return self.features.values(positions, self.box)

    def check_avoided_regions(self, regions: Sequence[Region]) -> None:
        """Check that regions that paths shall stay out of contain neither end structure, and leave a way between them.

        Raises
        ------
        SystemDefinitionError
            Naming the end structure that lies in one, or the regions that wall it off.
        """
        check_avoided_regions(regions, *self._ends())

    def _ends(self) -> tuple[End, End]:
        variables = self.collective_variables
        return (
            End("A", self.state_a, "structure", self.values(self.positions_a[None]), variables),
            End("B", self.state_b, "structure", self.values(self.positions_b[None]), variables),
        )


def solute_atoms(topology: mdtraj.Topology) -> NDArray[np.intp]:
    """Return the atoms that are neither water nor ions; or those that are no water, or all of them."""
    dry = [residue for residue in topology.residues if not residue.is_water]
    found = [r for r in dry if r.n_atoms > 1 or getattr(r.atom(0).element, "symbol", "") not in IONS]
    residues = found or dry or topology.residues
    return np.array([atom.index for residue in residues for atom in residue.atoms], dtype=np.intp)
