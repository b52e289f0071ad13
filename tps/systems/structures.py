"""End structures and boxes from coordinate files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openmm import app, unit

from tps.errors import SystemDefinitionError, quoted, reason_of

#: Files that say which atoms they hold.
WITH_TOPOLOGY = {".pdb": app.PDBFile, ".cif": app.PDBxFile, ".mmcif": app.PDBxFile}
#: Files of coordinates alone, which belong to the topology of a prepared system.
COORDINATES_ONLY = (".inpcrd", ".rst7", ".ncrst", ".crd", ".gro")
#: A cell of 1 Å (CRYST1 1 1 1 90 90 90) or of length zero stands for "no box" in PDB and gro files [nm].
PLACEHOLDER_BOX = 0.1001
#: No file of a structure has columns for more [nm].
FARTHEST = 1e5
#: Boxes that differ by less are the same one, rounded by their files [nm].
BOX_TOLERANCE = 2e-3


@dataclass(frozen=True)
class Structure:
    """A molecule as a file gives it: the first model.

    Parameters
    ----------
    path : Path
    topology : openmm.app.Topology
        With the box, if there is one.
    positions : array (n_atoms, 3)
        [nm].
    box : array (3, 3) or None
        Reduced box vectors, one per row [nm].
    """

    path: Path
    topology: app.Topology
    positions: NDArray[np.float64]
    box: NDArray[np.float64] | None = None


def read_structure(path: Path, topology: app.Topology | None = None) -> Structure:
    """Read a PDB, mmCIF, Amber (inpcrd, rst7, ncrst), GROMACS (gro) or CHARMM (crd) file.

    Parameters
    ----------
    path : Path
    topology : openmm.app.Topology, optional
        That of a prepared system (prmtop, top, psf): the atoms of files that hold coordinates alone. A PDB or mmCIF
        file keeps its own names and numbers and takes elements and bonds from it.

    Raises
    ------
    SystemDefinitionError
        If the file is missing, of another format, damaged, empty, has coordinates that are not numbers, or does not
        hold the atoms of `topology`.
    """
    suffix = path.suffix.lower()
    known = [*WITH_TOPOLOGY, *COORDINATES_ONLY]
    if suffix not in known:
        raise SystemDefinitionError(
            f"{path}: structures are read from {', '.join(known)} files: convert this one"
        )
    if not path.is_file():
        raise SystemDefinitionError(f"{path} does not exist")
    if suffix not in WITH_TOPOLOGY and topology is None:
        raise SystemDefinitionError(
            f"{path} holds coordinates without their atoms: give a .pdb or .cif file, or name the amber_prmtop, "
            "gromacs_top or charmm_psf that it belongs to"
        )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="WARNING: duplicate atom")
            own, names, positions, vectors = _load(path, suffix)
    except Exception as reason:  # OpenMM's parsers raise whatever a damaged file leads them to
        raise SystemDefinitionError(
            f"{path} cannot be read as a {suffix[1:]} structure ({_why(reason)}): write it anew"
        ) from None
    if len(positions) == 0:
        raise SystemDefinitionError(f"{path} holds no atoms")
    if topology is not None:
        _check_number(path, len(positions), topology)
        _check_names(path, names, topology)
        own = _merge(path, own or topology, topology)
    assert own is not None, "a file without topology is refused above"
    _check_finite(path, positions, own)
    positions.setflags(write=False)
    box = _box(path, vectors)
    own.setPeriodicBoxVectors(None if box is None else box * unit.nanometer)
    return Structure(path, own, positions, box)


def check_same_molecule(a: Structure, b: Structure) -> None:
    """Check that both end structures hold the same atoms in the same order, in the same box if in any.

    Raises
    ------
    SystemDefinitionError
        Naming the first difference.
    """
    remedy = "give both as the same molecule in the same atom order"
    n_a, n_b = len(a.positions), len(b.positions)
    if n_a != n_b:
        raise SystemDefinitionError(
            f"end structure B ({b.path}) has {n_b} atoms, A ({a.path}) has {n_a}: {remedy}"
        )
    for one, other in zip(a.topology.atoms(), b.topology.atoms(), strict=True):
        if (one.element, one.name, one.residue.name) != (other.element, other.name, other.residue.name):
            raise SystemDefinitionError(
                f"atom {one.index} (from zero) is {describe_atom(other)} in end structure B ({b.path}), "
                f"but {describe_atom(one)} in A ({a.path}): {remedy}"
            )
    if b.box is not None and (a.box is None or np.abs(a.box - b.box).max() > BOX_TOLERANCE):
        raise SystemDefinitionError(
            f"the box of end structure B ({b.path}) is {describe_box(b.box)}, that of A ({a.path}) "
            f"{'not given' if a.box is None else describe_box(a.box)}: "
            "the volume is constant, so give both in the same box"
        )


def describe_atom(atom: app.topology.Atom) -> str:
    """Return a short description such as 'ALA2-CA (C)'."""
    element = atom.element.symbol if atom.element is not None else "no element"
    return f"{atom.residue.name}{atom.residue.id}-{atom.name} ({element})"


def describe_box(box: NDArray[np.float64]) -> str:
    """Return the lengths of the box vectors such as '2.1 x 2.1 x 2.3 nm'."""
    return " x ".join(f"{length:.4g}" for length in np.linalg.norm(box, axis=1)) + " nm"


def _why(reason: Exception) -> str:
    """Return what a parser says, in the place of what Python says of a parser that went beyond the end of a file."""
    if isinstance(reason, LookupError | TypeError | AttributeError):
        return "it is cut off, or holds no atoms"
    return reason_of(reason).removeprefix("WARNING: ")


def _load(path: Path, suffix: str) -> tuple[app.Topology | None, list[str], NDArray[np.float64], Any]:
    """Return (topology, atom names, positions (n_atoms, 3) [nm], box vectors), each as far as the file has it."""
    if suffix in WITH_TOPOLOGY:
        loaded = WITH_TOPOLOGY[suffix](str(path))
        return loaded.topology, [], _in_nm(loaded.positions), loaded.topology.getPeriodicBoxVectors()
    if suffix == ".gro":
        gro = app.GromacsGroFile(str(path))
        return None, gro.atomNames, _in_nm(gro.positions), gro.getPeriodicBoxVectors()
    if suffix == ".crd" and path.read_text(encoding="utf-8").lstrip().startswith("*"):
        _check_card(path)
        card = app.CharmmCrdFile(str(path))
        return None, card.attype, _in_nm(card.positions), None
    amber = app.AmberInpcrdFile(str(path))
    return None, [], _in_nm(amber.positions), amber.boxVectors


def _in_nm(quantity: Any) -> NDArray[np.float64]:
    return np.array(quantity.value_in_unit(unit.nanometer), dtype=np.float64).reshape(-1, 3)


def _check_card(path: Path) -> None:
    """Check that a CHARMM card file has more than a title: OpenMM's reader never returns from one without."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    if not any(line and not line.startswith("*") for line in lines):
        raise ValueError("nothing follows the title")


def _box(path: Path, vectors: Any) -> NDArray[np.float64] | None:
    if vectors is None or vectors is False:
        return None
    rows = np.array(unit.Quantity(vectors).value_in_unit(unit.nanometer), dtype=np.float64)
    if np.abs(rows).max() <= PLACEHOLDER_BOX:
        return None
    if not (np.abs(rows) < FARTHEST).all() or not np.abs(np.linalg.det(rows)) > 0:
        raise SystemDefinitionError(
            f"{path}: the box vectors {quoted(rows.tolist())} nm span no volume, or too much: correct them"
        )
    rows.setflags(write=False)
    return rows


def _check_number(path: Path, n_atoms: int, topology: app.Topology) -> None:
    expected = topology.getNumAtoms()
    if n_atoms != expected:
        raise SystemDefinitionError(
            f"{path} has {n_atoms} atoms, but the prepared topology has {expected}: "
            "give the coordinates that belong to it"
        )


def _check_names(path: Path, names: Sequence[str], topology: app.Topology) -> None:
    """Check atom names as far as naming schemes let one: the same name, or one that begins with the element."""
    for name, atom in zip(names, topology.atoms(), strict=False):
        letters = name.lstrip("0123456789").upper()
        alone = len(list(atom.residue.atoms())) == 1  # ions: SOD is sodium
        if name == atom.name or alone or atom.element is None or letters[:1] == atom.element.symbol[0]:
            continue
        raise SystemDefinitionError(
            f"{path}: atom {atom.index} (from zero) is called {name}, but the prepared topology has "
            f"{describe_atom(atom)} there: give the coordinates in its atom order"
        )


def _merge(path: Path, own: app.Topology, prepared: app.Topology) -> app.Topology:
    """Return names and numbers of a file's own topology with elements and bonds of the prepared one."""
    merged = app.Topology()
    sources = zip(own.atoms(), prepared.atoms(), strict=True)
    atoms = []
    for old_chain in own.chains():
        chain = merged.addChain(old_chain.id)
        for old in old_chain.residues():
            residue = merged.addResidue(old.name, chain, old.id, old.insertionCode)
            for _ in old.atoms():
                one, other = next(sources)
                if None not in (one.element, other.element) and one.element.symbol != other.element.symbol:
                    raise SystemDefinitionError(
                        f"{path}: atom {one.index} (from zero) is {describe_atom(one)}, "
                        f"but {describe_atom(other)} in the prepared topology: give the structure in its atom order"
                    )
                atoms.append(merged.addAtom(one.name, other.element, residue, one.id, one.formalCharge))
    for first, second in prepared.bonds():
        merged.addBond(atoms[first.index], atoms[second.index])
    return merged


def _check_finite(path: Path, positions: NDArray[np.float64], topology: app.Topology) -> None:
    broken = np.flatnonzero(~(np.abs(positions) < FARTHEST).all(axis=1))
    if len(broken):
        atom = list(topology.atoms())[broken[0]]
        raise SystemDefinitionError(
            f"{path}: {len(broken)} atoms have coordinates that are not numbers or beyond {FARTHEST:g} nm, "
            f"the first is {describe_atom(atom)}"
        )
