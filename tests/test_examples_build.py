"""The scripts that build peptides and butane from chemistry, and the structures they have written."""

import sys
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import pytest
from openmm import app, unit

from tps.systems.definition import ForceFieldSection
from tps.systems.forcefield import build_openmm_system
from tps.systems.matching import match_atoms
from tps.systems.structures import Structure, check_same_molecule, read_structure

EXAMPLES = Path(__file__).parents[1] / "examples"
ROOT = EXAMPLES.parent
STRUCTURES = EXAMPLES / "structures"
REFERENCE = openmm.Platform.getPlatformByName("Reference")
sys.path.insert(0, str(EXAMPLES))

import build_butane  # noqa: E402
import build_peptide  # noqa: E402


def energy(system, positions):
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), REFERENCE)
    context.setPositions(positions)
    return context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


def test_a_placed_atom_has_the_length_angle_and_torsion_asked_for():
    """Against MDTraj's angle and dihedral (single precision), from random atoms."""
    rng = np.random.default_rng(1)
    topology = mdtraj.Topology()
    residue = topology.add_residue("LIG", topology.add_chain())
    for _ in range(4):
        topology.add_atom("C", mdtraj.element.carbon, residue)
    for _ in range(20):
        a, b, c = rng.normal(size=(3, 3))
        length, angle, torsion = rng.uniform((0.5, 60, -180), (2, 150, 180))
        d = build_peptide.place(c, b, a, length, angle, torsion)
        assert np.linalg.norm(d - c) == pytest.approx(length, rel=1e-12)
        frame = mdtraj.Trajectory(np.array([[a, b, c, d]]), topology)
        assert np.degrees(mdtraj.compute_angles(frame, [[1, 2, 3]]))[0, 0] == pytest.approx(angle, abs=1e-3)
        assert np.degrees(mdtraj.compute_dihedrals(frame, [[0, 1, 2, 3]]))[0, 0] == pytest.approx(
            torsion, abs=2e-3
        )
        assert build_peptide.torsion(np.array([a, b, c, d]), (0, 1, 2, 3)) == pytest.approx(torsion, abs=1e-9)


def test_the_backbone_has_the_torsions_asked_for_before_it_is_relaxed():
    peptide = build_peptide.make_peptide(
        build_peptide.CHIGNOLIN, build_peptide.CHIGNOLIN_PHI, build_peptide.CHIGNOLIN_PSI
    )
    heavy = build_peptide.place_backbone(peptide)
    for i, value in peptide.phi.items():
        four = np.array([heavy[i - 1]["C"], heavy[i]["N"], heavy[i]["CA"], heavy[i]["C"]])
        assert build_peptide.torsion(four, (0, 1, 2, 3)) == pytest.approx(value, abs=1e-9)
    for i, value in peptide.psi.items():
        four = np.array([heavy[i]["N"], heavy[i]["CA"], heavy[i]["C"], heavy[i + 1]["N"]])
        assert build_peptide.torsion(four, (0, 1, 2, 3)) == pytest.approx(value, abs=1e-9)


def test_all_amino_acids_are_built_and_are_l():
    """Lengths within 0.005 nm of the force field's; side chains of Thr and Ile (3R, 3S) turn the right way."""
    peptide = build_peptide.make_peptide("ACDEFGHIKLMNPQRSTVWY", [-75.0], [145.0])
    heavy = build_peptide.choose_rotamers(peptide, build_peptide.place_backbone(peptide), n_sweeps=1)
    modeller = build_peptide.make_modeller(peptide, heavy)
    positions = np.array(modeller.positions.value_in_unit(unit.nanometer))
    system = app.ForceField("amber14-all.xml").createSystem(modeller.topology)
    atoms = list(modeller.topology.atoms())
    (bonds,) = (force for force in system.getForces() if isinstance(force, openmm.HarmonicBondForce))
    for k in range(bonds.getNumBonds()):
        i, j, length, _ = bonds.getBondParameters(k)
        found = np.linalg.norm(positions[i] - positions[j])
        ring = atoms[i].residue.name == "PRO" and {atoms[i].name, atoms[j].name} == {"CG", "CD"}
        assert found == pytest.approx(length.value_in_unit(unit.nanometer), abs=0.05 if ring else 0.005)
    volumes = {"CA": ("N", "C", "CB"), "THR": ("OG1", "CA", "CG2"), "ILE": ("CG1", "CA", "CG2")}
    for residue in modeller.topology.residues():
        own = {atom.name: positions[atom.index] for atom in residue.atoms()}
        if "CB" in own:
            assert np.linalg.det([own[name] - own["CA"] for name in volumes["CA"]]) > 0
        if residue.name in volumes:  # O > CA > CG2 clockwise (R) against H, CA > CG1 > CG2 the other way (S)
            signed = np.linalg.det([own[name] - own["CB"] for name in volumes[residue.name]])
            assert signed < 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("GYX", [0.0], [0.0]), "'X' is no amino acid"),
        (("ALA-ACE", [0.0], [0.0]), "'ACE' is no amino acid, nor a cap"),
        (("GYD", [0.0, 1.0, 2.0], [0.0]), "--phi: give one value, or one for each of 2 residues, not 3"),
    ],
)
def test_sequences_that_cannot_be_built(arguments, expected):
    with pytest.raises(SystemExit) as caught:
        build_peptide.make_peptide(*arguments)
    assert expected in str(caught.value)


def test_a_peptide_from_the_command_line(tmp_path, monkeypatch, capsys):
    file = tmp_path / "a.pdb"
    monkeypatch.setattr(
        sys, "argv", ["build_peptide.py", "ACE-ALA-NME", "--phi", "-75", "--psi", "145", "-o", str(file)]
    )
    build_peptide.main()
    assert "a.pdb: 22 atoms" in capsys.readouterr().out
    frame = mdtraj.load(file)
    assert np.degrees(mdtraj.compute_phi(frame)[1])[0, 0] == pytest.approx(-75, abs=20)
    assert np.degrees(mdtraj.compute_psi(frame)[1])[0, 0] == pytest.approx(145, abs=20)


@pytest.mark.parametrize("name", build_peptide.EXAMPLES)
def test_the_structures_kept_have_the_torsions_asked_for(name):
    """Within 35 degrees (rms) of minima in solvent; the ends of chignolin are loose."""
    peptide = build_peptide.make_peptide(*build_peptide.EXAMPLES[name])
    structure = read_structure(ROOT / name)
    build_peptide.check(peptide, structure.topology, structure.positions)
    errors = build_peptide.torsion_errors(peptide, structure.topology, structure.positions)
    assert np.sqrt(np.mean(np.square(list(errors.values())))) < 35
    assert max(abs(error) for (kind, _), error in errors.items() if kind == "omega") < 20


def test_folded_chignolin_is_a_hairpin_and_the_other_is_not():
    """Hydrogen bonds of Asp3 with Gly7 and Thr8, and Tyr2 beside Trp9, which every published structure has."""
    for name, folded in (("hairpin", True), ("extended", False)):
        structure = read_structure(ROOT / f"systems/chignolin/{name}.pdb")
        atoms = list(structure.topology.atoms())

        def at(residue, atom, atoms=atoms, positions=structure.positions):
            return next(positions[a.index] for a in atoms if (a.residue.id, a.name) == (str(residue), atom))

        for one, other in (((3, "N"), (8, "O")), ((3, "O"), (7, "N")), ((3, "O"), (8, "N"))):
            assert bool(np.linalg.norm(at(*one) - at(*other)) < 0.35) is folded
        rings = [
            structure.positions[
                [a.index for a in atoms if a.residue.id == number and a.name[:2] in ("CD", "CE", "CZ")]
            ]
            for number in ("2", "9")
        ]
        assert bool(np.linalg.norm(rings[0][:, None] - rings[1][None], axis=-1).min() < 0.5) is folded


def test_extended_chignolin_has_the_rotamers_of_the_hairpin():
    """So that the two differ in their backbones: within 40 degrees after both have been minimised freely."""
    chis = []
    for name in ("extended", "hairpin"):
        structure = read_structure(ROOT / f"systems/chignolin/{name}.pdb")
        torsions = build_peptide.side_chain_torsions(structure.topology)
        chis.append(
            {key: build_peptide.torsion(structure.positions, atoms) for key, atoms in torsions.items()}
        )
    assert len(chis[0]) == 11
    for key, value in chis[0].items():
        assert abs((value - chis[1][key] + 180) % 360 - 180) < 40


def test_prolines_are_the_two_helices():
    """Polyproline II rises by 0.31 nm a residue, polyproline I by 0.19 nm (Cowan, McGavin, Nature 176, 501 (1955);
    Traub, Shmueli, Nature 198, 1165 (1963)); three residues are about a turn of
    either, so that their nitrogens lie along the axis; within a tenth.
    """
    for name, rise in (("trans", 0.31), ("cis", 0.19)):
        structure = read_structure(ROOT / f"systems/pro4/{name}.pdb")
        n = structure.positions[[a.index for a in structure.topology.atoms() if a.name == "N"]]
        assert np.linalg.norm(n[3] - n[0]) / 3 == pytest.approx(rise, rel=0.1)


def test_rotamers_are_those_of_the_same_peptide():
    peptide = build_peptide.make_peptide("GY", [-75.0], [145.0])
    with pytest.raises(SystemExit, match=r"--rotamers: .* but the peptide GLY-TYR"):
        build_peptide.with_rotamers(peptide, ROOT / "systems/chignolin/hairpin.pdb")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("systems/ace-ala3-nme/extended", "systems/ace-ala3-nme/helix"),
        ("systems/chignolin/hairpin", "systems/chignolin/extended"),
        ("systems/pro4/trans", "systems/pro4/cis"),
        ("examples/structures/butane-anti", "examples/structures/butane-gauche"),
    ],
)
def test_pairs_are_ends_of_one_molecule_and_are_found_again_shuffled(one, other):
    a, b = (read_structure(ROOT / f"{name}.pdb") for name in (one, other))
    check_same_molecule(a, b)
    order = np.random.default_rng(3).permutation(len(a.positions))
    topology = app.Topology()
    residue = topology.addResidue("LIG", topology.addChain("A"))
    atoms = list(a.topology.atoms())
    new = {i: topology.addAtom(f"X{rank}", atoms[i].element, residue) for rank, i in enumerate(order)}
    for first, second in a.topology.bonds():
        topology.addBond(new[first.index], new[second.index])
    same = match_atoms(a, Structure(Path("s.pdb"), topology, a.positions[order]))
    assert (order[same.order] == np.arange(len(order))).all()
    found = order[match_atoms(a, Structure(Path("s.pdb"), topology, b.positions[order])).order]
    assert [atoms[i].element for i in found] == [atom.element for atom in atoms]
    for atom in atoms:  # hydrogens too: swapped ones may well be nearer after superposition
        four = [
            j
            for bond in a.topology.bonds()
            if atom in bond
            for j in (bond[0].index, bond[1].index)
            if j != atom.index
        ]
        if len(four) == 4:
            here, there = a.positions[four], b.positions[found[four]]
            assert np.linalg.det(here[1:] - here[0]) * np.linalg.det(there[1:] - there[0]) > 0
    skeleton = [i for i, atom in enumerate(atoms) if atom.element is not app.element.hydrogen]
    if "ala3" in one:  # no carbon or nitrogen of it has an equal
        assert (found[skeleton] == skeleton).all()


def test_butane_is_what_its_script_writes(tmp_path, monkeypatch):
    """And its System has the energy of OPLS-AA by hand arithmetic."""
    monkeypatch.setattr(sys, "argv", ["build_butane.py", "-o", str(tmp_path)])
    build_butane.main()
    for name in build_butane.CONFORMATIONS:
        written, kept = (read_structure(folder / name) for folder in (tmp_path, STRUCTURES))
        assert written.positions == pytest.approx(kept.positions, abs=2e-4)
    assert (tmp_path / "butane.xml").read_text() == (STRUCTURES / "butane.xml").read_text()
    structure = read_structure(STRUCTURES / "butane-gauche.pdb")
    system, notes = build_openmm_system(
        ForceFieldSection(system_xml="butane.xml"), STRUCTURES, structure.topology, (structure.positions,)
    )
    assert notes == ()
    assert energy(system, structure.positions) == pytest.approx(butane_by_hand(structure.positions), rel=1e-6)


def butane_by_hand(x):
    """OPLS-AA in plain numpy [kJ/mol]: sums over paths of one, two and three bonds and all other pairs."""
    names = build_butane.NAMES
    parent = {1: 0, 2: 1, 3: 2, **{i: int(names[i][1]) - 1 for i in range(4, 14)}}
    bonded = {i: {j for j in range(14) if parent.get(i) == j or parent.get(j) == i} for i in range(14)}
    kinds = ["CH3" if i in (0, 3) else "CH2" if i in (1, 2) else "H" for i in range(14)]
    total = 0.0
    for i in range(4):
        for j in bonded[i]:
            if j > i and j < 4:
                total += 268.0 * (10 * (np.linalg.norm(x[i] - x[j]) - 0.1529)) ** 2
        for j in bonded[i]:
            for k in bonded[i]:
                if j < k:
                    u, v = x[j] - x[i], x[k] - x[i]
                    angle = np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v))
                    carbons = (j < 4) + (k < 4)
                    zero, stiffness = {2: (112.7, 58.35), 1: (110.7, 37.5), 0: (107.8, 33.0)}[carbons]
                    total += stiffness * (angle - np.radians(zero)) ** 2
    far = {(i, j): 99 for i in range(14) for j in range(14)}
    for i in range(14):
        far[i, i] = 0
        for j in bonded[i]:
            far[i, j] = 1
    for k in range(14):
        for i in range(14):
            for j in range(14):
                far[i, j] = min(far[i, j], far[i, k] + far[k, j])
    for j, k in ((0, 1), (1, 2), (2, 3)):
        for i in bonded[j] - {k}:
            for m in bonded[k] - {j}:
                t = np.radians(build_peptide.torsion(x, (i, j, k, m)))
                v1, v2, v3 = {2: (1.740, -0.157, 0.279), 1: (0, 0, 0.366), 0: (0, 0, 0.318)}[
                    (i < 4) + (m < 4)
                ]
                total += (
                    v1 / 2 * (1 + np.cos(t)) + v2 / 2 * (1 - np.cos(2 * t)) + v3 / 2 * (1 + np.cos(3 * t))
                )
    for i in range(14):
        for j in range(i):
            if far[i, j] >= 3:
                r = np.linalg.norm(x[i] - x[j])
                charges = [{"CH3": -0.18, "CH2": -0.12, "H": 0.06}[kinds[a]] for a in (i, j)]
                heavy = [kinds[a] != "H" for a in (i, j)]
                sigma = np.sqrt(np.prod([0.350 if c else 0.250 for c in heavy]))
                epsilon = np.sqrt(np.prod([0.066 if c else 0.030 for c in heavy]))
                lennard_jones = 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6)
                coulomb = 138.935456 / 4.184 * charges[0] * charges[1] / r
                total += (0.5 if far[i, j] == 3 else 1.0) * (lennard_jones + coulomb)
    return 4.184 * total
