"""Conformations by replica exchange in temperature: what the replicas saw, weighed for the system's own temperature."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np

from tps.analysis import log_selection_of_energy, temperature_log_strength
from tps.config import ConformationsSection
from tps.conformations import Conformations, ReplicaFrames, ReplicaTask, run_replicas, temperature_ladder
from tps.engine import LangevinSettings, PlatformChoice, map_tasks
from tps.errors import ConfigError
from tps.pipeline.progress import Progress, counted
from tps.pipeline.sample import SampledConformations
from tps.systems import MolecularSystem
from tps.units import thermal_energy

#: Neighbouring temperatures that swap more rarely than this are said to lie too far apart.
_LEAST_ACCEPTANCE = 0.1


def replica_exchange(
    system: MolecularSystem,
    section: ConformationsSection,
    langevin: LangevinSettings,
    platform: PlatformChoice,
    seeds: Sequence[int],
    n_cores: int,
    executor: Executor,
    progress: Progress,
) -> SampledConformations:
    """Return frames of all temperatures with their weights at the system's; one ladder of replicas for each seed.

    Raises
    ------
    ConfigError
        If the highest temperature is not above the system's, or there are too few steps for a frame of each replica.
    """
    if section.max_temperature_kelvin <= system.temperature:
        raise ConfigError(
            f"conformations.max_temperature_kelvin must be above the system's {system.temperature:g}, but got "
            f"{section.max_temperature_kelvin:g}"
        )
    n = section.n_temperatures
    temperatures = temperature_ladder(system.temperature, section.max_temperature_kelvin, n)
    n_frames = section.n_sample_steps // (n * section.frame_interval_steps)
    if n_frames < 2:
        raise ConfigError(
            f"{section.n_sample_steps:,} steps (conformations.n_sample_steps, of basins grow.n_basin_steps) leave each "
            f"of {n} temperatures {n_frames} frames, where 2 are needed: raise them, or lower the interval of "
            f"{section.frame_interval_steps} between frames"
        )
    ends = (system.positions_a, system.positions_b)
    tasks = [
        ReplicaTask(
            system.system_xml,
            ends[ladder % 2],
            temperatures,
            n_frames,
            section.frame_interval_steps,
            langevin,
            platform.for_tasks(len(seeds), n_cores),
            seed,
        )
        for ladder, seed in enumerate(seeds)
    ]
    with progress.task("replica exchange", len(tasks)) as advance:
        ladders = map_tasks(executor, run_replicas, tasks, counted(advance))
    return _weighed(system, temperatures, ladders)


def _weighed(
    system: MolecularSystem, temperatures: tuple[float, ...], ladders: Sequence[ReplicaFrames]
) -> SampledConformations:
    n_replicas, n_frames = ladders[0].state.shape
    positions = np.concatenate([ladder.positions.reshape(-1, system.n_atoms, 3) for ladder in ladders])
    energy = np.concatenate([ladder.potential_energy.ravel() for ladder in ladders])
    state = np.concatenate([ladder.state.ravel() for ladder in ladders])
    kt = np.array([thermal_energy(t) for t in temperatures])
    strength = temperature_log_strength(energy, state, kt)
    frames = Conformations(
        values=system.feature_values(positions),
        log_weights=-log_selection_of_energy(energy, kt, strength),
        potential_energy=energy,
        walker=np.repeat(np.arange(len(ladders) * n_replicas), n_frames),
    )
    acceptance = np.mean([ladder.acceptance for ladder in ladders], axis=0)
    notes = [
        f"neighbouring temperatures swap with probability {acceptance.min():.2f} to {acceptance.max():.2f}"
    ]
    if acceptance.min() < _LEAST_ACCEPTANCE:
        notes.append(
            f"that is less than {_LEAST_ACCEPTANCE:g}, so replicas hardly change places: raise "
            "conformations.n_temperatures"
        )
    return SampledConformations(
        frames,
        positions,
        sum(ladder.n_evaluations for ladder in ladders),
        tuple(notes),
        box=system.box,
        selection={"kt": kt, "log_strength": strength},
        at_target=state == 0,
    )
