"""`tps init` on real molecules: what it proposes, what it writes, and what it refuses."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import openmm
import pytest
from commands import complaint, tps
from openmm import app, unit

from tps.config import load_config
from tps.errors import ConfigError, RunFolderError, SystemDefinitionError
from tps.prepare import Request, describe, initialise
from tps.systems import data_directory, load_system

ALANINE = data_directory("systems") / "alanine-dipeptide"
C5, C7AX = ALANINE / "c5.pdb", ALANINE / "c7ax.pdb"
PREPARED = Path(__file__).parent / "prepared"
QUICK = {"short_run": 2.0, "platform": "Reference"}


@pytest.fixture(scope="module")
def alanine(tmp_path_factory):
    """Alanine dipeptide, C5 to C7ax."""
    return initialise(Request(C5, C7AX, **QUICK), tmp_path_factory.mktemp("init") / "ala")


def write_pdb(path, topology, positions):
    with path.open("w") as stream:
        app.PDBFile.writeFile(topology, np.asarray(positions) * unit.nanometer, stream, keepIds=True)
    return path


def pair(folder, distance, kj_per_mol=10.0):
    """Argon and krypton some way apart, and a System of their Lennard-Jones attraction, in a folder."""
    topology = app.Topology()
    chain = topology.addChain("A")
    for name, symbol in (("AR", "Ar"), ("KR", "Kr")):
        topology.addAtom(name, app.Element.getBySymbol(symbol), topology.addResidue(name, chain))
    system, force = openmm.System(), openmm.NonbondedForce()
    for mass in (39.948, 83.798):
        system.addParticle(mass)
        force.addParticle(0.0, 0.35, kj_per_mol)
    system.addForce(force)
    (folder / "pair.xml").write_text(openmm.XmlSerializer.serialize(system))
    return write_pdb(folder / f"pair-{distance}.pdb", topology, [[0, 0, 0], [distance, 0, 0]])


def test_alanine_dipeptide_is_told_by_phi_and_psi(alanine):
    assert [t.candidate.name for t in alanine.features] == ["phi2", "psi2"]
    assert all(t.separation > 2 for t in alanine.features)
    # the names of all torsions about bonds that turn to something else: none of methyl groups
    names = {t.candidate.name for t in alanine.tellings}
    assert names == {"phi2", "psi2", "omega1", "omega2", "d_ACE_NME"}
    system = load_system(alanine.folder)
    published = load_system("alanine-dipeptide")
    a, b = system.values(system.ends)["phi2"]
    assert system.state_a.region.contains(
        published.values(published.ends)
        | {"phi2": published.values(published.ends)["phi"], "psi2": published.values(published.ends)["psi"]}
    ).tolist() == [True, False]
    assert np.degrees(a) < -40 and 40 < np.degrees(b) < 100
    assert not system.state_a.region.overlaps(system.state_b.region)


def test_the_folder_is_ready_to_run_and_moves(alanine, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(alanine.folder, moved)
    assert sorted(p.name for p in moved.iterdir()) == ["a.pdb", "b.pdb", "run.toml", "system.toml"]
    config = load_config(moved / "run.toml")
    assert Path(config.run.system) == moved
    assert config.conformations.method == "metadynamics" and config.run.timestep_ps == 0.002
    assert load_system(moved).feature_names == ("phi2", "psi2")
    assert "# phi2, phi of ALA 2: " in (moved / "system.toml").read_text()


def test_what_is_printed_says_what_tells_and_what_a_run_costs(alanine):
    text = "\n".join(describe(alanine))
    for said in (
        "ACE-ALA-NME (22 atoms), no solvent added: c5.pdb to c7ax.pdb",
        "phi2           turns by",
        "heavy atoms    RMSD 0.16",
        "Short runs: two of 2 ps from each end at 300 K, time step 2 fs",
        "feature (torsion)",
        "States\n  A  phi2_degree",
        "conformations",
        "together",
        "next           tps check",
    ):
        assert said in text


def test_atoms_in_another_order_are_matched_and_the_same_seed_writes_the_same(alanine, tmp_path):
    pdb = app.PDBFile(str(C7AX))
    residues = list(pdb.topology.residues())
    modeller, shuffled = app.Modeller(pdb.topology, pdb.positions), app.Topology()
    chain, order = shuffled.addChain("A"), []
    for residue in residues:
        new = shuffled.addResidue(residue.name, chain, residue.id)
        for atom in reversed(list(residue.atoms())):
            shuffled.addAtom(atom.name, atom.element, new)
            order.append(atom.index)
    positions = np.array(modeller.positions.value_in_unit(unit.nanometer))[order]
    b = write_pdb(tmp_path / "c7ax.pdb", shuffled, positions)
    found = initialise(Request(C5, b, **QUICK), tmp_path / "ala")
    assert "matched by chain, residue and atom name: " in " ".join(found.ends.notes)
    for name in ("system.toml", "run.toml", "a.pdb", "b.pdb"):
        text = (found.folder / name).read_text()
        if name != "run.toml":  # whose sizes follow the speed of the moment
            assert text.splitlines()[1:] == (alanine.folder / name).read_text().splitlines()[1:]


@pytest.mark.parametrize(
    ("a", "options"),
    [
        ("alanine.rst7", {"topology": PREPARED / "alanine.prmtop"}),
        ("alanine.gro", {"topology": PREPARED / "alanine.top"}),
        ("alanine.crd", {"topology": PREPARED / "alanine.psf", "parameters": (PREPARED / "alanine.prm",)}),
        ("alanine.pdb", {"system_xml": PREPARED / "alanine.xml"}),
    ],
)
def test_prepared_systems_keep_their_forces(a, options, tmp_path):
    found = initialise(Request(PREPARED / a, C7AX, **options, **QUICK), tmp_path / "out")
    assert {"phi2", "psi2"} == {t.candidate.name for t in found.features}
    system = load_system(tmp_path / "out")
    energies = []
    for xml in (system.system_xml, (PREPARED / "alanine.xml").read_text()):
        context = openmm.Context(
            openmm.XmlSerializer.deserialize(xml),
            openmm.VerletIntegrator(0.001),
            openmm.Platform.getPlatformByName("Reference"),
        )
        context.setPositions(system.positions_a)
        energies.append(context.getState(energy=True).getPotentialEnergy()._value)
    # the files of all programs hold one force field; constraints only take the energy of bonds to hydrogen out
    bonds = 0.0 if "xml" in str(options) else 30.0
    assert energies[0] == pytest.approx(energies[1], abs=0.05 + bonds)


def test_two_atoms_are_told_by_their_distance_and_kept_together(tmp_path):
    a, b = pair(tmp_path, 0.40), pair(tmp_path, 1.0)
    request = Request(a, b, system_xml=tmp_path / "pair.xml", **QUICK)
    found = initialise(request, tmp_path / "out")
    system = load_system(tmp_path / "out")
    assert system.feature_names == ("d_AR_KR",)
    assert found.walls == {"d_AR_KR": (0.0, 1.3)}  # 0.3 beyond 1.0
    low, high = system.space.bounds[0]
    assert 0.2 < low < 0.35 and high == pytest.approx(1.4)
    whole = system.create_openmm_system()
    assert "confinement_d_AR_KR" in [force.getName() for force in whole.getForces()]
    assert system.state_b.region.ranges["d_AR_KR"][1] == np.inf


def test_contacts_become_one_number(tmp_path):
    """Two diatomic molecules that attract each other, side by side and apart."""
    topology, system = app.Topology(), openmm.System()
    chain, bonds, force = topology.addChain("A"), openmm.HarmonicBondForce(), openmm.NonbondedForce()
    for k in range(2):
        residue = topology.addResidue("NNN", chain, str(k + 1))
        first, second = (topology.addAtom(name, app.element.nitrogen, residue) for name in ("N1", "N2"))
        topology.addBond(first, second)
        bonds.addBond(first.index, second.index, 0.11, 100_000.0)
    for _ in range(4):
        system.addParticle(14.007)
        force.addParticle(0.0, 0.33, 6.0)
    force.createExceptionsFromBonds([(0, 1), (2, 3)], 1.0, 1.0)
    system.addForce(bonds)
    system.addForce(force)
    (tmp_path / "pair.xml").write_text(openmm.XmlSerializer.serialize(system))
    ends = [
        write_pdb(tmp_path / f"{name}.pdb", topology, [[0, 0, 0], [0.11, 0, 0], [0, 0, r], [0.11, 0, r]])
        for name, r in (("near", 0.37), ("far", 1.0))
    ]
    asked = ("contacts", "distances")
    found = initialise(
        Request(*ends, system_xml=tmp_path / "pair.xml", features=asked, **QUICK), tmp_path / "out"
    )
    assert [t.candidate.name for t in found.features] == ["contacts_a", "d_NNN1_NNN2"]
    system = load_system(tmp_path / "out")
    assert system.collective_variables["contacts_a"].kind == "contact"
    a, b = system.values(system.ends)["contacts_a"]
    assert len(found.contacts.broken) == 4 and a > 3 and b < 0.1
    assert system.space.scale[0] == pytest.approx((a - b) / 3, rel=0.05)


def test_ends_of_one_basin_are_refused_with_numbers(tmp_path):
    a, b = pair(tmp_path, 0.40), pair(tmp_path, 0.43)
    with pytest.raises(
        SystemDefinitionError, match=r"closer than the noise: .* d_AR_KR .* 0\.\d+ nm ± .* 2 are needed"
    ):
        initialise(Request(a, b, system_xml=tmp_path / "pair.xml", **QUICK), tmp_path / "out")
    with pytest.raises(SystemDefinitionError, match=r"A and B are one structure: the RMSD .* is 0\.000 nm"):
        initialise(Request(a, a, system_xml=tmp_path / "pair.xml", **QUICK), tmp_path / "out")
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [
        ".pdb",
        ".pdb",
        ".xml",
    ]  # and nothing half written


def test_features_that_do_not_tell_are_refused_with_numbers(tmp_path):
    request = Request(C5, C7AX, features=("omega1", "omega2"), **QUICK)
    with pytest.raises(
        SystemDefinitionError, match=r"--features omega1, omega2 cannot tell A from B: .* omega"
    ):
        initialise(request, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_groups_of_features_share_a_table(tmp_path):
    found = initialise(Request(C5, C7AX, features=("backbone", "omega2"), **QUICK), tmp_path / "out")
    assert [t.candidate.name for t in found.features] == ["phi2", "psi2", "omega2"]
    text = (tmp_path / "out" / "system.toml").read_text()
    assert text.count("[collective_variables.") == 2
    assert load_config(tmp_path / "out" / "run.toml").conformations.method == "grow"
    assert set(found.states.a) <= {"phi2", "psi2"}


def test_hydrogens_are_the_same_in_both_ends(tmp_path):
    bare = []
    for path in (C5, C7AX):
        pdb = app.PDBFile(str(path))
        modeller = app.Modeller(pdb.topology, pdb.positions)
        modeller.delete([atom for atom in pdb.topology.atoms() if atom.element is app.element.hydrogen])
        positions = modeller.positions.value_in_unit(unit.nanometer)
        bare.append(write_pdb(tmp_path / path.name, modeller.topology, positions))
    with pytest.raises(SystemDefinitionError, match="lack hydrogens, give --add-hydrogens"):
        initialise(Request(*bare, **QUICK), tmp_path / "out")
    found = initialise(Request(*bare, add_hydrogens=True, **QUICK), tmp_path / "out")
    assert found.ends.n_atoms == 22
    assert "hydrogens: 12 added to each end" in " ".join(found.ends.notes)
    assert {t.candidate.name for t in found.features} == {"phi2", "psi2"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"force_field": ("amber14-all.xml",), "system_xml": Path("x.xml")},
            "got --forcefield and --system-xml",
        ),
        (
            {"topology": Path("a.prmtop"), "solvent": "obc2"},
            "--solvent obc2 changes the atoms or their forces",
        ),
        ({"topology": Path("a.zip")}, "topologies are read from .prmtop, .parm7, .top, .psf files"),
        ({"topology": Path("a.psf")}, "a psf file needs its parameter files"),
        ({"parameters": (Path("a.prm"),)}, "--parameters belongs to a CHARMM psf file"),
        ({"padding": -1.0}, "must be positive .* but got -1 nm"),
        ({"ionic_strength": 0.1}, "--ionic-strength needs water"),
    ],
)
def test_requests_that_contradict_themselves_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Request(C5, C7AX, **options)


def test_bad_input_gets_one_sentence(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    out = tmp_path / "out"
    assert "is not empty" in complaint("init", C5, C7AX, "-o", tmp_path / "full")
    assert "nowhere.pdb does not exist" in complaint("init", C5, tmp_path / "nowhere.pdb", "-o", out)
    said = complaint("init", C5, C7AX, "-o", out, "--forcefield", "amber41-all.xml")
    assert "--forcefield amber41-all.xml is neither a file nor a force field of OpenMM; did you mean" in said
    said = complaint("init", C5, PREPARED / "salt-water.pdb", "-o", out)
    assert "give two structures of the same molecule" in said
    said = complaint("init", C5, C7AX, "-o", out, "--top", PREPARED / "salt-water.prmtop")
    assert "has 22 atoms, but the prepared topology has 77" in said
    assert "takes none of the" in complaint("init", C5, C7AX, "-o", out, "--solute", "resname XYZ")
    assert not out.exists()
    with pytest.raises(RunFolderError, match="cannot be made"):
        initialise(Request(C5, C7AX), tmp_path / "full" / "file" / "out")


@pytest.mark.skipif(find_spec("pdbfixer") is not None, reason="PDBFixer is installed")
def test_gaps_need_pdbfixer(tmp_path):
    said = complaint("init", C5, C7AX, "-o", tmp_path / "out", "--fix-gaps")
    assert "--fix-gaps needs PDBFixer, which is not installed: run `pip install pdbfixer`" in said


def test_the_command_prints_and_writes(tmp_path):
    a, b = pair(tmp_path, 0.40), pair(tmp_path, 1.0)
    options = ("--system-xml", tmp_path / "pair.xml", "--short-run", 2, "--platform", "Reference")
    result = tps("init", a, b, "-o", tmp_path / "out", *options)
    assert "d_AR_KR        distance of AR1-AR and KR2-KR, 0.3" in result.stdout
    assert (tmp_path / "out" / "run.toml").is_file()
    told = json.loads(tps("init", a, b, "-o", tmp_path / "told", *options, "--json").stdout)
    assert told["features"] == ["d_AR_KR"] and told["states"].keys() == {"A", "B"}
    assert [row["stage"] for row in told["estimate"]][-1] == "report"


@pytest.mark.slow
def test_ions_in_water_get_one_box_of_the_right_density(tmp_path):
    topology = app.Topology()
    chain = topology.addChain("A")
    for symbol in ("Na", "Cl"):
        name = symbol.upper()
        topology.addAtom(name, app.Element.getBySymbol(symbol), topology.addResidue(name, chain))
    ends = [
        write_pdb(tmp_path / f"{name}.pdb", topology, [[0, 0, 0], [distance, 0, 0]])
        for name, distance in (("contact", 0.27), ("apart", 0.55))
    ]
    found = initialise(Request(*ends, solvent="water", padding=0.6, short_run=2.0), tmp_path / "out")
    system = load_system(tmp_path / "out")
    assert system.feature_names == ("d_NA_CL",)
    assert system.solute.tolist() == [0, 1]
    openmm_system = system.create_openmm_system()
    mass = sum(openmm_system.getParticleMass(i)._value for i in range(system.n_atoms))
    density = mass * 1.66054e-3 / np.linalg.det(system.box)
    # TIP3P-FB has 0.995 g/mL; a few ps of some 200 molecules scatter by 1.5 %, and salt adds 2 %
    assert density == pytest.approx(1.01, abs=0.05)
    assert system.box[0, 0] / 2 > found.walls["d_NA_CL"][1]
