"""The folder format with other molecules: longer peptides, and one that is no peptide."""

import mdtraj
import numpy as np
import openmm
import pytest
from openmm import app, unit

from tps.errors import SystemDefinitionError
from tps.features.peptides import named_torsions
from tps.systems import load_system

REFERENCE = openmm.Platform.getPlatformByName("Reference")


def frame(a, b, c):
    """Orthonormal axes of three atoms, as columns."""
    x = (b - a) / np.linalg.norm(b - a)
    z = np.cross(x, c - a)
    z /= np.linalg.norm(z)
    return np.stack([x, np.cross(z, x), z], axis=1)


def grow(units, sequence):
    """Return a capped peptide (topology, positions), residue i in the shape of alanine dipeptide units[i].

    CH3-C-O of each following unit is laid over CA-C-O of the chain so far; VAL gets its two methyl carbons in
    place of two hydrogens; hydrogens come last, from OpenMM.
    """
    heavy = []  # (residue number, residue name, atom name, position)
    ace, ala, nme = [[1, 4, 5]], [[6, 8, 10, 14, 15]], [[16, 18]]
    names = {1: "CH3", 4: "C", 5: "O", 6: "N", 8: "CA", 10: "CB", 14: "C", 15: "O", 16: "N", 18: "C"}
    rotation, shift = np.eye(3), np.zeros(3)
    for number, (unit_positions, residue) in enumerate(zip(units, sequence, strict=True), start=2):
        if number > 2:
            anchor = {name: xyz for i, _, name, xyz in heavy if i == number - 1}
            here = frame(unit_positions[4], unit_positions[1], unit_positions[5])
            rotation = frame(anchor["C"], anchor["CA"], anchor["O"]) @ here.T
            shift = anchor["C"] - rotation @ unit_positions[4]
        placed = unit_positions @ rotation.T + shift
        if number == 2:
            heavy += [(1, "ACE", names[i], placed[i]) for i in ace[0]]
        heavy += [(number, residue, names[i], placed[i]) for i in ala[0]]
        if residue == "VAL":
            cb = placed[10]
            heavy += [(number, residue, f"CG{k}", cb + 1.4 * (placed[10 + k] - cb)) for k in (1, 2)]
        if number == len(sequence) + 1:
            heavy += [(number + 1, "NME", names[i], placed[i]) for i in nme[0]]
    topology = app.Topology()
    chain = topology.addChain("A")
    residues = {}
    for number, name, atom, _ in heavy:
        residues.setdefault(number, None) or residues.update(
            {number: topology.addResidue(name, chain, str(number))}
        )
        topology.addAtom(atom, app.Element.getBySymbol(atom[0]), residues[number])
    topology.createStandardBonds()
    modeller = app.Modeller(topology, np.array([xyz for *_, xyz in heavy]) * unit.nanometer)
    modeller.addHydrogens(app.ForceField("amber14-all.xml"), platform=REFERENCE)
    return modeller.topology, modeller.positions


def write(folder, name, topology, positions):
    with (folder / name).open("w") as file:
        app.PDBFile.writeFile(topology, positions, file, keepIds=True)


def make_folder(folder, sequence, variables):
    """Write a system whose ends have all residues in C5 (A) and all in C7ax (B)."""
    alanine = load_system("alanine-dipeptide")
    for file, shape in (("a.pdb", alanine.positions_a), ("b.pdb", alanine.positions_b)):
        write(folder, file, *grow([shape] * len(sequence), sequence))
    tables = "\n".join(f"[collective_variables.{name}]\n{text}\n" for name, text in variables.items())
    torsions = [name for name, text in variables.items() if "torsion" in text]
    (folder / "system.toml").write_text(
        f"""
[system]
name = "peptide"
structure_a = "a.pdb"
structure_b = "b.pdb"
features = {torsions}

[force_field]
files = ["amber14-all.xml"]

{tables}
[states]
A = {{ name = "extended", phi2_degree = [-180, -100] }}
B = {{ name = "turned", phi2_degree = [30, 90] }}
""".replace("'", '"')
    )
    return load_system(folder)


@pytest.mark.parametrize(
    ("sequence", "variables"),
    [
        (
            ("ALA", "ALA"),
            {
                "phi2": 'torsion = "phi"\nresidue = 2',
                "psi2": 'torsion = "psi"\nresidue = 2',
                "phi3": 'torsion = "phi"\nresidue = 3\nchain = "A"',
                "psi3": 'torsion = "psi"\nresidue = 3',
                "omega2": 'torsion = "omega"\nresidue = 2',
                "ends": "distance = [4, 20]",
            },
        ),
        (
            ("VAL",),
            {
                "phi2": 'torsion = "phi"',
                "psi2": 'torsion = "psi"',
                "chi": 'torsion = "chi1"\nresidue = 2',
            },
        ),
    ],
    ids=["ACE-ALA-ALA-NME", "ACE-VAL-NME"],
)
def test_longer_peptides_load_and_can_be_tilted(tmp_path, sequence, variables):
    """Torsions by name are those that MDTraj's own tables find, and have the values the chain was built with.

    Within 2 degrees: the units are joined at three atoms, and their peptide bonds are not exactly planar.
    """
    system = make_folder(tmp_path, sequence, variables)
    topology = system.mdtraj_topology
    for name, kind in {"phi2": "phi", "psi2": "psi", "phi3": "phi", "psi3": "psi", "chi": "chi1"}.items():
        if name in variables:
            rows = getattr(mdtraj.geometry.dihedral, f"indices_{kind}")(topology).tolist()
            residues = [topology.atom(row[1]).residue.resSeq for row in rows]
            number = int(name[-1]) if name[-1].isdigit() else 2
            assert list(system.collective_variables[name].atoms) == rows[residues.index(number)]
    values = system.values(np.stack([system.positions_a, system.positions_b]))
    for name in variables:
        expected = {"phi": [-147.0, 60.2], "psi": [159.1, -40.7]}.get(name[:3])
        if expected is not None:
            assert np.degrees(values[name]) == pytest.approx(expected, abs=2.0)
    features = system.features
    assert features.space.n_features == len([text for text in variables.values() if "torsion" in text])
    openmm_system = system.create_openmm_system()
    features.add_tilt(openmm_system, 2.5, 1)
    context = openmm.Context(openmm_system, openmm.VerletIntegrator(0.001), REFERENCE)
    context.setPositions(system.positions_b)
    eta = np.linspace(-3, 5, features.space.n_statistics)
    features.set_tilt(context, eta)
    energy = context.getState(getEnergy=True, groups={1}).getPotentialEnergy()
    expected = -2.5 * eta @ features.statistic(system.positions_b)
    assert energy.value_in_unit(unit.kilojoule_per_mole) == pytest.approx(expected, rel=1e-9)


def test_omega_reaches_into_the_caps():
    """Residue of the second atom; a cap's methyl carbon stands in for CA."""
    topology = load_system("alanine-dipeptide").topology
    found = {residue.name: atoms for residue, atoms in named_torsions(topology, "omega")}
    assert found == {"ACE": (1, 4, 6, 8), "ALA": (8, 14, 16, 18)}


def test_omega_before_proline_ends_at_its_alpha_carbon():
    """The nitrogen of proline has two carbons of its own."""
    topology = app.Topology()
    chain = topology.addChain("A")
    for name, atoms in (("ALA", "N CA C O CB"), ("PRO", "N CD CG CB CA C O OXT")):
        residue = topology.addResidue(name, chain)
        for atom in atoms.split():
            topology.addAtom(atom, app.Element.getBySymbol(atom[0]), residue)
    topology.createStandardBonds()
    assert [atoms for _, atoms in named_torsions(topology, "omega")] == [(1, 2, 5, 9)]
    assert [atoms for _, atoms in named_torsions(topology, "phi")] == [(2, 5, 9, 10)]


CHI_RESIDUES = {
    "ARG": {"chi1": "CG", "chi2": "CD", "chi3": "NE", "chi4": "CZ"},
    "LYS": {"chi1": "CG", "chi2": "CD", "chi3": "CE", "chi4": "NZ"},
    "MET": {"chi1": "CG", "chi2": "SD", "chi3": "CE"},
    "GLU": {"chi1": "CG", "chi2": "CD", "chi3": "OE1"},
    "ILE": {"chi1": "CG1", "chi2": "CD1"},
    "HIS": {"chi1": "CG", "chi2": "ND1"},
    "ASN": {"chi1": "CG", "chi2": "OD1"},
    "PHE": {"chi1": "CG", "chi2": "CD1"},
    "CYS": {"chi1": "SG"},
    "SER": {"chi1": "OG"},
    "THR": {"chi1": "OG1"},
    "GLY": {},
}


@pytest.mark.parametrize("name", CHI_RESIDUES)
def test_side_chain_torsions_end_where_iupac_says(name):
    atoms = {
        "ARG": "N CA C O CB CG CD NE CZ NH1 NH2",
        "LYS": "N CA C O CB CG CD CE NZ",
        "MET": "N CA C O CB CG SD CE",
        "GLU": "N CA C O CB CG CD OE1 OE2",
        "ILE": "N CA C O CB CG1 CG2 CD1",
        "HIS": "N CA C O CB CG ND1 CD2 CE1 NE2",
        "ASN": "N CA C O CB CG OD1 ND2",
        "PHE": "N CA C O CB CG CD1 CD2 CE1 CE2 CZ",
        "CYS": "N CA C O CB SG",
        "SER": "N CA C O CB OG",
        "THR": "N CA C O CB OG1 CG2",
        "GLY": "N CA C O",
    }[name].split()
    topology = app.Topology()
    residue = topology.addResidue(name, topology.addChain("A"))
    for atom in atoms:
        topology.addAtom(atom, app.Element.getBySymbol(atom[0]), residue)
    last = {}
    for chi in ("chi1", "chi2", "chi3", "chi4"):
        for _, found in named_torsions(topology, chi):
            last[chi] = atoms[found[3]]
    assert last == CHI_RESIDUES[name]


def test_a_molecule_that_is_no_peptide(tmp_path):
    """Hydrogen peroxide by torsion indices, with a serialised System: residues and names play no part."""
    topology = app.Topology()
    residue = topology.addResidue("LIG", topology.addChain("X"))
    h1, o1, o2, h2 = (
        topology.addAtom(name, app.Element.getBySymbol(name[0]), residue) for name in ("H1", "O1", "O2", "H2")
    )
    for pair in ((h1, o1), (o1, o2), (o2, h2)):
        topology.addBond(*pair)
    for file, angle in (("a.pdb", 1.94), ("b.pdb", -1.94)):
        far = [0.097 * np.cos(angle), 0.097 * np.sin(angle), 0.147]
        write(
            tmp_path,
            file,
            topology,
            np.array([[0.097, 0, 0], [0, 0, 0], [0, 0, 0.147], far]) * unit.nanometer,
        )
    system = openmm.System()
    for atom in topology.atoms():
        system.addParticle(atom.element.mass)
    torsion = openmm.PeriodicTorsionForce()
    torsion.addTorsion(0, 1, 2, 3, 2, 0.0, 5.0)
    system.addForce(torsion)
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    (tmp_path / "system.toml").write_text("""
[system]
name = "hydrogen-peroxide"
structure_a = "a.pdb"
structure_b = "b.pdb"
temperature_kelvin = 350
features = ["hooh"]

[force_field]
system_xml = "system.xml"

[collective_variables]
hooh = { torsion = [0, 1, 2, 3] }
hh = { distance = [0, 3] }

[states]
A = { name = "right", hooh_degree = [60, 170], hh_nm = [0.1, inf] }
B = { name = "left", hooh_degree = [-170, -60] }
""")
    loaded = load_system(tmp_path)
    assert loaded.values(loaded.positions_a[None])["hooh"][0] == pytest.approx(1.94, abs=2e-3)
    assert loaded.temperature == 350.0
    text = (tmp_path / "system.toml").read_text()
    (tmp_path / "system.toml").write_text(text.replace("[0, 1, 2, 3]", '"phi"'))
    with pytest.raises(SystemDefinitionError, match="no phi; phi exists in no residue"):
        load_system(tmp_path)
