"""What a file of forces may not do unasked: run Python, or give an energy that is no number."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.parsers import expat

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from tps.errors import SystemDefinitionError, quoted, reason_of, shortened
from tps.files import check_regular, is_there
from tps.systems.trial import MOST_FOR_REFERENCE, has_expressions, reason_against

#: Elements whose text OpenMM's ForceField runs.
_SCRIPTS = ("Script", "InitializationScript")
#: An attribute that it evaluates as Python, and what it is in honest files.
_EVALUATED, _HONEST = "useDispersionCorrection", ("True", "False", "true", "false", "1", "0")
#: Attributes of force-field files that begin so are names, which may read as numbers.
_LABELS = ("name", "class", "type", "element", "atom", "residue", "bond", "from", "to")
#: A force of a serialised System that is a pickled function.
_PICKLED = re.compile(r"""type\s*=\s*["']PythonForce""")
#: Elements of a System lie about five deep; a CustomCVForce has forces within.
_MOST_DEEP = 100
_ALLOW = "set allow_code = true in [force_field] of system.toml if you trust it"


def check_no_code(files: Iterable[Path], where: str) -> None:
    """Check that force-field files, and those they include, hold nothing that OpenMM would run as Python.

    And no number that is not finite, which shows in no energy where the molecule at hand has no use for it. OpenMM's
    own files are not asked.

    Raises
    ------
    SystemDefinitionError
        Naming the file and what it would run, or which number is none.
    """
    shipped = Path(app.__file__).parent / "data"
    waiting, seen = list(files), set()
    while waiting:
        file = waiting.pop().resolve()
        if file in seen or file.is_relative_to(shipped.resolve()):
            continue
        seen.add(file)
        root = _parsed(file, where)
        for element in root.iter():
            _check_element(element, file, where)
        included = [Path(element.get("file", "")) for element in root.findall("Include")]
        waiting += [path for name in included for path in (file.parent / name, name) if is_there(path)]


def _parsed(file: Path, where: str) -> ElementTree.Element:
    try:
        check_regular(file)
        return ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as reason:
        raise SystemDefinitionError(
            f"{where} files: OpenMM cannot read {file.name}: {reason_of(reason)}"
        ) from None


def _check_element(element: ElementTree.Element, file: Path, where: str) -> None:
    asked = element.get(_EVALUATED, "True")
    if element.tag in _SCRIPTS or asked not in _HONEST:
        what = f"<{element.tag}>" if element.tag in _SCRIPTS else f"{_EVALUATED} = {quoted(asked)}"
        raise SystemDefinitionError(
            f"{where} files: {file.name} has {what}, which OpenMM runs as Python code: {_ALLOW}"
        )
    for key, value in element.items():
        if not key.startswith(_LABELS) and _is_endless(value):
            raise SystemDefinitionError(
                f"{where} files: {key} of <{element.tag}> in {file.name} should be a finite number, but is "
                f"{quoted(value)}"
            )


def check_no_pickle(text: str, path: Path) -> None:
    """Check that a serialised System holds no function of Python's, which would run on reading.

    Raises
    ------
    SystemDefinitionError
        If it does.
    """
    if _PICKLED.search(text) or "<!" in text:
        raise SystemDefinitionError(
            f"{path} has a PythonForce or declares a document type, which may run Python code: {_ALLOW}"
        )


def check_depth(text: str) -> None:
    """Check that a text is XML with elements no deeper in each other than a System has: OpenMM reads by recursion.

    Raises
    ------
    ValueError, xml.parsers.expat.ExpatError
        If it is not.
    """
    depth = 0

    def enter(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth > _MOST_DEEP:
            raise ValueError(f"more than {_MOST_DEEP} elements lie in each other")

    def leave(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = enter, leave
    parser.Parse(text, True)


def check_sound(system: openmm.System, source: str, *, indices: bool) -> None:
    """Check masses and constraints of a System, and that OpenMM can compile its expressions: that in another process.

    Parameters
    ----------
    system : openmm.System
    source : str
        What it comes from, for messages.
    indices : bool
        Whether indices of particles are a file's own, and so to be tried too.

    Raises
    ------
    SystemDefinitionError
        If a particle that is no virtual site weighs nothing, a constraint has no length, or OpenMM cannot simulate it.
    """
    _check_masses(system, source)
    _check_constraints(system, source)
    tried = system.getNumParticles() and (indices or has_expressions(system))
    reason = reason_against(system) if tried else ""
    if reason:
        raise SystemDefinitionError(f"{source}: OpenMM makes no simulation of it: {shortened(reason)}")


def _check_masses(system: openmm.System, source: str) -> None:
    for i in range(system.getNumParticles()):
        mass = system.getParticleMass(i).value_in_unit(unit.dalton)
        if not 0 < mass < np.inf and not (mass == 0 and system.isVirtualSite(i)):
            raise SystemDefinitionError(
                f"{source}: particle {i} (from zero) weighs {mass:g} amu and is no virtual site: atoms that OpenMM "
                "holds fixed would lie elsewhere in A than in B, give it its mass, and a restraint where it should stay"
            )


def check_numbers(text: str, system: openmm.System, path: Path) -> None:
    """Check that what OpenMM has read as numbers from a serialised System are finite numbers there.

    It takes what is none for zero, an atom's index included.

    Raises
    ------
    SystemDefinitionError
        Naming the first that is not.
    """
    understood = ElementTree.fromstring(openmm.XmlSerializer.serialize(system))
    numbers = {(e.tag, key) for e in understood.iter() for key, value in e.items() if _is_number(value)}
    for element in ElementTree.fromstring(text).iter():
        for key, value in element.items():
            if (element.tag, key) in numbers and not _is_number(value):
                raise SystemDefinitionError(
                    f"{path}: {key} of <{element.tag}> should be a finite number, but is {quoted(value)}"
                )


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _is_endless(text: str) -> bool:
    try:
        return not np.isfinite(float(text))
    except ValueError:
        return False


def check_energies(system: openmm.System, structures: Sequence[NDArray[np.float64]], source: str) -> None:
    """Check on a context of OpenMM that the energy of each structure (n_atoms, 3) [nm] is a number, forces included.

    Raises
    ------
    SystemDefinitionError
        If no context can be made, or an energy or a force is no finite number.
    """
    try:
        name = "Reference" if system.getNumParticles() <= MOST_FOR_REFERENCE else "CPU"
        platform = openmm.Platform.getPlatformByName(name)
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
        for label, positions in zip("AB", structures, strict=False):
            context.setPositions(positions)
            context.computeVirtualSites()
            _check_state(context.getState(getEnergy=True, getForces=True), f"{source}: end structure {label}")
    except openmm.OpenMMException as reason:
        raise SystemDefinitionError(
            f"{source}: OpenMM makes no simulation of it: {reason_of(reason)}"
        ) from None


def _check_state(state: openmm.State, what: str) -> None:
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    if not np.isfinite(energy) or not np.isfinite(forces).all():
        raise SystemDefinitionError(
            f"{what} has an energy of {energy:g} kJ/mol and {int((~np.isfinite(forces)).sum())} forces that are not "
            "finite numbers: a parameter is no number, or atoms lie on each other"
        )


def _check_constraints(system: openmm.System, source: str) -> None:
    for i in range(system.getNumConstraints()):
        first, second, length = system.getConstraintParameters(i)
        if not 0 < length.value_in_unit(unit.nanometer) < np.inf:
            raise SystemDefinitionError(
                f"{source}: the constraint of atoms {first} and {second} is {length} long: it should be positive"
            )
