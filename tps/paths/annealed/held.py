"""Dynamics under tilts that stand still, seen through T alone: what friction along a curve is measured from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import NDArray

from tps.dynamics.overdamped import STABILITY, largest_curvature, overdamped_step
from tps.engine import BIAS_GROUP, Dynamics, LangevinSettings, PlatformChoice, map_tasks, periodic_box
from tps.errors import ParameterError, SimulationError
from tps.features import Features
from tps.systems import MolecularSystem, SurfaceSystem
from tps.units import thermal_energy


@dataclass(frozen=True)
class HeldSettings:
    """Runs under tilts that stand still.

    Attributes
    ----------
    n_frames : int
    frame_interval : int
        Steps from one frame to the next.
    n_equilibration_steps : int
        Steps that come first and are thrown away.
    """

    n_frames: int
    frame_interval: int
    n_equilibration_steps: int = 0

    def __post_init__(self) -> None:
        if min(self.n_frames, self.frame_interval) < 1 or self.n_equilibration_steps < 0:
            raise ParameterError(
                "held runs need a frame, a step between frames and no negative equilibration, but got "
                f"{self.n_frames}, {self.frame_interval} and {self.n_equilibration_steps}"
            )


@dataclass(frozen=True, eq=False)
class HeldSeries:
    """T of n runs, one tilt each: statistics (n, n_frames, K), where they ended, and what they cost."""

    statistics: NDArray[np.float64]
    last: NDArray[np.float64]
    n_evaluations: int


@dataclass(frozen=True, eq=False)
class HeldTask:
    """The job of one molecule under one tilt eta (K,), from start (n_atoms, 3) [nm]; picklable."""

    system_xml: str
    features: Features
    eta: NDArray[np.float64]
    start: NDArray[np.float64]
    settings: HeldSettings
    langevin: LangevinSettings
    platform: PlatformChoice
    seed: int


def run_held(task: HeldTask) -> HeldSeries:
    """Run one molecule under one tilt.

    Raises
    ------
    SimulationError
        If the dynamics leaves the numbers.
    """
    system = openmm.XmlSerializer.deserialize(task.system_xml)
    box, used = periodic_box(system), task.features.atoms
    task.features.add_tilt(system, thermal_energy(task.langevin.temperature), BIAS_GROUP)
    dynamics = Dynamics(system, task.langevin, task.platform, task.seed)
    task.features.set_tilt(dynamics.context, task.eta)
    dynamics.start(task.start)
    dynamics.step(task.settings.n_equilibration_steps)
    seen = np.empty((task.settings.n_frames, len(used), 3))
    for frame in range(task.settings.n_frames):
        dynamics.step(task.settings.frame_interval)
        seen[frame] = dynamics.positions()[used]
    if not np.isfinite(seen).all():
        raise SimulationError(
            "a molecule left the numbers under a tilt that stands still: take a shorter run.timestep_ps"
        )
    statistics = task.features.local().statistic(seen, box)
    return HeldSeries(statistics, dynamics.positions(), dynamics.n_evaluations)


def held_series(
    system: MolecularSystem,
    eta: NDArray[np.float64],
    starts: NDArray[np.floating],
    settings: HeldSettings,
    langevin: LangevinSettings,
    platform: PlatformChoice,
    seeds: Sequence[int],
    executor: Executor,
    *,
    done: Callable[[], None] = lambda: None,
) -> HeldSeries:
    """Run a molecule under tilts eta (n, K) from starts (n, n_atoms, 3) [nm], each with its seed; see `HeldSettings`.

    Raises
    ------
    SimulationError
        If a run leaves the numbers.
    """
    tasks = [
        HeldTask(
            system.system_xml,
            system.features,
            tilt,
            np.asarray(x, dtype=float),
            settings,
            langevin,
            platform,
            s,
        )
        for tilt, x, s in zip(eta, starts, seeds, strict=True)
    ]
    records = map_tasks(executor, run_held, tasks, done)
    return HeldSeries(
        np.stack([record.statistics for record in records]),
        np.stack([record.last for record in records]),
        sum(record.n_evaluations for record in records),
    )


def held_timesteps(
    system: SurfaceSystem, eta: NDArray[np.float64], *, stability: float = STABILITY
) -> NDArray[np.float64]:
    """Return the time steps dτ (n,) that annealed paths take under tilts eta (n, K)."""
    return np.asarray(
        stability / (largest_curvature(system) + np.array([system.space.stiffness(e) for e in eta]))
    )


def surface_held_series(
    system: SurfaceSystem,
    eta: NDArray[np.float64],
    starts: NDArray[np.floating],
    settings: HeldSettings,
    seed: int,
    *,
    stability: float = STABILITY,
) -> HeldSeries:
    """Run walkers on a surface under tilts eta (n, K) from starts (n, d), all at once; see `HeldSettings`.

    Raises
    ------
    SimulationError
        If a walker leaves the surface or the numbers.
    """
    rng = np.random.default_rng(seed)
    timesteps = held_timesteps(system, eta, stability=stability)[:, None]
    x = np.array(starts, dtype=np.float64)
    seen = np.empty((len(x), settings.n_frames, system.n_axes))
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(settings.n_equilibration_steps):
            x = overdamped_step(system, x, eta, timesteps, rng.standard_normal(x.shape))
        for frame in range(settings.n_frames):
            for _ in range(settings.frame_interval):
                x = overdamped_step(system, x, eta, timesteps, rng.standard_normal(x.shape))
            seen[:, frame] = x
    if not np.isfinite(seen).all():
        raise SimulationError(
            f"{int((~np.isfinite(seen).all(axis=(1, 2))).sum())} of {len(x)} walkers left the surface under a tilt "
            "that stands still"
        )
    n_steps = settings.n_equilibration_steps + settings.n_frames * settings.frame_interval
    return HeldSeries(system.space.statistic(seen), x, len(x) * n_steps + 4 * system.n_axes)
