"""Contexts, platforms and executors."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import openmm
import pytest
from molecules import chain_positions, torsion_molecule

from tps.engine import (
    BIAS_GROUP,
    Dynamics,
    LangevinSettings,
    Measurement,
    PlatformChoice,
    PlatformWish,
    choose_platform,
    local_executor,
    map_tasks,
    potential_energies,
)
from tps.errors import ParameterError, SimulationError

REFERENCE = PlatformChoice("Reference")
LANGEVIN = LangevinSettings(temperature=300.0, timestep=0.001)


def test_potential_energies_by_hand():
    """5 (1 - cos θ) plus a bond stretched by 0.01 nm: 5 (1 - cos 1) + 20000/2 · 0.01²."""
    positions = np.stack([chain_positions(1.0), chain_positions(1.0)])
    positions[1, 0, 0] += 0.01
    system = torsion_molecule("5*(1-cos(theta))").create_openmm_system()
    exact = 5 * (1 - math.cos(1.0))
    np.testing.assert_allclose(
        potential_energies(system, positions, REFERENCE), [exact, exact + 1.0], rtol=1e-9, atol=1e-9
    )


def test_every_step_and_every_frame_is_one_evaluation():
    molecule = torsion_molecule()
    dynamics = Dynamics(molecule.create_openmm_system(), LANGEVIN, REFERENCE, seed=1)
    dynamics.start(molecule.positions_a)
    dynamics.step(25)
    dynamics.frame()
    dynamics.step(5)
    assert dynamics.n_evaluations == 31


def free_particles(n=3000):
    system = openmm.System()
    for _ in range(n):
        system.addParticle(12.0)
    return Dynamics(system, LangevinSettings(300.0, 0.002, 1e4), REFERENCE, seed=1), np.zeros((n, 3))


def velocities(dynamics):
    return dynamics.context.getState(velocities=True).getVelocities(asNumpy=True)._value.ravel()


def test_noise_and_velocities_are_independent():
    """At a friction that leaves nothing of the velocities, a step makes them the noise: 9000 without correlation."""
    dynamics, positions = free_particles()
    dynamics.start(positions)
    before = velocities(dynamics)
    dynamics.step(1)
    assert abs(np.corrcoef(before, velocities(dynamics))[0, 1]) < 4 / math.sqrt(9000)


def test_every_start_draws_its_own_velocities():
    """As the replicas of a ladder must, which share a context."""
    dynamics, positions = free_particles()
    dynamics.start(positions)
    before = velocities(dynamics)
    dynamics.start(positions)
    assert abs(np.corrcoef(before, velocities(dynamics))[0, 1]) < 4 / math.sqrt(9000)


def test_a_bias_is_no_part_of_the_molecules_energy():
    molecule = torsion_molecule()
    system = molecule.create_openmm_system()
    bias = openmm.CustomTorsionForce("7")
    bias.addTorsion(0, 1, 2, 3, [])
    bias.setForceGroup(BIAS_GROUP)
    system.addForce(bias)
    dynamics = Dynamics(system, LANGEVIN, REFERENCE, seed=1)
    dynamics.start(molecule.positions_a)
    assert dynamics.frame()[1] == pytest.approx(0.0, abs=1e-9)
    assert dynamics.bias_energy() == pytest.approx(7.0)


def test_the_seed_fixes_the_trajectory():
    molecule = torsion_molecule()

    def end(seed):
        dynamics = Dynamics(molecule.create_openmm_system(), LANGEVIN, REFERENCE, seed)
        dynamics.start(molecule.positions_a)
        dynamics.step(200)
        return dynamics.positions()

    np.testing.assert_array_equal(end(3), end(3))
    assert not np.allclose(end(3), end(4))


def test_temperature_of_a_torsion_alone():
    """<cos θ> of U = 5 (1 - cos θ) at 300 K is I1(κ)/I0(κ), κ = 5/kT."""
    from scipy.special import i0e, i1e

    molecule = torsion_molecule("5*(1-cos(theta))")
    dynamics = Dynamics(molecule.create_openmm_system(), LANGEVIN, REFERENCE, seed=5)
    dynamics.start(chain_positions(0.0))
    values = []
    for _ in range(4000):
        dynamics.step(100)
        values.append(math.cos(molecule.values(dynamics.positions()[None])["theta"][0]))
    kappa = 5 / (0.00831446261815324 * 300)
    blocks = np.array(values).reshape(40, -1).mean(axis=1)
    error = blocks.std(ddof=1) / math.sqrt(40)
    assert abs(blocks.mean() - i1e(kappa) / i0e(kappa)) < 4 * error
    assert error < 0.03


def test_broken_structures_are_a_simulation_error():
    molecule = torsion_molecule()
    dynamics = Dynamics(molecule.create_openmm_system(), LANGEVIN, REFERENCE, seed=1)
    broken = molecule.positions_a.copy()
    broken[2, 1] = np.nan
    with pytest.raises(SimulationError, match="not finite"):
        dynamics.start(broken)


def test_an_atom_beyond_all_bounds_is_a_simulation_error():
    """Its energy is finite there, and single precision would make it infinite."""
    molecule = torsion_molecule()
    dynamics = Dynamics(molecule.create_openmm_system(), LANGEVIN, REFERENCE, seed=1)
    dynamics.start(molecule.positions_a)
    assert np.isfinite(dynamics.frame()[1])
    dynamics.context.setPositions(molecule.positions_a + 1e7)
    with pytest.raises(SimulationError, match="flown off"):
        dynamics.frame()


def test_platform_is_measured_once_and_then_cached(tmp_path):
    molecule = torsion_molecule()
    cache = tmp_path / "deep" / "platforms.json"

    def choose():
        return choose_platform(molecule.system_xml, molecule.positions_a, cache=cache, load=lambda: 2.0)

    first, second = choose(), choose()
    assert (first.source, second.source) == ("measured", "cached")
    assert first.measurement == second.measurement and first.measurement.load == 2.0
    assert first.name == max(first.steps_per_second, key=first.steps_per_second.get)
    assert len(json.loads(cache.read_text())) == 1
    assert first.name in first.describe() and "busy machine, load 2.0 a core" in second.describe()


@pytest.mark.parametrize("why", [{"load": 0.9}, {"spread": 0.8}])
def test_a_measurement_on_a_busy_machine_is_made_again_when_it_is_idle(tmp_path, why):
    """Not while it is still busy, and not once a measurement on the idle machine is there."""
    molecule, cache = torsion_molecule(), tmp_path / "platforms.json"

    def choose(load):
        return choose_platform(molecule.system_xml, molecule.positions_a, cache=cache, load=lambda: load)

    def rewrite(**changes):
        (key, entry), *_ = json.loads(cache.read_text()).items()
        cache.write_text(json.dumps({key: entry | changes}))

    choose(0.0)
    idle = {"load": 0.1, "spread": 0.1}
    rewrite(**idle | why, steps_per_second={"CPU": 1.0, "Reference": 0.5})
    assert (choose(0.9).source, choose(0.9).name) == ("cached", "CPU")
    again = choose(0.1)
    assert again.source == "measured again" and again.describe().startswith(f"{again.name} (measured again;")
    assert again.steps_per_second["Reference"] > 1.0
    rewrite(**idle)
    assert choose(0.1).source == "cached"
    rewrite(**idle | {"spread": 0.8})  # a platform whose speeds always spread is not measured for ever
    assert choose(0.1).source == "cached" and "speeds that spread by 80%" in choose(0.1).describe()


def choice_of(reference, single, all_cores, n_cores=16):
    speeds = {"Reference": reference, "CPU": single}
    found = Measurement(speeds, all_cores, n_cores, 0.0, 0.0, "2026-01-01")
    return PlatformChoice(max(speeds, key=speeds.get), found, "measured")


def test_threads_are_taken_where_cores_are_left_and_it_pays():
    """All of the work parallel: 16 times on 16 cores; with four tasks each has four."""
    water = choice_of(1.0, 10.0, 160.0)
    for n_tasks, threads in ((1, 16), (4, 4), (5, 3), (9, 1), (16, 1), (100, 1)):
        chosen = water.for_tasks(n_tasks, 16)
        assert chosen.n_threads == threads and chosen.n_threads * min(n_tasks, 16) <= 16
    assert water.for_tasks(4, 16).properties == {"Threads": "4", "DeterministicForces": "true"}
    assert water.for_tasks(1, 64).n_threads == 16
    assert "with 4 threads each" in water.for_tasks(4, 16).describe()


def test_small_systems_stay_where_they_are():
    small = choice_of(94_000.0, 2_400.0, 1_500.0)
    assert small.for_tasks(1, 16) is small and small.properties == {}
    assert choice_of(1.0, 10.0, 10.5).for_tasks(1, 16).n_threads == 1  # hardly faster on all cores
    assert REFERENCE.for_tasks(1, 16) is REFERENCE


def test_threads_overtake_reference_by_amdahls_law():
    """A tenth serial: s(t) = 10/(0.1 + 0.9/t) is 18.2 on 2 threads and 30.8 on 4, where Reference makes 20."""
    middle = choice_of(20.0, 10.0, 10 / (0.1 + 0.9 / 16))
    assert middle.for_tasks(8, 16) is middle
    assert (middle.for_tasks(4, 16).name, middle.for_tasks(4, 16).n_threads) == ("CPU", 4)


def test_platform_can_be_forced_and_must_exist(tmp_path):
    molecule = torsion_molecule()
    assert choose_platform(molecule.system_xml, molecule.positions_a, PlatformWish("CPU")).name == "CPU"
    with pytest.raises(ParameterError, match="'Quantum' is not available here: choose one of Reference"):
        choose_platform(molecule.system_xml, molecule.positions_a, PlatformWish("Quantum"))


def square(value: int) -> int:
    if value == 13:
        raise SimulationError("unlucky")
    return value * value


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_results_come_in_the_order_of_the_tasks(kind):
    seen = []
    with local_executor(kind, 2) as executor:
        assert map_tasks(executor, square, range(12), lambda: seen.append(1)) == [i * i for i in range(12)]
    assert len(seen) == 12


def test_what_a_task_raises_is_raised():
    with pytest.raises(SimulationError, match="unlucky"), local_executor("threads", 2) as executor:
        map_tasks(executor, square, range(20))
    with pytest.raises(ParameterError, match="at least 1, but got 0"), local_executor("threads", 0):
        pass


@pytest.mark.parametrize("name", ["temperature", "timestep", "friction"])
def test_langevin_settings_are_positive(name):
    with pytest.raises(ParameterError, match=f"{name} .* must be positive"):
        LangevinSettings(**{"temperature": 300.0, name: 0.0})


def test_a_script_that_workers_cannot_read_again_is_told_so_and_not_that_memory_is_short(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from tps.engine import local_executor, map_tasks\n"
        'with local_executor("processes", 1) as executor:\n'
        "    map_tasks(executor, abs, [-1])\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    said = ended.stderr.splitlines()[-1]
    assert said.startswith("tps.errors.SimulationError: no worker process could start")
    assert 'if __name__ == "__main__":' in said
    assert "memory" not in said


def test_a_worker_that_dies_at_work_may_have_run_out_of_memory():
    with pytest.raises(SimulationError, match="out of memory"), local_executor("processes", 1) as executor:
        map_tasks(executor, os._exit, [9])


def test_a_program_that_is_killed_leaves_no_warning_of_python(tmp_path):
    """What the workers shared is removed without a word; the pipe closes once the last process has ended."""
    script = tmp_path / "killed.py"
    script.write_text(
        "import os, signal\n"
        "from tps.workers import Workers\n"
        'if __name__ == "__main__":\n'
        "    workers = Workers(1)\n"
        "    workers.submit(abs, -1).result()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (-9, "")
