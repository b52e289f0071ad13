"""From the [force_field] table to an OpenMM System: energies, solvent, masses, constraints."""

import shutil
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit

from tps.systems import data_directory, load_system
from tps.systems.native_obc import RELATIVE_TOLERANCE, use_native_obc

REFERENCE = openmm.Platform.getPlatformByName("Reference")
TABLE = 'files = ["amber99sbildn.xml"]\nconstraints = "h-bonds"'
OBC2 = ("amber14-all.xml", "implicit/obc2.xml")


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(data_directory("systems") / "alanine-dipeptide", tmp_path / "mine")


def load_with(folder, table):
    file = folder / "system.toml"
    assert TABLE in file.read_text()
    file.write_text(file.read_text().replace(TABLE, table))
    return load_system(folder)


def energy_and_forces(system, positions):
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), REFERENCE)
    context.setPositions(positions)
    state = context.getState(getEnergy=True, getForces=True)
    return (
        state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole),
        state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer),
    )


def force_names(system):
    return {type(force).__name__ for force in system.getForces()}


def test_obc2_runs_as_the_native_force(folder):
    """Energy and forces of the whole system stay those of the Amber files.

    The tolerance is what the loader promises: 1e-6 of the solvation part, 52 kJ/mol and up to 330 kJ/mol/nm.
    """
    system = load_with(folder, f"files = {list(OBC2)}")
    original = app.ForceField(*OBC2).createSystem(system.topology, constraints=app.HBonds)
    assert "CustomGBForce" in force_names(original)
    assert "GBSAOBCForce" in force_names(system.create_openmm_system())
    assert "CustomGBForce" not in force_names(system.create_openmm_system())
    (note,) = system.notes
    assert "runs as OpenMM's native force" in note
    rng = np.random.default_rng(1)
    moved = system.positions_a + rng.normal(scale=0.005, size=(22, 3))
    for positions in (system.positions_a, system.positions_b, moved):
        energy, forces = energy_and_forces(original, positions)
        native_energy, native_forces = energy_and_forces(system.create_openmm_system(), positions)
        assert native_energy == pytest.approx(energy, abs=60 * RELATIVE_TOLERANCE)
        assert native_forces == pytest.approx(forces, abs=400 * RELATIVE_TOLERANCE)


@pytest.mark.parametrize(
    ("options", "native"),
    [
        ({}, True),
        ({"solventDielectric": 60.0, "soluteDielectric": 2.0}, True),
        ({"sasaMethod": None}, True),
        ({"nonbondedMethod": app.CutoffNonPeriodic, "nonbondedCutoff": 0.5 * unit.nanometer}, True),
        ({"implicitSolventKappa": 0.1}, False),
    ],
    ids=["plain", "dielectrics", "no-surface", "cutoff", "salt"],
)
def test_only_an_equal_native_force_is_taken(options, native):
    """Salt has no native form, and even 1 mM of it (kappa = 0.1 / nm) shows in the comparison."""
    alanine = load_system("alanine-dipeptide")
    system = app.ForceField(*OBC2).createSystem(alanine.topology, **options)
    found, notes = use_native_obc(system, (alanine.positions_a, alanine.positions_b))
    assert ("GBSAOBCForce" in force_names(found)) is native
    assert ("stays a CustomGBForce, because" in notes[0]) is not native
    assert "CustomGBForce" in force_names(system)


@pytest.mark.parametrize("model", ["hct", "obc1", "gbn", "gbn2"])
def test_other_solvent_models_stay_what_they_are(model):
    alanine = load_system("alanine-dipeptide")
    system = app.ForceField("amber14-all.xml", f"implicit/{model}.xml").createSystem(alanine.topology)
    found, _ = use_native_obc(system, (alanine.positions_a,))
    assert "CustomGBForce" in force_names(found)


@pytest.mark.parametrize(("constraints", "number"), [("none", 0), ("h-bonds", 12), ("all-bonds", 21)])
def test_constraints(folder, constraints, number):
    system = load_with(folder, f'files = ["amber99sbildn.xml"]\nconstraints = "{constraints}"')
    assert system.create_openmm_system().getNumConstraints() == number


def test_heavy_hydrogens_keep_the_mass_of_the_molecule(folder):
    plain = load_system(folder).create_openmm_system()
    heavy = load_with(folder, f"{TABLE}\nhydrogen_mass_amu = 3.0").create_openmm_system()
    masses = [[s.getParticleMass(i).value_in_unit(unit.dalton) for i in range(22)] for s in (plain, heavy)]
    assert masses[1][0] == 3.0
    assert sum(masses[1]) == pytest.approx(sum(masses[0]), abs=1e-9)


def test_serialised_system_is_taken_as_it_is(folder):
    """The road for GAFF, CHARMM and whatever else builds an openmm.System."""
    builtin = load_system("alanine-dipeptide")
    (folder / "other.xml").write_text(builtin.system_xml)
    system = load_with(folder, 'system_xml = "other.xml"')
    assert system.system_xml == builtin.system_xml


def test_force_field_files_of_the_users_own(folder):
    """A file beside system.toml is found there: here the shipped one without 1-4 Lennard-Jones energies."""
    shipped = Path(app.__file__).parent / "data" / "amber99sbildn.xml"
    assert 'lj14scale="0.5"' in shipped.read_text()
    (folder / "mine.xml").write_text(shipped.read_text().replace('lj14scale="0.5"', 'lj14scale="0.0"'))
    system = load_with(folder, 'files = ["mine.xml"]').create_openmm_system()
    plain = load_system("alanine-dipeptide").create_openmm_system()
    epsilons = [
        sum(
            nonbonded.getExceptionParameters(i)[4].value_in_unit(unit.kilojoule_per_mole)
            for nonbonded in forces.getForces()
            if isinstance(nonbonded, openmm.NonbondedForce)
            for i in range(nonbonded.getNumExceptions())
        )
        for forces in (plain, system)
    ]
    assert epsilons[0] > 1.0
    assert epsilons[1] == 0.0
