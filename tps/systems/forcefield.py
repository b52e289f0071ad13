"""From a topology and a force field to an OpenMM System."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from tps.errors import SystemDefinitionError
from tps.sections import nearest
from tps.systems.definition import ForceFieldSection
from tps.systems.native_obc import use_native_obc

CONSTRAINTS = {"none": None, "h-bonds": app.HBonds, "all-bonds": app.AllBonds}
NONBONDED_METHODS = {
    "no-cutoff": app.NoCutoff,
    "cutoff-nonperiodic": app.CutoffNonPeriodic,
    "cutoff-periodic": app.CutoffPeriodic,
    "pme": app.PME,
}


def build_openmm_system(
    settings: ForceFieldSection,
    directory: Path,
    topology: app.Topology,
    structures: tuple[NDArray[np.float64], ...],
) -> tuple[openmm.System, tuple[str, ...]]:
    """Build the System that a [force_field] section describes.

    Parameters
    ----------
    settings : ForceFieldSection
        The section.
    directory : Path
        Folder of system.toml, where XML files of the user's own are looked for first.
    topology : openmm.app.Topology
        The molecule.
    structures : tuple of array (n_atoms, 3)
        Positions [nm] at which a faster form of a force must give the same energy and forces.

    Returns
    -------
    system : openmm.System
    notes : tuple of str
        What was done beyond the files, one sentence each, for the user.

    Raises
    ------
    SystemDefinitionError
        If a file cannot be used, a residue has no template, or a given System is of another molecule.
    """
    where = f"{directory / 'system.toml'} [force_field]"
    if settings.system_xml is not None:
        return _read_system(directory / settings.system_xml, topology), ()
    force_field = _load_files(settings.files, directory, where)
    try:
        system = force_field.createSystem(
            topology,
            nonbondedMethod=NONBONDED_METHODS[settings.nonbonded_method],
            nonbondedCutoff=settings.nonbonded_cutoff_nm * unit.nanometer,
            constraints=CONSTRAINTS[settings.constraints],
            hydrogenMass=settings.hydrogen_mass_amu,
        )
    except ValueError as reason:
        raise SystemDefinitionError(f"{where} {_explain(str(reason), topology, settings.files)}") from None
    return use_native_obc(system, structures)


def _load_files(files: tuple[str, ...], directory: Path, where: str) -> app.ForceField:
    found = [str(directory / name) if (directory / name).is_file() else name for name in files]
    shipped = Path(app.__file__).parent / "data"
    for name, path in zip(files, found, strict=True):
        if not Path(path).is_file() and not (shipped / name).is_file():
            known = [str(each.relative_to(shipped)) for each in shipped.rglob("*.xml")]
            close = nearest(name, known) if nearest(name, known).startswith("; did") else ""
            raise SystemDefinitionError(
                f"{where} files: {name!r} is neither beside system.toml nor a force field of OpenMM{close}"
            )
    try:
        return app.ForceField(*found)
    except Exception as reason:  # OpenMM raises a bare Exception for damaged XML
        raise SystemDefinitionError(
            f"{where} files: OpenMM cannot read {', '.join(files)}: {reason}"
        ) from None


def _explain(message: str, topology: app.Topology, files: tuple[str, ...]) -> str:
    """Turn OpenMM's complaint about a residue into one sentence with a remedy."""
    reason = " ".join(message.partition("For more information")[0].split()).rstrip(". ")
    has_hydrogens = any(atom.element is app.element.hydrogen for atom in topology.atoms())
    if not has_hydrogens or re.search(r"missing \d+ (H|hydrogen) atom", reason):
        remedy = "add them with openmm.app.Modeller.addHydrogens"
        return f"files: the end structures lack hydrogens, {remedy} ({reason})"
    if "No template found" in reason:
        remedy = "add a file that does or give system_xml"
        return f"files: {', '.join(files)} does not cover the molecule, {remedy} ({reason})"
    return f"cannot be used: OpenMM cannot build the System: {reason}"


def _read_system(path: Path, topology: app.Topology) -> openmm.System:
    if not path.is_file():
        raise SystemDefinitionError(
            f"{path} does not exist: write it with openmm.XmlSerializer.serialize(system)"
        )
    try:
        system = openmm.XmlSerializer.deserialize(path.read_text(encoding="utf-8"))
    except ValueError as reason:
        raise SystemDefinitionError(f"{path} is not a serialised openmm.System: {reason}") from None
    if not isinstance(system, openmm.System):
        raise SystemDefinitionError(
            f"{path} holds a serialised {type(system).__name__}, not an openmm.System"
        )
    n_atoms = topology.getNumAtoms()
    if system.getNumParticles() != n_atoms:
        raise SystemDefinitionError(
            f"{path} has {system.getNumParticles()} particles, but the end structures have {n_atoms} atoms"
        )
    mass = sum(system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(n_atoms))
    elements = [atom.element for atom in topology.atoms()]
    expected = sum(element.mass.value_in_unit(unit.dalton) for element in elements if element is not None)
    if None not in elements and abs(mass - expected) > 0.01 * expected:
        raise SystemDefinitionError(
            f"{path} weighs {mass:.1f} amu, but the end structures weigh {expected:.1f}: "
            "give the System of this molecule"
        )
    return system
