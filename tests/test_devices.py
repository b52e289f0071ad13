"""Platforms with devices: what is asked of them, and what one computes (`make test-opencl`)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import numpy as np
import openmm
import pytest
from commands import TINY, tps
from molecules import torsion_molecule

from tps.dynamics import FAILED, CopiedDynamics
from tps.engine import (
    BIAS_GROUP,
    Dynamics,
    LangevinSettings,
    Measurement,
    PlatformChoice,
    PlatformWish,
    available_platforms,
    choose_platform,
    with_copies,
)
from tps.errors import ParameterError
from tps.pipeline import RunFolder
from tps.systems import load_system

DEVICES = [name for name in available_platforms() if PlatformChoice(name).on_device]
needs_device = pytest.mark.skipif(not DEVICES, reason="needs a platform with devices: make test-opencl")


def test_threads_of_a_program_take_devices_in_turn():
    choice = PlatformChoice("CUDA", precision="double", devices=(0, 3))
    both = Barrier(2)

    def properties():
        both.wait()  # so that each thread has one
        return choice.properties

    with ThreadPoolExecutor(2) as threads:
        found = [future.result() for future in [threads.submit(properties) for _ in range(2)]]
    assert {said.pop("DeviceIndex") for said in found} == {"0", "3"}
    assert found == [{"Precision": "double", "DeterministicForces": "true"}] * 2
    assert choice.title == "CUDA in double precision on devices 0, 3"
    assert PlatformChoice("OpenCL").properties == {"Precision": "mixed"}


def test_contexts_side_by_side_as_long_as_they_pay():
    """Four make 5 % more than two, and eight fewer."""
    together = {"1": 100.0, "2": 180.0, "4": 189.0, "8": 150.0}
    found = Measurement({"HIP": 100.0}, 0.0, 16, 0.0, 0.0, "2026-01-01", together)
    choice = PlatformChoice("HIP", found, devices=(0, 1))
    assert (found.n_contexts, choice.n_side_by_side) == (2, 4)
    assert "HIP 100, 2 side by side 180" in choice.describe()
    cores = Measurement({"Reference": 100.0}, 0.0, 16, 0.0, 0.0, "2026-01-01")
    assert PlatformChoice("Reference", cores).n_side_by_side is None


def test_devices_of_a_platform_that_has_none_are_refused():
    molecule = torsion_molecule()
    for name in ("CPU", "Reference") if DEVICES else ("CPU", None):
        with pytest.raises(ParameterError, match=r"could be chosen: leave out devices, got 7"):
            choose_platform(molecule.system_xml, molecule.positions_a, PlatformWish(name, devices=(7,)))


@needs_device
def test_a_device_computes_what_reference_does(tmp_path):
    """Energy and forces under a tilt; measured alone and side by side; a device that is not there is one sentence."""
    system = load_system("alanine-dipeptide")
    tilted = openmm.XmlSerializer.deserialize(system.system_xml)
    system.features.add_tilt(tilted, system.kt, BIAS_GROUP)
    wish, cache = PlatformWish(DEVICES[0]), tmp_path / "platforms.json"
    idle = {"cache": cache, "load": lambda: 0.0}
    choice = choose_platform(system.system_xml, system.positions_a, wish, **idle)
    assert choice.title == f"{DEVICES[0]} in mixed precision" and choice.n_side_by_side >= 1
    assert choice.steps_per_second.keys() == {DEVICES[0]}
    again = choose_platform(system.system_xml, system.positions_a, wish, **idle)
    assert again.source == ("measured again" if choice.measurement.busy else "cached")
    found = []
    for platform in (choice, PlatformChoice("Reference")):
        dynamics = Dynamics(tilted, LangevinSettings(300.0), platform, seed=1)
        system.features.set_tilt(dynamics.context, np.array([1.0, -2.0, 3.0, 0.5]))
        dynamics.start(system.positions_a)
        state = dynamics.context.getState(energy=True, forces=True)
        found.append([state.getPotentialEnergy()._value, *state.getForces(asNumpy=True)._value.ravel()])
        dynamics.step(50)
        assert np.isfinite(dynamics.positions()).all()
    assert found[0] == pytest.approx(
        found[1], rel=1e-4, abs=0.1
    )  # forces in single precision, of up to 1e4 each
    far = replace(wish, devices=(99,))
    with pytest.raises(ParameterError, match="no device can be computed on"):
        choose_platform(system.system_xml, system.positions_a, far, cache=cache)


@needs_device
def test_copies_on_a_device_are_what_each_is_alone(tmp_path):
    """Forces and energy as one after another on Reference; a broken copy fails alone; p_B and its speed measured."""
    system = load_system("alanine-dipeptide")
    tilted = openmm.XmlSerializer.deserialize(system.system_xml)
    system.features.add_tilt(tilted, system.kt, BIAS_GROUP)
    eta, rng = np.array([1.0, -2.0, 3.0, 0.5]), np.random.default_rng(1)
    positions = system.ends[[0, 1, 0, 1]] + 0.002 * rng.standard_normal((4, system.n_atoms, 3))
    found = []
    for one, where, name in (
        (with_copies(tilted, 4), positions.reshape(1, -1, 3), DEVICES[0]),
        (tilted, positions, "Reference"),
    ):
        dynamics = Dynamics(one, LangevinSettings(300.0), PlatformChoice(name), seed=1)
        system.features.set_tilt(dynamics.context, eta)
        energy, forces = 0.0, []
        for xyz in where:
            dynamics.context.setPositions(xyz)
            state = dynamics.context.getState(energy=True, forces=True)
            energy += state.getPotentialEnergy()._value
            forces.append(state.getForces(asNumpy=True)._value)
        found.append([energy, *np.concatenate(forces).ravel()])
    assert found[0] == pytest.approx(
        found[1], rel=1e-4, abs=0.5
    )  # forces of up to 1e4 each, in single precision
    choice = choose_platform(
        system.system_xml, system.positions_a, PlatformWish(DEVICES[0]), cache=tmp_path / "platforms.json"
    )
    assert choice.measurement.most_copies == 1024 and choice.measurement.copies_on == DEVICES[0]
    copies = CopiedDynamics.of(
        system, LangevinSettings(300.0), PlatformChoice(DEVICES[0], n_copies=64), steps_per_frame=10
    )
    points = copies.points(system.ends[[0] * 100])
    points[7, 0, 5] = points[7, 0, 6]
    flights = copies.fly(points, [np.random.default_rng(i) for i in range(100)], 40, stop=False, keep=False)
    assert [i for i, flight in enumerate(flights) if flight.end == FAILED] == [7]
    assert sum(flight.n_frames for flight in flights) > 99 * 40


@pytest.mark.slow
@needs_device
def test_a_whole_run_on_a_device(tmp_path):
    """Contexts side by side in threads, from frames to windows; the manifest names platform and precision."""
    asked = f'platform = "{DEVICES[0]}"\nprecision = "double"\n'
    run = (
        TINY.format(seed=1)
        .replace("40_000", "3_000")
        .replace("= 50\n", "= 20\n", 1)
        .replace("[conformations]", asked + "[conformations]", 1)
    )
    (tmp_path / "tiny.toml").write_text(run)
    tps("run", tmp_path / "tiny.toml", "-o", tmp_path / "run", "--until", "paths")
    stages = RunFolder.open(tmp_path / "run").manifest()["stages"]
    for name in ("conformations", "paths"):
        assert (
            stages[name]["status"] == "done"
            and stages[name]["platform"] == f"{DEVICES[0]} in double precision"
        )
