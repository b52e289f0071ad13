"""End structures from PDB or mmCIF files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from openmm import app, unit

from tps.errors import SystemDefinitionError

READERS = {".pdb": app.PDBFile, ".cif": app.PDBxFile, ".mmcif": app.PDBxFile}


@dataclass(frozen=True)
class Structure:
    """A molecule as a file gives it: topology and positions (n_atoms, 3) [nm] of the first model."""

    path: Path
    topology: app.Topology
    positions: NDArray[np.float64]


def read_structure(path: Path) -> Structure:
    """Read a PDB or mmCIF file.

    Raises
    ------
    SystemDefinitionError
        If the file is missing, of another format, damaged, empty, or has coordinates that are not numbers.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise SystemDefinitionError(
            f"{path}: structures are read from {', '.join(READERS)} files: convert this one"
        )
    if not path.is_file():
        raise SystemDefinitionError(f"{path} does not exist")
    try:
        loaded = reader(str(path))
        positions = np.array(
            loaded.getPositions(asNumpy=True).value_in_unit(unit.nanometer), dtype=np.float64
        )
    except Exception as reason:  # OpenMM's parsers raise whatever a damaged file leads them to
        kind = f"{type(reason).__name__}: {reason}"
        raise SystemDefinitionError(
            f"{path} cannot be read as a {path.suffix[1:]} structure ({kind})"
        ) from None
    if len(positions) == 0:
        raise SystemDefinitionError(f"{path} holds no atoms")
    broken = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if len(broken):
        atom = list(loaded.topology.atoms())[broken[0]]
        raise SystemDefinitionError(
            f"{path}: {len(broken)} atoms have coordinates that are not numbers, "
            f"the first is {describe_atom(atom)}"
        )
    positions.setflags(write=False)
    return Structure(path, loaded.topology, positions)


def check_same_molecule(a: Structure, b: Structure) -> None:
    """Check that both end structures hold the same atoms in the same order.

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


def describe_atom(atom: app.topology.Atom) -> str:
    """Return a short description such as 'ALA2-CA (C)'."""
    element = atom.element.symbol if atom.element is not None else "no element"
    return f"{atom.residue.name}{atom.residue.id}-{atom.name} ({element})"
