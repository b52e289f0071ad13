"""Both end structures as the same molecule in the same atom order, with the files of its force field."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import mdtraj
import numpy as np
from numpy.typing import NDArray
from openmm import app, unit

from tps.errors import ConfigError, SystemDefinitionError, reason_of
from tps.features.selection import chosen_atoms
from tps.prepare.request import DEFAULT_FORCE_FIELD, DEFAULT_WATER, PREPARED_SUFFIXES, Request
from tps.sections import nearest
from tps.systems.definition import ForceFieldSection
from tps.systems.gromacs_top import flatten_top
from tps.systems.matching import in_order_of, match_atoms
from tps.systems.molecular import solute_atoms
from tps.systems.molecular_graph import MolecularGraph, graph_of
from tps.systems.prepared import Prepared, open_prepared
from tps.systems.structures import Structure, check_same_molecule, describe_box, read_structure
from tps.systems.trial import expressions_alone
from tps.systems.trust import check_no_code, check_sound

#: Least density [g/mL] of a box that is full, rather than the cell of a crystal with its solvent left out.
FULL_BOX = 0.6
#: The nonbonded cutoff [nm], and its share of a box that is too small for that.
CUTOFF, CUTOFF_SHARE = 1.0, 0.44
_AMU_PER_NM3 = 1.66053906660e-3  # in g/mL


@dataclass(frozen=True, eq=False)
class Ends:
    """Structures A and B of one molecule.

    Parameters
    ----------
    topology : openmm.app.Topology
        That of A, with bonds and box.
    positions : array (2, n_atoms, 3)
        [nm], molecules whole.
    box : array (3, 3) or None
        Reduced box vectors [nm], the same for both.
    force_field : dict
        The table [force_field] of system.toml.
    solute : array (n_solute,) of int
        Atoms that are looked at.
    solute_selection : str or None
        The MDTraj selection that says so; None where it need not be said.
    notes : tuple of str
        What was done, one sentence each.
    """

    topology: app.Topology
    positions: NDArray[np.float64]
    box: NDArray[np.float64] | None
    force_field: dict[str, object]
    solute: NDArray[np.intp]
    solute_selection: str | None
    notes: tuple[str, ...] = ()

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return int(self.topology.getNumAtoms())

    @property
    def section(self) -> ForceFieldSection:
        """The table [force_field], checked."""
        return ForceFieldSection.model_validate(self.force_field)

    def graph(self, end: int = 0) -> MolecularGraph:
        """Return the molecules of A (0) or B (1), bonds guessed by distance where a residue has none."""
        return graph_of(Structure(Path("AB"[end]), self.topology, self.positions[end], self.box))

    def moved(self, positions: NDArray[np.float64], *notes: str) -> Ends:
        """Return the same molecule at other positions."""
        return replace(self, positions=positions, notes=(*self.notes, *notes))


def read_ends(request: Request, folder: Path) -> Ends:
    """Read both structures, copy the files of the force field into a folder, and match the atoms.

    Raises
    ------
    SystemDefinitionError
        If a file cannot be read, or the structures are not of the same molecule.
    """
    table = _copy_force_field(request, folder)
    prepared = open_prepared(ForceFieldSection.model_validate(table), folder) if table else None
    a, b = (_read(path, request, prepared) for path in (request.a, request.b))
    notes: list[str] = []
    if prepared is None:
        matching = match_atoms(a, b)
        b = in_order_of(a, b, matching)
        notes.append(matching.how)
    else:
        notes.append(f"both structures are in the atom order of {prepared.path.name}")
    if not table:
        files = _force_field_files(request, folder, a)
        table = {"files": files}
        if request.add_hydrogens:
            a, b, note = _with_hydrogens(a, b, open_force_field(files, folder), request)
            notes.append(note)
        a, b, dropped = _without_crystal_cell(a, b)
        notes += dropped
    check_same_molecule(a, b)
    box = None if a.box is None else np.array(a.box)
    if box is not None and box.diagonal().min() < 2 * CUTOFF and request.system_xml is None:
        table["nonbonded_cutoff_nm"] = float(np.floor(100 * CUTOFF_SHARE * box.diagonal().min()) / 100)
    topology = _with_bonds(a)
    solute, selection = _solute(topology, request.solute)
    graphs = [graph_of(Structure(end.path, topology, end.positions, box)) for end in (a, b)]
    positions = np.stack([graph.positions for graph in graphs])
    return Ends(topology, positions, box, table, solute, selection, tuple(notes))


def open_force_field(files: tuple[str, ...], folder: Path) -> app.ForceField:
    """Return OpenMM's force field of files beside system.toml, or of its own.

    Raises
    ------
    SystemDefinitionError
        If one does not exist or cannot be read.
    """
    _check_known(files, folder)
    found = [str(folder / name) if (folder / name).is_file() else name for name in files]
    own = [Path(name) for name in found if Path(name).is_file()]
    check_no_code(own, "--forcefield")
    try:
        force_field = app.ForceField(*found)
        forces = force_field.createSystem(app.Topology())
    except Exception as reason:  # OpenMM raises a bare Exception for damaged XML
        raise SystemDefinitionError(f"OpenMM cannot read {', '.join(files)}: {reason_of(reason)}") from None
    if own:
        check_sound(expressions_alone(forces), "--forcefield", indices=False)
    return force_field


def _check_known(files: tuple[str, ...], folder: Path) -> None:
    shipped = Path(app.__file__).parent / "data"
    for name in files:
        if not (folder / name).is_file() and not (shipped / name).is_file():
            known = [path.relative_to(shipped).as_posix() for path in shipped.rglob("*.xml")]
            guess = nearest(name, known)
            raise SystemDefinitionError(
                f"--forcefield {name} is neither a file nor a force field of OpenMM"
                f"{guess if guess.startswith('; did') else ''}"
            )


def has_water(topology: app.Topology) -> bool:
    """Return whether one of the residues is water."""
    return any(residue.is_water for residue in mdtraj.Topology.from_openmm(topology).residues)


def heavy_atoms(topology: app.Topology, atoms: Iterable[int]) -> NDArray[np.intp]:
    """Return those of some atoms that are neither hydrogen nor virtual sites, in rising order."""
    light = (None, app.element.hydrogen)
    heavy = {atom.index for atom in topology.atoms() if atom.element not in light}
    return np.array(sorted(heavy.intersection(int(i) for i in atoms)), dtype=np.intp)


def _copy_force_field(request: Request, folder: Path) -> dict[str, object]:
    """Copy what a prepared system consists of; return its table, empty where force-field files are to be chosen."""
    if request.system_xml is not None:
        return {"system_xml": _copied(request.system_xml, folder)}
    if request.topology is None:
        return {}
    key = PREPARED_SUFFIXES[request.topology.suffix.lower()]
    if key == "gromacs_top":
        if not request.topology.is_file():
            raise SystemDefinitionError(f"{request.topology} does not exist")
        name = request.topology.name
        (folder / name).write_text(flatten_top(request.topology, request.gromacs_include), encoding="utf-8")
        return {key: name}
    table: dict[str, object] = {key: _copied(request.topology, folder)}
    if request.parameters:
        table["charmm_parameters"] = tuple(_copied(path, folder) for path in request.parameters)
    return table


def _force_field_files(request: Request, folder: Path, a: Structure) -> tuple[str, ...]:
    names = []
    for name in request.force_field or _default_files(request, a.topology):
        names.append(_copied(Path(name), folder) if Path(name).is_file() else name)
    if request.solvent in ("obc2", "gbn2"):
        names.append(f"implicit/{request.solvent}.xml")
    _check_known(tuple(names), folder)
    return tuple(names)


def _default_files(request: Request, topology: app.Topology) -> tuple[str, ...]:
    sizes = [len(list(residue.atoms())) for residue in topology.residues()]
    wet = request.solvent == "water" or has_water(topology) or 1 in sizes
    return (DEFAULT_FORCE_FIELD, DEFAULT_WATER) if wet else (DEFAULT_FORCE_FIELD,)


def _copied(path: Path, folder: Path) -> str:
    if not path.is_file():
        raise SystemDefinitionError(f"{path} does not exist")
    if (folder / path.name).exists():
        raise SystemDefinitionError(f"two files are called {path.name}: rename one of them")
    shutil.copyfile(path, folder / path.name)
    return path.name


def _read(path: Path, request: Request, prepared: Prepared | None) -> Structure:
    if request.fix_gaps:
        return _without_gaps(read_structure(path), request.seed)
    return read_structure(path, None if prepared is None else prepared.topology)


def _without_gaps(structure: Structure, seed: int) -> Structure:
    """Add missing residues and heavy atoms with PDBFixer."""
    try:
        from pdbfixer import PDBFixer  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise ConfigError(
            "--fix-gaps needs PDBFixer, which is not installed: run `pip install pdbfixer`, or give structures without "
            "gaps"
        ) from None
    fixer = PDBFixer(filename=str(structure.path))
    fixer.findMissingResidues()
    lengths = [len(list(chain.residues())) for chain in fixer.topology.chains()]
    fixer.missingResidues = {  # gaps, not the tails that a crystal does not show
        place: names for place, names in fixer.missingResidues.items() if 0 < place[1] < lengths[place[0]]
    }
    fixer.findMissingAtoms()
    fixer.addMissingAtoms(seed=seed)
    positions = np.array(fixer.positions.value_in_unit(unit.nanometer), dtype=np.float64)
    return Structure(structure.path, fixer.topology, positions, structure.box)


def _with_hydrogens(
    a: Structure, b: Structure, force_field: app.ForceField, request: Request
) -> tuple[Structure, Structure, str]:
    """Add the same hydrogens to both ends: those of A's protonation states at the pH."""
    made, variants = [], None
    for structure in (a, b):
        modeller = app.Modeller(structure.topology, structure.positions * unit.nanometer)
        try:
            with _seeded(request.seed):
                variants = modeller.addHydrogens(force_field, pH=request.ph, variants=variants)
        except Exception as reason:  # OpenMM raises many kinds, some bare, for what a force field lacks
            raise SystemDefinitionError(
                f"{structure.path}: hydrogens cannot be added: {reason_of(reason)}"
            ) from None
        positions = np.array(modeller.positions.value_in_unit(unit.nanometer), dtype=np.float64)
        made.append(Structure(structure.path, modeller.topology, positions, structure.box))
    n_added = len(made[0].positions) - len(a.positions)
    return made[0], made[1], f"hydrogens: {n_added} added to each end, for pH {request.ph:g} in A"


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed Python's own generator, from which OpenMM places new hydrogens, and put it back."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _without_crystal_cell(a: Structure, b: Structure) -> tuple[Structure, Structure, list[str]]:
    """Leave out a box that the atoms do not fill."""
    if a.box is None:
        return a, replace(b, box=None), []
    masses = [atom.element.mass._value for atom in a.topology.atoms() if atom.element is not None]
    density = sum(masses) / abs(np.linalg.det(a.box)) * _AMU_PER_NM3
    if density >= FULL_BOX:
        return a, b, []
    a.topology.setPeriodicBoxVectors(None)
    note = (
        f"box: the cell of {describe_box(a.box)} is left out, since the atoms fill it to {density:.2f} g/mL only, as "
        "in a crystal without its solvent"
    )
    return replace(a, box=None), replace(b, box=None), [note]


def _with_bonds(structure: Structure) -> app.Topology:
    """Return the topology of a structure, with bonds by distance in residues that have none."""
    graph, topology = graph_of(structure), structure.topology
    if not graph.guessed:
        return topology
    known = {frozenset((first.index, second.index)) for first, second in topology.bonds()}
    for i, bonded in enumerate(graph.neighbours):
        for j in bonded:
            elements = (graph.atoms[i].element, graph.atoms[j].element)
            if i < j and frozenset((i, j)) not in known and None not in elements:
                topology.addBond(graph.atoms[i], graph.atoms[j])
    return topology


def _solute(topology: app.Topology, selection: str | None) -> tuple[NDArray[np.intp], str | None]:
    found = mdtraj.Topology.from_openmm(topology)
    if selection is None:
        return solute_atoms(found), None
    try:
        return chosen_atoms(found, selection), selection
    except SystemDefinitionError as reason:
        raise SystemDefinitionError(f"--solute: {reason}") from None
