"""Systems that other programs have prepared: Amber, GROMACS and CHARMM files, by OpenMM's own readers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openmm
from numpy.typing import NDArray
from openmm import app, unit

from tps.errors import SystemDefinitionError, quoted, reason_of
from tps.systems.definition import ForceFieldSection
from tps.systems.gromacs_top import check_top

#: What OpenMM's reader of CHARMM parameters tells files apart by.
CHARMM_SUFFIXES = (".rtf", ".top", ".par", ".prm", ".str", ".inp")
#: The width of the numbers in a prmtop's section of counts, and its first line: NATOM, NTYPES.
_POINTERS = re.compile(
    rb"%FLAG\s+POINTERS\s*\n(?:%COMMENT[^\n]*\n)*%FORMAT\(\s*\d+[a-zA-Z](\d{1,3})[^\n]*\n([^\n]*)"
)


@dataclass(frozen=True)
class Prepared:
    """A topology with parameters that another program has written.

    Parameters
    ----------
    path : Path
        Of the prmtop, top or psf file.
    topology : openmm.app.Topology
        Its atoms and bonds; its box where it names one (prmtop).
    create_system : callable
        (box (3, 3) [nm] or None, **options of OpenMM's createSystem) to openmm.System.
    """

    path: Path
    topology: app.Topology
    create_system: Callable[..., openmm.System]


def open_prepared(settings: ForceFieldSection, directory: Path) -> Prepared | None:
    """Read the prmtop, top or psf file that a [force_field] section names; None if it names none.

    Parameters
    ----------
    settings : ForceFieldSection
    directory : Path
        Folder of system.toml, which paths start from.

    Raises
    ------
    SystemDefinitionError
        If a file is missing or cannot be read.
    """
    where = f"{directory / 'system.toml'} [force_field]"
    if settings.amber_prmtop is not None:
        return _open_amber(_existing(directory, settings.amber_prmtop, f"{where} amber_prmtop"))
    if settings.gromacs_top is not None:
        return _open_gromacs(settings, directory, where)
    if settings.charmm_psf is not None:
        return _open_charmm(settings, directory, where)
    return None


def _open_amber(path: Path) -> Prepared:
    _check_pointers(path)
    prmtop = _read(app.AmberPrmtopFile, path, "Amber prmtop")

    def create_system(box: NDArray | None, **options: Any) -> openmm.System:
        if box is not None:
            prmtop.topology.setPeriodicBoxVectors(box * unit.nanometer)
        return prmtop.createSystem(**options)

    return Prepared(path, prmtop.topology, create_system)


def _check_pointers(path: Path) -> None:
    """Check that a prmtop counts no more atoms, and pairs of types, than it has bytes: OpenMM makes room for all.

    What is no number there OpenMM's reader refuses itself.
    """
    raw = path.read_bytes()
    for width, numbers in _POINTERS.findall(raw):
        line = numbers.decode(errors="replace")
        counts = [line[i : i + int(width)].strip() for i in (0, int(width))]
        if _number(counts[0]) > len(raw) or _number(counts[1]) ** 2 > len(raw):
            raise SystemDefinitionError(
                f"{path} counts {quoted(counts[0])} atoms and {quoted(counts[1])} types in %FLAG POINTERS, more than "
                "it can hold: it is damaged"
            )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _open_gromacs(settings: ForceFieldSection, directory: Path, where: str) -> Prepared:
    path = _existing(directory, str(settings.gromacs_top), f"{where} gromacs_top")
    include = None
    if settings.gromacs_include is not None:
        include = str(directory / settings.gromacs_include)
        if not Path(include).is_dir():
            raise SystemDefinitionError(f"{where} gromacs_include: {include} is not a folder")
    check_top(path, None if include is None else Path(include))
    remedy = "; is gromacs_include the folder that holds the *.ff folders?"
    top = _read(app.GromacsTopFile, path, "GROMACS top", remedy, includeDir=include)

    def create_system(box: NDArray | None, **options: Any) -> openmm.System:
        if box is not None:
            top.topology.setPeriodicBoxVectors(box * unit.nanometer)
        return top.createSystem(**options)

    return Prepared(path, top.topology, create_system)


def _open_charmm(settings: ForceFieldSection, directory: Path, where: str) -> Prepared:
    path = _existing(directory, str(settings.charmm_psf), f"{where} charmm_psf")
    files = [_existing(directory, name, f"{where} charmm_parameters") for name in settings.charmm_parameters]
    for file in files:
        if file.suffix not in CHARMM_SUFFIXES:
            raise SystemDefinitionError(
                f"{where} charmm_parameters: {file} should end in {', '.join(CHARMM_SUFFIXES)}, "
                "which tells what it holds"
            )
    psf = _read(app.CharmmPsfFile, path, "CHARMM psf")
    try:
        parameters = app.CharmmParameterSet(*map(str, files))
        psf.loadParameters(parameters)
    except Exception as reason:  # OpenMM's parsers raise whatever a damaged file leads them to
        raise SystemDefinitionError(
            f"{where} charmm_parameters: {', '.join(settings.charmm_parameters)} cannot be applied to {path.name} "
            f"({_one_line(reason)})"
        ) from None

    def create_system(box: NDArray | None, **options: Any) -> openmm.System:
        if box is not None:
            psf.box_vectors = box * unit.nanometer
            psf.topology.setPeriodicBoxVectors(psf.box_vectors)
        return psf.createSystem(parameters, **options)

    return Prepared(path, psf.topology, create_system)


def _existing(directory: Path, name: str, where: str) -> Path:
    path = directory / name
    if not path.is_file():
        raise SystemDefinitionError(f"{where}: {path} does not exist")
    return path


def _read(reader: Callable[..., Any], path: Path, kind: str, remedy: str = "", **options: Any) -> Any:
    try:
        return reader(str(path), **options)
    except Exception as reason:  # OpenMM's parsers raise whatever a damaged file leads them to
        remedy = remedy if "include" in str(reason) else ""
        raise SystemDefinitionError(
            f"{path} cannot be read as a {kind} file ({_one_line(reason)}){remedy}"
        ) from None


def _one_line(reason: Exception) -> str:
    return f"{type(reason).__name__}: {reason_of(reason)}"
