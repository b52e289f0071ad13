"""Frames from one Langevin simulation: plain MD, or MD under a frozen bias with the weights that undo it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import NDArray

from tps.engine import BIAS_GROUP, Dynamics, LangevinSettings, PlatformChoice
from tps.units import thermal_energy


@dataclass(frozen=True)
class SamplingTask:
    """One simulation: everything it needs, picklable.

    Forces of `system_xml` in BIAS_GROUP are a bias to be undone by the weights.
    """

    system_xml: str
    start: NDArray[np.float64]
    n_steps: int
    frame_interval: int
    langevin: LangevinSettings
    platform: PlatformChoice
    seed: int
    n_equilibration_steps: int = 5000


@dataclass(frozen=True)
class SampledFrames:
    """What one simulation saw: positions (n, n_atoms, 3) [nm], potential energy (n,) [kJ/mol], V/kT (n,)."""

    positions: NDArray[np.float32]
    potential_energy: NDArray[np.float64]
    log_weights: NDArray[np.float64]
    n_evaluations: int


def sample_frames(task: SamplingTask) -> SampledFrames:
    """Run one simulation and return its frames, each with the logarithm of its Boltzmann weight.

    Raises
    ------
    SimulationError
        If the dynamics leaves the numbers.
    """
    system = openmm.XmlSerializer.deserialize(task.system_xml)
    biased = any(force.getForceGroup() == BIAS_GROUP for force in system.getForces())
    dynamics = Dynamics(system, task.langevin, task.platform, task.seed)
    dynamics.start(task.start)
    dynamics.step(task.n_equilibration_steps)
    n_frames = task.n_steps // task.frame_interval
    positions = np.empty((n_frames, *task.start.shape), dtype=np.float32)
    energy, log_weights = np.empty(n_frames), np.zeros(n_frames)
    kt = thermal_energy(task.langevin.temperature)
    for index in range(n_frames):
        dynamics.step(task.frame_interval)
        positions[index], energy[index] = dynamics.frame()
        if biased:
            log_weights[index] = dynamics.bias_energy() / kt
    return SampledFrames(positions, energy, log_weights, dynamics.n_evaluations)
