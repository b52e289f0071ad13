"""Every kind of feature: values by hand, tilt energy and forces against its gradient and differences, in a box too."""

import math

import numpy as np
import openmm
import pytest

from tps.features import Distance, Features, Torsion
from tps.features.angle import Angle
from tps.units import thermal_energy

REFERENCE = openmm.Platform.getPlatformByName("Reference")
KT = thermal_energy(300.0)
N_ATOMS = 6
BOX = np.array([[2.0, 0.0, 0.0], [0.4, 1.9, 0.0], [-0.3, 0.5, 1.8]])
SHAPE = np.random.default_rng(11).normal(scale=0.15, size=(N_ATOMS, 3))
KINDS = {
    "torsion": Torsion("torsion", (0, 1, 2, 3)),
    "distance": Distance("distance", (0, 4)),
    "angle": Angle("angle", (4, 1, 5)),
}
NAMES = [*KINDS]


def frames(n=4):
    rng = np.random.default_rng(2)
    return SHAPE + rng.normal(scale=0.04, size=(n, N_ATOMS, 3))


def system_with(features, box=None):
    system = openmm.System()
    for _ in range(N_ATOMS):
        system.addParticle(12.0)
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*box)
        bonded = openmm.HarmonicBondForce()  # a force that makes the system periodic
        bonded.setUsesPeriodicBoundaryConditions(True)
        system.addForce(bonded)
    features.add_tilt(system, KT, 1)
    return system


def evaluate(context, positions):
    context.setPositions(positions)
    state = context.getState(energy=True, forces=True, groups={1})
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_the_derivative_of_the_values(name):
    """Central differences of 1e-5 nm; third derivatives are of order 1/(0.1 nm)^3: relative 1e-8 / 0.01."""
    variable, positions, step = KINDS[name], frames(), 1e-5
    found, numerical = variable.gradient(positions), np.zeros((4, N_ATOMS, 3))
    for index in np.ndindex(N_ATOMS, 3):
        shift = np.zeros((N_ATOMS, 3))
        shift[index] = step
        change = variable.values(positions + shift) - variable.values(positions - shift)
        numerical[:, *index] = change / (2 * step)
    assert np.abs(found).max() > 0.1
    assert np.abs(found - numerical).max() < 1e-6 * np.abs(found).max()
    assert np.abs(found.sum(axis=1)).max() < 1e-10  # moving everything changes nothing


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("box", [None, BOX], ids=["vacuum", "box"])
def test_tilt_is_minus_kt_eta_times_t(name, box):
    """Energy and force of OpenMM against the closed form and the gradient, to 1e-6; across the box's border too."""
    features = Features((KINDS[name],))
    eta = np.random.default_rng(1).normal(size=features.space.n_statistics)
    context = openmm.Context(system_with(features, box), openmm.VerletIntegrator(0.001), REFERENCE)
    features.set_tilt(context, eta)
    for positions in frames():
        plain = features.values(positions)
        if box is not None:
            shifts = np.random.default_rng(8).integers(-1, 2, size=(N_ATOMS, 3))
            positions = positions + shifts @ box
            assert features.values(positions, box) == pytest.approx(plain, abs=1e-12)
            assert features.values(positions) != pytest.approx(plain, abs=1e-3)
        energy, forces = evaluate(context, positions)
        by_hand = KT * features.gradient(positions, eta, box)
        assert energy == pytest.approx(-KT * eta @ features.statistic(positions, box), rel=1e-6, abs=1e-9)
        assert np.abs(forces - by_hand).max() < 1e-6 * np.abs(by_hand).max()


def test_a_tilt_of_several_kinds_at_once():
    """Circles first, then lines, |x|^2 shared by all lines; local() takes the atoms alone."""
    features = Features((KINDS["distance"], KINDS["torsion"]))
    assert features.tilt_parameters == (
        "tilt_torsion_x",
        "tilt_torsion_y",
        "tilt_distance",
        "tilt_square",
    )
    eta = features.space.eta(features.values(SHAPE), 1.3)
    context = openmm.Context(system_with(features), openmm.VerletIntegrator(0.001), REFERENCE)
    features.set_tilt(context, eta)
    for positions in frames():
        energy, forces = evaluate(context, positions)
        by_hand = KT * features.gradient(positions, eta)
        assert energy == pytest.approx(-KT * eta @ features.statistic(positions), rel=1e-6)
        assert np.abs(forces - by_hand).max() < 1e-6 * np.abs(by_hand).max()
    local = features.local().values(frames()[:, features.atoms])
    assert local == pytest.approx(features.values(frames()), abs=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_expression_and_force_say_the_same(name):
    """What biases in several variables are made of: the value itself as energy."""
    variable = KINDS[name]
    forces = [variable.force("value")]
    points = tuple(f"p{i + 1}" for i in range(len(variable.atoms)))
    if variable.expression(points) is not None:
        forces.append(openmm.CustomCompoundBondForce(len(points), variable.expression(points)))
        forces[-1].addBond(list(variable.atoms), [])
    for force in forces:
        system = openmm.System()
        for _ in range(N_ATOMS):
            system.addParticle(12.0)
        force.setForceGroup(1)
        system.addForce(force)
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), REFERENCE)
        for positions in frames():
            assert evaluate(context, positions)[0] == pytest.approx(
                float(variable.values(positions)), rel=1e-6
            )


def test_angle_by_hand():
    right = np.array([[1.0, 0, 0], [0, 0, 0], [0, 2.0, 0]])
    assert Angle("a", (0, 1, 2)).values(right) == pytest.approx(math.pi / 2)
    assert Angle("a", (1, 0, 2)).values(right) == pytest.approx(math.atan(2))
