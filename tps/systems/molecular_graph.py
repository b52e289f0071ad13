"""Molecules as graphs of elements and bonds, and the colours that tell their atoms apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from openmm import app
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.spatial import cKDTree

from tps.features.variable import nearest_image
from tps.systems.structures import Structure

#: Covalent radii [nm] of the elements that form molecules: Cordero et al., Dalton Trans. 2832 (2008).
COVALENT_RADII = {
    **{
        "H": 0.031,
        "D": 0.031,
        "B": 0.084,
        "C": 0.076,
        "N": 0.071,
        "O": 0.066,
        "F": 0.057,
        "Si": 0.111,
        "P": 0.107,
    },
    **{"S": 0.105, "Cl": 0.102, "Se": 0.120, "Br": 0.120, "I": 0.139},
}
#: Atoms closer than the sum of their radii and this are bonded [nm].
BOND_TOLERANCE = 0.04

Colours = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class MolecularGraph:
    """Atoms with their bonds.

    Parameters
    ----------
    atoms : list of openmm Atom
    neighbours : list of list of int
        Bonded atoms of each.
    positions : array (n_atoms, 3)
        [nm], molecules whole.
    box : array (3, 3) or None
    guessed : bool
        Whether bonds were taken from distances, because the file has none.
    """

    atoms: list[app.topology.Atom]
    neighbours: list[list[int]]
    positions: NDArray[np.float64]
    box: NDArray[np.float64] | None
    guessed: bool

    @cached_property
    def symbols(self) -> list[str]:
        """Element symbol of each atom; 'X' for virtual sites."""
        return [atom.element.symbol if atom.element is not None else "X" for atom in self.atoms]

    @cached_property
    def molecules(self) -> list[list[int]]:
        """Atoms of each connected molecule, in file order."""
        _, labels = connected_components(_matrix(self.neighbours), directed=False)
        found: dict[int, list[int]] = {}
        for i, label in enumerate(labels):
            found.setdefault(int(label), []).append(i)
        return list(found.values())


def graph_of(structure: Structure) -> MolecularGraph:
    """Return the graph of a structure: bonds of its topology, or from covalent radii where an atom has none.

    Radii are asked only within residues of several atoms, so that ions stay alone; a virtual site belongs to the
    first atom of its residue. Molecules broken by the border of the box are made whole.
    """
    atoms = list(structure.topology.atoms())
    bonds = {frozenset((first.index, second.index)) for first, second in structure.topology.bonds()}
    more = _bonds_by_distance(structure, atoms, bonds)
    bonds |= more
    for residue in structure.topology.residues():
        first, *others = residue.atoms()
        bonds |= {frozenset((first.index, other.index)) for other in others if other.element is None}
    neighbours: list[list[int]] = [[] for _ in atoms]
    for one, other in sorted(sorted(bond) for bond in bonds):
        neighbours[one].append(other)
        neighbours[other].append(one)
    positions = _whole(structure.positions, structure.box, neighbours)
    return MolecularGraph(atoms, neighbours, positions, structure.box, bool(more))


def refine(
    labels: Sequence[Sequence[Hashable]],
    neighbours: Sequence[Sequence[Sequence[int]]],
    rounds: int | None = None,
) -> list[Colours]:
    """Colour the atoms of several graphs so that equal colours have equal surroundings, as far as can be seen.

    Weisfeiler and Leman's refinement: an atom's next colour is its own and those of its neighbours, until no class
    splits. Atoms of different colours are never images of each other.

    Parameters
    ----------
    labels : sequence over graphs of sequence over atoms
        What is known of each atom at first.
    neighbours : sequence over graphs of sequence over atoms of atoms
    rounds : int, optional
        Look no further than this number of bonds.

    Returns
    -------
    list of tuple of int
        The colours of each graph, comparable between graphs.
    """
    colours = _numbered(labels)
    n_classes = len(set().union(*colours))
    while rounds is None or rounds > 0:
        signatures = [
            [(own[i], tuple(sorted(own[j] for j in bonded))) for i, bonded in enumerate(table)]
            for own, table in zip(colours, neighbours, strict=True)
        ]
        colours = _numbered(signatures)
        found = len(set().union(*colours))
        if found == n_classes:
            break
        n_classes = found
        rounds = None if rounds is None else rounds - 1
    return colours


def formula(symbols: Sequence[str]) -> str:
    """Return a formula such as 'C4 H10', carbon and hydrogen first."""
    counts = Counter(symbols)
    order = sorted(counts, key=lambda symbol: (symbol != "C", symbol != "H", symbol))
    return " ".join(f"{symbol}{counts[symbol] if counts[symbol] > 1 else ''}" for symbol in order)


def _numbered(labels: Sequence[Sequence[Hashable]]) -> list[Colours]:
    numbers: dict[Hashable, int] = {}
    return [tuple(numbers.setdefault(label, len(numbers)) for label in own) for own in labels]


def _matrix(neighbours: Sequence[Sequence[int]]) -> coo_array:
    rows = np.repeat(np.arange(len(neighbours)), [len(each) for each in neighbours])
    columns = np.array([j for each in neighbours for j in each], dtype=int)
    return coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(neighbours),) * 2).tocsr()


def _bonds_by_distance(
    structure: Structure, atoms: list[app.topology.Atom], bonds: set[frozenset[int]]
) -> set[frozenset[int]]:
    bonded = set().union(*bonds)
    n_in_residue = Counter(atom.residue.index for atom in atoms)
    radii = [
        COVALENT_RADII.get(atom.element.symbol, 0.0)
        if atom.element is not None and n_in_residue[atom.residue.index] > 1
        else 0.0
        for atom in atoms
    ]
    if all(i in bonded for i, radius in enumerate(radii) if radius > 0):
        return set()
    found = set()
    tree = cKDTree(structure.positions)
    for i, j in tree.query_pairs(2 * max(radii) + BOND_TOLERANCE):
        apart = float(np.linalg.norm(structure.positions[i] - structure.positions[j]))
        light = max(radii[i], radii[j]) <= COVALENT_RADII["H"]
        if min(radii[i], radii[j]) == 0 or light or (i in bonded and j in bonded):
            continue
        if apart < radii[i] + radii[j] + BOND_TOLERANCE:
            found.add(frozenset((i, j)))
    return found


def _whole(
    positions: NDArray[np.float64], box: NDArray[np.float64] | None, neighbours: Sequence[Sequence[int]]
) -> NDArray[np.float64]:
    if box is None:
        return positions
    whole, matrix = np.array(positions), _matrix(neighbours)
    seen = np.zeros(len(whole), dtype=bool)
    for start in range(len(whole)):
        if not seen[start]:
            order, parents = breadth_first_order(matrix, start, directed=False)
            for i in order[1:]:
                whole[i] = whole[parents[i]] + nearest_image(whole[i] - whole[parents[i]], box)
            seen[order] = True
    return whole
