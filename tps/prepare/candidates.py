"""What may tell A from B: every torsion about a bond, contacts formed and broken, distances between molecules."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import mdtraj
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tps.errors import SystemDefinitionError
from tps.features import CollectiveVariable, Distance, Surroundings, Torsion
from tps.features.contact import Contact
from tps.features.peptides import TORSION_NAMES, named_torsions
from tps.features.torsion_group import GROUPS, TorsionsSection
from tps.prepare.ends import Ends, heavy_atoms
from tps.systems.imaging import image_molecules, set_box
from tps.systems.molecular_graph import MolecularGraph, refine

Group = Literal["backbone", "sidechains", "torsions", "contacts", "distances"]
GROUP_NAMES: tuple[Group, ...] = ("backbone", "sidechains", "torsions", "contacts", "distances")

#: What a candidate is about; the span of a molecule is there in case nothing else tells.
Rank = Literal["peptide bond", "association", "fold", "torsion", "side chain", "span"]
#: So many contacts that only one end has are its fold.
FOLD_PAIRS = 3
#: A contact: heavy atoms closer than the first in one end and farther than the second in the other [nm].
CLOSE, FAR = 0.45, 0.60
#: Contacts within a molecule join residues, or in one residue atoms, that are farther apart than this along the chain.
NEIGHBOURS = 3
#: Pairs in one number of contacts, at most: those that change most.
MOST_PAIRS = 40
#: Distance at which a contact counts one half [nm].
HALF = 0.50
#: Angles next to a torsion's bond at which the torsion means nothing [rad].
STRAIGHT = np.radians(165)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A collective variable that may become a feature.

    Parameters
    ----------
    variable : CollectiveVariable
    group : str
        The group that the user names it by.
    spoken : str
        What it is, in words.
    named : tuple or None
        Of a peptide's torsions: which kind, in which residue.
    between : bool
        Whether it is a distance of two molecules.
    table : mapping
        Of system.toml; of a peptide's torsion the one of its group.
    """

    variable: CollectiveVariable
    group: Group
    spoken: str
    named: tuple[str, str] | None = None
    between: bool = False
    table: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the variable."""
        return self.variable.name

    @property
    def rank(self) -> Rank:
        """What it is about."""
        if self.named is not None and self.named[0] == "omega":
            return "peptide bond"
        if self.group == "distances":
            return "association" if self.between else "span"
        if isinstance(self.variable, Contact) and len(self.variable.pairs) >= FOLD_PAIRS:
            return "fold"
        return "side chain" if self.group == "sidechains" else "torsion"


@dataclass(frozen=True, eq=False)
class Contacts:
    """Contacts that only one end has.

    Parameters
    ----------
    formed, broken : tuple of (int, int)
        Pairs of heavy atoms that B has and A has not, and the other way round; one for two residues of a chain; those
        that change most first.
    """

    formed: tuple[tuple[int, int], ...]
    broken: tuple[tuple[int, int], ...]


def gathered(ends: Ends) -> Ends:
    """Return both ends with the molecules of the solute near one another, in the middle of the box if there is one."""
    if ends.box is None:
        return ends
    frames = mdtraj.Trajectory(ends.positions, mdtraj.Topology.from_openmm(ends.topology))
    set_box(frames, ends.box)
    image_molecules(frames, ends.solute)
    return ends.moved(np.asarray(frames.xyz, dtype=np.float64))


def candidates_of(ends: Ends) -> tuple[tuple[Candidate, ...], Contacts]:
    """Return what may tell the ends apart, and the contacts that only one of them has.

    Torsions about every bond of the solute, but for those whose turning gives the same molecule (methyl groups,
    phenyl rings); the numbers of contacts formed and broken; a distance for each pair of neighbouring molecules.

    Parameters
    ----------
    ends : Ends
        Gathered.
    """
    graph = ends.graph()
    contacts = _contacts(ends, graph)
    distances = list(_distances(ends, graph))
    known = {candidate.variable.atoms for candidate in distances if candidate.between}
    found = [*_named_torsions(ends), *_other_torsions(ends, graph)]
    found += [number for number in _contact_numbers(contacts) if number.variable.atoms not in known]
    found += distances
    return tuple(_distinct(found)), contacts


def label(graph: MolecularGraph, atom: int) -> str:
    """Return what people call an atom: CA, or ALA2-CA where there are several residues."""
    found = graph.atoms[atom]
    several = found.residue is not graph.atoms[0].residue or graph.atoms[-1].residue is not found.residue
    return f"{found.residue.name}{found.residue.id}-{found.name}" if several else str(found.name)


def _distinct(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    seen: set[str] = set()
    for candidate in candidates:
        if candidate.name not in seen:
            seen.add(candidate.name)
            yield candidate


def _named_torsions(ends: Ends) -> Iterator[Candidate]:
    solute, around = set(ends.solute.tolist()), Surroundings(ends.topology, Path(), "")
    group: dict[str, Group] = dict.fromkeys(GROUPS["sidechains"], "sidechains")
    group |= dict.fromkeys(GROUPS["backbone"], "backbone")
    for kind in TORSION_NAMES:
        residues = [residue for residue, _ in named_torsions(ends.topology, kind)]
        if not residues:
            continue
        variables = TorsionsSection(torsions=(kind,)).build(kind, around)
        for residue, variable in zip(residues, variables, strict=True):
            if solute.issuperset(variable.atoms):
                spoken = f"{kind} of {residue.name} {residue.id}"
                yield Candidate(variable, group.get(kind, "torsions"), spoken, (kind, residue.id))


def _other_torsions(ends: Ends, graph: MolecularGraph) -> Iterator[Candidate]:
    named = {frozenset(candidate.variable.atoms[1:3]) for candidate in _named_torsions(ends)}
    colours = refine([graph.symbols], [graph.neighbours])[0]
    numbers = [atom.element.atomic_number if atom.element else 0 for atom in graph.atoms]
    solute = set(ends.solute.tolist())
    for i in ends.solute.tolist():
        for j in graph.neighbours[i]:
            if j <= i or j not in solute or frozenset((i, j)) in named:
                continue
            sides = [
                [k for k in graph.neighbours[one] if k != other and numbers[k]]
                for one, other in ((i, j), (j, i))
            ]
            if not all(sides) or any(_same_by_turning(side, colours) for side in sides):
                continue
            first, last = (max(side, key=lambda k: (numbers[k], -k)) for side in sides)
            atoms = (first, i, j, last)
            if not _straight(ends, atoms):
                spoken = "torsion " + "-".join(graph.atoms[k].name for k in atoms)
                variable = Torsion(_name(graph, atoms), atoms)
                yield Candidate(variable, "torsions", spoken, table={"torsion": list(atoms)})


def _same_by_turning(side: list[int], colours: tuple[int, ...]) -> bool:
    """Return whether all the atoms at one end of a bond are alike, so that turning by a fraction changes nothing."""
    return len(side) > 1 and len({colours[k] for k in side}) == 1


def _straight(ends: Ends, atoms: tuple[int, int, int, int]) -> bool:
    at = ends.positions[:, list(atoms)]
    for k in (1, 2):
        one, other = at[:, k - 1] - at[:, k], at[:, k + 1] - at[:, k]
        cosine = np.sum(one * other, axis=1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1))
        if (np.arccos(np.clip(cosine, -1, 1)) > STRAIGHT).any():
            return True
    return False


def _name(graph: MolecularGraph, atoms: tuple[int, int, int, int]) -> str:
    """Return a name for a torsion: C1_C2_C3_C4, or LIG3_C1_C2_C3_C4 where there are several residues."""
    names = [_plain(graph.atoms[atom].name) for atom in atoms]
    residue = graph.atoms[atoms[1]].residue
    if graph.atoms[0].residue is not graph.atoms[-1].residue:
        names.insert(0, f"{_plain(residue.name)}{_plain(residue.id)}")
    text = "_".join(names)
    return text if text[0].isalpha() else f"t{text}"


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", text.replace("'", "p").replace("*", "s").replace("-", "m"))


def _contacts(ends: Ends, graph: MolecularGraph) -> Contacts:
    heavy = heavy_atoms(ends.topology, ends.solute)
    a, b = (positions[heavy] for positions in ends.positions)
    near = [
        {(int(heavy[i]), int(heavy[j])) for i, j in cKDTree(positions).query_pairs(CLOSE)}
        for positions in (a, b)
    ]
    apart = _far_along_the_chain(graph)
    sides: list[tuple[tuple[int, int], ...]] = []
    for own, other in ((1, 0), (0, 1)):
        change = {
            pair: _distance(ends, other, pair) - _distance(ends, own, pair)
            for pair in near[own]
            if _distance(ends, other, pair) > FAR and apart(*pair)
        }
        sides.append(_strongest(graph, change))
    return Contacts(*sides)


def _strongest(graph: MolecularGraph, change: Mapping[tuple[int, int], float]) -> tuple[tuple[int, int], ...]:
    """Return the pair that changes most of each two residues of a chain, or all pairs without one; most first."""
    chained = {
        atom
        for atoms in graph.molecules
        if len({graph.atoms[i].residue.index for i in atoms}) > 1
        for atom in atoms
    }
    best: dict[object, tuple[int, int]] = {}
    for pair in sorted(change, key=lambda pair: (-change[pair], pair)):
        residues = frozenset(graph.atoms[atom].residue.index for atom in pair)
        best.setdefault(residues if chained.intersection(pair) else pair, pair)
    return tuple(best.values())


def _far_along_the_chain(graph: MolecularGraph) -> Callable[[int, int], bool]:
    """Return a function that says whether two atoms are no neighbours along their chain."""
    molecule = {atom: k for k, atoms in enumerate(graph.molecules) for atom in atoms}
    n_residues = [len({graph.atoms[i].residue.index for i in atoms}) for atoms in graph.molecules]

    def apart(i: int, j: int) -> bool:
        if molecule[i] != molecule[j]:
            return True
        if n_residues[molecule[i]] > 1:
            return abs(graph.atoms[i].residue.index - graph.atoms[j].residue.index) > NEIGHBOURS
        return j not in _within(graph, i, NEIGHBOURS)

    return apart


def _within(graph: MolecularGraph, start: int, n_bonds: int) -> set[int]:
    found = {start}
    for _ in range(n_bonds):
        found |= {k for i in found for k in graph.neighbours[i]}
    return found


def _distance(ends: Ends, end: int, pair: tuple[int, int]) -> float:
    return float(np.linalg.norm(ends.positions[end, pair[0]] - ends.positions[end, pair[1]]))


def _contact_numbers(contacts: Contacts) -> Iterator[Candidate]:
    for name, pairs, which in (
        ("contacts_b", contacts.formed, "formed in B"),
        ("contacts_a", contacts.broken, "broken in B"),
    ):
        if pairs:
            kept = pairs[:MOST_PAIRS]
            table = {"contact": [list(pair) for pair in kept], "r0_nm": HALF}
            spoken = f"number of the {len(kept)} contact{'s' if len(kept) > 1 else ''} {which}"
            yield Candidate(Contact.between(name, kept, r0=HALF), "contacts", spoken, table=table)


def _distances(ends: Ends, graph: MolecularGraph) -> Iterator[Candidate]:
    """Yield a distance for each branch of the shortest tree that joins the molecules of the solute."""
    solute = set(ends.solute.tolist())
    molecules = [m for m in graph.molecules if not solute.isdisjoint(m)]
    centres = [_centre(ends, molecule) for molecule in molecules]
    joined, rest = centres[:1], centres[1:]
    while rest:
        pairs = [(one, other) for one in joined for other in rest]
        best = min(pairs, key=lambda pair: _distance(ends, 0, pair) + _distance(ends, 1, pair))
        joined.append(best[1])
        rest.remove(best[1])
        variable = Distance(_distance_name(ends, graph, best), best)
        spoken = f"distance of {label(graph, best[0])} and {label(graph, best[1])}"
        yield Candidate(variable, "distances", spoken, between=True, table={"distance": list(best)})
    if len(molecules) == 1:
        yield from _span(ends, graph)


def _centre(ends: Ends, molecule: list[int]) -> int:
    """Return the heavy atom (or any, where there is none) nearest to the centre of a molecule in A."""
    atoms = heavy_atoms(ends.topology, molecule)
    chosen = atoms if len(atoms) else np.array(molecule)
    at = ends.positions[0, chosen]
    return int(chosen[np.argmin(np.linalg.norm(at - at.mean(axis=0), axis=1))])


def _span(ends: Ends, graph: MolecularGraph) -> Iterator[Candidate]:
    """Yield the distance within the molecule that changes most."""
    heavy = heavy_atoms(ends.topology, ends.solute)
    if len(heavy) > 2000:
        heavy = np.array([i for i in heavy if graph.atoms[i].name in ("CA", "P")], dtype=np.intp)
    if len(heavy) < 2:
        return
    change = _all_distances(ends.positions[1, heavy]) - _all_distances(ends.positions[0, heavy])
    i, j = np.unravel_index(np.argmax(np.abs(change)), change.shape)
    pair = (int(heavy[min(i, j)]), int(heavy[max(i, j)]))
    if i != j and pair[1] not in _within(graph, pair[0], NEIGHBOURS):
        spoken = f"distance of {label(graph, pair[0])} and {label(graph, pair[1])}"
        variable = Distance(_distance_name(ends, graph, pair), pair)
        yield Candidate(variable, "distances", spoken, table={"distance": list(pair)})


def _all_distances(at: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.linalg.norm(at[:, None] - at[None], axis=-1)


def _distance_name(ends: Ends, graph: MolecularGraph, pair: tuple[int, int]) -> str:
    one, other = (graph.atoms[atom] for atom in pair)
    if one.residue is other.residue:
        return f"d_{_plain(one.name)}_{_plain(other.name)}"
    solute = {graph.atoms[i].residue.index: graph.atoms[i].residue.name for i in ends.solute}
    names = list(solute.values())
    said = (
        _plain(atom.residue.name) + ("" if names.count(atom.residue.name) == 1 else _plain(atom.residue.id))
        for atom in (one, other)
    )
    return "_".join(["d", *said])


def resolve(asked: tuple[str, ...], candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Return the candidates that a user names, groups taken apart, in the order of the molecule.

    Raises
    ------
    SystemDefinitionError
        For a name that none has.
    """
    by_group: dict[str, list[str]] = defaultdict(list)
    for candidate in candidates:
        by_group[candidate.group].append(candidate.name)
    wanted: set[str] = set()
    for name in asked:
        members = by_group.get(name, [name] if name in {c.name for c in candidates} else [])
        if not members:
            known = ", ".join([*by_group, *(c.name for c in candidates)][:40])
            raise SystemDefinitionError(
                f"--features: this molecule has no {name!r}; what it has: {known or 'none'}"
            )
        wanted.update(members)
    return tuple(candidate for candidate in candidates if candidate.name in wanted)
