"""Copies of a molecule in one context: they are what each is alone, they do not see each other, one fails alone."""

import json
import math
from copy import copy
from dataclasses import replace

import numpy as np
import openmm
import pytest
from commands import TINY, tps
from molecules import torsion_molecule
from scipy.special import i0, i1

from tps.dynamics import FAILED, IN_A, IN_B, OUTSIDE, CopiedDynamics, MoleculeDynamics, add_wall
from tps.engine import (
    BIAS_GROUP,
    WALL_GROUP,
    LangevinSettings,
    Measurement,
    PlatformChoice,
    with_copies,
)
from tps.engine.copies import most_copies
from tps.errors import ParameterError
from tps.paths import estimate_committor, load_paths
from tps.pipeline import RunFolder
from tps.systems import Region, load_system
from tps.units import thermal_energy

REFERENCE = PlatformChoice("Reference")
LANGEVIN = LangevinSettings(300.0)
KT = thermal_energy(300.0)


def measured(system, positions, **settings):
    """Energy [kJ/mol] and forces (n_atoms, 3) on the Reference platform."""
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    for name, value in settings.items():
        context.setParameter(name, value)
    context.setPositions(positions)
    state = context.getState(energy=True, forces=True)
    groups = [
        context.getState(energy=True, groups={group}).getPotentialEnergy()._value
        for group in (0, BIAS_GROUP, WALL_GROUP)
    ]
    return np.array(groups), state.getForces(asNumpy=True)._value


def alike(system, positions, **settings):
    """Each of several copies, all in the same place, feels what it feels alone."""
    alone = [measured(system, one, **settings) for one in positions]
    energy, forces = measured(with_copies(system, len(positions)), positions.reshape(-1, 3), **settings)
    np.testing.assert_allclose(energy, sum(groups for groups, _ in alone), rtol=1e-10, atol=1e-9)
    scale = max(np.abs(one).max() for _, one in alone)
    np.testing.assert_allclose(
        forces, np.concatenate([one for _, one in alone]), rtol=1e-9, atol=1e-10 * scale
    )


def test_copies_of_a_molecule_with_tilt_and_wall():
    system = load_system("alanine-dipeptide")
    tilted = system.create_openmm_system()
    system.features.add_tilt(tilted, KT, BIAS_GROUP)
    add_wall(
        tilted,
        Region({"phi": (-3.0, 3.0), "psi": (-3.0, 3.0)}),
        system.collective_variables,
        1000.0,
        WALL_GROUP,
    )
    rng = np.random.default_rng(1)
    positions = system.ends[[0, 1, 0]] + 0.003 * rng.standard_normal((3, 22, 3))
    names = system.features.tilt_parameters
    alike(tilted, positions, **dict(zip(names, rng.normal(size=len(names)).tolist(), strict=True)))
    copies = with_copies(tilted, 3)
    assert copies.getNumParticles() == 66
    assert copies.getNumConstraints() == 3 * tilted.getNumConstraints()
    for i in range(66):
        assert copies.getParticleMass(i) == tilted.getParticleMass(i % 22)
    assert copies.getConstraintParameters(tilted.getNumConstraints())[:2] == [
        22 + i for i in tilted.getConstraintParameters(0)[:2]
    ]


def test_copies_of_every_force_that_is_a_list_of_terms():
    """Numbers of no molecule: parameters whose names look like particles, maps, functions, exceptions of all kinds."""
    system, rng = openmm.System(), np.random.default_rng(2)
    for mass in rng.uniform(1, 20, 8).tolist():
        system.addParticle(mass)
    ryckaert, cmap = openmm.RBTorsionForce(), openmm.CMAPTorsionForce()
    ryckaert.addTorsion(0, 2, 4, 6, *rng.normal(size=6).tolist())
    cmap.addTorsion(cmap.addMap(6, rng.normal(size=36).tolist()), 0, 1, 2, 3, 4, 5, 6, 7)
    bond, angle = openmm.CustomBondForce("p1*b2*(r - 0.2)^2"), openmm.CustomAngleForce("theta^3")
    for name in ("p1", "b2"):
        bond.addPerBondParameter(name)
    bond.addBond(3, 5, [2.0, 7.0])
    angle.addAngle(1, 2, 7, [])
    several = openmm.CustomCompoundBondForce(3, "a1*bump(10*distance(p1, p2))*angle(p1, p2, p3)")
    several.addPerBondParameter("a1")
    several.addTabulatedFunction("bump", openmm.Continuous1DFunction(rng.normal(size=9).tolist(), 0.0, 20.0))
    several.addBond([7, 0, 3], [1.5])
    pairs = openmm.NonbondedForce()
    for _ in range(8):
        pairs.addParticle(*rng.uniform(-1, 1, 1).tolist(), *rng.uniform(0.1, 0.3, 2).tolist())
    pairs.addException(0, 1, 0.0, 0.1, 0.0)
    pairs.addException(2, 5, 0.3, 0.2, 0.7)
    for force in (ryckaert, cmap, bond, angle, several, pairs, openmm.CMMotionRemover()):
        system.addForce(force)
    alike(system, rng.uniform(0, 1, (4, 8, 3)))
    assert most_copies(system) == 2 ** int(math.log2(2**18 / 28))


def three_atoms(force=None):
    system = openmm.System()
    for _ in range(3):
        system.addParticle(1.0)
    if force is not None:
        system.addForce(force)
    return system


def test_what_cannot_be_copied_is_refused():
    assert most_copies(three_atoms()) > 1
    site, cutoff, offsets, box = (
        three_atoms(),
        openmm.NonbondedForce(),
        openmm.NonbondedForce(),
        openmm.HarmonicBondForce(),
    )
    site.setVirtualSite(2, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    cutoff.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    offsets.addGlobalParameter("scale", 1.0)
    offsets.addParticle(0, 0.1, 0.0)
    offsets.addParticleParameterOffset("scale", 0, 1.0, 0.0, 0.0)
    box.setUsesPeriodicBoundaryConditions(True)
    refused = {
        "virtual sites": site,
        "a CustomGBForce": three_atoms(openmm.CustomGBForce()),
        "a cutoff": three_atoms(cutoff),
        "parameter offsets": three_atoms(offsets),
        "a periodic box": three_atoms(box),
    }
    for why, system in refused.items():
        assert most_copies(system) == 1
        with pytest.raises(ParameterError, match=f"without {why}"):
            with_copies(system, 2)
    with pytest.raises(ParameterError, match="at least once"):
        with_copies(three_atoms(), 0)


@pytest.fixture(scope="module")
def alanine():
    system = load_system("alanine-dipeptide")
    return system, CopiedDynamics.of(system, LANGEVIN, replace(REFERENCE, n_copies=8))


def generators(n, seed=0):
    return [np.random.default_rng([seed, i]) for i in range(n)]


def test_velocities_and_time_reversal_of_copies(alanine):
    """As `MoleculeDynamics` has them: kT/2 per degree of freedom, and 48 steps there and back without friction."""
    system, dynamics = alanine
    points = dynamics.points(system.ends[[0] * 200 + [1] * 203])
    fresh = copy(dynamics).fresh(points, generators(403))
    alone = MoleculeDynamics.of(system, LANGEVIN, REFERENCE)
    np.testing.assert_allclose(
        fresh[-1:, 0], alone.fresh(points[-1:], generators(1))[:, 0], atol=1e-7
    )  # constrained alike
    openmm_system = system.create_openmm_system()
    masses = np.array([openmm_system.getParticleMass(i)._value for i in range(22)])
    kinetic = 0.5 * np.einsum("a,naj->n", masses, fresh[:, 1] ** 2)
    n = 3 * 22 - openmm_system.getNumConstraints()
    assert abs(kinetic.mean() - n * KT / 2) < 4 * KT * np.sqrt(n / 2 / 403)
    free = replace(dynamics, langevin=LangevinSettings(300.0, friction=1e-12))
    rng = generators(11)
    start = np.stack(
        [flight.points[-1] for flight in free.fly(fresh[-11:], rng, 4, stop=False)]
    )  # where velocities lag as they do under way
    there = free.fly(start, rng, 10, stop=False)
    back = free.fly(free.reverse(np.stack([flight.points[-1] for flight in there])), rng, 10, stop=False)
    for one, flight in zip(start, back, strict=True):
        np.testing.assert_allclose(flight.points[-1, 0], one[0], atol=1e-5)
    np.testing.assert_allclose(
        free.reverse(start), replace(alone, langevin=free.langevin).reverse(start), atol=1e-6
    )


def test_flights_end_as_they_should_and_repeat(alanine):
    """More flights than copies, of different lengths: each ends at its first frame in a state, or at its limit."""
    system, dynamics = alanine
    points, rng = dynamics.points(system.ends[[0] * 30]), generators(30)
    limits = np.arange(30)
    first = copy(dynamics).fly(points, generators(30), limits, stop=False)
    assert [flight.n_frames for flight in first] == limits.tolist()
    assert [len(flight.points) for flight in first] == limits.tolist()
    assert {flight.end for flight in first} == {OUTSIDE}
    again = copy(dynamics).fly(points, rng, limits, stop=False, keep=False)
    assert all(not len(flight.points) for flight in again)
    third = copy(dynamics).fly(points, generators(30), limits, stop=False)
    other = copy(dynamics).fly(points, generators(30, seed=1), limits, stop=False)
    for one, same, differs in zip(first[1:], third[1:], other[1:], strict=True):
        np.testing.assert_array_equal(one.points, same.points)
        assert not np.array_equal(one.points, differs.points)
    few = copy(dynamics)
    few.fly(points[:3], generators(3), 4, stop=False)
    assert np.isfinite(few._phase_points()).all()  # copies in which nobody flies are sound as well
    distinct = {flight.points[0].tobytes() for flight in first[1:]}
    assert len(distinct) == 29  # the copies have noise of their own


def test_committor_of_copies_is_that_of_the_symmetric_barrier():
    """From the top of 8 cos θ kJ/mol between mirrored states p_B is 1/2, from off the top less; 600 shots each."""
    molecule = torsion_molecule("8*cos(theta)")
    dynamics = CopiedDynamics.of(
        molecule, LangevinSettings(300.0, friction=5.0), replace(REFERENCE, n_copies=64)
    )
    top, before = molecule.positions_a.copy(), molecule.positions_a.copy()
    for positions, angle in ((top, 0.0), (before, -0.45)):
        positions[3, :2] = 0.1 * math.cos(angle), 0.1 * math.sin(angle)
    found = estimate_committor(dynamics, np.stack([top, before]), 600, seed=1, max_frames=2000)
    assert found.n_finished.tolist() == [600, 600]
    assert abs(found.p_b[0] - 0.5) < 4 * found.error[0]
    alone = MoleculeDynamics.of(molecule, dynamics.langevin, REFERENCE)
    one = estimate_committor(alone, before[None], 600, seed=2, max_frames=2000)
    assert abs(found.p_b[1] - one.p_b[0]) < 4 * math.hypot(found.error[1], one.error[0])
    assert one.p_b[0] < 0.4


def test_copies_sample_the_torsion_s_distribution():
    """<cos θ> of 2 cos θ kJ/mol over 64 copies: -I1(u)/I0(u), u = 2/kT (Bessel functions)."""
    molecule = torsion_molecule("2*cos(theta)")
    dynamics = CopiedDynamics.of(
        molecule,
        LangevinSettings(300.0, friction=5.0),
        replace(REFERENCE, n_copies=64),
        steps_per_frame=20,
    )
    rng = generators(64)
    points = dynamics.fresh(dynamics.points(np.repeat(molecule.positions_a[None], 64, axis=0)), rng)
    flights = dynamics.fly(points, rng, 700, stop=False)
    cosines = np.stack(
        [np.cos(molecule.values(flight.points[200:, 0])["theta"]).mean() for flight in flights]
    )
    exact = -i1(2 / KT) / i0(2 / KT)
    assert abs(cosines.mean() - exact) < 4 * cosines.std(ddof=1) / 8
    assert cosines.std(ddof=1) / 8 < 0.05


def test_a_copy_that_fails_fails_alone(alanine):
    """Two atoms in one place: that flight ends as failed, the others go on, also where a platform stops for all."""
    system, dynamics = alanine
    broken = dynamics.points(system.ends[[0] * 20])
    broken[3, 0, 5] = broken[3, 0, 6]
    flights = copy(dynamics).fly(broken, generators(20), 30, stop=False)
    assert [i for i, flight in enumerate(flights) if flight.end == FAILED] == [3]
    assert {flight.n_frames for i, flight in enumerate(flights) if i != 3} == {30}
    assert all(np.isfinite(f.points).all() for i, f in enumerate(flights) if i != 3)


def test_copies_are_taken_where_they_are_sooner():
    """One step takes 10 µs for one copy and 20 µs for 1,024: 15 µs for 512; the context takes 2 s."""
    found = Measurement(
        {"Reference": 50_000.0, "CUDA": 20_000.0},
        0.0,
        16,
        0.0,
        0.0,
        "2026-01-01",
        copies={"1": 1e5, "1024": 1024 / 20e-6},
        copies_on="CUDA",
        copies_setup=2.0,
    )
    step = 10e-6 + 10e-6 * 511 / 1023
    assert found.seconds_of_copies(512, 10_000) == pytest.approx(2 + 10_000 * step)
    assert found.seconds_of_copies(1025, 10_000) == pytest.approx(2 + 2 * 10_000 * 20e-6)
    choice = PlatformChoice("Reference", found, devices=(1,))
    many = choice.for_copies(5000, 10_000, 16)  # 62 s by 16 cores
    assert (many.name, many.n_copies) == ("CUDA", 1024)
    assert many.title == "CUDA in mixed precision on device 1, 1024 copies in a context"
    assert choice.for_copies(300, 10_000, 16) is not choice  # 3.75 s, or 2.13 s
    assert choice.for_copies(100, 10_000, 16) is choice  # 1.25 s
    assert choice.for_copies(5000, 10_000, 16).properties["Precision"] == "mixed"
    assert "1024 copies in one context of CUDA 51,200,000" in choice.describe()
    assert PlatformChoice("Reference").for_copies(5000, 10_000, 1).n_copies == 1
    none = replace(found, copies={}, copies_on="")
    assert PlatformChoice("Reference", none).for_copies(5000, 10_000, 1).n_copies == 1


def test_states_of_copies_are_those_of_the_molecule(alanine):
    system, dynamics = alanine
    assert dynamics.states(dynamics.points(system.ends)).tolist() == [IN_A, IN_B]
    assert (
        dynamics.batched
        and dynamics.fingerprint == MoleculeDynamics.of(system, LANGEVIN, REFERENCE).fingerprint
    )


def test_a_run_takes_copies_where_they_were_measured_to_be_sooner(tmp_path, monkeypatch):
    """The measurement says so of the Reference platform here, so that the run needs no device."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "tiny.toml").write_text(TINY.format(seed=1))
    tps("run", tmp_path / "tiny.toml", "-o", tmp_path / "run", "--until", "conformations")
    cache = tmp_path / "tps" / "platforms.json"
    measurement = {"copies": {"1": 1e9, "16": 1e12}, "copies_on": "Reference", "copies_setup": 0.0}
    cache.write_text(json.dumps({k: {**v, **measurement} for k, v in json.loads(cache.read_text()).items()}))
    tps("run", tmp_path / "tiny.toml", "-o", tmp_path / "run", "--until", "committor")
    run = RunFolder.open(tmp_path / "run")
    stages = run.manifest()["stages"]
    for name, n in (("paths", 3), ("shoot", 16), ("committor", 16)):
        assert stages[name]["platform"] == f"Reference and Reference, {n} copies in a context"
    paths = load_paths(run.path / "paths")
    assert paths.completed.all() and len(paths.completed) == 3
    assert stages["shoot"]["status"] == stages["committor"]["status"] == "done"
