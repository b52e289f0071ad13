"""Torsion features, their tilt and the wall: OpenMM's Reference platform against hand arithmetic."""

import math

import mdtraj
import numpy as np
import openmm
import pytest
from openmm import unit

from tps.dynamics import add_wall
from tps.errors import ParameterError
from tps.features import Distance, Features, Torsion
from tps.systems import Region, load_system, parse_region
from tps.units import thermal_energy

REFERENCE = openmm.Platform.getPlatformByName("Reference")
KT = thermal_energy(300.0)
ETA = np.array([3.0, -1.5, 0.25, 20.0])


@pytest.fixture(scope="module")
def alanine():
    return load_system("alanine-dipeptide")


@pytest.fixture(scope="module")
def features(alanine):
    return alanine.features


@pytest.fixture(scope="module")
def frames(alanine):
    """Both end structures and eight distorted copies: every coordinate 0.01 nm off."""
    rng = np.random.default_rng(3)
    ends = np.stack([alanine.positions_a, alanine.positions_b])
    return np.concatenate([ends, ends.repeat(4, axis=0) + rng.normal(scale=0.01, size=(8, 22, 3))])


def empty_system(n_atoms):
    system = openmm.System()
    for _ in range(n_atoms):
        system.addParticle(12.0)
    return system


def make_context(system):
    return openmm.Context(system, openmm.VerletIntegrator(0.001), REFERENCE)


def evaluate(context, positions, group):
    context.setPositions(positions)
    state = context.getState(getEnergy=True, getForces=True, groups={group})
    return (
        state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole),
        state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer),
    )


def torsion_gradient(positions, atoms):
    """Gradient (n_atoms, 3) of a torsion (Blondel, Karplus, J. Comput. Chem. 17, 1132, 1996)."""
    i, j, k, m = atoms
    f, g, h = positions[i] - positions[j], positions[j] - positions[k], positions[m] - positions[k]
    a, b, length = np.cross(f, g), np.cross(h, g), np.linalg.norm(g)
    gradient = np.zeros_like(positions)
    along_a = f @ g / (a @ a * length) * a
    along_b = h @ g / (b @ b * length) * b
    gradient[i] -= length / (a @ a) * a
    gradient[j] += length / (a @ a) * a + along_a - along_b
    gradient[k] += along_b - along_a - length / (b @ b) * b
    gradient[m] += length / (b @ b) * b
    return gradient


def test_statistics_interleave_cosine_and_sine(features):
    angles = np.array([[0.0, math.pi / 2], [math.pi, -math.pi / 6]])
    expected = [[1, 0, 0, 1], [-1, 0, math.sqrt(3) / 2, -0.5]]
    assert features.space.statistic(angles) == pytest.approx(np.array(expected), abs=1e-15)
    assert features.space.statistic(angles[0]).shape == (4,)
    assert (features.space.n_features, features.space.n_statistics) == (2, 4)


def test_values_are_those_of_mdtraj(alanine, features, frames):
    trajectory = mdtraj.Trajectory(frames, alanine.mdtraj_topology)
    phi, psi = mdtraj.compute_phi(trajectory)[1][:, 0], mdtraj.compute_psi(trajectory)[1][:, 0]
    assert features.values(frames) == pytest.approx(np.stack([phi, psi], axis=1), abs=1e-5)
    assert features.values(frames[0]).shape == (2,)


def test_tilt_is_minus_kt_eta_times_t(alanine, features, frames):
    """Energy and forces against hand arithmetic, to 1e-6 relative, apart from the force field's own."""
    system = alanine.create_openmm_system()
    features.add_tilt(system, KT, force_group=5)
    context = make_context(system)
    features.set_tilt(context, ETA)
    bare = make_context(alanine.create_openmm_system())
    for positions in frames:
        energy, forces = evaluate(context, positions, 5)
        phi, psi = (variable.values(positions[None])[0] for variable in alanine.collective_variables.values())
        by_hand = -KT * (
            3.0 * math.cos(phi) - 1.5 * math.sin(phi) + 0.25 * math.cos(psi) + 20.0 * math.sin(psi)
        )
        slope_phi = -KT * (-3.0 * math.sin(phi) - 1.5 * math.cos(phi))
        slope_psi = -KT * (-0.25 * math.sin(psi) + 20.0 * math.cos(psi))
        by_hand_forces = -slope_phi * torsion_gradient(positions, (4, 6, 8, 14))
        by_hand_forces -= slope_psi * torsion_gradient(positions, (6, 8, 14, 16))
        assert energy == pytest.approx(by_hand, rel=1e-6)
        assert np.abs(forces - by_hand_forces).max() < 1e-6 * np.abs(by_hand_forces).max()
        assert energy == pytest.approx(-KT * ETA @ features.statistic(positions), rel=1e-9)
        assert evaluate(context, positions, 0)[0] == evaluate(bare, positions, 0)[0]


def test_tilt_follows_eta_and_starts_at_zero(alanine, features):
    system = empty_system(22)
    features.add_tilt(system, KT, force_group=1)
    context = make_context(system)
    assert features.tilt_parameters == ("tilt_phi_x", "tilt_phi_y", "tilt_psi_x", "tilt_psi_y")
    assert evaluate(context, alanine.positions_a, 1)[0] == 0.0
    features.set_tilt(context, ETA)
    assert [context.getParameter(name) for name in features.tilt_parameters] == ETA.tolist()
    first = evaluate(context, alanine.positions_a, 1)[0]
    features.set_tilt(context, 2 * ETA)
    assert evaluate(context, alanine.positions_a, 1)[0] == pytest.approx(2 * first, rel=1e-12)


def test_tilt_has_one_force_per_torsion(features):
    forces = features.tilt_forces(KT)
    assert [force.getName() for force in forces] == ["tilt_phi", "tilt_psi"]
    assert [force.getNumTorsions() for force in forces] == [1, 1]


@pytest.mark.parametrize("eta", [np.zeros(2), np.zeros((1, 4)), [0, 0, math.nan, 0]])
def test_eta_must_fit(features, eta):
    system = empty_system(22)
    features.add_tilt(system, KT, force_group=1)
    with pytest.raises(ParameterError, match=r"eta must be \(4,\) and finite"):
        features.set_tilt(make_context(system), eta)


def test_features_refuse_nonsense(features):
    phi, psi = features.variables
    with pytest.raises(ParameterError, match="at least one"):
        Features(())
    with pytest.raises(ParameterError, match="distinct"):
        Features((phi, psi, phi))
    with pytest.raises(ParameterError, match=r"feature values must be \(\.\.\., 2\)"):
        features.space.statistic(np.zeros((5, 3)))
    with pytest.raises(ParameterError, match="kT must be positive"):
        features.tilt_forces(0.0)


# The wall. Four atoms whose torsion and whose distance 0-1 are set at will.
VARIABLES = {"phi": Torsion("phi", (0, 1, 2, 3)), "oh": Distance("oh", (0, 1))}
STIFFNESS = 750.0


def place(degrees, distance):
    angle = math.radians(degrees)
    return np.array(
        [[distance, 0, 0], [0, 0, 0], [0, 0, 0.15], [0.1 * math.cos(angle), 0.1 * math.sin(angle), 0.19]]
    )


def wall_context(text, group=3):
    system = empty_system(4)
    add_wall(system, parse_region(text, VARIABLES), VARIABLES, STIFFNESS, group)
    return make_context(system)


@pytest.mark.parametrize(
    ("text", "degrees", "distance", "depth"),
    [
        ("phi=-60..60", 61, 0.1, 0),
        ("phi=-60..60", -179, 0.1, 0),
        ("phi=-60..60", 50, 0.1, math.radians(10)),
        ("phi=-60..60", -45, 0.1, math.radians(15)),
        ("phi=-60..60", 5, 0.1, math.radians(55)),
        ("phi=150..-100", 170, 0.1, math.radians(20)),
        ("phi=150..-100", -130, 0.1, math.radians(30)),
        ("phi=150..-100", -95, 0.1, 0),
        ("phi=150..-100", 145, 0.1, 0),
        ("phi=-180..-40", -175, 0.1, math.radians(5)),
        ("phi=-180..-40", 175, 0.1, 0),
        ("phi=-60..60,oh=0.1..0.3", 50, 0.2, 0.1),
        ("phi=-60..60,oh=0.1..0.3", 20, 0.29, 0.01),
        ("phi=-60..60,oh=0.1..0.3", 59, 0.2, math.radians(1)),
        ("phi=-60..60,oh=0.1..0.3", 20, 0.31, 0),
        ("phi=-60..60,oh=0.1..0.3", 70, 0.2, 0),
        ("oh=0..0.25", 0, 0.05, 0.2),
        ("oh=0.25..inf", 0, 0.4, 0.15),
        ("phi=-180..180,oh=0..0.25", 99, 0.2, 0.05),
    ],
)
def test_wall_energy_is_half_k_depth_squared(text, degrees, distance, depth):
    context = wall_context(text)
    energy, forces = evaluate(context, place(degrees, distance), 3)
    assert energy == pytest.approx(STIFFNESS / 2 * depth**2, rel=1e-6, abs=1e-20)
    if depth == 0:
        assert not forces.any()
    assert evaluate(context, place(degrees, distance), 0)[0] == 0.0


@pytest.mark.parametrize(
    ("text", "degrees", "distance"),
    [
        ("phi=-60..60", 41, 0.1),
        ("phi=150..-100", -170, 0.1),
        ("phi=-60..60,oh=0.1..0.3", 50, 0.27),
        ("phi=-60..60,oh=0.1..0.3", 58, 0.2),
        ("oh=0.25..inf", 0, 0.4),
    ],
)
def test_wall_forces_are_minus_the_gradient(text, degrees, distance):
    """Central differences of 1e-5 nm: relative error (1e-5 / 0.1)**2 = 1e-8, round-off 1e-10."""
    context, positions, step = wall_context(text), place(degrees, distance), 1e-5
    _, forces = evaluate(context, positions, 3)
    numerical = np.zeros((4, 3))
    for index in np.ndindex(4, 3):
        shift = np.zeros((4, 3))
        shift[index] = step
        difference = evaluate(context, positions + shift, 3)[0] - evaluate(context, positions - shift, 3)[0]
        numerical[index] = -difference / (2 * step)
    assert np.abs(forces).max() > 1.0
    assert np.abs(forces - numerical).max() < 1e-6 * np.abs(forces).max()


def test_wall_pushes_out_the_nearest_way():
    """From phi = 50 in -60..60 the force raises phi, from -50 it lowers it."""
    context = wall_context("phi=-60..60")
    for degrees, sign in ((50, 1), (-50, -1)):
        positions = place(degrees, 0.1)
        _, forces = evaluate(context, positions, 3)
        assert np.sign((forces * torsion_gradient(positions, (0, 1, 2, 3))).sum()) == sign


def test_several_walls_and_a_tilt_share_a_system(alanine, features):
    """Region C5 is walled off, so is a region nobody is in; the tilt is in a group of its own."""
    system = alanine.create_openmm_system()
    features.add_tilt(system, KT, force_group=1)
    variables = alanine.collective_variables
    add_wall(system, parse_region("phi=-157..-40,psi=20..-150", variables), variables, STIFFNESS, 2)
    add_wall(system, parse_region("phi=0..20", variables), variables, STIFFNESS, 2)
    context = make_context(system)
    features.set_tilt(context, ETA)
    phi = features.values(alanine.positions_a)[0]
    expected = STIFFNESS / 2 * (phi - math.radians(-157)) ** 2
    assert evaluate(context, alanine.positions_a, 2)[0] == pytest.approx(expected, rel=1e-6)
    assert evaluate(context, alanine.positions_b, 2)[0] == 0.0


def test_dynamics_stay_out_of_a_walled_region(alanine):
    """In 20 ps from C7ax, phi goes below 50 degrees freely, but no deeper than a few kT into a wall there."""
    variables = alanine.collective_variables
    region = parse_region("phi=-60..50", variables)
    depths = []
    for wall in (True, False):
        system = alanine.create_openmm_system()
        if wall:
            add_wall(system, region, variables, 2000.0, 2)
        integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.002)
        integrator.setRandomNumberSeed(4)
        context = openmm.Context(system, integrator, REFERENCE)
        context.setPositions(alanine.positions_b)
        context.setVelocitiesToTemperature(300.0, 4)
        phi = []
        for _ in range(200):
            integrator.step(50)
            positions = context.getState(getPositions=True).getPositions(asNumpy=True)
            phi.append(variables["phi"].values(positions.value_in_unit(unit.nanometer)[None])[0])
        depths.append(math.radians(50) - min(phi))
    # E = 5 kT = 12.5 kJ/mol at a depth of sqrt(2 * 12.5 / 2000) = 0.11 rad
    assert depths[0] < 0.11 < depths[1]


@pytest.mark.parametrize(
    ("region", "stiffness", "message"),
    [
        (Region({"phi": (0.0, 1.0)}), 0.0, "must be positive and finite, but got 0"),
        (Region({"phi": (-math.pi, math.pi)}), 1.0, "covers everything"),
        (Region({"oh": (0.0, math.inf)}), 1.0, "covers everything"),
    ],
)
def test_walls_refuse_nonsense(region, stiffness, message):
    with pytest.raises(ParameterError, match=message):
        add_wall(empty_system(4), region, VARIABLES, stiffness, 1)


def test_a_wall_with_a_margin_begins_before_its_region():
    """k/2 (depth + margin)² on a range of an angle: by hand on a chain of four atoms."""
    from molecules import ATOMS, chain_positions

    from tps.engine import PlatformChoice, potential_energies
    from tps.features import Torsion

    system = openmm.System()
    for _ in ATOMS:
        system.addParticle(12.0)
    add_wall(system, Region({"theta": (-0.5, 0.5)}), {"theta": Torsion("theta", ATOMS)}, 100.0, 1, 0.2)
    angles = np.array([-0.8, -0.7, -0.6, 0.0, 0.65])
    energies = potential_energies(
        system, np.stack([chain_positions(a) for a in angles]), PlatformChoice("Reference")
    )
    np.testing.assert_allclose(energies, 50 * np.maximum(0, 0.7 - np.abs(angles)) ** 2, atol=1e-6)
