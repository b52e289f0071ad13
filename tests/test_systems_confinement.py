"""Walls that are part of a molecule's energy: OpenMM against hand arithmetic on single atoms."""

import math

import numpy as np
import openmm
import pytest
from molecules import ATOMS, chain_positions

from tps.engine import PlatformChoice, potential_energies
from tps.features import Distance, Torsion
from tps.systems import Region, load_system
from tps.systems.confinement import CONFINEMENT, add_confinement

REFERENCE = PlatformChoice("Reference")
VARIABLES = {"d": Distance("d", (0, 1)), "theta": Torsion("theta", ATOMS)}


def energy(region, positions, stiffness=500.0):
    system = openmm.System()
    for _ in range(4):
        system.addParticle(12.0)
    add_confinement(system, Region(region), VARIABLES, stiffness)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    return context.getState(energy=True).getPotentialEnergy()._value


@pytest.mark.parametrize(
    ("region", "distance", "outside"),
    [
        ({"d": (0.0, 1.2)}, 1.0, 0.0),
        ({"d": (0.0, 1.2)}, 1.5, 0.3),
        ({"d": (0.4, 1.2)}, 0.1, 0.3),
        ({"d": (0.4, math.inf)}, 5.0, 0.0),
    ],
)
def test_a_distance_outside_its_range_costs_half_k_d_squared(region, distance, outside):
    positions = np.zeros((4, 3))
    positions[1, 2] = distance
    positions[2:] = np.eye(3)[:2]
    assert energy(region, positions) == pytest.approx(250 * outside**2, abs=1e-9)


@pytest.mark.parametrize(("angle", "outside"), [(0.3, 0.0), (1.5, 0.5), (-1.5, 0.5), (math.pi, math.pi - 1)])
def test_an_angle_is_kept_in_its_range_round_the_circle(angle, outside):
    assert energy({"theta": (-1.0, 1.0)}, chain_positions(angle)) == pytest.approx(250 * outside**2, abs=1e-9)
    other_side = {"theta": (math.pi - 1.0, -math.pi + 1.0)}
    assert energy(other_side, chain_positions(angle + math.pi)) == pytest.approx(250 * outside**2, abs=1e-6)


def test_three_alanines_keep_their_phi_below_zero():
    """Shipped walls are in U: a residue turned by hand to phi = +60 degrees costs k/2 (pi/3)^2, and a note says it."""
    system = load_system("ace-ala3-nme")
    turned = turn(system, "phi3", math.radians(60.0))
    whole, bare = system.create_openmm_system(), system.create_openmm_system()
    for index in reversed(range(bare.getNumForces())):
        if bare.getForce(index).getName().startswith(CONFINEMENT):
            bare.removeForce(index)
    assert whole.getNumForces() - bare.getNumForces() == 3
    frames = np.stack([system.positions_a, system.positions_b, turned])
    walls = potential_energies(whole, frames, REFERENCE) - potential_energies(bare, frames, REFERENCE)
    assert walls == pytest.approx([0.0, 0.0, 500.0 * (math.pi / 3) ** 2], abs=1e-6)
    (note,) = [note for note in system.notes if "walls" in note]
    assert "phi3=160..0" in note
    assert "1000 kJ/mol" in note


def turn(system, name, angle):
    """Return structure A with one torsion turned to an angle [rad], all atoms beyond its bond as one body."""
    torsion = system.collective_variables[name]
    _, near, far, _ = torsion.atoms
    beyond, reached = {far}, {near, far}
    while reached:
        reached = {
            atom.index
            for bond in system.topology.bonds()
            for atom in bond
            if {bond[0].index, bond[1].index} & beyond and atom.index not in beyond | {near}
        }
        beyond |= reached
    x, rows = system.positions_a.copy(), sorted(beyond)
    axis = (x[far] - x[near]) / np.linalg.norm(x[far] - x[near])
    by = angle - float(torsion.values(x))
    away = x[rows] - x[far]
    along = np.outer(away @ axis, axis)
    x[rows] = x[far] + along + np.cos(by) * (away - along) + np.sin(by) * np.cross(axis, away)
    assert float(torsion.values(x)) == pytest.approx(angle, abs=1e-9)
    return x
