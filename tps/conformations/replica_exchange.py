"""Replica exchange in temperature: copies of a molecule at several temperatures, which swap them between rounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import NDArray

from tps.dynamics import exchanged
from tps.engine import Dynamics, LangevinSettings, Phase, PlatformChoice
from tps.units import thermal_energy


@dataclass(frozen=True, eq=False)
class ReplicaTask:
    """The job of one context: a replica at each of K temperatures [K], all from one start; picklable."""

    system_xml: str
    start: NDArray[np.float64]
    temperatures: tuple[float, ...]
    n_frames: int
    frame_interval: int
    langevin: LangevinSettings
    platform: PlatformChoice
    seed: int
    n_equilibration_frames: int = 20


@dataclass(frozen=True, eq=False)
class ReplicaFrames:
    """What one context saw, replica by replica: K of them, n frames each.

    Attributes
    ----------
    positions : (K, n, n_atoms, 3) array
        [nm].
    potential_energy : (K, n) array
        [kJ/mol].
    state : (K, n) int array
        At which of the temperatures the replica was.
    acceptance : (K - 1,) array
        Mean probability to accept a swap of neighbouring temperatures.
    n_evaluations : int
    """

    positions: NDArray[np.float32]
    potential_energy: NDArray[np.float64]
    state: NDArray[np.int64]
    acceptance: NDArray[np.float64]
    n_evaluations: int


def temperature_ladder(lowest: float, highest: float, n: int) -> tuple[float, ...]:
    """Return n temperatures, each the same factor above the one before: swaps are then about equally likely."""
    return tuple(float(t) for t in np.geomspace(lowest, highest, n))


def run_replicas(task: ReplicaTask) -> ReplicaFrames:
    """Run the replicas of one context in turn, a round of steps each, and exchange their temperatures between rounds.

    Velocities keep their direction in a swap and take the new temperature's length.

    Raises
    ------
    SimulationError
        If the dynamics leaves the numbers.

    References
    ----------
    Sugita, Okamoto, Chem. Phys. Lett. 314, 141 (1999).
    """
    system = openmm.XmlSerializer.deserialize(task.system_xml)
    dynamics = Dynamics(system, task.langevin, task.platform, task.seed)
    rng = np.random.default_rng(task.seed)
    kt = np.array([thermal_energy(t) for t in task.temperatures])
    n, shape = len(kt), (len(kt), task.n_frames)
    positions = np.empty((*shape, *task.start.shape), dtype=np.float32)
    energy, state = np.empty(shape), np.empty(shape, dtype=np.int64)
    accepted = np.zeros(n - 1)
    replicas = [_started(dynamics, task, float(np.sqrt(t / kt[0]))) for t in kt]
    held = np.arange(n)  # the replica at each temperature
    for frame in range(-task.n_equilibration_frames, task.n_frames):
        now = np.empty(n)
        for k, replica in enumerate(held):
            dynamics.integrator.setTemperature(task.temperatures[k])
            dynamics.resume(replicas[replica])
            dynamics.step(task.frame_interval)
            replicas[replica], now[k] = dynamics.phase()
        if frame >= 0:
            positions[held, frame] = np.stack([replicas[replica][0] for replica in held])
            energy[held, frame], state[held, frame] = now, np.arange(n)
            accepted += np.exp(np.minimum(0.0, np.diff(1 / kt) * np.diff(now)))
        came = exchanged(-now / kt[:, None], rng)
        for k, before in enumerate(came):
            x, v = replicas[held[before]]
            replicas[held[before]] = x, v * np.sqrt(kt[k] / kt[before])
        held = held[came]
    return ReplicaFrames(positions, energy, state, accepted / task.n_frames, dynamics.n_evaluations)


def _started(dynamics: Dynamics, task: ReplicaTask, faster: float) -> Phase:
    """Return where a replica starts, with velocities so many times those of the first temperature."""
    dynamics.start(task.start)
    x, v = dynamics.phase()[0]
    return x, v * faster
