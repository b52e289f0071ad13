"""Annealed Langevin dynamics: real OpenMM dynamics under a tilt that moves along a spacetime curve.

The tilt -kT η·T(x) is part of the System, and η is moved in equal steps of a clock, so no model of the energy stands
between the path and the force field. What comes out is a *candidate* path: its frame index is the position of the
protocol, not physical time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
import openmm
from numpy.typing import NDArray

from tps.dynamics import add_wall
from tps.dynamics.segments import reactive_segment
from tps.engine import (
    BIAS_GROUP,
    MOLECULE_GROUP,
    WALL_GROUP,
    Dynamics,
    LangevinSettings,
    PlatformChoice,
    map_tasks,
    periodic_box,
    potential_energies,
    why_no_copies,
    with_copies,
)
from tps.errors import ParameterError, SimulationError
from tps.features import CollectiveVariable, Features, variable_values
from tps.paths.ensemble import Passages, PathEnsemble, PathRecord
from tps.paths.protocol import equal_steps, passed
from tps.systems import MolecularSystem, Region
from tps.units import thermal_energy

#: A wall begins this many thermal depths sqrt(kT/k) before its region: heat pushes a path inside once in e^8 tries.
_WALL_MARGIN = 4.0
#: Paths of one task: what copies went through fills a gigabyte where 20 atoms are looked at 3,200 times.
_MOST_TOGETHER = 512


@dataclass(frozen=True)
class AnnealingSettings:
    """Annealed Langevin dynamics along a curve.

    Attributes
    ----------
    n_paths : int
        Independent paths.
    n_steps : int
        MD steps of one path along the whole curve.
    n_updates : int
        How often the tilt is moved on its way; every update is one equal step of the clock.
    n_frames : int
        Stored frames; divides `n_updates`.
    n_equilibration_steps : int
        MD steps under the first tilt before the path begins.
    wall_stiffness : float
        Of the walls round avoided regions, where they are enforced [kJ/mol/rad², kJ/mol/nm²].
    """

    n_paths: int
    n_steps: int = 64_000
    n_updates: int = 3200
    n_frames: int = 320
    n_equilibration_steps: int = 5_000
    wall_stiffness: float = 1000.0

    def __post_init__(self) -> None:
        if min(self.n_paths, self.n_steps, self.n_updates, self.n_frames, self.n_equilibration_steps) < 1:
            raise ParameterError("annealed Langevin dynamics needs at least one path, step, update and frame")
        if self.n_steps % self.n_updates or self.n_updates % self.n_frames:
            raise ParameterError(
                f"n_steps ({self.n_steps}) must be a multiple of n_updates ({self.n_updates}), and n_updates a "
                f"multiple of n_frames ({self.n_frames})"
            )


@dataclass(frozen=True, eq=False)
class AnnealingTask:
    """The job of one path, or of copies of the molecule in one context: everything it needs, picklable.

    `eta` is (n_updates + 1, K); `regions` are where the path comes from and where it goes to, told by `variables`;
    `seeds` has one for each path, of which copies share the noise of the first.
    """

    system_xml: str
    features: Features
    variables: tuple[CollectiveVariable, ...]
    regions: tuple[Region, Region]
    eta: NDArray[np.float64]
    start: NDArray[np.float64]
    settings: AnnealingSettings
    langevin: LangevinSettings
    platform: PlatformChoice
    seeds: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Flown:
    """What n paths went through.

    Attributes
    ----------
    positions : (n, n_frames, n_atoms, 3) float32 array
    energy : (n, n_frames) array
        The molecule's own [kJ/mol].
    looks : (n, n_updates + 1, n_used, 3) array
        The atoms that features and variables look at, before each update and at the end.
    """

    positions: NDArray[np.float32]
    energy: NDArray[np.float64]
    looks: NDArray[np.float64]


def run_annealed_paths(task: AnnealingTask) -> list[PathRecord]:
    """Run a task's paths; one that leaves the numbers comes back as failed, with the reason.

    The work is W = -Σ_k (η_{k+1} - η_k)·T(x_k) [kT], summed over the updates of η (Crooks 1998: the change of the
    reduced energy at fixed x).
    """
    settings, n = task.settings, len(task.seeds)
    n_evaluations = settings.n_equilibration_steps + settings.n_steps + settings.n_frames
    seen = Features(tuple({v.name: v for v in (*task.features.variables, *task.variables)}.values()))
    system = openmm.XmlSerializer.deserialize(task.system_xml)
    task.features.add_tilt(system, thermal_energy(task.langevin.temperature), BIAS_GROUP)
    dynamics = Dynamics(
        system if n == 1 else with_copies(system, n), task.langevin, task.platform, task.seeds[0]
    )
    try:
        flown = _fly(task, dynamics, seen.atoms)
    except SimulationError as error:
        return [PathRecord.failed(str(error), seed, dynamics.n_evaluations) for seed in task.seeds]
    box = periodic_box(system)
    values = variable_values(seen.local().variables, flown.looks, box)
    return [
        _record(
            task,
            flown.positions[i],
            flown.energy[i],
            {k: v[i] for k, v in values.items()},
            box,
            seed,
            n_evaluations,
        )
        for i, seed in enumerate(task.seeds)
    ]


def _fly(task: AnnealingTask, dynamics: Dynamics, used: NDArray[np.int64]) -> _Flown:
    settings, shape = task.settings, (len(task.seeds), *task.start.shape)
    frame_every = settings.n_updates // settings.n_frames
    steps_per_update = settings.n_steps // settings.n_updates
    looks = np.empty((shape[0], settings.n_updates + 1, len(used), 3))
    frames, energy = np.empty((settings.n_frames, *shape)), np.empty((settings.n_frames, shape[0]))
    task.features.set_tilt(dynamics.context, task.eta[0])
    dynamics.start(np.tile(task.start, (shape[0], 1)))
    dynamics.step(settings.n_equilibration_steps)
    for k in range(settings.n_updates):
        looks[:, k] = dynamics.positions().reshape(shape)[:, used]
        task.features.set_tilt(dynamics.context, task.eta[k + 1])
        dynamics.step(steps_per_update)
        if (k + 1) % frame_every:
            continue
        frame = (k + 1) // frame_every - 1
        if shape[0] == 1:
            frames[frame, 0], energy[frame, 0] = dynamics.frame()
        else:
            frames[frame] = dynamics.positions().reshape(shape)
    looks[:, -1] = dynamics.positions().reshape(shape)[:, used]
    if shape[0] > 1:  # a context knows the energy of all copies only
        one = openmm.XmlSerializer.deserialize(task.system_xml)
        every = frames.reshape(-1, *task.start.shape)
        alone = PlatformChoice("Reference")
        energy = potential_energies(one, every, alone, {MOLECULE_GROUP}).reshape(energy.shape)
    return _Flown(frames.swapaxes(0, 1).astype(np.float32), energy.T, looks)


def _record(
    task: AnnealingTask,
    positions: NDArray[np.float32],
    energy: NDArray[np.float64],
    values: dict[str, NDArray[np.float64]],
    box: NDArray[np.float64] | None,
    seed: int,
    n_evaluations: int,
) -> PathRecord:
    if not np.isfinite(energy).all():
        why = "dynamics failed: the potential energy is not a finite number"
        return PathRecord.failed(why, seed, n_evaluations)
    frame_every = task.settings.n_updates // task.settings.n_frames
    features = np.stack([values[name] for name in task.features.space.names], axis=-1)
    statistic = task.features.space.statistic(features[:-1])
    work = -np.cumsum(np.sum(np.diff(task.eta, axis=0) * statistic, axis=1))
    passage = reactive_segment(*(region.contains(values) for region in task.regions))
    return PathRecord(
        positions=positions,
        values=task.features.values(positions, box),
        potential_energy=energy,
        cumulative_work=work[frame_every - 1 :: frame_every],
        passage=features[:0] if passage is None else features[passage[0] : passage[1] + 1],
        seed=seed,
        n_evaluations=n_evaluations,
    )


def annealed_paths(
    system: MolecularSystem,
    s: NDArray[np.float64],
    eta: NDArray[np.float64],
    settings: AnnealingSettings,
    langevin: LangevinSettings,
    platform: PlatformChoice,
    seeds: list[int],
    executor: Executor,
    *,
    clock: NDArray[np.float64] | None = None,
    walls: tuple[Region, ...] = (),
    backward: bool = False,
    done: Callable[[], None] = lambda: None,
) -> tuple[PathEnsemble, list[NDArray[np.float32] | None]]:
    """Run independent paths along a curve, each with its own noise.

    They are copies of the molecule in one context where `platform.n_copies` says so and the tilt and the walls allow.

    Parameters
    ----------
    system : MolecularSystem
    s : (n_points,) array
        Fraction of the Fisher-Rao length at the curve's points.
    eta : (n_points, K) array
        Natural parameters of the curve, from A to B.
    settings, langevin, platform
    seeds : list of int
        One per path.
    executor : concurrent.futures.Executor
    clock : (n_points,) array, optional
        Fraction of the time at which the curve's points are passed, from 0 to 1; `s` unless given.
    walls : tuple of Region
        Regions the dynamics is kept out of by flat-bottomed walls, which no reported energy contains.
    backward : bool
        Start at B and run the curve from B to A: frames are in the order of the protocol, `s` falls from 1 to 0, the
        work is that of the backward protocol, and reactive segments go from B to A.
    done : callable
        Called after each path.

    Returns
    -------
    ensemble : PathEnsemble
        Features, energies, work, reactive segment and status of every path, failed ones included.
    positions : list of (n_frames, n_atoms, 3) float32 arrays or None
        [nm]; None for a path that failed.
    """
    openmm_system = system.create_openmm_system()
    margin = _WALL_MARGIN * math.sqrt(thermal_energy(langevin.temperature) / settings.wall_stiffness)
    for region in walls:
        add_wall(
            openmm_system,
            region,
            system.collective_variables,
            settings.wall_stiffness,
            WALL_GROUP,
            margin,
        )
    xml = openmm.XmlSerializer.serialize(openmm_system)
    n_together = _together(openmm_system, system, platform)
    clock = s if clock is None else clock
    protocol, start = equal_steps(clock, eta, settings.n_updates), system.positions_a
    regions = (system.state_a.region, system.state_b.region)
    if backward:
        protocol, start, regions = protocol[::-1].copy(), system.positions_b, regions[::-1]
    used = regions[0].ranges.keys() | regions[1].ranges.keys()
    variables = tuple(v for name, v in system.collective_variables.items() if name in used)
    tasks = [
        AnnealingTask(
            xml, system.features, variables, regions, protocol, start, settings, langevin, platform, together
        )
        for k in range(0, len(seeds), n_together)
        if (together := tuple(seeds[k : k + n_together]))
    ]
    found = map_tasks(executor, run_annealed_paths, tasks, done)
    for _ in range(len(seeds) - len(tasks)):  # the bar counts paths
        done()
    records = [record for together in found for record in together]
    segments = [
        None if record.positions is None else _segment(system, record.positions, backward)
        for record in records
    ]
    interval = settings.n_steps // settings.n_frames * langevin.timestep
    ensemble = PathEnsemble.from_records(
        records, segments, system.feature_names, settings.n_frames, interval, system.time_unit
    )
    nothing = np.empty((0, len(system.feature_names)))
    passages = Passages(
        tuple(nothing if record.passage is None else record.passage for record in records),
        settings.n_steps // settings.n_updates * langevin.timestep,
    )
    at = passed(s, clock, settings.n_frames, backward)
    return replace(ensemble, s=at, passages=passages), [record.positions for record in records]


def _together(tilted: openmm.System, system: MolecularSystem, platform: PlatformChoice) -> int:
    """Return how many paths one task runs."""
    if platform.n_copies == 1:
        return 1
    system.features.add_tilt(tilted, system.kt, BIAS_GROUP)
    return 1 if why_no_copies(tilted) else min(platform.n_copies, _MOST_TOGETHER)


def _segment(
    system: MolecularSystem, positions: NDArray[np.float32], backward: bool
) -> tuple[int, int] | None:
    values = system.values(positions)
    in_a, in_b = (state.region.contains(values) for state in (system.state_a, system.state_b))
    return reactive_segment(in_b, in_a) if backward else reactive_segment(in_a, in_b)
