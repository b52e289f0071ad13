"""Finding systems by name or folder, and loading them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import mdtraj
import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app
from pydantic import BaseModel

import tps
from tps.errors import SystemDefinitionError
from tps.features import CollectiveVariable, Surroundings, define_variables
from tps.features.selection import chosen_atoms
from tps.sections import nearest, read_toml
from tps.systems.confinement import add_confinement, describe_confinement
from tps.systems.definition import SystemFile
from tps.systems.forcefield import build_openmm_system
from tps.systems.identity import periodic_box
from tps.systems.molecular import MolecularSystem
from tps.systems.prepared import Prepared, open_prepared
from tps.systems.regions import State, region_from_keys
from tps.systems.structures import Structure, check_same_molecule, read_structure
from tps.systems.surface import SurfaceSystem
from tps.systems.surface_file import SurfaceFile, load_surface


@dataclass(frozen=True)
class SystemSummary:
    """A built-in system, as a list shows it."""

    name: str
    description: str
    directory: Path
    kind: Literal["molecule", "surface"] = "molecule"


class _Tables(BaseModel):
    """Which tables a system.toml has."""

    surface: object = None


def data_directory(kind: Literal["systems", "configs"]) -> Path:
    """Return the folder of the built-in systems or run files: in an installed wheel, or else in the checkout.

    Raises
    ------
    SystemDefinitionError
        If neither is there.
    """
    package = Path(tps.__file__).resolve().parent
    for folder in (package / "_data" / kind, package.parent / kind):
        if folder.is_dir():
            return folder
    raise SystemDefinitionError(f"the built-in {kind} are missing from {package}: install the package again")


def available_systems() -> tuple[SystemSummary, ...]:
    """Return the built-in systems, sorted by name."""
    return tuple(_summary(file) for file in sorted(data_directory("systems").glob("*/system.toml")))


def load_system(name_or_directory: str | Path) -> MolecularSystem | SurfaceSystem:
    """Load a molecule, or a surface where system.toml has a table [surface].

    Parameters
    ----------
    name_or_directory : str or Path
        Name of a built-in system, or a folder that holds a system.toml. A string that is both means the
        built-in one; write ``./name`` for the folder.

    Raises
    ------
    SystemDefinitionError
        In one sentence, naming file and key.
    """
    directory = _find(name_or_directory)
    return load_surface(directory) if _is_surface(directory / "system.toml") else load_molecule(directory)


def load_molecule(directory: Path) -> MolecularSystem:
    """Load the molecule of a folder.

    Raises
    ------
    SystemDefinitionError
        In one sentence, naming file and key.
    """
    file = directory / "system.toml"
    settings = read_toml(file, SystemFile, SystemDefinitionError)
    section = settings.system
    prepared = open_prepared(settings.force_field, directory)
    a, b = (
        _read_end(directory / name, f"{file} [system] {key}", prepared)
        for key, name in (("structure_a", section.structure_a), ("structure_b", section.structure_b))
    )
    check_same_molecule(a, b)
    groups = {
        name: define_variables(
            name, table, Surroundings(a.topology, directory, f"{file} [collective_variables.{name}]")
        )
        for name, table in settings.collective_variables.items()
    }
    variables = _by_name(groups, f"{file} [collective_variables]")
    features = _feature_names(section.features, groups, variables, f"{file} [system] features")
    states = [
        State(state.name, region_from_keys(state.ranges, variables, f"{file} [states.{label}]"))
        for label, state in (("A", settings.states.A), ("B", settings.states.B))
    ]
    system, notes = build_openmm_system(
        settings.force_field, directory, a.topology, (a.positions, b.positions), prepared
    )
    if settings.confinement is not None:
        where = f"{file} [confinement]"
        walls = region_from_keys(settings.confinement.ranges, variables, where)
        stiffness = settings.confinement.stiffness_kj_per_mol
        add_confinement(system, walls, variables, stiffness)
        notes = (*notes, describe_confinement(walls, variables, stiffness))
    try:
        return MolecularSystem(
            name=section.name,
            description=section.description,
            directory=directory,
            topology=a.topology,
            system_xml=openmm.XmlSerializer.serialize(system),
            temperature=section.temperature_kelvin,
            positions_a=a.positions,
            positions_b=b.positions,
            collective_variables=variables,
            feature_names=features,
            state_a=states[0],
            state_b=states[1],
            box=periodic_box(system),
            chosen_solute=_solute(section.solute, a.topology, f"{file} [system] solute"),
            notes=notes,
        )
    except SystemDefinitionError as reason:
        raise SystemDefinitionError(f"{file}: {reason}") from None


def _solute(selection: str | None, topology: app.Topology, where: str) -> NDArray[np.intp] | None:
    if selection is None:
        return None
    try:
        return chosen_atoms(mdtraj.Topology.from_openmm(topology), selection)
    except SystemDefinitionError as reason:
        raise SystemDefinitionError(f"{where}: {reason}") from None


def _is_surface(file: Path) -> bool:
    return read_toml(file, _Tables, SystemDefinitionError).surface is not None


def _summary(file: Path) -> SystemSummary:
    if _is_surface(file):
        surface = read_toml(file, SurfaceFile, SystemDefinitionError).surface
        return SystemSummary(file.parent.name, surface.description, file.parent, "surface")
    system = read_toml(file, SystemFile, SystemDefinitionError).system
    return SystemSummary(file.parent.name, system.description, file.parent)


def _find(name_or_directory: str | Path) -> Path:
    builtin = {summary.name: summary.directory for summary in available_systems()}
    if isinstance(name_or_directory, str) and name_or_directory in builtin:
        return builtin[name_or_directory]
    path = Path(name_or_directory)
    if path.name == "system.toml":
        path = path.parent
    if path.is_dir():
        if not (path / "system.toml").is_file():
            raise SystemDefinitionError(f"{path} holds no system.toml")
        return path.resolve()
    raise SystemDefinitionError(
        f"{str(name_or_directory)!r} is neither a built-in system nor a folder{nearest(str(path), builtin)}"
    )


def _read_end(path: Path, where: str, prepared: Prepared | None) -> Structure:
    try:
        return read_structure(path, None if prepared is None else prepared.topology)
    except SystemDefinitionError as reason:
        raise SystemDefinitionError(f"{where}: {reason}") from None


def _by_name(
    groups: Mapping[str, tuple[CollectiveVariable, ...]], where: str
) -> dict[str, CollectiveVariable]:
    """Return all variables by their own names, which differ."""
    found: dict[str, CollectiveVariable] = {}
    for table, variables in groups.items():
        for variable in variables:
            if variable.name in found:
                raise SystemDefinitionError(
                    f"{where}: {table} defines {variable.name} again: rename one of the two"
                )
            found[variable.name] = variable
    return found


def _feature_names(
    asked: tuple[str, ...],
    groups: Mapping[str, tuple[CollectiveVariable, ...]],
    variables: Mapping[str, CollectiveVariable],
    where: str,
) -> tuple[str, ...]:
    """Return the features by name, tables that define several of them taken apart."""
    found: list[str] = []
    for name in asked:
        if name not in variables and name not in groups:
            raise SystemDefinitionError(
                f"{where}: no collective variable {name!r}{nearest(name, {*variables, *groups})}"
            )
        found += [name] if name in variables else [v.name for v in groups[name]]
    if len(set(found)) != len(found):
        raise SystemDefinitionError(f"{where}: each feature can be named once, but got {', '.join(found)}")
    return tuple(found)
