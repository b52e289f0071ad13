"""Which atom of structure B is which atom of structure A: by name, or by the graph of bonds."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray
from openmm import unit
from scipy.optimize import linear_sum_assignment

from tps.errors import SystemDefinitionError
from tps.features.variable import nearest_image
from tps.systems.molecular_graph import Colours, MolecularGraph, formula, graph_of, refine
from tps.systems.structures import Structure, describe_atom

#: Partial matches followed at a time: all there are, for molecules with fewer automorphisms of their skeleton.
BEAM = 128
#: Ways to place hydrogens (or other terminal atoms) that are compared one by one, each superposed.
MOST_PLACEMENTS = 1000
#: Superpositions after which a choice among more placements is taken as it is.
N_FRAMES = 20
#: Costs that differ by less are equal [nm, nm^2].
TIE = 1e-9
#: Equal molecules that are paired by distance; more of them (water) keep the order of their files.
MOST_PAIRED = 2000
#: Equal molecules without any other beside them whose pairings are compared one by one.
MOST_PERMUTED = 4

Order = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Matching:
    """Atom i of structure A is atom order[i] of structure B; and a sentence on how that was found."""

    order: Order
    how: str


def match_atoms(a: Structure, b: Structure) -> Matching:
    """Find the atoms of structure B in the order of structure A.

    By chain, residue number, residue name and atom name where these are unique in both files, the elements and
    bonds agree, and each atom with four neighbours has the same handedness. Otherwise by the graph of elements and
    bonds: among the isomorphisms that keep the handedness the one with the least RMSD after superposition (for
    molecules with very many, the least of those that a beam search finds). So a mirror image has no match, and
    neither have the two hydrogens of a CH2 group swapped.

    Equal molecules (ions, water) are paired so that they move least, or in the order of the files where they are
    many.

    Raises
    ------
    SystemDefinitionError
        If the structures are of different molecules: naming the first difference.
    """
    one, other = graph_of(a), graph_of(b)
    _check_formula(a, b, one, other)
    if _keys(one) == _keys(other) and _agree(one, other, np.arange(len(one.atoms))):
        return Matching(
            np.arange(len(one.atoms)), "the atoms have the same names and order in both structures"
        )
    named = _by_name(one, other)
    if named is not None and _agree(one, other, named):
        moved = int((named != np.arange(len(named))).sum())
        return Matching(
            named, f"matched by chain, residue and atom name: {moved} atoms stand elsewhere in structure B"
        )
    order, guessed = _by_graph(a, b, one, other), one.guessed or other.guessed
    why = "names are not the same in both" if named is None else "names contradict bonds or handedness"
    where = "bonds (by distance, where the file has none)" if guessed else "bonds"
    largest = max(one.molecules, key=len)
    rmsd = _rmsd(one.positions[largest], other.positions[order[largest]])
    return Matching(
        order,
        f"matched by elements and {where}, because {why}: {int((order != np.arange(len(order))).sum())} atoms stand "
        f"elsewhere in structure B, RMSD of the largest molecule {rmsd:.3f} nm",
    )


def in_order_of(a: Structure, b: Structure, matching: Matching) -> Structure:
    """Return structure B with the atoms, names and bonds of structure A."""
    positions = b.positions[matching.order]
    positions.setflags(write=False)
    topology = type(a.topology)()
    atoms = {}
    for old_chain in a.topology.chains():
        chain = topology.addChain(old_chain.id)
        for old in old_chain.residues():
            residue = topology.addResidue(old.name, chain, old.id, old.insertionCode)
            for atom in old.atoms():
                atoms[atom] = topology.addAtom(atom.name, atom.element, residue, atom.id, atom.formalCharge)
    for first, second in a.topology.bonds():
        topology.addBond(atoms[first], atoms[second])
    topology.setPeriodicBoxVectors(None if b.box is None else b.box * unit.nanometer)
    return Structure(b.path, topology, positions, b.box)


def _check_formula(a: Structure, b: Structure, one: MolecularGraph, other: MolecularGraph) -> None:
    if Counter(one.symbols) != Counter(other.symbols):
        raise SystemDefinitionError(
            f"structure B ({b.path}) is {formula(other.symbols)}, but A ({a.path}) is {formula(one.symbols)}: "
            "give two structures of the same molecule"
        )


def _keys(graph: MolecularGraph) -> list[tuple[str, str, str, str, str]]:
    return [
        (
            atom.residue.chain.id,
            f"{atom.residue.id}{atom.residue.insertionCode.strip()}",
            atom.residue.name,
            atom.name,
            symbol,
        )
        for atom, symbol in zip(graph.atoms, graph.symbols, strict=True)
    ]


def _by_name(one: MolecularGraph, other: MolecularGraph) -> Order | None:
    place = {key: i for i, key in enumerate(_keys(other))}
    keys = _keys(one)
    if len(place) < len(keys) or set(keys) != place.keys():
        return None
    return np.array([place[key] for key in keys], dtype=np.intp)


def _agree(one: MolecularGraph, other: MolecularGraph, order: Order) -> bool:
    """Return whether elements, bonds and handedness are the same."""
    same_bonds = all(
        {int(order[j]) for j in bonded} == set(other.neighbours[order[i]])
        for i, bonded in enumerate(one.neighbours)
    )
    return same_bonds and not any(_inverted(one, other, i, order) for i in range(len(order)))


def _inverted(one: MolecularGraph, other: MolecularGraph, centre: int, order: Order) -> bool:
    bonded = one.neighbours[centre]
    if len(bonded) != 4:
        return False
    here, there = one.positions[bonded], other.positions[order[bonded]]
    return bool(_volume(here) * _volume(there) < 0)


def _volume(corners: NDArray[np.float64]) -> float:
    return float(np.linalg.det(corners[1:] - corners[0]))


def _by_graph(a: Structure, b: Structure, one: MolecularGraph, other: MolecularGraph) -> Order:
    colours = refine([one.symbols, other.symbols], [one.neighbours, other.neighbours])
    kinds_a, kinds_b = (_by_kind(graph, own) for graph, own in zip((one, other), colours, strict=True))
    if {kind: len(found) for kind, found in kinds_a.items()} != {
        kind: len(found) for kind, found in kinds_b.items()
    }:
        raise SystemDefinitionError(_bond_difference(a, b, one, other))
    order = np.full(len(one.atoms), -1, dtype=np.intp)
    several = []
    for kind, molecules in kinds_a.items():
        if len(molecules) == 1:
            _place(a, b, one, other, molecules[0], kinds_b[kind][0], order)
        else:
            several.append((molecules, kinds_b[kind]))
    for here, there in several:
        pairs = _pair(one, other, here, there, order, alone=len(kinds_a) == 1)
        for molecule, image in pairs:
            _place(a, b, one, other, molecule, image, order)
    return order


def _by_kind(graph: MolecularGraph, colours: Colours) -> dict[Colours, list[list[int]]]:
    """Return the molecules by what they are made of; equal ones together, in file order."""
    kinds: dict[Colours, list[list[int]]] = defaultdict(list)
    for molecule in graph.molecules:
        kinds[tuple(sorted(colours[i] for i in molecule))].append(molecule)
    return kinds


def _bond_difference(a: Structure, b: Structure, one: MolecularGraph, other: MolecularGraph) -> str:
    """Return a sentence on the first atom whose surroundings, as near as needed, are more frequent in A than in B."""
    for n_bonds in range(1, len(one.atoms) + 1):
        here, there = refine([one.symbols, other.symbols], [one.neighbours, other.neighbours], n_bonds)
        counts, others = Counter(here), Counter(there)
        for i, colour in enumerate(here):
            if counts[colour] > others[colour]:
                bonded = ", ".join(sorted(one.symbols[j] for j in one.neighbours[i])) or "nothing"
                return (
                    f"structure B ({b.path}) has other bonds than A ({a.path}): atom {i} (from zero) of A, "
                    f"{describe_atom(one.atoms[i])}, bonded to {bonded}, is one of {counts[colour]} with the same "
                    f"surroundings within {n_bonds} bonds, B has {others[colour]}: give two structures of the same "
                    "molecule"
                )
    return (
        f"structure B ({b.path}) has other bonds than A ({a.path}): it is {len(other.molecules)} molecules, A is "
        f"{len(one.molecules)}: give two structures of the same molecule"
    )


def _place(
    a: Structure,
    b: Structure,
    one: MolecularGraph,
    other: MolecularGraph,
    molecule: list[int],
    image: list[int],
    order: Order,
) -> None:
    """Enter the match of one molecule into `order`."""
    found = _match_molecule(one, other, molecule, image)
    if isinstance(found, int):
        raise SystemDefinitionError(
            f"structure B ({b.path}) is a mirror image of A ({a.path}) at atom {found} (from zero) of A, "
            f"{describe_atom(one.atoms[found])}: give structures of the same handedness"
        )
    if found is None:
        raise SystemDefinitionError(
            f"structure B ({b.path}) has other bonds than A ({a.path}), although each atom has the same neighbours: "
            "give two structures of the same molecule"
        )
    order[molecule] = found


def _pair(
    one: MolecularGraph,
    other: MolecularGraph,
    here: list[list[int]],
    there: list[list[int]],
    order: Order,
    alone: bool,
) -> list[tuple[list[int], list[int]]]:
    """Pair equal molecules: by least motion beside what is matched already, or among themselves if few."""
    known = np.flatnonzero(order >= 0)
    if len(known) and len(here) <= MOST_PAIRED:
        moved = _in_frame_of(one, other, known, order)
        centres = np.array([one.positions[molecule].mean(axis=0) for molecule in here])
        images = np.array([moved[molecule].mean(axis=0) for molecule in there])
        apart = nearest_image(centres[:, None] - images[None], one.box)
        _, columns = linear_sum_assignment((apart**2).sum(axis=-1))
        return [(molecule, there[j]) for molecule, j in zip(here, columns, strict=True)]
    if alone and len(here) <= MOST_PERMUTED:
        return min(
            ([*zip(here, chosen, strict=True)] for chosen in permutations(there)),
            key=lambda pairs: _joint_rmsd(one, other, pairs),
        )
    return [*zip(here, there, strict=True)]


def _joint_rmsd(
    one: MolecularGraph, other: MolecularGraph, pairs: list[tuple[list[int], list[int]]]
) -> float:
    order: list[int] = []
    for molecule, image in pairs:
        found = _match_molecule(one, other, molecule, image)
        if found is None or isinstance(found, int):
            return math.inf
        order += found.tolist()
    return _rmsd(one.positions[[i for molecule, _ in pairs for i in molecule]], other.positions[order])


def _in_frame_of(
    one: MolecularGraph, other: MolecularGraph, known: Order, order: Order
) -> NDArray[np.float64]:
    """Return all positions of B moved onto A by the matched atoms: turned only where no box forbids it.

    In a box only the largest molecule counts, since others may lie in any image.
    """
    if one.box is not None:
        matched = set(known.tolist())
        known = np.array(max((m for m in one.molecules if m[0] in matched), key=len), dtype=np.intp)
    here, there = one.positions[known], other.positions[order[known]]
    if one.box is not None or len(known) < 3:
        return other.positions - there.mean(axis=0) + here.mean(axis=0)
    return (other.positions - there.mean(axis=0)) @ _rotation(here, there) + here.mean(axis=0)


def _match_molecule(
    one: MolecularGraph, other: MolecularGraph, molecule: list[int], image: list[int]
) -> Order | int | None:
    """Return the atoms of `image` in the order of `molecule`, or the first atom whose handedness differs, or None.

    The skeleton (atoms with two neighbours or more) is matched first, then the terminal atoms at each of its atoms.
    """
    best, least, mirrored = None, math.inf, None
    for skeleton in _skeleton_matches(one, other, _skeleton(one, molecule), _skeleton(other, image)):
        images = set(skeleton.values())
        wrong = [i for i in skeleton if _skeleton_inverted(one, other, i, skeleton, images)]
        if wrong:
            mirrored = wrong[0] if mirrored is None else mirrored
            continue
        full = _place_terminals(one, other, skeleton)
        found = np.array([full[i] for i in molecule], dtype=np.intp)
        rmsd = _rmsd(one.positions[molecule], other.positions[found])
        if rmsd < least - TIE:
            best, least = found, rmsd
    return best if best is not None else mirrored


def _skeleton(graph: MolecularGraph, molecule: list[int]) -> list[int]:
    """Return the atoms with two neighbours or more; all atoms of a molecule that has no more than two."""
    return molecule if len(molecule) <= 2 else [i for i in molecule if len(graph.neighbours[i]) > 1]


def _terminals(graph: MolecularGraph, centre: int, skeleton: Container[int]) -> dict[str, list[int]]:
    """Return the neighbours outside the skeleton by element."""
    found: dict[str, list[int]] = {}
    for i in graph.neighbours[centre]:
        if i not in skeleton:
            found.setdefault(graph.symbols[i], []).append(i)
    return dict(sorted(found.items()))


def _skeleton_inverted(
    one: MolecularGraph, other: MolecularGraph, centre: int, skeleton: dict[int, int], images: Container[int]
) -> bool:
    """Return whether a match inverts a centre, whatever happens to terminal atoms; two equal ones can mend it."""
    bonded = one.neighbours[centre]
    here = _terminals(one, centre, skeleton)
    if len(bonded) != 4 or any(len(equal) > 1 for equal in here.values()):
        return False
    there = _terminals(other, skeleton[centre], images)
    match = {here[symbol][0]: there[symbol][0] for symbol in here}
    corners = [match[i] if i in match else skeleton[i] for i in bonded]
    return _volume(one.positions[bonded]) * _volume(other.positions[corners]) < 0


def _skeleton_matches(
    one: MolecularGraph, other: MolecularGraph, here: list[int], there: list[int]
) -> Iterator[dict[int, int]]:
    """Yield isomorphisms of two skeletons, those first that invert no centre and superpose best.

    Colours are refined; where atoms still share one, an atom of A is paired with each candidate in B, which splits
    the colours further. All isomorphisms are found unless more than `BEAM` partial ones are alive at a time.
    """
    tables = [_within(one, here), _within(other, there)]
    labels = [
        [(graph.symbols[i], *((s, len(t)) for s, t in _terminals(graph, i, set(own)).items())) for i in own]
        for graph, own in ((one, here), (other, there))
    ]
    states = [refine(labels, tables)]
    while states:
        first = states[0][0]
        sizes = Counter(first)
        atom = min(range(len(first)), key=lambda i: (sizes[first[i]] == 1, sizes[first[i]], i))
        if sizes[first[atom]] == 1:
            break
        states = [
            split
            for state in states
            for candidate in np.flatnonzero(np.array(state[1]) == state[0][atom])
            if (split := _individualised(state, tables, atom, int(candidate))) is not None
        ]
        if len(states) > BEAM:
            states = sorted(states, key=lambda state: _score(one, other, here, there, state))[:BEAM]
    inside = set(there)
    for state in states:
        place = {colour: there[j] for j, colour in enumerate(state[1])}
        found = {i: place[colour] for i, colour in zip(here, state[0], strict=True)}
        if all(
            {found[j] for j in one.neighbours[i] if j in found}
            == {j for j in other.neighbours[found[i]] if j in inside}
            for i in here
        ):
            yield found


def _within(graph: MolecularGraph, atoms: list[int]) -> list[list[int]]:
    place = {atom: i for i, atom in enumerate(atoms)}
    return [[place[j] for j in graph.neighbours[i] if j in place] for i in atoms]


def _individualised(
    state: list[Colours], tables: list[list[list[int]]], atom: int, candidate: int
) -> list[Colours] | None:
    """Return the colours once `atom` of A is `candidate` of B, None if these cannot be the same."""
    marked = [
        [(colour, i == chosen) for i, colour in enumerate(own)]
        for own, chosen in zip(state, (atom, candidate), strict=True)
    ]
    split = refine(marked, tables)
    return split if Counter(split[0]) == Counter(split[1]) else None


def _score(
    one: MolecularGraph, other: MolecularGraph, here: list[int], there: list[int], state: list[Colours]
) -> tuple[int, float]:
    """Return (inverted centres, RMSD [nm]) of the part of a match that is decided."""
    sizes = Counter(state[0])
    place = {colour: there[j] for j, colour in enumerate(state[1])}
    known = {i: place[colour] for i, colour in zip(here, state[0], strict=True) if sizes[colour] == 1}
    whole = set(here)
    decided = [i for i in known if all(j in known for j in one.neighbours[i] if j in whole)]
    images = set(known.values())
    inverted = sum(_skeleton_inverted(one, other, i, known, images) for i in decided)
    return inverted, _rmsd(one.positions[list(known)], other.positions[list(known.values())])


def _place_terminals(one: MolecularGraph, other: MolecularGraph, skeleton: dict[int, int]) -> dict[int, int]:
    """Return a match of the skeleton with its terminal atoms: of the right handedness, and of the least RMSD.

    Few choices are all compared. Of many, each is taken in the frame of those before, until none changes.
    """
    images = set(skeleton.values())
    choices = [_terminal_choices(one, other, centre, skeleton, images) for centre in skeleton]
    choices = [each for each in choices if each]
    if math.prod(len(each) for each in choices) <= MOST_PLACEMENTS:
        every = (_union(skeleton, chosen) for chosen in product(*choices))
        return _least(every, lambda match: _rmsd(*_matched(one, other, match)))
    match = dict(skeleton)
    for _ in range(N_FRAMES):
        here, there = _matched(one, other, match)
        rotation = _rotation(here, there)
        moved = (other.positions - there.mean(axis=0)) @ rotation + here.mean(axis=0)

        def apart(choice: dict[int, int], moved: NDArray[np.float64] = moved) -> float:
            return float(np.sum((one.positions[list(choice)] - moved[list(choice.values())]) ** 2))

        previous, match = match, _union(skeleton, [_least(each, apart) for each in choices])
        if match == previous:
            break
    return match


def _terminal_choices(
    one: MolecularGraph, other: MolecularGraph, centre: int, skeleton: dict[int, int], images: Container[int]
) -> list[dict[int, int]]:
    """Return the ways to match the terminal atoms at one centre that keep its handedness."""
    here = _terminals(one, centre, skeleton)
    there = _terminals(other, skeleton[centre], images)
    ways = product(*(permutations(there[symbol]) for symbol in here))
    own = [i for equal in here.values() for i in equal]
    choices = (
        [dict(zip(own, (j for equal in way for j in equal), strict=True)) for way in ways] if own else []
    )
    bonded = one.neighbours[centre]
    if len(bonded) != 4:
        return choices
    volume = _volume(one.positions[bonded])
    return [
        choice
        for choice in choices
        if volume * _volume(other.positions[[choice[i] if i in choice else skeleton[i] for i in bonded]]) >= 0
    ]


def _union(skeleton: dict[int, int], chosen: Sequence[dict[int, int]]) -> dict[int, int]:
    match = dict(skeleton)
    for choice in chosen:
        match |= choice
    return match


def _least(matches: Iterable[dict[int, int]], cost: Callable[[dict[int, int]], float]) -> dict[int, int]:
    """Return the match of least cost, the first of those that differ by round-off: it keeps the order of the file."""
    best, least = {}, math.inf
    for match in matches:
        if (found := cost(match)) < least - TIE:
            best, least = match, found
    return best


def _matched(
    one: MolecularGraph, other: MolecularGraph, match: dict[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return one.positions[list(match)], other.positions[list(match.values())]


def _rotation(here: NDArray[np.float64], there: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the proper rotation (3, 3) that lays centred rows of `there` over those of `here` from the right.

    References
    ----------
    Kabsch, Acta Cryst. A 34, 827 (1978).
    """
    u, _, vt = np.linalg.svd((there - there.mean(axis=0)).T @ (here - here.mean(axis=0)))
    u[:, -1] *= np.sign(np.linalg.det(u) * np.linalg.det(vt))
    return u @ vt


def _rmsd(here: NDArray[np.float64], there: NDArray[np.float64]) -> float:
    """Return the root mean square distance [nm] after superposition."""
    moved = (there - there.mean(axis=0)) @ _rotation(here, there)
    return float(np.sqrt(np.mean(np.sum((here - here.mean(axis=0) - moved) ** 2, axis=1))))
