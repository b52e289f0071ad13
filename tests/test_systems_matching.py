"""Atoms of structure B in the order of A: permutations are found again, other molecules and mirror images are not."""

from itertools import product
from pathlib import Path

import networkx
import numpy as np
import pytest
from openmm import app

from tps.errors import SystemDefinitionError
from tps.systems import load_system
from tps.systems.matching import in_order_of, match_atoms
from tps.systems.structures import Structure, read_structure

HERE = Path(__file__).parent / "prepared"


@pytest.fixture(scope="module")
def alanine():
    system = load_system("alanine-dipeptide")
    paths = [system.directory / name for name in ("c5.pdb", "c7ax.pdb")]
    return [read_structure(path) for path in paths]


def shuffled(structure, order, names=None, bonds=True, positions=None):
    """A structure whose atom i is atom order[i] of the given one; with its residues, or in one with other names."""
    atoms = list(structure.topology.atoms())
    topology = app.Topology()
    chain = topology.addChain("A")
    residues, new = {}, {}
    for rank, i in enumerate(order):
        old = atoms[i].residue
        key = old if names is None else None
        if key not in residues:
            residues[key] = topology.addResidue(old.name if names is None else "LIG", chain, old.id)
        name = atoms[i].name if names is None else names(rank)
        new[i] = topology.addAtom(name, atoms[i].element, residues[key])
    if bonds:
        for first, second in structure.topology.bonds():
            topology.addBond(new[first.index], new[second.index])
    positions = structure.positions if positions is None else positions
    return Structure(Path("b.pdb"), topology, positions[list(order)], structure.box)


def anonymous(rank):
    return f"X{rank}"


def same(*_):
    return "C"


def random_order(n, seed):
    return np.random.default_rng(seed).permutation(n)


def order_within_residues(structure, seed):
    """A random order that leaves residues whole."""
    rng = np.random.default_rng(seed)
    residues = [[atom.index for atom in residue.atoms()] for residue in structure.topology.residues()]
    return np.concatenate([rng.permutation(residues[i]) for i in rng.permutation(len(residues))])


def volume(positions, atoms):
    corners = positions[list(atoms)]
    return np.linalg.det(corners[1:] - corners[0])


def superposed(here, there):
    """RMSD after superposition by an eigenvalue of Horn's quaternion matrix: another road than the code's."""
    here, there = here - here.mean(axis=0), there - there.mean(axis=0)
    s = there.T @ here
    n = np.empty((4, 4))
    n[0, 0] = np.trace(s)
    n[0, 1:] = n[1:, 0] = [s[1, 2] - s[2, 1], s[2, 0] - s[0, 2], s[0, 1] - s[1, 0]]
    n[1:, 1:] = s + s.T - np.trace(s) * np.eye(3)
    square = (here**2).sum() + (there**2).sum() - 2 * np.linalg.eigvalsh(n)[-1]
    return np.sqrt(max(square, 0) / len(here))


def graph(topology):
    found = networkx.Graph()
    for atom in topology.atoms():
        found.add_node(atom.index, element=atom.element.symbol)
    found.add_edges_from((first.index, second.index) for first, second in topology.bonds())
    return found


def all_isomorphisms(a, b):
    matcher = networkx.isomorphism.GraphMatcher(
        graph(a.topology), graph(b.topology), node_match=lambda one, other: one == other
    )
    for mapping in matcher.isomorphisms_iter():
        yield np.array([mapping[i] for i in range(len(mapping))])


def test_the_same_order_and_names(alanine):
    a, b = alanine
    matching = match_atoms(a, b)
    assert matching.order.tolist() == list(range(22))
    assert "same names and order" in matching.how


@pytest.mark.parametrize("seed", range(3))
def test_permutations_are_found_by_name(alanine, seed):
    a, b = alanine
    order = order_within_residues(a, seed)
    matching = match_atoms(a, shuffled(b, order))
    assert (order[matching.order] == np.arange(22)).all()
    assert matching.how.startswith("matched by chain, residue and atom name")


@pytest.mark.parametrize("bonds", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_permutations_are_found_by_graph(alanine, seed, bonds):
    """Of one conformation: least RMSD is zero, which only the true permutation has."""
    a, _ = alanine
    order = random_order(22, seed)
    b = shuffled(a, order, anonymous, bonds)
    matching = match_atoms(a, b)
    assert (order[matching.order] == np.arange(22)).all()
    assert "RMSD of the largest molecule 0.000 nm" in matching.how
    assert ("by distance" in matching.how) is not bonds
    again = in_order_of(a, b, matching)
    assert (again.positions == a.positions).all()
    assert [atom.name for atom in again.topology.atoms()] == [atom.name for atom in a.topology.atoms()]
    assert match_atoms(a, again).order.tolist() == list(range(22))


def test_the_match_is_the_best_of_all_isomorphisms(alanine):
    """Of another conformation: every isomorphism by networkx, those that keep handedness, the least RMSD."""
    a, c7ax = alanine
    order = random_order(22, 7)
    b = shuffled(c7ax, order, anonymous)
    bonded = [list(networkx.neighbors(graph(a.topology), i)) for i in range(22)]
    centres = [each for each in bonded if len(each) == 4]
    kept = [
        match
        for match in all_isomorphisms(a, b)
        if all(volume(a.positions, four) * volume(b.positions, match[four]) > 0 for four in centres)
    ]
    assert len(kept) == 27
    rmsd = [superposed(a.positions, b.positions[match]) for match in kept]
    found = match_atoms(a, b).order
    assert (found == kept[int(np.argmin(rmsd))]).all()


def test_names_that_swap_prochiral_hydrogens_are_not_believed(alanine):
    """HB1 and HB2 of one file are HB2 and HB1 of another: by name, dynamics could not lead from A to B."""
    a, b = alanine
    order = list(range(22))
    order[11], order[12] = 12, 11
    positions = b.positions.copy()
    positions[[11, 12]] = positions[[12, 11]]
    swapped = Structure(b.path, b.topology, positions)
    matching = match_atoms(a, swapped)
    assert "names contradict bonds or handedness" in matching.how
    hydrogens = matching.order[[11, 12, 13]]
    assert volume(a.positions, [8, 11, 12, 13]) * volume(positions, [8, *hydrogens]) > 0


def test_a_mirror_image_is_refused(alanine):
    a, _ = alanine
    for names in (None, anonymous):
        mirrored = shuffled(a, order_within_residues(a, 1), names, positions=a.positions * [1, 1, -1])
        with pytest.raises(SystemDefinitionError, match=r"mirror image of A .* at atom 8 .*ALA2-CA"):
            match_atoms(a, mirrored)


def build(elements, bonds, positions):
    topology = app.Topology()
    residue = topology.addResidue("LIG", topology.addChain("A"))
    atoms = [topology.addAtom(f"X{i}", app.Element.getBySymbol(e), residue) for i, e in enumerate(elements)]
    for first, second in bonds:
        topology.addBond(atoms[first], atoms[second])
    return Structure(Path("a.pdb"), topology, np.array(positions, dtype=float))


def ring(n, radius=0.14, symbol="C"):
    angles = 2 * np.pi * np.arange(n) / n
    positions = np.stack(
        [radius * np.cos(angles), radius * np.sin(angles), 0.02 * np.cos(3 * angles)], axis=1
    )
    return build(symbol * n, [(i, (i + 1) % n) for i in range(n)], positions)


def test_symmetric_rings_are_laid_over_each_other():
    """Twelve automorphisms of a six-ring; noise far below the distance of atoms decides for the true one."""
    a = ring(6)
    for seed in range(5):
        order = random_order(6, seed)
        noise = np.random.default_rng(seed).normal(scale=0.005, size=(6, 3))
        b = shuffled(a, order, same, positions=a.positions + noise)
        matching = match_atoms(a, b)
        best = min(superposed(a.positions, b.positions[m]) for m in all_isomorphisms(a, b))
        assert superposed(a.positions, b.positions[matching.order]) == pytest.approx(best, abs=1e-12)


def test_graphs_that_only_individual_atoms_tell_apart():
    """Decalin and bicyclopentyl: each atom sees the same neighbours at every distance."""
    decalin = [*((i, (i + 1) % 10) for i in range(10)), (0, 5)]
    bicyclopentyl = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (5, 6), (6, 7), (7, 8), (8, 9), (9, 5), (0, 5)]
    positions = np.random.default_rng(0).normal(size=(10, 3))
    a, b = build("C" * 10, decalin, positions), build("C" * 10, bicyclopentyl, positions)
    with pytest.raises(SystemDefinitionError, match=r"other bonds than A .* although each atom"):
        match_atoms(a, shuffled(b, range(10), same))
    three = build("C" * 6, [(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3)], positions[:6])
    with pytest.raises(SystemDefinitionError, match="it is 2 molecules, A is 1"):
        match_atoms(ring(6), three)


def test_other_molecules_are_refused_by_their_first_difference(alanine):
    a, _ = alanine
    with pytest.raises(SystemDefinitionError, match=r"is C6 H11 N2 O2, but A .* is C6 H12 N2 O2"):
        match_atoms(a, shuffled_without(a, 21))
    propanol = build("CCCO", [(0, 1), (1, 2), (2, 3)], np.eye(4)[:, :3])
    isopropanol = build("CCCO", [(0, 1), (1, 2), (1, 3)], np.eye(4)[:, :3])
    with pytest.raises(SystemDefinitionError) as caught:
        match_atoms(propanol, isopropanol)
    assert "atom 1 (from zero) of A, LIG1-X1 (C), bonded to C, C, is one of 1" in str(caught.value)
    assert "within 1 bonds, B has 0" in str(caught.value)


def shuffled_without(structure, last):
    topology = app.Topology()
    residue = topology.addResidue("LIG", topology.addChain("A"))
    for atom in list(structure.topology.atoms())[:last]:
        topology.addAtom(atom.name, atom.element, residue)
    return Structure(Path("b.pdb"), topology, structure.positions[:last])


def test_water_and_ions_are_paired_by_where_they_are():
    """The box is moved, its molecules come in another order: each water finds the nearest, atoms in order O H H."""
    a = read_structure(HERE / "salt-water.pdb")
    waters = random_order(25, 3)
    order = [1, 0, *(2 + 3 * w + k for w in waters for k in (0, 1, 2))]
    shift = np.array([0.3, 0.9, -0.4])
    b = shuffled(a, order, anonymous, positions=a.positions + shift)
    matching = match_atoms(a, b)
    assert (np.array(order)[matching.order] == np.arange(77)).all()
    assert "matched by elements and bonds" in matching.how


def test_molecules_broken_by_the_border_are_made_whole():
    a = read_structure(HERE / "salt-water.pdb")
    wrapped = a.positions % a.box.diagonal() - 1e-9
    b = Structure(
        a.path, a.topology, np.where(np.arange(77)[:, None] % 2, wrapped, wrapped - a.box.diagonal()), a.box
    )
    order = random_order(77, 5)
    matching = match_atoms(a, shuffled(b, order, anonymous))
    assert (order[matching.order][:2] == [0, 1]).all()
    mapped = order[matching.order][2:].reshape(25, 3)
    assert (mapped[:, 0] == 2 + 3 * np.arange(25)).all()
    assert (np.sort(mapped, axis=1) == 2 + np.arange(75).reshape(25, 3)).all()


def test_equal_molecules_alone_are_paired_by_superposition():
    """Three water molecules, turned and moved as a whole."""
    rng = np.random.default_rng(2)
    one = np.array([[0, 0, 0], [0.096, 0, 0], [-0.024, 0.093, 0]])
    positions = np.concatenate([one + rng.normal(scale=0.3, size=3) for _ in range(3)])
    a = build("OHH" * 3, [(3 * i, 3 * i + k) for i in range(3) for k in (1, 2)], positions)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.linalg.det(turn)
    order = [6, 7, 8, 0, 1, 2, 3, 4, 5]
    b = shuffled(a, order, same, positions=positions @ turn + 1.0)
    matching = match_atoms(a, b)
    assert (np.array(order)[matching.order] == np.arange(9)).all()


def test_many_methyl_groups():
    """A chain of eight with a methyl group each: 3^8 placements, more than are compared one by one."""
    rng = np.random.default_rng(4)
    bonds, elements, positions = [], "", []
    for i in range(8):
        centre, methyl = len(elements), len(elements) + 1
        bonds += [(centre, methyl), *((methyl, methyl + k) for k in (1, 2, 3))]
        bonds += [(centre - 5, centre)] if i else []
        elements += "CCHHH"
        away = rng.normal(size=3) * 0.1
        positions += [np.array([0.15 * i, 0, 0]), np.array([0.15 * i, 0, 0]) + away]
        positions += [positions[-1] + rng.normal(scale=0.07, size=3) for _ in range(3)]
    a = build(elements, bonds, positions)
    for seed in range(3):
        order = random_order(len(elements), seed)
        noise = rng.normal(scale=1e-3, size=a.positions.shape)
        b = shuffled(a, order, anonymous, positions=a.positions + noise)
        assert (order[match_atoms(a, b).order] == np.arange(len(elements))).all()


def test_every_assignment_of_the_product_is_an_isomorphism(alanine):
    a, c7ax = alanine
    for seed, (names, bonds) in enumerate(product((anonymous, same), (True, False))):
        b = shuffled(c7ax, random_order(22, seed), names, bonds)
        order = match_atoms(a, b).order
        there = graph(shuffled(c7ax, random_order(22, seed), names, True).topology)
        assert {frozenset((order[i], order[j])) for i, j in graph(a.topology).edges} == {
            frozenset(edge) for edge in there.edges
        }
