"""Files of Amber, GROMACS, CHARMM and OpenMM: the energy of each program's file is the energy it was written from.

The files of tests/prepared hold two Systems of OpenMM (build.py wrote them): a peptide in vacuum, ions and water in a
box.
"""

import shutil
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit

from tps.errors import ConfigError, SystemDefinitionError
from tps.sections import validate
from tps.systems.definition import ForceFieldSection
from tps.systems.forcefield import build_openmm_system
from tps.systems.identity import periodic_box
from tps.systems.prepared import open_prepared
from tps.systems.structures import check_same_molecule, read_structure

HERE = Path(__file__).parent / "prepared"
REFERENCE = openmm.Platform.getPlatformByName("Reference")
STEMS = ("alanine", "salt-water")
SOURCES = {
    "amber": ({"amber_prmtop": "{}.prmtop"}, "{}.rst7"),
    "amber-netcdf": ({"amber_prmtop": "{}.prmtop"}, "{}.ncrst"),
    "amber-pdb": ({"amber_prmtop": "{}.prmtop"}, "{}.pdb"),
    "gromacs": ({"gromacs_top": "{}.top"}, "{}.gro"),
    "charmm": ({"charmm_psf": "{}.psf", "charmm_parameters": ["{}.prm"]}, "{}.pdb"),
}


def section(**keys):
    return validate(keys, ForceFieldSection, "system.toml", ConfigError)


def fill(keys, stem):
    return {
        key: [each.format(stem) for each in value] if isinstance(value, list) else value.format(stem)
        for key, value in keys.items()
    }


def load(stem, source, **options):
    """Topology and coordinates by our readers, and the System of a section: (structure, system, notes)."""
    keys, coordinates = SOURCES[source]
    settings = section(**fill(keys, stem), nonbonded_cutoff_nm=0.7, **options)
    prepared = open_prepared(settings, HERE)
    structure = read_structure(HERE / coordinates.format(stem), prepared.topology)
    system, notes = build_openmm_system(settings, HERE, structure.topology, (structure.positions,), prepared)
    return structure, system, notes


def energy(system, positions):
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), REFERENCE)
    context.setPositions(positions)
    return context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


def by_openmm(stem, source):
    """The same by OpenMM's loaders, as its user's guide has it."""
    options = {"constraints": app.HBonds}
    if stem == "salt-water":
        options |= {"nonbondedMethod": app.PME, "nonbondedCutoff": 0.7 * unit.nanometer}
    if source.startswith("amber"):
        return app.AmberPrmtopFile(str(HERE / f"{stem}.prmtop")).createSystem(**options)
    if source == "gromacs":
        box = (
            app.GromacsGroFile(str(HERE / f"{stem}.gro")).getPeriodicBoxVectors()
            if stem == "salt-water"
            else None
        )
        return app.GromacsTopFile(str(HERE / f"{stem}.top"), periodicBoxVectors=box).createSystem(**options)
    box = app.PDBFile(str(HERE / f"{stem}.pdb")).topology.getPeriodicBoxVectors()
    psf = app.CharmmPsfFile(str(HERE / f"{stem}.psf"), periodicBoxVectors=box)
    return psf.createSystem(app.CharmmParameterSet(str(HERE / f"{stem}.prm")), **options)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("stem", STEMS)
def test_energies_are_those_of_openmms_own_loaders(stem, source):
    structure, system, _ = load(stem, source)
    expected = energy(by_openmm(stem, source), structure.positions)
    assert energy(system, structure.positions) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("stem", STEMS)
def test_energies_are_those_of_the_system_they_were_written_from(stem, source):
    """With flexible bonds, at the positions of each file; OpenMM's reader of psf files has no correction at long range.

    Bonds of water stay rigid in every loader: their energies are left out of both.
    """
    structure, system, _ = load(stem, source, constraints="none")
    written = openmm.XmlSerializer.deserialize((HERE / f"{stem}.xml").read_text())
    for force in written.getForces():
        if isinstance(force, openmm.NonbondedForce) and source == "charmm":
            force.setUseDispersionCorrection(False)
    if stem == "salt-water":
        for which in (written, system):
            for i in reversed(range(which.getNumForces())):
                if isinstance(which.getForce(i), openmm.HarmonicBondForce | openmm.HarmonicAngleForce):
                    which.removeForce(i)
    assert energy(system, structure.positions) == pytest.approx(
        energy(written, structure.positions), rel=1e-4
    )


@pytest.mark.parametrize("stem", STEMS)
def test_a_system_xml_is_taken_with_its_energy(stem):
    structure = read_structure(HERE / f"{stem}.pdb")
    system, notes = build_openmm_system(
        section(system_xml=f"{stem}.xml"), HERE, structure.topology, (structure.positions,)
    )
    written = openmm.XmlSerializer.deserialize((HERE / f"{stem}.xml").read_text())
    assert energy(system, structure.positions) == energy(written, structure.positions)
    assert notes == ()


@pytest.mark.parametrize("source", SOURCES)
def test_boxes_come_with_the_coordinates(source):
    structure, system, _ = load("salt-water", source)
    for box in (structure.box, periodic_box(system)):
        assert box == pytest.approx(1.6 * np.eye(3), abs=1e-6)
    vectors = structure.topology.getPeriodicBoxVectors().value_in_unit(unit.nanometer)
    assert np.array(vectors) == pytest.approx(1.6 * np.eye(3), abs=1e-6)
    structure, system, _ = load("alanine", source)
    assert structure.box is None
    assert periodic_box(system) is None


def test_coordinates_agree_between_the_formats():
    """Each within half a unit of its last digit: 1e-4 nm in PDB files, 1e-3 in gro, 1e-8 in the others."""
    topology = open_prepared(section(amber_prmtop="salt-water.prmtop"), HERE).topology
    exact = read_structure(HERE / "salt-water.ncrst", topology).positions
    for name, last_digit in (("pdb", 1e-4), ("gro", 1e-3), ("rst7", 1e-8), ("crd", 1e-9)):
        found = read_structure(HERE / f"salt-water.{name}", topology).positions
        assert np.abs(found - exact).max() <= 0.5 * last_digit + 4e-7 * (name == "crd") + 1e-7


def test_names_come_from_a_pdb_and_bonds_from_the_prepared_topology():
    topology = open_prepared(section(amber_prmtop="alanine.prmtop"), HERE).topology
    structure = read_structure(HERE / "alanine.pdb", topology)
    own = read_structure(HERE / "alanine.pdb").topology
    assert [(a.name, a.residue.id) for a in structure.topology.atoms()] == [
        (a.name, a.residue.id) for a in own.atoms()
    ]
    assert structure.topology.getNumBonds() == topology.getNumBonds() == 21


def test_options_reach_the_loaders():
    for source in ("amber", "gromacs", "charmm"):
        _, system, _ = load("alanine", source, hydrogen_mass_amu=2.0, constraints="all-bonds")
        assert system.getParticleMass(0).value_in_unit(unit.dalton) == 2.0
        assert system.getNumConstraints() == 21
        _, system, _ = load("salt-water", source, nonbonded_method="cutoff-periodic")
        (nonbonded,) = (f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
        assert nonbonded.getNonbondedMethod() == openmm.NonbondedForce.CutoffPeriodic


def test_implicit_solvent_has_no_box(tmp_path):
    text = (HERE / "alanine.pdb").read_text()
    cell = "CRYST1   30.000   30.000   30.000  90.00  90.00  90.00 P 1           1 \n"
    (tmp_path / "a.pdb").write_text(cell + text)
    structure = read_structure(tmp_path / "a.pdb")
    assert structure.box == pytest.approx(3 * np.eye(3))
    for files, periodic in ((["amber14-all.xml"], True), (["amber14-all.xml", "implicit/obc2.xml"], False)):
        system, notes = build_openmm_system(
            section(files=files), tmp_path, structure.topology, (structure.positions,)
        )
        assert (periodic_box(system) is not None) is periodic
        assert ("implicit solvent has no borders" in " ".join(notes)) is not periodic


def test_a_cell_of_one_angstrom_is_no_box(tmp_path):
    text = (HERE / "alanine.pdb").read_text()
    cell = "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1 \n"
    (tmp_path / "a.pdb").write_text(cell + text)
    structure = read_structure(tmp_path / "a.pdb")
    assert structure.box is None
    assert structure.topology.getPeriodicBoxVectors() is None


def test_a_system_xml_takes_the_box_of_the_structures(tmp_path):
    shutil.copy(HERE / "salt-water.xml", tmp_path)
    (tmp_path / "a.pdb").write_text((HERE / "salt-water.pdb").read_text().replace("16.000", "16.200"))
    structure = read_structure(tmp_path / "a.pdb")
    system, notes = build_openmm_system(
        section(system_xml="salt-water.xml"), tmp_path, structure.topology, (structure.positions,)
    )
    assert periodic_box(system) == pytest.approx(1.62 * np.eye(3))
    assert notes == (
        "the box is that of the structures, 1.62 x 1.62 x 1.62 nm, not that of the System, 1.6 x 1.6 x 1.6 nm",
    )


def test_ends_in_different_boxes_are_refused(tmp_path):
    (tmp_path / "b.pdb").write_text((HERE / "salt-water.pdb").read_text().replace("16.000", "16.200"))
    a, b = read_structure(HERE / "salt-water.pdb"), read_structure(tmp_path / "b.pdb")
    with pytest.raises(
        SystemDefinitionError, match=r"1.62 x 1.62 x 1.62 nm, that of A .* 1.6 x 1.6 x 1.6 nm"
    ):
        check_same_molecule(a, b)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, "give either files"),
        ({"amber_prmtop": "a", "gromacs_top": "b"}, "but got amber_prmtop and gromacs_top"),
        ({"files": ["a"], "gromacs_include": "b"}, "gromacs_include belongs to gromacs_top"),
        ({"charmm_psf": "a"}, "charmm_psf and charmm_parameters belong together"),
        ({"files": ["a"], "charmm_parameters": ["b"]}, "charmm_psf and charmm_parameters belong together"),
        (
            {"system_xml": "a", "constraints": "none"},
            "system_xml already says everything: remove constraints",
        ),
    ],
)
def test_sources_that_do_not_go_together(keys, expected):
    with pytest.raises(ConfigError) as caught:
        section(**keys)
    assert expected in str(caught.value)


def spoil(folder, name, old, new):
    text = (HERE / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("keys", "spoilt", "expected"),
    [
        (
            {"amber_prmtop": "alanine.prmtop"},
            None,
            "[force_field] amber_prmtop: {}/alanine.prmtop does not exist",
        ),
        (
            {"amber_prmtop": "alanine.prmtop"},
            ("%FLAG POINTERS", ""),
            "alanine.prmtop cannot be read as a Amber",
        ),
        (
            {"gromacs_top": "alanine.top", "gromacs_include": "ff"},
            ("", ""),
            "gromacs_include: {}/ff is not a fo",
        ),
        (
            {"gromacs_top": "alanine.top"},
            ("[ defaults ]", '#include "oplsaa.ff/forcefield.itp"\n[ defaults ]'),
            "oplsaa.ff/forcefield.itp); is gromacs_include the folder",
        ),
        (
            {"charmm_psf": "alanine.psf", "charmm_parameters": ["a.prm"]},
            ("", ""),
            "charmm_parameters: {}/a.prm does",
        ),
        (
            {"charmm_psf": "alanine.psf", "charmm_parameters": ["alanine.psf"]},
            ("", ""),
            "should end in .rtf, .top",
        ),
        (
            {"charmm_psf": "alanine.psf", "charmm_parameters": ["w.prm"]},
            ("", ""),
            "w.prm cannot be applied to ala",
        ),
    ],
)
def test_prepared_files_that_cannot_be_read(tmp_path, keys, spoilt, expected):
    shutil.copy(HERE / "salt-water.prm", tmp_path / "w.prm")
    if spoilt is not None:
        spoil(tmp_path, next(iter(keys.values())), *spoilt)
    with pytest.raises(SystemDefinitionError) as caught:
        open_prepared(section(**keys), tmp_path)
    assert expected.format(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_that_openmm_cannot_simulate(tmp_path):
    """A pair of negative depth, which every reader takes, and no context."""
    spoil(tmp_path, "alanine.top", " 0.032844400", " -0.032844400")
    settings = section(gromacs_top="alanine.top")
    prepared = open_prepared(settings, tmp_path)
    structure = read_structure(HERE / "alanine.gro", prepared.topology)
    with pytest.raises(
        SystemDefinitionError, match=r"alanine.top: OpenMM makes no simulation of it: .*negative"
    ):
        build_openmm_system(settings, tmp_path, structure.topology, (structure.positions,), prepared)


@pytest.mark.parametrize(
    ("name", "topology", "expected"),
    [
        (
            "alanine.rst7",
            None,
            "holds coordinates without their atoms: give a .pdb or .cif file, or name the amber",
        ),
        ("alanine.rst7", "salt-water", "has 22 atoms, but the prepared topology has 77"),
        (
            "swapped.gro",
            "salt-water",
            "atom 2 (from zero) is called H1, but the prepared topology has HOH3-O (O)",
        ),
        (
            "swapped.pdb",
            "salt-water",
            "atom 2 (from zero) is HOH3-H1 (H), but HOH3-O (O) in the prepared topology",
        ),
        (
            "title.crd",
            "salt-water",
            "title.crd cannot be read as a crd structure (nothing follows the tit",
        ),
        ("damaged.rst7", "salt-water", "damaged.rst7 cannot be read as a rst7 structure"),
        ("empty.gro", "salt-water", "empty.gro cannot be read as a gro structure"),
    ],
)
def test_coordinates_that_cannot_be_used(tmp_path, name, topology, expected):
    shutil.copy(HERE / "alanine.rst7", tmp_path)
    for kind in ("gro", "pdb"):
        lines = (HERE / f"salt-water.{kind}").read_text().splitlines(keepends=True)
        at = next(i for i, line in enumerate(lines) if " O " in line)
        lines[at], lines[at + 1] = lines[at + 1], lines[at]
        (tmp_path / f"swapped.{kind}").write_text("".join(lines))
    (tmp_path / "title.crd").write_text("* a title\n*\n")
    (tmp_path / "damaged.rst7").write_text((HERE / "salt-water.rst7").read_text()[:500])
    (tmp_path / "empty.gro").write_text("")
    settings = section(amber_prmtop=f"{topology}.prmtop")
    prepared = None if topology is None else open_prepared(settings, HERE).topology
    with pytest.raises(SystemDefinitionError) as caught:
        read_structure(tmp_path / name, prepared)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_periodic_methods_need_a_box_wide_enough():
    structure = read_structure(HERE / "alanine.pdb")
    ends = (structure.positions,)
    with pytest.raises(SystemDefinitionError, match="periodic"):
        build_openmm_system(
            section(amber_prmtop="alanine.prmtop", nonbonded_method="pme"), HERE, structure.topology, ends
        )
    structure = read_structure(HERE / "salt-water.pdb")
    with pytest.raises(
        SystemDefinitionError, match=r"cutoff of 1 nm does not fit twice into the box of 1.6 x 1.6"
    ):
        build_openmm_system(
            section(amber_prmtop="salt-water.prmtop"), HERE, structure.topology, (structure.positions,)
        )


def test_a_prmtop_of_another_molecule_is_refused():
    structure = read_structure(HERE / "salt-water.pdb")
    with pytest.raises(
        SystemDefinitionError, match=r"alanine.prmtop has 22 particles, but the end structures have 77"
    ):
        build_openmm_system(
            section(amber_prmtop="alanine.prmtop", nonbonded_method="no-cutoff"),
            HERE,
            structure.topology,
            (structure.positions,),
        )
