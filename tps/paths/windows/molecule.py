"""Sample the windows of a molecule: OpenMM dynamics under fixed tilts, with replica exchange between the windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray

from tps.dynamics import exchanged
from tps.engine import (
    BIAS_GROUP,
    Dynamics,
    LangevinSettings,
    Phase,
    PlatformChoice,
    map_tasks,
    periodic_box,
)
from tps.errors import ParameterError, SimulationError
from tps.features import CollectiveVariable, Features, variable_values
from tps.paths.ensemble import COMPLETED
from tps.paths.windows.samples import WindowSamples
from tps.paths.windows.windows import Windows, WindowSettings
from tps.systems import MolecularSystem, Region
from tps.units import thermal_energy


@dataclass(frozen=True, eq=False)
class LadderTask:
    """The job of one context: n windows with eta (n, n_statistics) and starts (n, n_atoms, 3) [nm]; picklable."""

    system_xml: str
    features: Features
    variables: tuple[CollectiveVariable, ...]
    regions: tuple[Region, Region]
    eta: NDArray[np.float64]
    starts: NDArray[np.float64]
    settings: WindowSettings
    langevin: LangevinSettings
    platform: PlatformChoice
    seed: int


@dataclass(frozen=True, eq=False)
class LadderRecord:
    """What one context saw: values (n_frames, n, d) and so on, NaN from where it failed."""

    values: NDArray[np.float64]
    potential_energy: NDArray[np.float64]
    in_regions: NDArray[np.bool_]
    replica: NDArray[np.int64]
    positions: NDArray[np.float32]
    n_evaluations: int
    failure: str = ""


def run_ladder(task: LadderTask) -> LadderRecord:
    """Run the replicas of one context in turn, a round of steps each, and exchange them between rounds."""
    system = openmm.XmlSerializer.deserialize(task.system_xml)
    features, box = task.features, periodic_box(system)
    features.add_tilt(system, thermal_energy(task.langevin.temperature), BIAS_GROUP)
    dynamics = Dynamics(system, task.langevin, task.platform, task.seed)
    rng = np.random.default_rng(task.seed)
    settings, n = task.settings, len(task.eta)
    shape = (settings.n_frames, n)
    values = np.full((*shape, features.space.n_features), np.nan)
    energy, replica = np.full(shape, np.nan), np.tile(np.arange(n), (settings.n_frames, 1))
    inside, held, failure = np.zeros((2, *shape), dtype=np.bool_), np.arange(n), ""
    places = {int(frame): place for place, frame in enumerate(settings.kept_frames)}
    kept = np.full((len(places), n, *task.starts.shape[1:]), np.nan, np.float32)
    try:
        states = [_started(dynamics, start) for start in task.starts]
        for frame in range(-settings.n_equilibration_frames, settings.n_frames):
            found = [_advanced(dynamics, task, k, states[held[k]]) for k in range(n)]
            for k in range(n):
                states[held[k]] = found[k][0]
            positions = np.stack([state[0] for state, _ in found])
            now = features.values(positions, box)
            if frame >= 0:
                values[frame], energy[frame], replica[frame] = now, [u for _, u in found], held
                at = variable_values(task.variables, positions, box)
                inside[:, frame] = [region.contains(at) for region in task.regions]
                if frame in places:
                    kept[places[frame]] = positions
            if settings.exchange:
                held = held[exchanged(task.eta @ features.space.statistic(now).T, rng)]
    except SimulationError as error:
        failure = str(error)
    return LadderRecord(values, energy, inside, replica, kept, dynamics.n_evaluations, failure)


def sample_windows(
    system: MolecularSystem,
    windows: Windows,
    starts: NDArray[np.floating],
    settings: WindowSettings,
    langevin: LangevinSettings,
    platform: PlatformChoice,
    seeds: Sequence[int],
    executor: Executor,
    *,
    done: Callable[[], None] = lambda: None,
) -> WindowSamples:
    """Sample a molecule in every window, in independent ladders.

    Parameters
    ----------
    system : MolecularSystem
    windows : Windows
    starts : (L, K, n_atoms, 3) array
        Start of every window in every ladder [nm]; see `starts_along`.
    settings, langevin, platform
    seeds : sequence of int
        One per ladder.
    executor : concurrent.futures.Executor
        Runs one task per ladder, or per window and ladder where there is no exchange.
    done : callable
        Called after each task.

    Returns
    -------
    WindowSamples
        A simulation that leaves the numbers fails alone, and keeps the frames it had: a window, or with exchange
        its ladder.

    Raises
    ------
    ParameterError
        If the starts do not fit.
    """
    expected = (len(seeds), windows.n_windows, system.n_atoms, 3)
    if np.shape(starts) != expected or len(seeds) == 0:
        raise ParameterError(
            f"windows need starts (n_ladders, n_windows, n_atoms, 3) = {expected} for {len(seeds)} seeds, but got "
            f"{np.shape(starts)}"
        )
    n_statistics = system.space.n_statistics
    if windows.eta.shape[1] != n_statistics:
        raise ParameterError(
            f"windows of this molecule need eta (K, {n_statistics}), but got {windows.eta.shape}"
        )
    everything = np.arange(windows.n_windows)
    groups = [everything] if settings.exchange else np.split(everything, windows.n_windows)
    regions = (system.state_a.region, system.state_b.region)
    used = {name for region in regions for name in region.ranges}
    tasks = [
        LadderTask(
            system.system_xml,
            system.features,
            tuple(system.collective_variables[name] for name in sorted(used)),
            regions,
            windows.eta[group],
            np.asarray(ladder[group], dtype=np.float64),
            settings,
            langevin,
            platform,
            int(np.random.SeedSequence([seed, int(group[0])]).generate_state(1)[0]),
        )
        for seed, ladder in zip(seeds, starts, strict=True)
        for group in groups
    ]
    records = map_tasks(executor, run_ladder, tasks, done)
    ladders = [records[i : i + len(groups)] for i in range(0, len(records), len(groups))]

    def joined(name: str, axis: int) -> NDArray[Any]:
        return np.stack([np.concatenate([getattr(r, name) for r in rows], axis=axis) for rows in ladders])

    values, inside = joined("values", 1), joined("in_regions", 2)
    replica = joined("replica", 1) if settings.exchange else np.broadcast_to(everything, values.shape[:3])
    status = [[f"failed: {r.failure}" if r.failure else COMPLETED for r in rows] for rows in ladders]
    return WindowSamples(
        windows=windows,
        values=values,
        statistics=system.space.statistic(values),
        potential_energy=joined("potential_energy", 1),
        in_a=inside[:, 0].astype(np.bool_),
        in_b=inside[:, 1].astype(np.bool_),
        replica=replica.astype(np.int64),
        status=np.broadcast_to(np.array(status), (len(seeds), windows.n_windows)).copy(),
        n_evaluations=sum(record.n_evaluations for record in records),
        positions=joined("positions", 1),
    )


def _started(dynamics: Dynamics, start: NDArray[np.float64]) -> Phase:
    dynamics.start(start)
    return dynamics.phase()[0]


def _advanced(dynamics: Dynamics, task: LadderTask, window: int, state: Phase) -> tuple[Phase, float]:
    """Run one round of a replica in a window."""
    task.features.set_tilt(dynamics.context, task.eta[window])
    dynamics.resume(state)
    dynamics.step(task.settings.frame_interval)
    return dynamics.phase()
