"""Ratios of speeds within one run: what annealing costs beside bare dynamics, and what a second process gains."""

import os
import time
from concurrent.futures import Executor

import numpy as np
import openmm
import pytest

from tps.engine import ClusterSection, LangevinSettings, choose_platform, local_executor, map_tasks
from tps.engine.cluster import ClusterExecutor
from tps.paths.annealed.molecule import AnnealingSettings, AnnealingTask, run_annealed_paths
from tps.paths.protocol import equal_steps
from tps.systems import load_system

pytestmark = pytest.mark.benchmark
SETTINGS = AnnealingSettings(1, n_steps=64_000, n_updates=640, n_frames=320, n_equilibration_steps=1000)


def make_task(seed: int = 1) -> AnnealingTask:
    system = load_system("alanine-dipeptide")
    angles = np.stack([np.linspace(a, b, 64) for a, b in ((-2.6, 1.05), (2.8, -0.7))], axis=1)
    eta = 50 * np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(64, 4)
    return AnnealingTask(
        system.system_xml,
        system.features,
        tuple(system.collective_variables.values()),
        (system.state_a.region, system.state_b.region),
        equal_steps(np.linspace(0, 1, 64), eta, SETTINGS.n_updates),
        system.positions_a,
        SETTINGS,
        LangevinSettings(system.temperature),
        choose_platform(system.system_xml, system.positions_a),
        (seed,),
    )


def bare_rate(task: AnnealingTask) -> float:
    """Steps per second of processor time of the molecule alone, by OpenMM's own integrator in one call."""
    integrator = task.langevin.integrator(1)
    context = openmm.Context(
        openmm.XmlSerializer.deserialize(task.system_xml),
        integrator,
        openmm.Platform.getPlatformByName(task.platform.name),
        task.platform.properties,
    )
    context.setPositions(task.start)
    context.setVelocitiesToTemperature(300.0, 1)
    integrator.step(1000)
    start = time.process_time()
    integrator.step(SETTINGS.n_steps)
    return SETTINGS.n_steps / (time.process_time() - start)


def annealed_rate(task: AnnealingTask) -> float:
    """Steps per second of processor time of an annealed path: what else the machine does is left out of both."""
    start = time.process_time()
    (record,) = run_annealed_paths(task)
    assert not record.failure
    return record.n_evaluations / (time.process_time() - start)


def test_annealing_keeps_seven_tenths_of_the_bare_rate():
    task = make_task()
    ratios = [annealed_rate(task) / bare_rate(task) for _ in range(5)]
    print(
        f"\nannealed Langevin / bare OpenMM stepping: {np.median(ratios):.2f} (five pairs, {min(ratios):.2f} to "
        f"{max(ratios):.2f})"
    )
    assert np.median(ratios) >= 0.7


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_two_processes_gain_seven_tenths():
    """Both pools are warm: what is compared is work, not the start of an interpreter."""
    with local_executor("processes", 1) as one, local_executor("processes", 2) as two:
        assert gain("process", one, two) >= 1.7


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_a_second_worker_of_a_cluster_gains_eight_tenths():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as small,
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as large,
        ClusterExecutor(ClusterSection(scheduler=small.scheduler_address)) as one,
        ClusterExecutor(ClusterSection(scheduler=large.scheduler_address)) as two,
    ):
        assert gain("worker of a Dask cluster", one, two) >= 1.8


def gain(what: str, one: Executor, two: Executor) -> float:
    """How many times the work two of something do in the seconds of one, the median of three pairs."""
    tasks, ratios = [make_task(seed) for seed in range(8)], []
    map_tasks(one, run_annealed_paths, tasks[:1])
    map_tasks(two, run_annealed_paths, tasks[:4])
    for _ in range(3):
        seconds = []
        for executor in (one, two):
            start = time.perf_counter()
            map_tasks(executor, run_annealed_paths, tasks)
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[0] / seconds[1])
    print(f"\ntwo against one {what}: {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    return float(np.median(ratios))
