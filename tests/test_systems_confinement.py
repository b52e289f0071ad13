"""Walls that are part of a molecule's energy: OpenMM against hand arithmetic on single atoms."""

import math

import numpy as np
import openmm
import pytest
from molecules import ATOMS, chain_positions

from tps.features import Distance, Torsion
from tps.systems import Region
from tps.systems.confinement import add_confinement

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
