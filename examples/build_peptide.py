"""Build a peptide from its sequence and backbone torsions, from ideal bond lengths and angles alone.

    python examples/build_peptide.py ACE-ALA-ALA-ALA-NME --phi -60 --psi -45 -o helix.pdb
    python examples/build_peptide.py GYDPETGTWG --phi -70.6 -81.1 ... --psi -66.9 117.1 ... -o folded.pdb

Heavy atoms are placed one after another by bond length, angle and torsion; side chains take the rotamers that clash
least; OpenMM adds hydrogens, anneals the side chains (Amber ff14SB with OBC2 solvent) with the backbone torsions
held, and minimises freely. One value of --phi or --psi is for all residues; otherwise phi is given for the residues
from the second on and psi for those up to the last but one, or, between caps, both for every residue; --omega is that
of every peptide bond, caps included, trans unless given. `--all` writes the end structures of the peptides in `systems`
and of the documents again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from tps.features.peptides import CHI_ATOMS, named_torsions
from tps.systems.native_obc import use_native_obc

ROOT = Path(__file__).resolve().parents[1]
FORCE_FIELD = ("amber14-all.xml", "implicit/obc2.xml")
PH = 7.0
HOLDING_STIFFNESS = 1000.0  # of the backbone torsions [kJ/mol/rad**2]
HELD_TOLERANCE, FREE_TOLERANCE = 10.0, 0.1  # root mean square force [kJ/mol/nm]
ANNEALING_KELVIN, ANNEALING_STEPS = (600.0, 500.0, 400.0, 300.0, 200.0, 100.0), 1500  # of 2 fs each
RANDOM_SEED = 1

LETTERS = {
    **{
        "A": "ALA",
        "C": "CYS",
        "D": "ASP",
        "E": "GLU",
        "F": "PHE",
        "G": "GLY",
        "H": "HIS",
        "I": "ILE",
        "K": "LYS",
    },
    **{
        "L": "LEU",
        "M": "MET",
        "N": "ASN",
        "P": "PRO",
        "Q": "GLN",
        "R": "ARG",
        "S": "SER",
        "T": "THR",
        "V": "VAL",
    },
    **{"W": "TRP", "Y": "TYR"},
}
#: Lengths [Å] and angles [degree] of the backbone.
N_CA, CA_C, C_N, C_O, C_OXT = 1.458, 1.525, 1.329, 1.231, 1.25
N_CA_C, CA_C_N, C_N_CA, CA_C_O = 111.0, 117.2, 121.7, 120.1
#: Side chains: "atom parent grandparent great-grandparent length angle torsion", where a torsion is a number or a
#: rotatable chi with an offset. CB first, by the torsion C N CA CB that makes an L-amino acid.
CB = "CB CA N C 1.53 110.5 -122.5"
CG = "CG CB CA N 1.52 113.5 chi1"
_PHENYL = (
    *("CD1 CG CB CA 1.39 120.7 chi2", "CD2 CG CB CA 1.39 120.7 chi2+180", "CE1 CD1 CG CB 1.39 120.5 180"),
    *("CE2 CD2 CG CB 1.39 120.5 180", "CZ CE1 CD1 CG 1.39 120 0"),
)
SIDE_CHAINS: dict[str, tuple[str, ...]] = {
    "GLY": (),
    "ALA": (CB,),
    "SER": (CB, "OG CB CA N 1.42 111 chi1"),
    "CYS": (CB, "SG CB CA N 1.81 114 chi1"),
    "THR": (CB, "OG1 CB CA N 1.43 109 chi1", "CG2 CB CA N 1.52 111 chi1-121"),
    "VAL": (CB, "CG1 CB CA N 1.52 111 chi1", "CG2 CB CA N 1.52 111 chi1+122"),
    "ILE": (
        *(CB, "CG1 CB CA N 1.53 111 chi1", "CG2 CB CA N 1.52 111 chi1-122", "CD1 CG1 CB CA 1.51 114 chi2"),
    ),
    "LEU": (
        *(CB, "CG CB CA N 1.53 116 chi1", "CD1 CG CB CA 1.52 110.5 chi2", "CD2 CG CB CA 1.52 110.5 chi2+122"),
    ),
    "MET": (CB, CG, "SD CG CB CA 1.80 113 chi2", "CE SD CG CB 1.79 101 chi3"),
    "PRO": (*("CB CA N C 1.53 103 -120", "CG CB CA N 1.50 104.5 28", "CD N CA C 1.47 112 phi+180"),),
    "PHE": (CB, CG, *_PHENYL),
    "TYR": (CB, CG, *_PHENYL, "OH CZ CE1 CD1 1.37 120 180"),
    "TRP": (
        *(CB, CG, "CD1 CG CB CA 1.365 127 chi2", "CD2 CG CB CA 1.43 126.7 chi2+180"),
        *("NE1 CD1 CG CB 1.37 110.2 180", "CE2 CD2 CG CB 1.41 107.2 180", "CE3 CD2 CG CB 1.40 133.9 0"),
        *("CZ2 CE2 CD2 CG 1.39 122.4 180", "CZ3 CE3 CD2 CG 1.38 118.6 180", "CH2 CZ2 CE2 CD2 1.37 117.5 0"),
    ),
    "HIS": (
        *(CB, CG, "ND1 CG CB CA 1.38 122.7 chi2", "CD2 CG CB CA 1.355 131 chi2+180"),
        *("CE1 ND1 CG CB 1.32 109 180", "NE2 CD2 CG CB 1.37 107 180"),
    ),
    "ASP": (CB, CG, "OD1 CG CB CA 1.25 118.5 chi2", "OD2 CG CB CA 1.25 118.5 chi2+180"),
    "ASN": (CB, CG, "OD1 CG CB CA 1.23 121 chi2", "ND2 CG CB CA 1.33 116.5 chi2+180"),
    "GLU": (
        CB,
        CG,
        "CD CG CB CA 1.52 113 chi2",
        "OE1 CD CG CB 1.25 118.5 chi3",
        "OE2 CD CG CB 1.25 118.5 chi3+180",
    ),
    "GLN": (
        CB,
        CG,
        "CD CG CB CA 1.52 113 chi2",
        "OE1 CD CG CB 1.23 121 chi3",
        "NE2 CD CG CB 1.33 116.5 chi3+180",
    ),
    "LYS": (CB, CG, "CD CG CB CA 1.52 111 chi2", "CE CD CG CB 1.52 111 chi3", "NZ CE CD CG 1.49 112 chi4"),
    "ARG": (
        *(CB, CG, "CD CG CB CA 1.52 111 chi2", "NE CD CG CB 1.46 112 chi3", "CZ NE CD CG 1.33 124.5 chi4"),
        *("NH1 CZ NE CD 1.33 120 0", "NH2 CZ NE CD 1.33 120 180"),
    ),
}
STAGGERED = (-60.0, 60.0, 180.0)
PLANAR = {"chi2": {"PHE", "TYR", "TRP", "HIS", "ASP", "ASN"}, "chi3": {"GLU", "GLN"}}
#: Around a bond to a planar group: across for rings, near the chain's plane for the others.
RING, AMIDE = (-90.0, 90.0), (-30.0, 30.0, 90.0)

Chis = dict[str, float]


@dataclass(frozen=True)
class Peptide:
    """A sequence of residue names, caps included, with phi, psi and omega [degree] of each residue that has them.

    omega of a residue is the peptide bond after it. Side chains take the rotamers given, chi [degree] by residue, and
    choose where none are.
    """

    residues: tuple[str, ...]
    phi: dict[int, float]
    psi: dict[int, float]
    omega: dict[int, float]
    chi: dict[int, Chis] = field(default_factory=dict)

    @property
    def backbone(self) -> dict[tuple[str, int], float]:
        """Torsions by kind and residue [degree]."""
        kinds = (("phi", self.phi), ("psi", self.psi), ("omega", self.omega))
        return {(kind, residue): value for kind, values in kinds for residue, value in values.items()}


def parse_sequence(text: str) -> tuple[str, ...]:
    """Return residue names from 'GYDPET' or 'ACE-ALA-NME'."""
    names = tuple(text.upper().split("-")) if "-" in text else tuple(LETTERS.get(c, c) for c in text.upper())
    for i, name in enumerate(names):
        cap = (name == "ACE" and i == 0) or (name == "NME" and i == len(names) - 1)
        if name not in SIDE_CHAINS and not cap:
            raise SystemExit(f"sequence: {name!r} is no amino acid, nor a cap (ACE first, NME last)")
    return names


def make_peptide(
    sequence: str, phi: Sequence[float], psi: Sequence[float], omega: Sequence[float] = (180.0,)
) -> Peptide:
    """Return a peptide with the torsions given for the residues that have them, or one value for all."""
    names = parse_sequence(sequence)
    inner = [i for i, name in enumerate(names) if name in SIDE_CHAINS]
    with_phi = [i for i in inner if i > 0]
    with_psi = [i for i in inner if i < len(names) - 1]
    with_omega = list(range(len(names) - 1))
    values = []
    for key, given, places in (
        ("--phi", phi, with_phi),
        ("--psi", psi, with_psi),
        ("--omega", omega, with_omega),
    ):
        if len(given) not in (1, len(places)):
            raise SystemExit(
                f"{key}: give one value, or one for each of {len(places)} residues, not {len(given)}"
            )
        values.append(dict(zip(places, list(given) * (len(places) if len(given) == 1 else 1), strict=True)))
    return Peptide(names, *values)


def place(
    parent: NDArray, grandparent: NDArray, great: NDArray, length: float, angle: float, torsion: float
) -> NDArray[np.float64]:
    """Return the point (3,) at a distance, angle [degree] and torsion [degree] from three others."""
    axis = (parent - grandparent) / np.linalg.norm(parent - grandparent)
    normal = np.cross(grandparent - great, axis)
    normal /= np.linalg.norm(normal)
    theta, phi = np.radians((180.0 - angle, torsion))
    within = np.cos(phi) * np.cross(normal, axis) + np.sin(phi) * normal
    return parent + length * (np.cos(theta) * axis + np.sin(theta) * within)


def place_backbone(peptide: Peptide) -> list[dict[str, NDArray[np.float64]]]:
    """Return positions [Å] of N, CA, C and O (CH3, C, O of ACE; N, C of NME) of each residue by name."""
    found: list[dict[str, NDArray]] = []
    last = len(peptide.residues) - 1
    for i, name in enumerate(peptide.residues):
        if i == 0:
            alpha = "CH3" if name == "ACE" else "CA"
            n = np.zeros(3)  # of no atom before ACE: a point to turn its C=O around
            ca = np.array([N_CA, 0.0, 0.0])
            c = place(ca, n, np.array([0.0, 1.0, 0.0]), CA_C, N_CA_C, 180.0)
            atoms = {alpha: ca, "C": c} if name == "ACE" else {"N": n, alpha: ca, "C": c}
        else:
            before = found[-1]
            c_before, ca_before = before["C"], before.get("CA", before.get("CH3"))
            n_before = before.get("N", np.zeros(3))
            psi = peptide.psi.get(i - 1, 180.0)
            n = place(c_before, ca_before, n_before, C_N, CA_C_N, psi)
            ca = place(n, c_before, ca_before, N_CA, C_N_CA, peptide.omega[i - 1])
            if name == "NME":
                found.append({"N": n, "C": ca})
                continue
            atoms = {"N": n, "CA": ca, "C": place(ca, n, c_before, CA_C, N_CA_C, peptide.phi[i])}
        psi = peptide.psi.get(i, 180.0 if name == "ACE" else 150.0)
        atoms["O"] = place(atoms["C"], ca, n, C_O, CA_C_O, psi + 180.0)
        if i == last:
            atoms["OXT"] = place(atoms["C"], ca, n, C_OXT, CA_C_O, psi)
        found.append(atoms)
    return found


def place_side_chain(
    name: str, backbone: dict[str, NDArray], phi: float, chis: Chis
) -> dict[str, NDArray[np.float64]]:
    """Return positions [Å] of the side chain's heavy atoms by name."""
    atoms = dict(backbone)
    for row in SIDE_CHAINS[name]:
        atom, *others, length, angle, torsion = row.split()
        variable, sign, offset = torsion.partition(
            "+" if "+" in torsion else "-" if "-" in torsion[1:] else "+"
        )
        known = {**chis, "phi": phi}
        turn = (
            (known[variable] + float(sign + offset if offset else 0)) if variable in known else float(torsion)
        )
        atoms[atom] = place(*(atoms[each] for each in others), float(length), float(angle), turn)
    return {atom: xyz for atom, xyz in atoms.items() if atom not in backbone}


def rotamers(name: str) -> Iterator[Chis]:
    """Yield the combinations of side-chain torsions [degree] to try."""
    text = " ".join(SIDE_CHAINS.get(name, ()))
    chis = [chi for chi in ("chi1", "chi2", "chi3", "chi4") if chi in text]
    ranges = []
    for chi in chis:
        planar = name in PLANAR.get(chi, ())
        ring = name in ("PHE", "TYR", "TRP", "HIS")
        ranges.append((RING if ring else AMIDE) if planar else STAGGERED)
    for values in product(*ranges):
        yield dict(zip(chis, values, strict=True))


def choose_rotamers(
    peptide: Peptide, backbone: list[dict[str, NDArray]], n_sweeps: int = 3
) -> list[dict[str, NDArray]]:
    """Return positions [Å] of all heavy atoms of each residue, side chains where Lennard-Jones energy is least.

    Residue by residue, all others as they are, in several sweeps.
    """
    chosen = [dict(atoms) for atoms in backbone]
    for _ in range(n_sweeps):
        for i, name in enumerate(peptide.residues):
            if name not in SIDE_CHAINS:
                continue
            others = [xyz for j, atoms in enumerate(chosen) if j != i for xyz in atoms.values()]
            best, least = {}, np.inf
            for chis in [peptide.chi[i]] if i in peptide.chi else rotamers(name):
                side = place_side_chain(name, backbone[i], peptide.phi.get(i, -120.0), chis)
                energy = contact_energy([xyz for atom, xyz in side.items() if atom != "CB"], others)
                if energy < least:
                    best, least = side, energy
            chosen[i] = {**backbone[i], **best}
    return chosen


def contact_energy(some: list[NDArray], others: list[NDArray]) -> float:
    """Return a Lennard-Jones energy [kJ/mol] of united atoms between two groups of points [Å]."""
    if not some or not others:
        return 0.0
    apart = np.linalg.norm(np.array(some)[:, None] - np.array(others)[None], axis=-1)
    ratio = (3.7 / np.maximum(apart, 1.0)) ** 6
    return float(4 * 0.4 * (ratio**2 - ratio).sum())


def make_modeller(peptide: Peptide, heavy: list[dict[str, NDArray]]) -> app.Modeller:
    """Return topology and positions with bonds and hydrogens."""
    topology = app.Topology()
    chain = topology.addChain("A")
    positions = []
    for number, (name, atoms) in enumerate(zip(peptide.residues, heavy, strict=True), start=1):
        residue = topology.addResidue(name, chain, str(number))
        order = [atom for atom in ("N", "CH3", "CA") if atom in atoms]
        order += [atom for atom in atoms if atom not in (*order, "C", "O", "OXT")]
        order += [atom for atom in ("C", "O", "OXT") if atom in atoms]
        for atom in order:
            topology.addAtom(atom, app.Element.getBySymbol(atom[0]), residue)
            positions.append(atoms[atom] / 10)
    topology.createStandardBonds()
    modeller = app.Modeller(topology, np.array(positions) * unit.nanometer)
    platform = openmm.Platform.getPlatformByName("Reference")
    modeller.addHydrogens(app.ForceField(FORCE_FIELD[0]), pH=PH, platform=platform)
    return modeller


def backbone_torsions(
    peptide: Peptide, topology: app.Topology
) -> dict[tuple[str, int], tuple[int, int, int, int]]:
    """Return the atoms of each phi, psi and omega: (kind, residue from zero) -> four indices."""
    names = [{atom.name: atom.index for atom in residue.atoms()} for residue in topology.residues()]
    found = {}
    for i, own in enumerate(names):
        alpha = own.get("CA", own.get("CH3"))
        if i in peptide.phi:
            found["phi", i] = (names[i - 1]["C"], own["N"], own["CA"], own["C"])
        if i in peptide.psi:
            found["psi", i] = (own["N"], own["CA"], own["C"], names[i + 1]["N"])
        if i + 1 < len(names):
            following = names[i + 1]
            found["omega", i] = (alpha, own["C"], following["N"], following.get("CA", following["C"]))
    return found


def side_chain_torsions(topology: app.Topology) -> dict[tuple[str, int], tuple[int, int, int, int]]:
    """Return the atoms of each chi but those of proline's ring: (kind, residue from zero) -> four indices."""
    return {
        (chi, residue.index): atoms
        for chi in CHI_ATOMS
        for residue, atoms in named_torsions(topology, chi)
        if residue.name != "PRO"
    }


def with_rotamers(peptide: Peptide, file: Path) -> Peptide:
    """Return the peptide with the rotamers of a structure of the same sequence."""
    structure = app.PDBFile(str(file))
    names = tuple(residue.name for residue in structure.topology.residues())
    if names != peptide.residues:
        raise SystemExit(
            f"--rotamers: {file} is {'-'.join(names)}, but the peptide {'-'.join(peptide.residues)}"
        )
    positions = np.array(structure.getPositions(asNumpy=True).value_in_unit(unit.angstrom))
    chi: dict[int, Chis] = {}
    for (kind, residue), atoms in side_chain_torsions(structure.topology).items():
        chi.setdefault(residue, {})[kind] = torsion(positions, atoms)
    return replace(peptide, chi=chi)


def torsion(positions: NDArray, atoms: Sequence[int]) -> float:
    """Return a torsion [degree]."""
    a, b, c, d = positions[list(atoms)]
    axis = (c - b) / np.linalg.norm(c - b)
    left, right = np.cross(a - b, axis), np.cross(d - c, axis)
    return float(np.degrees(np.arctan2(np.cross(left, right) @ axis, left @ right)))


def minimise(peptide: Peptide, modeller: app.Modeller) -> tuple[NDArray[np.float64], float]:
    """Return a minimum (n_atoms, 3) [nm] next to the torsions asked for, and its energy [kJ/mol]."""
    start = np.array(modeller.positions.value_in_unit(unit.nanometer))
    system, _ = use_native_obc(
        app.ForceField(*FORCE_FIELD).createSystem(modeller.topology, constraints=app.HBonds), (start,)
    )
    hold = openmm.CustomTorsionForce("hold*(1 - cos(theta - theta0))")
    hold.addGlobalParameter("hold", HOLDING_STIFFNESS)
    hold.addPerTorsionParameter("theta0")
    wanted = peptide.backbone
    for key, atoms in backbone_torsions(peptide, modeller.topology).items():
        hold.addTorsion(*atoms, [np.radians(wanted[key])])
    for (kind, residue), atoms in side_chain_torsions(modeller.topology).items():
        if residue in peptide.chi:
            hold.addTorsion(*atoms, [np.radians(peptide.chi[residue][kind])])
    system.addForce(hold)
    platform = openmm.Platform.getPlatformByName("Reference")
    integrator = openmm.LangevinMiddleIntegrator(300.0, 5.0, 0.002)
    integrator.setRandomNumberSeed(RANDOM_SEED)
    context = openmm.Context(system, integrator, platform)
    context.setPositions(start)
    openmm.LocalEnergyMinimizer.minimize(context, HELD_TOLERANCE)
    for temperature in ANNEALING_KELVIN:
        integrator.setTemperature(temperature)
        integrator.step(ANNEALING_STEPS)
    context.setParameter("hold", 0.0)
    openmm.LocalEnergyMinimizer.minimize(context, FREE_TOLERANCE)
    state = context.getState(getPositions=True, getEnergy=True)
    return (
        state.getPositions(asNumpy=True).value_in_unit(unit.nanometer),
        state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole),
    )


def build(peptide: Peptide) -> tuple[app.Topology, NDArray[np.float64], float]:
    """Return topology, positions (n_atoms, 3) [nm] and energy [kJ/mol] of the minimised peptide."""
    heavy = choose_rotamers(peptide, place_backbone(peptide))
    modeller = make_modeller(peptide, heavy)
    positions, energy = minimise(peptide, modeller)
    return modeller.topology, positions, energy


def torsion_errors(
    peptide: Peptide, topology: app.Topology, positions: NDArray
) -> dict[tuple[str, int], float]:
    """Return how far each phi, psi and omega ended from the one asked for [degree]."""
    wanted = peptide.backbone
    return {
        key: (torsion(positions, atoms) - wanted[key] + 180.0) % 360.0 - 180.0
        for key, atoms in backbone_torsions(peptide, topology).items()
    }


def check(peptide: Peptide, topology: app.Topology, positions: NDArray) -> None:
    """Check that nothing clashes and that amino acids are L, as minimisation from bad starts may spoil."""
    bonded = {frozenset((one.index, two.index)) for one, two in topology.bonds()}
    near = {i: {i} for i in range(len(positions))}
    for _ in range(3):
        near = {i: each | {j for bond in bonded if bond & each for j in bond} for i, each in near.items()}
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    for i, each in near.items():
        apart[i, list(each)] = np.inf
    if apart.min() < 0.16:
        raise SystemExit(
            f"atoms {np.unravel_index(apart.argmin(), apart.shape)} are {apart.min():.3f} nm apart"
        )
    for residue in topology.residues():
        own = {atom.name: positions[atom.index] for atom in residue.atoms()}
        if "CB" in own:
            normal = np.cross(own["N"] - own["CA"], own["C"] - own["CA"])
            if normal @ (own["CB"] - own["CA"]) < 0:
                raise SystemExit(f"{residue.name}{residue.id} is a D-amino acid")


def write(peptide: Peptide, file: Path) -> None:
    """Build a peptide, write its PDB file and say how well it kept its torsions."""
    topology, positions, energy = build(peptide)
    check(peptide, topology, positions)
    with file.open("w", encoding="utf-8") as out:
        app.PDBFile.writeFile(
            topology, (positions - positions.mean(axis=0)) * unit.nanometer, out, keepIds=True
        )
    lines = [line for line in file.read_text().splitlines() if not line.startswith("REMARK   1 CREATED")]
    file.write_text("\n".join(lines) + "\n")
    errors = torsion_errors(peptide, topology, positions)
    flat = {key: error for key, error in errors.items() if key[0] != "omega"}
    (kind, residue), worst = max(flat.items(), key=lambda item: abs(item[1]))
    rms = np.sqrt(np.mean(np.square(list(flat.values()))))
    print(
        f"{file.name}: {len(positions)} atoms, {energy:.1f} kJ/mol; phi and psi within {rms:.1f} degree (rms) of those "
        f"asked for, at most {abs(worst):.1f} ({kind} of residue {residue + 1})"
    )


#: Torsions of the hairpin: PDB entry 1UAO, model 8 (Honda, Yamasaki, Sawada, Morii, Structure 12, 1507 (2004)).
CHIGNOLIN = "GYDPETGTWG"
CHIGNOLIN_PHI = (-70.6, -81.1, -77.8, -68.3, -80.3, 62.9, -145.5, -87.6, 96.3)
CHIGNOLIN_PSI = (-66.9, 117.1, 114.5, -34.0, -55.1, -21.8, 59.1, 149.7, 38.3)
#: Peptide bonds of four prolines between caps: all trans, or cis before each proline.
TRANS, CIS = (180.0,), (0.0, 0.0, 0.0, 0.0, 180.0)
#: File from the root of the repository: sequence, phi, psi and, unless trans, omega [degree].
EXAMPLES = {
    "systems/ace-ala3-nme/extended.pdb": ("ACE-ALA-ALA-ALA-NME", (-75.0,), (145.0,)),
    "systems/ace-ala3-nme/helix.pdb": ("ACE-ALA-ALA-ALA-NME", (-60.0,), (-45.0,)),
    "systems/chignolin/hairpin.pdb": (CHIGNOLIN, CHIGNOLIN_PHI, CHIGNOLIN_PSI),
    "systems/chignolin/extended.pdb": (
        CHIGNOLIN,
        (-120.0, -120.0, -75.0, *(-120.0,) * 6),
        (130.0,),
    ),
    "systems/pro4/trans.pdb": ("ACE-PRO-PRO-PRO-PRO-NME", (-75.0,), (145.0,), TRANS),
    "systems/pro4/cis.pdb": ("ACE-PRO-PRO-PRO-PRO-NME", (-75.0,), (160.0,), CIS),
}
#: Whose rotamers a structure takes, so that the two differ in their backbones.
ROTAMERS = {"systems/chignolin/extended.pdb": "systems/chignolin/hairpin.pdb"}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("sequence", nargs="?", help="GYDPET, or ACE-ALA-NME")
    parser.add_argument("--phi", type=float, nargs="+", default=[-75.0], help="degree")
    parser.add_argument("--psi", type=float, nargs="+", default=[145.0], help="degree")
    parser.add_argument("--omega", type=float, nargs="+", default=[180.0], help="degree; 0 is cis")
    parser.add_argument(
        "--rotamers", type=Path, help="PDB file of the same peptide that has the side chains' torsions"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("peptide.pdb"))
    parser.add_argument(
        "--all", action="store_true", help="write the peptides of systems/ and of the documents"
    )
    options = parser.parse_args()
    if options.all:
        for name, given in EXAMPLES.items():
            file = ROOT / name
            file.parent.mkdir(parents=True, exist_ok=True)
            peptide = make_peptide(*given)
            write(with_rotamers(peptide, ROOT / ROTAMERS[name]) if name in ROTAMERS else peptide, file)
    elif options.sequence is None:
        parser.error("give a sequence or --all")
    else:
        peptide = make_peptide(options.sequence, options.phi, options.psi, options.omega)
        write(with_rotamers(peptide, options.rotamers) if options.rotamers else peptide, options.output)


if __name__ == "__main__":
    main()
