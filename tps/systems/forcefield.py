"""From a topology and a force field to an OpenMM System."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from tps.errors import SystemDefinitionError, reason_of
from tps.sections import nearest
from tps.systems.definition import ForceFieldSection
from tps.systems.identity import check_system_fits, periodic_box
from tps.systems.native_obc import use_native_obc
from tps.systems.prepared import Prepared, open_prepared
from tps.systems.structures import BOX_TOLERANCE, describe_box
from tps.systems.trust import (
    check_depth,
    check_energies,
    check_no_code,
    check_no_pickle,
    check_numbers,
    check_sound,
)

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
    prepared: Prepared | None = None,
) -> tuple[openmm.System, tuple[str, ...]]:
    """Build the System that a [force_field] section describes, for constant volume and temperature.

    Parameters
    ----------
    settings : ForceFieldSection
        The section.
    directory : Path
        Folder of system.toml, where files of the user's own are looked for first.
    topology : openmm.app.Topology
        The molecule, with the box of its structures, if any (`read_structure`).
    structures : tuple of array (n_atoms, 3)
        Positions [nm] that must fit the System, and at which a faster form of a force must give the same.
    prepared : Prepared, optional
        What `open_prepared` made of the section, to read its files once.

    Returns
    -------
    system : openmm.System
        `periodic_box` gives its box.
    notes : tuple of str
        What was done beyond the files, one sentence each, for the user.

    Raises
    ------
    SystemDefinitionError
        If a file cannot be used, a residue has no template, or a given System is of another molecule.
    """
    where = f"{directory / 'system.toml'} [force_field]"
    own = not settings.files or any((directory / name).is_file() for name in settings.files)
    if settings.system_xml is not None:
        source = str(directory / settings.system_xml)
        given = _read_system(directory / settings.system_xml, allow_code=settings.allow_code)
        system, notes = keep_constant_volume(given)
        system, more = _use_box(system, topology)
        notes += more
    elif settings.files:
        source = where
        system, notes = _apply_files(settings, directory, topology, where)
        if own:
            check_sound(system, where, indices=False)
        system, more = use_native_obc(system, structures)
        notes += more
    else:
        prepared = prepared or open_prepared(settings, directory)
        assert prepared is not None, "the section has exactly one source"
        source = str(prepared.path)
        box = _box_of(topology)
        settings = _choose_method(settings, box is not None or _box_of(prepared.topology) is not None)
        system = _create(lambda **options: prepared.create_system(box, **options), settings, where)
        notes = ()
    if not settings.files:
        check_system_fits(system, topology, structures, source)
    _check_cutoff(system, where)
    if own:
        check_energies(system, structures, source)
    return system, notes


def _apply_files(
    settings: ForceFieldSection, directory: Path, topology: app.Topology, where: str
) -> tuple[openmm.System, tuple[str, ...]]:
    force_field = _load_files(settings, directory, where)
    in_box = _box_of(topology) is not None
    notes: tuple[str, ...] = ()
    if in_box and settings.nonbonded_method == "auto" and _has_implicit_solvent(force_field):
        in_box = False
        notes = ("implicit solvent has no borders: the box of the structures is left out",)

    def explain(reason: str) -> str:
        return _explain(reason, topology, settings.files)

    create_system = partial(force_field.createSystem, topology)
    return _create(create_system, _choose_method(settings, in_box), where, explain), notes


def _create(
    create_system: Callable[..., openmm.System],
    settings: ForceFieldSection,
    where: str,
    explain: Callable[[str], str] = "cannot be used: OpenMM cannot build the System: {}".format,
) -> openmm.System:
    mass = None if settings.hydrogen_mass_amu is None else settings.hydrogen_mass_amu * unit.dalton
    try:
        return create_system(
            nonbondedMethod=NONBONDED_METHODS[settings.nonbonded_method],
            nonbondedCutoff=settings.nonbonded_cutoff_nm * unit.nanometer,
            constraints=CONSTRAINTS[settings.constraints],
            hydrogenMass=mass,
        )
    except Exception as reason:  # OpenMM raises many kinds, some bare, for what a file lacks
        raise SystemDefinitionError(f"{where} {explain(reason_of(reason))}") from None


def _choose_method(settings: ForceFieldSection, in_box: bool) -> ForceFieldSection:
    if settings.nonbonded_method != "auto":
        return settings
    return settings.model_copy(update={"nonbonded_method": "pme" if in_box else "no-cutoff"})


def _box_of(topology: app.Topology) -> NDArray[np.float64] | None:
    vectors = topology.getPeriodicBoxVectors()
    return None if vectors is None else np.array(vectors.value_in_unit(unit.nanometer))


def _has_implicit_solvent(force_field: app.ForceField) -> bool:
    """Return whether a force field has a solvent force, which it adds even to a molecule without atoms."""
    forces = force_field.createSystem(app.Topology()).getForces()
    return any(isinstance(force, openmm.GBSAOBCForce | openmm.CustomGBForce) for force in forces)


def keep_constant_volume(system: openmm.System) -> tuple[openmm.System, tuple[str, ...]]:
    """Take out of a System what would move its box or its velocities behind the integrator's back.

    Barostats break constant volume, Andersen's thermostat and a restrained molecule's CMMotionRemover the Langevin
    dynamics. A CMMotionRemover without external forces stays: the centre of mass then decouples exactly from
    everything else, in the forces and, with one friction for all atoms, in the noise.

    Returns
    -------
    system : openmm.System
        A new System, or the given one if there is nothing to take out.
    notes : tuple of str
        One sentence for each force taken out.
    """
    names = [type(force).__name__ for force in system.getForces()]
    reasons = {name: "the volume is constant" for name in names if name.endswith("Barostat")}
    reasons |= {"AndersenThermostat": "Langevin dynamics keeps the temperature"}
    if "CustomExternalForce" in names:
        reasons |= {"CMMotionRemover": "external forces act on the centre of mass"}
    places = [i for i, name in enumerate(names) if name in reasons]
    if not places:
        return system, ()
    kept = openmm.XmlSerializer.clone(system)
    for i in reversed(places):
        kept.removeForce(i)
    return kept, tuple(f"{names[i]} is taken out of the System: {reasons[names[i]]}" for i in places)


def _use_box(system: openmm.System, topology: app.Topology) -> tuple[openmm.System, tuple[str, ...]]:
    """Return the System in the box of the structures, where it is periodic and they have one."""
    box, own = _box_of(topology), periodic_box(system)
    if box is None or (own is not None and np.abs(box - own).max() < BOX_TOLERANCE):
        return system, ()
    if own is None:
        return system, ("the System has no periodic forces: the box of the structures is left out",)
    changed = openmm.XmlSerializer.clone(system)
    changed.setDefaultPeriodicBoxVectors(*box)
    return changed, (
        f"the box is that of the structures, {describe_box(box)}, not that of the System, {describe_box(own)}",
    )


def _check_cutoff(system: openmm.System, where: str) -> None:
    """Check that the box is twice as wide as each cutoff, without which no Context can be made."""
    box = periodic_box(system)
    if box is None:
        return
    for force in system.getForces():
        if hasattr(force, "getCutoffDistance") and force.usesPeriodicBoundaryConditions():
            cutoff = force.getCutoffDistance().value_in_unit(unit.nanometer)
            if 2 * cutoff > box.diagonal().min():
                raise SystemDefinitionError(
                    f"{where}: a cutoff of {cutoff:.4g} nm does not fit twice into the box of {describe_box(box)}: "
                    f"set nonbonded_cutoff_nm to at most {box.diagonal().min() / 2:.2g}, or give a larger box"
                )


def _load_files(settings: ForceFieldSection, directory: Path, where: str) -> app.ForceField:
    files = settings.files
    found = [str(directory / name) if (directory / name).is_file() else name for name in files]
    shipped = Path(app.__file__).parent / "data"
    for name, path in zip(files, found, strict=True):
        if not Path(path).is_file() and not (shipped / name).is_file():
            known = [str(each.relative_to(shipped)) for each in shipped.rglob("*.xml")]
            close = nearest(name, known) if nearest(name, known).startswith("; did") else ""
            raise SystemDefinitionError(
                f"{where} files: {name!r} is neither beside system.toml nor a force field of OpenMM{close}"
            )
    if not settings.allow_code:
        check_no_code([Path(path) for path in found if Path(path).is_file()], where)
    try:
        return app.ForceField(*found)
    except Exception as reason:  # OpenMM raises a bare Exception for damaged XML
        raise SystemDefinitionError(
            f"{where} files: OpenMM cannot read {', '.join(files)}: {reason_of(reason)}"
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


def _read_system(path: Path, *, allow_code: bool) -> openmm.System:
    if not path.is_file():
        raise SystemDefinitionError(
            f"{path} does not exist: write it with openmm.XmlSerializer.serialize(system)"
        )
    try:
        text = path.read_text(encoding="utf-8")
        if not allow_code:
            check_no_pickle(text, path)
        check_depth(text)
        system = openmm.XmlSerializer.deserialize(text)
    except SystemDefinitionError:
        raise
    except Exception as reason:  # OpenMM raises whatever damaged XML leads it to
        raise SystemDefinitionError(
            f"{path} is not a serialised openmm.System: {reason_of(reason)}"
        ) from None
    if not isinstance(system, openmm.System):
        raise SystemDefinitionError(
            f"{path} holds a serialised {type(system).__name__}, not an openmm.System"
        )
    check_numbers(text, system, path)
    check_sound(system, str(path), indices=True)
    return system
