"""Torsions of peptides by name: phi, psi, omega and chi1 to chi4 of a residue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from openmm import app

from tps.errors import SystemDefinitionError

FourAtoms = tuple[int, int, int, int]
TORSION_NAMES = ("phi", "psi", "omega", "chi1", "chi2", "chi3", "chi4")

#: Side-chain torsions by atom names, those of IUPAC and MDTraj; the first that a residue has is taken.
CHI_ATOMS: dict[str, tuple[str, ...]] = {
    "chi1": ("N CA CB CG", "N CA CB CG1", "N CA CB SG", "N CA CB OG", "N CA CB OG1"),
    "chi2": (
        *("CA CB CG CD", "CA CB CG CD1", "CA CB CG1 CD1", "CA CB CG1 CD"),
        *("CA CB CG OD1", "CA CB CG ND1", "CA CB CG SD"),
    ),
    "chi3": ("CB CG CD NE", "CB CG CD CE", "CB CG CD OE1", "CB CG SD CE"),
    "chi4": ("CG CD NE CZ", "CG CD CE NZ"),
}


def find_torsion(
    topology: app.Topology, torsion: str, residue: int | None, chain: str | None, where: str
) -> FourAtoms:
    """Return the atoms of a named torsion.

    Parameters
    ----------
    topology : openmm.app.Topology
        The molecule, with its bonds.
    torsion : str
        phi (-C N CA C), psi (N CA C +N), omega (CA C +N +CA; the methyl carbon for a cap), or chi1 to chi4.
    residue : int or None
        Residue number in the structure file, that of the torsion's second atom. None if only one has it.
    chain : str or None
        Chain of the residue; None if that leaves only one.
    where : str
        File and key, for the message of an error.

    Raises
    ------
    SystemDefinitionError
        If no residue or several residues fit.
    """
    everywhere = named_torsions(topology, torsion)
    fitting = [
        (found, atoms)
        for found, atoms in everywhere
        if residue in (None, _number(found)) and chain in (None, found.chain.id)
    ]
    if len(fitting) == 1:
        return fitting[0][1]
    places = ", ".join(_describe(found) for found, _ in everywhere) or "no residue"
    asked = torsion if residue is None else f"{torsion} in residue {residue}"
    asked = asked if chain is None else f"{asked} of chain {chain}"
    if not fitting:
        raise SystemDefinitionError(f"{where}: no {asked}; {torsion} exists in {places}")
    raise SystemDefinitionError(
        f"{where}: {asked} fits {len(fitting)} places: say residue (and chain) out of {places}"
    )


def named_torsions(topology: app.Topology, torsion: str) -> list[tuple[app.topology.Residue, FourAtoms]]:
    """Return every occurrence of a named torsion with the residue it is numbered by, in chain order."""
    neighbours = _neighbours(topology)
    found = ((residue, _torsion_of(residue, torsion, neighbours)) for residue in topology.residues())
    return [(residue, atoms) for residue, atoms in found if atoms is not None]


def _torsion_of(
    residue: app.topology.Residue, torsion: str, neighbours: dict[int, list[app.topology.Atom]]
) -> FourAtoms | None:
    own = {atom.name: atom for atom in residue.atoms()}
    if torsion in CHI_ATOMS:
        named = ([own.get(name) for name in names.split()] for names in CHI_ATOMS[torsion])
        return next((atoms for each in named if (atoms := _indices(each))), None)
    n, alpha, c = own.get("N"), own.get("CA"), own.get("C")
    if torsion == "phi":
        return _indices((_bonded(n, "C", neighbours), n, alpha, c))
    following = _bonded(c, "N", neighbours)
    if torsion == "psi":
        return _indices((n, alpha, c, following))
    return _indices((_alpha_carbon(c, neighbours), c, following, _alpha_carbon(following, neighbours)))


def _bonded(
    atom: app.topology.Atom | None, name: str, neighbours: dict[int, list[app.topology.Atom]]
) -> app.topology.Atom | None:
    """Return the neighbour of that name in another residue."""
    if atom is None:
        return None
    others = neighbours[atom.index]
    return next((other for other in others if other.name == name and other.residue is not atom.residue), None)


def _alpha_carbon(
    atom: app.topology.Atom | None, neighbours: dict[int, list[app.topology.Atom]]
) -> app.topology.Atom | None:
    """Return CA of the atom's residue, or in a cap (ACE, NME) the methyl carbon bonded to the atom."""
    if atom is None:
        return None
    carbons = [
        other
        for other in neighbours[atom.index]
        if other.residue is atom.residue and other.element is app.element.carbon
    ]
    return next(
        (carbon for carbon in carbons if carbon.name == "CA"), carbons[0] if len(carbons) == 1 else None
    )


def _indices(atoms: Iterable[app.topology.Atom | None]) -> FourAtoms | None:
    one, two, three, four = atoms
    if one is None or two is None or three is None or four is None:
        return None
    return one.index, two.index, three.index, four.index


def _neighbours(topology: app.Topology) -> dict[int, list[app.topology.Atom]]:
    table: dict[int, list[app.topology.Atom]] = defaultdict(list)
    for bond in topology.bonds():
        table[bond.atom1.index].append(bond.atom2)
        table[bond.atom2.index].append(bond.atom1)
    return table


def _number(residue: app.topology.Residue) -> int | None:
    return int(residue.id) if residue.id.lstrip("-").isdigit() else None


def _describe(residue: app.topology.Residue) -> str:
    return f"{residue.name}{residue.id} of chain {residue.chain.id}"
