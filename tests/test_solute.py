"""Energies where there is solvent: said to be of the whole system, and the solute's own beside them."""

from dataclasses import replace

import numpy as np
import openmm
import pytest
from boxes import boxed_molecule
from molecules import torsion_molecule
from openmm import app, unit
from test_analysis import ensemble_of

from tps.analysis import energy_metrics, solute_energies, solute_metrics
from tps.engine import PlatformChoice, potential_energies
from tps.errors import SystemDefinitionError
from tps.systems import Region, load_system
from tps.systems.confinement import add_confinement
from tps.systems.solute import solute_alone

#: ff19SB has maps of torsions beside bonds, angles, torsions, charges and Lennard-Jones.
FILES = ("amber19/protein.ff19SB.xml", "amber14/tip3p.xml")


@pytest.fixture(scope="module")
def wet():
    """Alanine dipeptide in a box of water, its vacuum System by the force field itself, and both ends' positions."""
    dry = load_system("alanine-dipeptide")
    field = app.ForceField(*FILES)
    ends = []
    modeller = app.Modeller(dry.topology, dry.positions_a * unit.nanometer)
    modeller.addSolvent(field, boxSize=openmm.Vec3(1.9, 1.9, 1.9) * unit.nanometer)
    positions = np.array(modeller.positions.value_in_unit(unit.nanometer))
    for end in (dry.positions_a, dry.positions_b):
        frame = positions.copy()
        frame[: dry.n_atoms] = end + positions[: dry.n_atoms].mean(0) - end.mean(0)
        ends.append(frame)
    options = {"constraints": app.HBonds}
    box = field.createSystem(
        modeller.topology, nonbondedMethod=app.PME, nonbondedCutoff=0.9 * unit.nanometer, **options
    )
    alone = field.createSystem(dry.topology, nonbondedMethod=app.NoCutoff, **options)
    system = replace(
        dry,
        topology=modeller.topology,
        system_xml=openmm.XmlSerializer.serialize(box),
        positions_a=ends[0],
        positions_b=ends[1],
        box=np.diag([1.9, 1.9, 1.9]),
        chosen_solute=None,
    )
    return system, alone


def test_the_solutes_own_energy_is_the_force_fields_in_vacuum(wet):
    """Cut from the box and built without one: every term is the same number, to the Reference platform's round-off."""
    system, alone = wet
    assert system.n_atoms > 200 and system.solvated and len(system.solute) == 22
    inside = system.ends[:, system.solute]
    exact = potential_energies(alone, inside, PlatformChoice("Reference"))
    assert any(isinstance(force, openmm.CMAPTorsionForce) for force in alone.getForces())
    cut = solute_alone(system.create_openmm_system(), system.solute)
    found = potential_energies(cut, inside, PlatformChoice("Reference"))
    np.testing.assert_allclose(found, exact, rtol=1e-9)
    whole = potential_energies(system.create_openmm_system(), system.ends, PlatformChoice("Reference"))
    assert (np.abs(whole - exact) > 1000).all()


def test_a_solute_across_the_border_of_its_box_has_the_same_energy(wet):
    """Atoms wrapped one by one; single precision of frames at 2 nm moves bonds of 3e5 kJ/mol/nm² by 1e-7 nm."""
    system, alone = wet
    exact = potential_energies(alone, system.ends[:, system.solute], PlatformChoice("Reference"))
    moved = system.ends - system.positions_a[0]  # the first atom in a corner, its molecule in eight cells
    wrapped = moved - np.floor(moved / 1.9) * 1.9
    assert np.ptp(wrapped[0, :22], axis=0).max() > 1.5
    np.testing.assert_allclose(solute_energies(system, wrapped), exact, atol=0.02)


def test_walls_are_no_energy_of_the_solute(wet):
    system, _ = wet
    model = system.create_openmm_system()
    without = solute_alone(model, system.solute)
    phi = system.collective_variables["phi"]
    add_confinement(model, Region({"phi": (0.1, 0.2)}), {"phi": phi}, 100.0)
    assert model.getNumForces() == system.create_openmm_system().getNumForces() + 1
    assert solute_alone(model, system.solute).getNumForces() == without.getNumForces()


def test_maxima_of_the_solutes_energy_by_hand(wet):
    system, _ = wet
    a, b = solute_energies(system, system.ends)
    found = solute_metrics(system, [system.ends[:1], system.ends], {"a": (1.0, 0.5)})
    highest = np.array([a, max(a, b)])
    assert found["solute_u_max"].value == pytest.approx(highest.mean())
    assert found["solute_u_max"].error == pytest.approx(highest.std(ddof=1))
    assert found["solute_u_max_minus_a"].value == pytest.approx(highest.mean() - 1.0)
    assert solute_metrics(system, [], {})["solute_u_max"].value is None


def test_energies_of_the_whole_system_are_labelled_so(wet):
    assert wet[0].energy_name == "potential energy of the whole system, solvent included"
    dry = load_system("alanine-dipeptide")
    assert (dry.energy_name, dry.solvated) == ("potential energy", False)
    assert not load_system("double-well").solvated
    boxed, ensemble = boxed_molecule(), ensemble_of(torsion_molecule(), [[-1.5, 0.0, 1.5]])[0]
    assert "of the whole system" in energy_metrics(boxed, ensemble, {})["u_max"].definition
    assert "whole system" not in energy_metrics(torsion_molecule(), ensemble, {})["u_max"].definition


@pytest.mark.parametrize(
    ("force", "reason"),
    [
        (lambda: openmm.CustomExternalForce("x"), "CustomExternalForce cannot be parted"),
        (lambda: bond(3, 4), "joins solute and solvent"),
        (lambda: charges_by_a_parameter(), "charges depend on a global parameter"),
    ],
)
def test_what_cannot_be_parted_is_said(force, reason):
    system = openmm.System()
    for _ in range(8):
        system.addParticle(12.0)
    system.addForce(force())
    with pytest.raises(SystemDefinitionError, match=reason):
        solute_alone(system, np.arange(4))


def bond(i, j):
    force = openmm.HarmonicBondForce()
    force.addBond(i, j, 0.1, 100.0)
    return force


def charges_by_a_parameter():
    force = openmm.NonbondedForce()
    for _ in range(8):
        force.addParticle(0.0, 0.1, 0.1)
    force.addGlobalParameter("scale", 1.0)
    force.addParticleParameterOffset("scale", 0, 1.0, 0.0, 0.0)
    return force
