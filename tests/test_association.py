"""Two Lennard-Jones particles that meet and part, with their distance as feature, against one-dimensional quadrature.

The potential of mean force of a distance r in three dimensions is W(r) = U(r) - 2 kT ln r. With friction so high that
velocities are forgotten within a hundredth of the way, r diffuses in W with D = 2 kT / (m γ).
"""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app
from scipy.integrate import cumulative_trapezoid, trapezoid

from tps.analysis import flux_from_a, frames_region_difference, rate_from_flux
from tps.conformations import Conformations, MetadynamicsSettings, run_metadynamics
from tps.dynamics import MoleculeDynamics
from tps.engine import LangevinSettings, PlatformChoice, local_executor
from tps.features import Distance
from tps.paths import estimate_committor
from tps.systems import MolecularSystem, Region, State
from tps.systems.confinement import add_confinement
from tps.units import thermal_energy

KT = thermal_energy(300.0)
EPSILON, SIGMA, MASS, STIFFNESS = 3 * KT, 0.34, 4.0, 2000.0
WALL, CONTACT, APART = 1.1, 0.45, 0.75
REFERENCE = PlatformChoice("Reference")
R = np.linspace(0.2, 1.4, 24_001)
#: Friction [1/ps] and time step [ps] of overdamped motion, and what is seen of it.
FRICTION, TIMESTEP, STEPS_PER_FRAME = 200.0, 0.005, 4
DIFFUSION = 2 * KT / (MASS * FRICTION)


def potential(r):
    lennard_jones = 4 * EPSILON * ((SIGMA / r) ** 12 - (SIGMA / r) ** 6)
    return lennard_jones + STIFFNESS / 2 * np.maximum(0, r - WALL) ** 2


W = potential(R) - 2 * KT * np.log(R)
DENSITY = np.exp(-W / KT) / trapezoid(np.exp(-W / KT), R)


def exact_difference():
    """F(apart) - F(contact) of the regions."""
    mass = [trapezoid(np.where(inside, DENSITY, 0), R) for inside in (R <= CONTACT, R >= APART)]
    return -KT * math.log(mass[1] / mass[0])


def exact_committor(r, low, high):
    """Chance to reach `high` before `low`: the integral of exp(W/kT), by the backward equation."""
    inside = (low <= R) & (high >= R)
    total = cumulative_trapezoid(np.exp(W[inside] / KT), R[inside], initial=0)
    return np.interp(r, R[inside], total / total[-1])


def exact_rate(low, high):
    """Transitions per time since A: the reactive flux D / ∫ dr/ρ over the share of time that comes from A."""
    inside = (low <= R) & (high >= R)
    flux = DIFFUSION / trapezoid(1 / DENSITY[inside], R[inside])
    q = np.where(low > R, 0.0, np.where(high < R, 1.0, exact_committor(R, low, high)))
    return flux / trapezoid(DENSITY * (1 - q), R)


@pytest.fixture(scope="module")
def pair():
    topology = app.Topology()
    chain = topology.addChain("A")
    for _ in range(2):
        topology.addAtom("AR", app.element.argon, topology.addResidue("AR", chain))
    system = openmm.System()
    for _ in range(2):
        system.addParticle(MASS)
    force = openmm.NonbondedForce()
    for _ in range(2):
        force.addParticle(0.0, SIGMA, EPSILON)
    system.addForce(force)
    distance = {"d": Distance("d", (0, 1), bounds=(0.25, 1.25))}
    add_confinement(system, Region({"d": (0.0, WALL)}), distance, STIFFNESS)
    positions = np.zeros((2, 2, 3))
    positions[:, 1, 0] = 0.38, 0.9
    return MolecularSystem(
        name="pair",
        description="two Lennard-Jones particles",
        directory=Path(),
        topology=topology,
        system_xml=openmm.XmlSerializer.serialize(system),
        temperature=300.0,
        positions_a=positions[0],
        positions_b=positions[1],
        collective_variables=distance,
        feature_names=("d",),
        state_a=State("contact", Region({"d": (0.0, CONTACT)})),
        state_b=State("apart", Region({"d": (APART, math.inf)})),
    )


@pytest.fixture(scope="module")
def frames(pair):
    """Weighted frames of metadynamics: (values (n, 1), Conformations)."""
    settings = MetadynamicsSettings(
        n_build_steps=150_000,
        n_sample_steps=400_000,
        frame_interval=100,
        hill_interval=100,
    )
    with local_executor("threads", 1) as executor:
        walkers, _ = run_metadynamics(
            pair.system_xml,
            tuple(pair.features.variables),
            [pair.positions_a, pair.positions_b],
            settings,
            LangevinSettings(300.0, 0.002, 5.0),
            REFERENCE,
            [1, 2, 3, 4],
            executor,
        )
    return Conformations(
        values=np.concatenate([pair.feature_values(w.positions) for w in walkers]),
        log_weights=np.concatenate([w.log_weights for w in walkers]),
        potential_energy=np.concatenate([w.potential_energy for w in walkers]),
        walker=np.repeat([0, 1], [len(w.log_weights) for w in walkers]),
    )


def test_the_weighted_frames_have_the_exact_distribution(frames):
    """Probabilities of eight shells, each within 4 standard errors over blocks of frames."""
    edges = np.array([0.3, 0.37, 0.42, 0.5, 0.6, 0.75, 0.9, 1.05, 1.2])
    r = frames.values[:, 0]
    for low, high in pairwise(edges):
        inside = ((r >= low) & (r < high)).astype(float)
        found, error = frames.weighted_mean(inside, np.ones(len(r), dtype=bool))
        exact = trapezoid(np.where((low <= R) & (high > R), DENSITY, 0), R)
        assert abs(found - exact) < 4 * error
        assert error < 0.25 * exact + 0.01


def test_free_energy_of_parting_is_that_of_quadrature(pair, frames):
    values = {"d": frames.values[:, 0]}
    inside = [state.region.contains(values) for state in (pair.state_a, pair.state_b)]
    found = frames_region_difference(frames, inside[0], inside[1], KT, unit="kJ/mol")
    assert found.error < 0.6
    assert abs(found.value - exact_difference()) < 4 * found.error


def overdamped(pair):
    langevin = LangevinSettings(300.0, TIMESTEP, FRICTION)
    return MoleculeDynamics.of(pair, langevin, REFERENCE, STEPS_PER_FRAME)


def seen_borders():
    """Where a walker that is looked at only now and then is absorbed, on the average: a little beyond the borders.

    0.5826 sqrt(2 D Δt) for discrete looks (Siegmund 1979), and 1.46 free paths for velocities that are not forgotten at
    once (Milne's problem).
    """
    beyond = 0.5826 * math.sqrt(2 * DIFFUSION * TIMESTEP * STEPS_PER_FRAME)
    beyond += 1.46 * math.sqrt(2 * KT / MASS) / FRICTION
    return CONTACT - beyond, APART + beyond


def test_committor_is_that_of_the_backward_equation(pair):
    """Four binomial errors, and 0.02 for the borders, whose shifts are known to leading order only."""
    r = np.array([0.5, 0.56, 0.62, 0.68])
    positions = np.zeros((len(r), 2, 3))
    positions[:, 1, 2] = r
    dynamics = overdamped(pair)
    found = estimate_committor(dynamics, positions, 150, seed=3, max_frames=20_000)
    exact = exact_committor(r, *seen_borders())
    error = np.sqrt(exact * (1 - exact) / 150)
    assert (np.abs(found.p_b - exact) < 4 * error + 0.02).all()
    assert np.ptp(found.p_b) > 0.3


@pytest.mark.slow
def test_rate_is_that_of_the_reactive_flux(pair):
    """A hundred walkers from contact; 4 standard errors, and a tenth for the borders' shifts."""
    dynamics = overdamped(pair)
    starts = np.repeat(pair.positions_a[None], 30, axis=0)
    flux = flux_from_a(dynamics, starts, 4000, seed=5)
    rate = rate_from_flux(dynamics, flux, 2, seed=6, max_frames=20_000)
    exact = exact_rate(*seen_borders())
    assert abs(rate.value - exact) < 4 * rate.error + 0.1 * exact
    assert rate.error < 0.25 * exact
