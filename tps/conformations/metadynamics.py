"""Well-tempered metadynamics on torsions, then sampling under the frozen bias, whose weights are exact.

Each walker first builds a bias with OpenMM's own `openmm.app.metadynamics`. The mean of the walkers' biases is then
frozen, and every walker samples under it: a frame's weight is exp(V(x)/kT) without any correction for a bias that
changes in time. (Barducci, Bussi, Parrinello, PRL 100, 020603 (2008); Torrie and Valleau, J. Comput. Phys. 23, 187.)
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app
from openmm.app.metadynamics import BiasVariable, Metadynamics

from tps.conformations.sampling import SampledFrames, SamplingTask, sample_frames
from tps.engine import (
    BIAS_GROUP,
    LangevinSettings,
    PlatformChoice,
    map_tasks,
    openmm_seed,
    potential_energies,
)
from tps.errors import ParameterError, SimulationError

_MAX_BIASED = 3  # OpenMM tabulates a bias in up to three dimensions
_TABLES = {
    1: openmm.Continuous1DFunction,
    2: openmm.Continuous2DFunction,
    3: openmm.Continuous3DFunction,
}


@dataclass(frozen=True)
class MetadynamicsSettings:
    """Well-tempered metadynamics.

    Attributes
    ----------
    n_build_steps, n_sample_steps : int
        MD steps of each walker that build the bias, and that sample under the frozen one.
    frame_interval : int
        Steps between stored frames.
    bias_factor : float
        (T + ΔT)/T.
    hill_height : float
        [kJ/mol].
    hill_width : float
        Standard deviation of a hill [rad].
    hill_interval : int
        Steps between hills.
    grid_width : int
        Grid points per torsion for the bias.
    """

    n_build_steps: int
    n_sample_steps: int
    frame_interval: int = 250
    bias_factor: float = 10.0
    hill_height: float = 1.2
    hill_width: float = 0.3
    hill_interval: int = 250
    grid_width: int = 61

    def __post_init__(self) -> None:
        if not self.bias_factor > 1:
            raise ParameterError(f"the bias factor of metadynamics must exceed 1, but got {self.bias_factor}")
        if not 0 < self.frame_interval <= self.n_sample_steps:
            raise ParameterError(
                f"frames every {self.frame_interval} steps need at least as many sampling steps, "
                f"but got {self.n_sample_steps}"
            )


@dataclass(frozen=True)
class BuildTask:
    """One walker's job: everything it needs, picklable."""

    system_xml: str
    torsion_atoms: tuple[tuple[int, int, int, int], ...]
    start: NDArray[np.float64]
    settings: MetadynamicsSettings
    langevin: LangevinSettings
    platform: PlatformChoice
    seed: int


def build_bias(task: BuildTask) -> NDArray[np.float64]:
    """Run one metadynamics walker and return its bias [kJ/mol] on the grid, last torsion first, minimum 0."""
    system = openmm.XmlSerializer.deserialize(task.system_xml)
    settings, temperature = task.settings, task.langevin.temperature
    variables = []
    for atoms in task.torsion_atoms:
        torsion = openmm.CustomTorsionForce("theta")
        torsion.addTorsion(*atoms, [])
        variables.append(
            BiasVariable(torsion, -np.pi, np.pi, settings.hill_width, True, gridWidth=settings.grid_width)
        )
    sampler = Metadynamics(
        system,
        variables,
        temperature,
        settings.bias_factor,
        settings.hill_height,
        settings.hill_interval,
    )
    platform = openmm.Platform.getPlatformByName(task.platform.name)
    simulation = app.Simulation(
        app.Topology(), system, task.langevin.integrator(task.seed), platform, task.platform.properties
    )
    simulation.context.setPositions(task.start)
    simulation.context.setVelocitiesToTemperature(temperature, openmm_seed(task.seed))
    try:
        sampler.step(simulation, settings.n_build_steps)
    except openmm.OpenMMException as error:
        raise SimulationError(f"metadynamics failed: {error}") from error
    free_energy = sampler.getFreeEnergy()._value
    bias = -(1.0 - 1.0 / settings.bias_factor) * free_energy
    return np.asarray(bias - bias.min())


def add_frozen_bias(
    system: openmm.System, torsion_atoms: tuple[tuple[int, int, int, int], ...], bias: NDArray[np.float64]
) -> None:
    """Add a tabulated bias over up to three torsions to a System, in `BIAS_GROUP`.

    One `CustomCompoundBondForce` over all the torsions' atoms: faster than a `CustomCVForce`, same energy.
    """
    n = len(torsion_atoms)
    names = [f"dihedral(p{4 * i + 1},p{4 * i + 2},p{4 * i + 3},p{4 * i + 4})" for i in range(n)]
    force = openmm.CustomCompoundBondForce(4 * n, f"bias({','.join(names)})")
    limits = [limit for _ in range(n) for limit in (-np.pi, np.pi)]
    sizes = [] if n == 1 else list(reversed(bias.shape))
    force.addTabulatedFunction("bias", _TABLES[n](*sizes, bias.flatten(), *limits, True))
    force.addBond([atom for atoms in torsion_atoms for atom in atoms], [])
    force.setForceGroup(BIAS_GROUP)
    system.addForce(force)


def bias_energies(
    n_atoms: int,
    torsion_atoms: tuple[tuple[int, int, int, int], ...],
    bias: NDArray[np.float64],
    positions: NDArray[np.floating],
    platform: PlatformChoice,
) -> NDArray[np.float64]:
    """Return a frozen bias's energy (n_frames,) [kJ/mol] at positions (n_frames, n_atoms, 3) [nm]."""
    system = openmm.System()
    for _ in range(n_atoms):
        system.addParticle(1.0)
    add_frozen_bias(system, torsion_atoms, bias)
    return potential_energies(system, positions, platform)


def run_metadynamics(
    system_xml: str,
    torsion_atoms: tuple[tuple[int, int, int, int], ...],
    starts: list[NDArray[np.float64]],
    settings: MetadynamicsSettings,
    langevin: LangevinSettings,
    platform: PlatformChoice,
    seeds: list[int],
    executor: Executor,
    done: Callable[[], None] = lambda: None,
) -> tuple[list[SampledFrames], NDArray[np.float64]]:
    """Build a bias with several walkers, freeze its mean, and sample under it.

    Parameters
    ----------
    system_xml : str
        Serialised OpenMM System without any bias.
    torsion_atoms : tuple of 4-tuples
        The one to three torsions that are biased.
    starts : list of (n_atoms, 3) arrays
        Starting structure of each walker [nm].
    seeds : list of int
        Two per walker.
    executor : concurrent.futures.Executor
    done : callable
        Called after each walker has built its bias, and again after it has sampled.

    Returns
    -------
    frames : list of SampledFrames
        One per walker; log-weights are V(x)/kT.
    bias : array
        The frozen bias [kJ/mol], last torsion first.

    Raises
    ------
    ParameterError
        If more than three torsions are to be biased.
    SimulationError
        If a walker leaves the numbers.
    """
    if not 1 <= len(torsion_atoms) <= _MAX_BIASED:
        raise ParameterError(
            f"metadynamics biases one to {_MAX_BIASED} torsions, but got {len(torsion_atoms)}: name the slow ones "
            "in conformations.bias_features, or use plain MD or your own trajectories"
        )
    n_walkers = len(starts)
    builds = [
        BuildTask(system_xml, torsion_atoms, start, settings, langevin, platform, seed)
        for start, seed in zip(starts, seeds[:n_walkers], strict=True)
    ]
    bias = np.mean(map_tasks(executor, build_bias, builds, done), axis=0)
    system = openmm.XmlSerializer.deserialize(system_xml)
    add_frozen_bias(system, torsion_atoms, bias)
    biased_xml = openmm.XmlSerializer.serialize(system)
    samples = [
        SamplingTask(
            biased_xml,
            start,
            settings.n_sample_steps,
            settings.frame_interval,
            langevin,
            platform,
            seed,
        )
        for start, seed in zip(starts, seeds[n_walkers:], strict=True)
    ]
    return map_tasks(executor, sample_frames, samples, done), bias
