"""Dynamics of other than torsions in vacuum: in a box, across its border, with walls and tilts of any kind."""

from dataclasses import replace

import numpy as np
import openmm
import pytest
from molecules import ATOMS, torsion_molecule

from tps.dynamics import IN_A, IN_B, MoleculeDynamics, add_wall
from tps.engine import BIAS_GROUP, Dynamics, LangevinSettings, PlatformChoice, local_executor, periodic_box
from tps.features import Distance, Torsion
from tps.features.contact import Contact
from tps.features.rmsd import Rmsd
from tps.paths import (
    AnnealingSettings,
    Windows,
    WindowSettings,
    annealed_paths,
    pull_task,
    pulled_candidate,
    sample_windows,
)
from tps.paths.protocol import equal_steps
from tps.systems import Region

REFERENCE, LANGEVIN = PlatformChoice("Reference"), LangevinSettings(300.0, 0.002, 10.0)
BOX = np.array([[2.0, 0.0, 0.0], [0.4, 1.9, 0.0], [-0.3, 0.5, 1.8]])


def boxed_molecule():
    """The chain of four atoms in a box, with its atoms in four different cells."""
    molecule = torsion_molecule("3*cos(2*theta)")
    system = openmm.XmlSerializer.deserialize(molecule.system_xml)
    system.setDefaultPeriodicBoxVectors(*BOX)
    for force in system.getForces():
        force.setUsesPeriodicBoundaryConditions(True)
    cells = np.array([[0, 0, 0], [1, -1, 0], [0, 1, 1], [-1, 0, -1]]) @ BOX
    return replace(
        molecule,
        system_xml=openmm.XmlSerializer.serialize(system),
        positions_a=molecule.positions_a + cells,
        positions_b=molecule.positions_b + cells,
        box=BOX,
    )


def test_every_context_starts_in_the_box():
    molecule = boxed_molecule()
    system = molecule.create_openmm_system()
    assert periodic_box(system) == pytest.approx(BOX)
    assert periodic_box(torsion_molecule().create_openmm_system()) is None
    dynamics = Dynamics(system, LANGEVIN, REFERENCE, 1)
    dynamics.start(molecule.positions_a)
    dynamics.context.reinitialize()  # as every flight does
    vectors = dynamics.context.getState().getPeriodicBoxVectors(asNumpy=True)._value
    assert vectors == pytest.approx(BOX)


def test_states_and_features_are_those_of_nearest_images():
    molecule, whole = boxed_molecule(), torsion_molecule()
    assert molecule.feature_values(molecule.ends) == pytest.approx(
        whole.feature_values(whole.ends), abs=1e-12
    )
    dynamics = MoleculeDynamics.of(molecule, LANGEVIN, REFERENCE)
    assert dynamics.states(dynamics.points(molecule.ends)).tolist() == [IN_A, IN_B]
    alike = MoleculeDynamics.of(whole, LANGEVIN, REFERENCE)
    assert dynamics.features(molecule.ends) == pytest.approx(alike.features(whole.ends), abs=1e-12)
    point = dynamics.fresh(dynamics.points(molecule.ends[:1]), [np.random.default_rng(0)])
    flight = dynamics.fly(point, [np.random.default_rng(1)], 20, stop=False)[0]
    turned = molecule.feature_values(flight.points[:, 0])[:, 0]
    assert flight.n_frames == 20 and np.abs(np.diff(turned)).max() < 1.0


def test_paths_windows_and_pulls_follow_their_tilt_across_the_border():
    """κ = 60 holds the torsion within 4/sqrt(60) of where the tilt is, whichever cell its atoms are in."""
    molecule = boxed_molecule()
    s, center = np.linspace(0, 1, 11), np.linspace(-1.5, 1.5, 11)
    eta = 60 * molecule.space.statistic(center[:, None])
    with local_executor("threads", 1) as executor:
        ensemble, positions = annealed_paths(
            molecule, s, eta, AnnealingSettings(1, 4000, 20, 20, 100), LANGEVIN, REFERENCE, [0], executor
        )
        windows = Windows.along(s, eta, 3, untilted=False)
        starts = np.stack([molecule.positions_a, molecule.positions_a, molecule.positions_b])[None]
        samples = sample_windows(
            molecule, windows, starts, WindowSettings(20, 20, 20, False), LANGEVIN, REFERENCE, [0], executor
        )
    aimed = -1.5 + 3 * ensemble.s
    assert np.abs(ensemble.values[0, :, 0] - aimed).max() < 4 / 60**0.5 + 0.15
    assert ensemble.values[0] == pytest.approx(molecule.feature_values(positions[0]), abs=1e-6)
    steps = np.diff(equal_steps(s, eta, 20), axis=0)
    after_first = -np.sum(steps[1:] * molecule.space.statistic(ensemble.values[0, :-1]), axis=1)
    assert np.diff(ensemble.cumulative_work[0]) == pytest.approx(after_first, abs=1e-3)
    assert samples.values[0, :, :, 0].mean(axis=0) == pytest.approx([-1.5, 0.0, 1.5], abs=0.2)
    assert samples.in_a[0, :, 0].mean() > 0.9 and samples.in_b[0, :, 2].mean() > 0.9
    pulled = pulled_candidate(pull_task(molecule, positions[0], LANGEVIN, REFERENCE, 0))
    assert molecule.feature_values(pulled[-1])[0] == pytest.approx(ensemble.values[0, -1, 0], abs=0.4)


CHAIN = tuple(map(tuple, torsion_molecule().positions_a.tolist()))
KINDS = {
    "contact": (Contact.between("x", [(0, 3), (0, 2)], r0=0.2), 0.4),
    "rmsd": (Rmsd("x", ATOMS, reference=CHAIN, n_particles=4), 0.03),
    "distance": (Distance("x", (0, 3)), 0.15),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("box", [None, BOX], ids=["vacuum", "box"])
def test_a_wall_stands_round_a_region_of_any_kind(kind, box):
    """k/2 depth², depth from `values`, alone and together with a torsion; forces by central differences."""
    variable, edge = KINDS[kind]
    theta = Torsion("theta", ATOMS)
    region = Region({"x": (edge, np.inf), "theta": (-2.5, 2.5)})
    molecule = torsion_molecule()
    system = openmm.System()
    for _ in ATOMS:
        system.addParticle(12.0)
    positions = molecule.positions_b
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*box)
        pair = openmm.HarmonicBondForce()
        pair.setUsesPeriodicBoundaryConditions(True)
        system.addForce(pair)
        if kind != "rmsd":  # which takes molecules whole
            positions = positions + np.array([[0, 0, 0], [1, -1, 0], [0, 1, 1], [-1, 0, -1]]) @ box
    add_wall(system, region, {"x": variable, "theta": theta}, 400.0, 2, margin=0.01)
    context = openmm.Context(
        system, openmm.VerletIntegrator(1e-3), openmm.Platform.getPlatformByName("Reference")
    )

    def state(xyz):
        context.setPositions(xyz)
        found = context.getState(energy=True, forces=True, groups={2})
        return found.getPotentialEnergy()._value, found.getForces(asNumpy=True)._value

    depth = min(
        float(variable.values(positions, box)) - edge + 0.01, 2.51 - abs(float(theta.values(positions, box)))
    )
    energy, forces = state(positions)
    assert depth > 0 and energy == pytest.approx(200 * depth**2, rel=1e-6)
    numerical, step = np.zeros((4, 3)), 1e-5
    for index in np.ndindex(4, 3):
        shift = np.zeros((4, 3))
        shift[index] = step
        numerical[index] = (state(positions - shift)[0] - state(positions + shift)[0]) / (2 * step)
    assert forces == pytest.approx(numerical, abs=1e-5 * np.abs(forces).max())


def test_a_tilt_on_a_distance_moves_the_molecule_along_an_annealed_path():
    """A Euclidean tilt of e^l = 100 per (0.1 nm)² pulls a distance from 0.24 to 0.2 nm; the work is that of T."""
    molecule = torsion_molecule()
    ends = Distance("ends", (0, 3))
    molecule = replace(
        molecule,
        collective_variables={**molecule.collective_variables, "ends": ends},
        feature_names=("ends",),
    )
    s = np.linspace(0, 1, 5)
    eta = molecule.space.eta(np.linspace(0.24, 0.2, 5)[:, None], np.log(100.0))
    with local_executor("threads", 1) as executor:
        ensemble, positions = annealed_paths(
            molecule, s, eta, AnnealingSettings(1, 8000, 80, 80, 500), LANGEVIN, REFERENCE, [0], executor
        )
    r = ensemble.values[0, :, 0]
    assert r == pytest.approx(ends.values(positions[0]), abs=1e-6)
    assert r[:10].mean() == pytest.approx(0.24, abs=0.02) and r[-10:].mean() == pytest.approx(0.2, abs=0.02)
    steps = np.diff(equal_steps(s, eta, 80), axis=0)
    after_first = -np.sum(steps[1:] * molecule.space.statistic(r[:-1, None]), axis=1)
    assert np.diff(ensemble.cumulative_work[0]) == pytest.approx(after_first, abs=1e-4)
    system = molecule.create_openmm_system()
    molecule.features.add_tilt(system, molecule.kt, BIAS_GROUP)
    dynamics = Dynamics(system, LANGEVIN, REFERENCE, 0)
    molecule.features.set_tilt(dynamics.context, eta[0])
    dynamics.start(molecule.positions_a)
    tilt = -molecule.kt * eta[0] @ molecule.features.statistic(molecule.positions_a)
    assert dynamics.bias_energy() == pytest.approx(tilt, rel=1e-5)
