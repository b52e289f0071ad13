"""A System must be that of the molecule, atom by atom, and keep volume and temperature to the integrator."""

import numpy as np
import openmm
import pytest
from openmm import app

from tps.errors import SystemDefinitionError
from tps.features.variable import nearest_image
from tps.systems import load_system
from tps.systems.forcefield import keep_constant_volume
from tps.systems.identity import check_system_fits, periodic_box


@pytest.fixture(scope="module")
def alanine():
    return load_system("alanine-dipeptide")


def check(system, molecule):
    check_system_fits(system, molecule.topology, (molecule.positions_a, molecule.positions_b), "system.xml")


def refusal(system, molecule):
    with pytest.raises(SystemDefinitionError) as caught:
        check(system, molecule)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def parameters_in_order(system, order):
    """The System with particle i as order[i]: masses, bonds and constraints, which is what identifies it."""
    place = {old: new for new, old in enumerate(order)}
    moved = openmm.System()
    for old in order:
        moved.addParticle(system.getParticleMass(old))
    for i in range(system.getNumConstraints()):
        first, second, length = system.getConstraintParameters(i)
        moved.addConstraint(place[first], place[second], length)
    bonds = openmm.HarmonicBondForce()
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for i in range(force.getNumBonds()):
                first, second, *rest = force.getBondParameters(i)
                bonds.addBond(place[first], place[second], *rest)
    moved.addForce(bonds)
    return moved


def test_the_systems_that_openmm_builds_fit(alanine):
    for options in (
        {},
        {"constraints": app.AllBonds},
        {"hydrogenMass": 1.5},
        {"hydrogenMass": 3.0},
        {"hydrogenMass": 4.0},
    ):
        check(app.ForceField("amber99sbildn.xml").createSystem(alanine.topology, **options), alanine)


def test_reversed_atoms_are_refused(alanine):
    """Atom 0 is a hydrogen in either order, so the first that differs is atom 1: CH3 of ACE, and a hydrogen of NME."""
    system = parameters_in_order(alanine.create_openmm_system(), range(21, -1, -1))
    assert (
        "system.xml: particle 1 (from zero) weighs 1.008 amu, but the end structures have ACE1-CH3 (C) of 12.011"
        in refusal(system, alanine)
    )


def test_reversed_atoms_with_heavy_hydrogens_are_refused(alanine):
    """Atom 0 is a heavy hydrogen in either order, but its group no longer weighs what it should."""
    heavy = app.ForceField("amber99sbildn.xml").createSystem(alanine.topology, hydrogenMass=3.0)
    assert "particle 0 (from zero) weighs 3.000 amu" in refusal(
        parameters_in_order(heavy, range(21, -1, -1)), alanine
    )


@pytest.mark.parametrize("constraints", [None, app.HBonds, app.AllBonds])
def test_swapped_atoms_of_one_element_are_refused(alanine, constraints):
    """CB and the methyl carbon of NME weigh the same; their bonds are not the same."""
    order = list(range(22))
    order[10], order[18] = 18, 10
    built = app.ForceField("amber99sbildn.xml").createSystem(alanine.topology, constraints=constraints)
    message = refusal(parameters_in_order(built, order), alanine)
    assert "nm apart in an end structure" in message
    assert "ALA2-CB" in message or "NME3-C" in message


def test_mass_may_move_to_bonded_hydrogens_only(alanine):
    system = alanine.create_openmm_system()
    system.setParticleMass(0, 3.0)  # a hydrogen of ACE
    system.setParticleMass(14, 12.011 - 1.992)  # C of ALA, which has none
    assert "particle 0 (from zero) weighs 3.000 amu" in refusal(system, alanine)


@pytest.mark.parametrize(("index", "mass", "name"), [(6, 12.011, "ALA2-N (N)"), (4, 0.0, "ACE1-C (C)")])
def test_one_wrong_mass_is_refused(alanine, index, mass, name):
    system = alanine.create_openmm_system()
    system.setParticleMass(index, mass)
    assert (
        f"particle {index} (from zero) weighs {mass:.3f} amu, but the end structures have {name}"
        in refusal(system, alanine)
    )


def single(elements, bonds=()):
    topology = app.Topology()
    residue = topology.addResidue("LIG", topology.addChain("A"))
    atoms = [
        topology.addAtom(f"{symbol}{i}", app.Element.getBySymbol(symbol) if symbol else None, residue)
        for i, symbol in enumerate(elements)
    ]
    for first, second in bonds:
        topology.addBond(atoms[first], atoms[second])
    return topology


def of_masses(masses):
    system = openmm.System()
    for mass in masses:
        system.addParticle(mass)
    return system


def test_reversed_water_is_refused_although_its_mass_is_the_same():
    topology = single("OHH", [(0, 1), (0, 2)])
    check_system_fits(of_masses([15.999, 1.008, 1.008]), topology, (), "xml")
    with pytest.raises(SystemDefinitionError, match=r"particle 0 \(from zero\) weighs 1.008"):
        check_system_fits(of_masses([1.008, 1.008, 15.999]), topology, (), "xml")


def test_heavy_hydrogens_without_bonds_in_the_structure():
    """Bonds of the System say then which hydrogens belong to which atom."""
    topology = single("OHH")
    system = of_masses([15.999 - 4.0, 3.008, 3.008])
    for i in (1, 2):
        system.addConstraint(0, i, 0.1)
    positions = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0]])
    check_system_fits(system, topology, (positions,), "xml")
    with pytest.raises(SystemDefinitionError, match=r"0.100 nm, but they are 0.300 nm apart"):
        check_system_fits(system, topology, (3 * positions,), "xml")


def test_united_atoms_and_virtual_sites():
    """CH3 and CH2 as one particle each; nitrogen (14.007) is not CH2 (14.027)."""
    butane = single("CCCC")
    check_system_fits(of_masses([15.035, 14.027, 14.027, 15.035]), butane, (), "xml")
    with pytest.raises(SystemDefinitionError, match=r"particle 1 \(from zero\) weighs 14.007"):
        check_system_fits(of_masses([15.035, 14.007, 14.027, 15.035]), butane, (), "xml")
    water = single(["O", "H", "H", None], [(0, 1), (0, 2)])
    system = of_masses([15.999, 1.008, 1.008, 0.0])
    system.setVirtualSite(3, openmm.ThreeParticleAverageSite(0, 1, 2, 0.8, 0.1, 0.1))
    check_system_fits(system, water, (), "xml")


def test_bonds_across_the_border_of_the_box():
    """A skewed box: the images of one atom, whatever their cell, are at the distance of the nearest."""
    box = np.array([[3.0, 0, 0], [0.6, 2.8, 0], [-0.9, 1.1, 2.5]])
    rng = np.random.default_rng(3)
    short = rng.normal(size=(200, 3))
    short *= rng.uniform(0.05, 1.0, size=(200, 1)) / np.linalg.norm(short, axis=1, keepdims=True)
    moved = short + rng.integers(-2, 3, size=(200, 3)) @ box
    assert nearest_image(moved, box) == pytest.approx(short, abs=1e-12)


def test_barostats_and_thermostats_are_taken_out(alanine):
    system = alanine.create_openmm_system()
    n_forces = system.getNumForces()
    assert any(isinstance(force, openmm.CMMotionRemover) for force in system.getForces())
    assert keep_constant_volume(system) == (system, ())
    for force in (
        openmm.MonteCarloBarostat(1, 300),
        openmm.AndersenThermostat(300, 1),
        openmm.MonteCarloAnisotropicBarostat((1, 1, 1), 300),
        openmm.MonteCarloMembraneBarostat(1, 0, 300, 0, 0),
        openmm.MonteCarloFlexibleBarostat(1, 300),
    ):
        system.addForce(force)
    kept, notes = keep_constant_volume(system)
    assert kept.getNumForces() == n_forces
    assert len(notes) == 5
    assert "MonteCarloBarostat is taken out of the System: the volume is constant" in notes
    assert "AndersenThermostat is taken out of the System: Langevin dynamics keeps the temperature" in notes
    assert system.getNumForces() == n_forces + 5
    kept.addForce(openmm.CustomExternalForce("x"))
    _, notes = keep_constant_volume(kept)
    assert notes == ("CMMotionRemover is taken out of the System: external forces act on the centre of mass",)


def test_the_box_of_a_system():
    system = of_masses([39.948, 39.948])
    system.setDefaultPeriodicBoxVectors([2, 0, 0], [0, 2, 0], [0, 0, 2])
    assert periodic_box(system) is None
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.PME)
    system.addForce(force)
    assert periodic_box(system) == pytest.approx(2 * np.eye(3))
