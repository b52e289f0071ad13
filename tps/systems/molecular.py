"""A molecule with its force field, end structures, collective variables and states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import mdtraj
import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray
from openmm import app

from tps.errors import SystemDefinitionError
from tps.systems.collective_variables import CollectiveVariable, Torsion
from tps.systems.regions import Region, State
from tps.units import thermal_energy


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
        Torsions among the collective variables whose cosine and sine are the features.
    state_a, state_b : State
        Disjoint; A contains end structure A and not B, and the other way round.
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
    notes: tuple[str, ...] = ()

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
        for name in self.feature_names:
            if not isinstance(self.collective_variables.get(name), Torsion):
                raise SystemDefinitionError(
                    f"feature {name} must be a torsion among the collective variables"
                )
        self._check_states()

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return int(self.topology.getNumAtoms())

    @property
    def feature_atoms(self) -> NDArray[np.intp]:
        """Atoms of the feature torsions, (n_torsions, 4)."""
        return np.array([self.collective_variables[name].atoms for name in self.feature_names], dtype=np.intp)

    @cached_property
    def mdtraj_topology(self) -> mdtraj.Topology:
        """The topology for MDTraj."""
        return mdtraj.Topology.from_openmm(self.topology)

    def create_openmm_system(self) -> openmm.System:
        """Return a fresh openmm.System, to which forces may be added."""
        return openmm.XmlSerializer.deserialize(self.system_xml)

    def values(self, positions: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Return every collective variable (n_frames,) [rad, nm] of positions (n_frames, n_atoms, 3) [nm]."""
        return {name: variable.values(positions) for name, variable in self.collective_variables.items()}

    def check_avoided_region(self, region: Region) -> None:
        """Check that a region that paths shall stay out of contains neither end structure.

        Raises
        ------
        SystemDefinitionError
            Naming the end structure it contains.
        """
        for label, state, positions in self._ends():
            if self._contains(region, positions):
                raise SystemDefinitionError(
                    f"the region to avoid contains end structure {label} ({state.name}: "
                    f"{self.describe(positions, region)}), so no path can end there: make it smaller"
                )

    def describe(self, positions: NDArray[np.float64], region: Region) -> str:
        """Return the values of a region's variables at positions (n_atoms, 3) [nm], in the user's units."""
        variables = [self.collective_variables[name] for name in region.ranges]
        values = [
            (variable, variable.values(positions[None])[0] / variable.user_scale) for variable in variables
        ]
        return ", ".join(f"{variable.name} = {value:.4g} {variable.user_unit}" for variable, value in values)

    def _ends(self) -> tuple[tuple[str, State, NDArray[np.float64]], ...]:
        return ("A", self.state_a, self.positions_a), ("B", self.state_b, self.positions_b)

    def _contains(self, region: Region, positions: NDArray[np.float64]) -> bool:
        return bool(region.contains(self.values(positions[None]))[0])

    def _check_states(self) -> None:
        a, b = self.state_a, self.state_b
        if a.region.overlaps(b.region):
            raise SystemDefinitionError(
                f"[states.A] ({a.name}) and [states.B] ({b.name}) overlap: give both a range of one "
                "collective variable such that the two ranges do not meet"
            )
        inside = {
            (label, other): self._contains(state.region, positions)
            for label, state, _ in self._ends()
            for other, _, positions in self._ends()
        }
        if inside["A", "B"] and inside["B", "A"]:
            raise SystemDefinitionError(
                f"[states.A] ({a.name}) contains end structure B and [states.B] ({b.name}) contains A: "
                "swap structure_a and structure_b, or the two states"
            )
        for label, state, positions in self._ends():
            other, other_positions = ("B", self.positions_b) if label == "A" else ("A", self.positions_a)
            if inside[label, other]:
                raise SystemDefinitionError(
                    f"[states.{label}] ({state.name}) contains end structure {other} "
                    f"({self.describe(other_positions, state.region)}): state {label} must contain structure "
                    f"{label} only"
                )
            if not inside[label, label]:
                raise SystemDefinitionError(
                    f"[states.{label}] ({state.name}) contains neither end structure: structure {label} has "
                    f"{self.describe(positions, state.region)}, widen the ranges to take it in"
                )
