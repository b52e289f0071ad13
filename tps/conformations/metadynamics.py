"""Well-tempered metadynamics, then sampling under the frozen bias, whose weights are exact.

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
from openmm import app, unit
from openmm.app.metadynamics import BiasVariable, Metadynamics

from tps.conformations.bias import BiasGrid, add_frozen_bias, add_range_walls
from tps.conformations.sampling import SampledFrames, SamplingTask, sample_frames
from tps.engine import LangevinSettings, PlatformChoice, independent_seeds, map_tasks, openmm_seed
from tps.errors import ParameterError, SimulationError
from tps.features import CollectiveVariable


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
        Standard deviation of a hill, in units of each variable's scale: in rad for torsions.
    hill_interval : int
        Steps between hills.
    grid_width : int
        Grid points of the bias per turn of a torsion; other variables get as many per 2π of their scales.
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
    grid: BiasGrid
    start: NDArray[np.float64]
    settings: MetadynamicsSettings
    langevin: LangevinSettings
    platform: PlatformChoice
    seed: int


class _Hills(Metadynamics):
    """OpenMM's metadynamics, whose table is periodic in every direction or in none, on circles and lines at once.

    There the table of an angle reaches past its turn, and every hill is added at its images a turn away too.
    """

    def __init__(self, grid: BiasGrid, *arguments: object) -> None:
        super().__init__(*arguments)
        self._shifts = grid.images

    def _addGaussian(  # noqa: N802 - OpenMM's name
        self, position: tuple[float, ...], height: unit.Quantity, context: openmm.Context
    ) -> None:
        for shift in self._shifts:
            super()._addGaussian(np.add(position, shift), height, context)


def build_bias(task: BuildTask) -> NDArray[np.float64]:
    """Run one metadynamics walker and return its bias [kJ/mol] on the grid, last variable first, minimum 0."""
    system = openmm.XmlSerializer.deserialize(task.system_xml)
    settings, temperature, grid = task.settings, task.langevin.temperature, task.grid
    periodic = system.usesPeriodicBoundaryConditions()
    add_range_walls(system, grid.variables, periodic)
    variables = [
        BiasVariable(
            variable.force(grid.argument(i, "value"), periodic),
            *grid.limits[i],
            settings.hill_width * variable.reach,
            grid.periodic,
            gridWidth=grid.sizes[i],
        )
        for i, variable in enumerate(grid.variables)
    ]
    sampler = _Hills(
        grid,
        system,
        variables,
        temperature,
        settings.bias_factor,
        settings.hill_height,
        settings.hill_interval,
    )
    platform = openmm.Platform.getPlatformByName(task.platform.name)
    noise, velocities = independent_seeds(task.seed, 2)
    simulation = app.Simulation(
        app.Topology(), system, task.langevin.integrator(noise), platform, task.platform.properties
    )
    simulation.context.setPositions(task.start)
    simulation.context.setVelocitiesToTemperature(temperature, openmm_seed(velocities))
    try:
        sampler.step(simulation, settings.n_build_steps)
    except openmm.OpenMMException as error:
        raise SimulationError(f"metadynamics failed: {error}") from error
    free_energy = sampler.getFreeEnergy()._value
    bias = -(1.0 - 1.0 / settings.bias_factor) * free_energy
    return grid.trimmed(np.asarray(bias - bias.min()))


def run_metadynamics(
    system_xml: str,
    variables: tuple[CollectiveVariable, ...],
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
    variables : tuple of CollectiveVariable
        The one to three that are biased, in their ranges: walls keep those on lines inside, as parts of the bias.
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
        The frozen bias [kJ/mol], last variable first, without the walls.

    Raises
    ------
    ParameterError
        If more than three variables are to be biased, or one has no finite range.
    SimulationError
        If a walker leaves the numbers.
    """
    grid = BiasGrid.spaced(variables, settings.grid_width)
    n_walkers = len(starts)
    builds = [
        BuildTask(system_xml, grid, start, settings, langevin, platform, seed)
        for start, seed in zip(starts, seeds[:n_walkers], strict=True)
    ]
    bias = np.mean(map_tasks(executor, build_bias, builds, done), axis=0)
    system = openmm.XmlSerializer.deserialize(system_xml)
    add_frozen_bias(system, variables, bias)
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
