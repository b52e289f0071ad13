"""Parallel work through the one interface of `concurrent.futures.Executor`, so that a cluster can take its place."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    ThreadPoolExecutor,
    as_completed,
)
from contextlib import contextmanager
from typing import Literal, TypeVar

from tps.engine.choice import PlatformChoice
from tps.engine.cluster import cluster_executor
from tps.engine.jobs import ClusterSection
from tps.errors import ParameterError, SimulationError
from tps.workers import Workers

Task = TypeVar("Task")
Result = TypeVar("Result")


def executor_kind(platform: PlatformChoice) -> Literal["threads", "processes"]:
    """Return what simulations on a platform run in.

    Threads share one copy of everything, and OpenMM releases the GIL. But the Reference platform draws all its noise
    from one generator per process: contexts that step side by side in threads take numbers from each other, and the
    same seed no longer gives the same trajectory. So it gets processes.
    """
    return "processes" if platform.name == "Reference" else "threads"


@contextmanager
def shared_executor(
    kind: Literal["threads", "processes"],
    n_workers: int,
    cluster: ClusterSection | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Executor]:
    """Yield workers that one stage after another takes over: starting processes costs seconds.

    They end with this process; after a failure or an interrupt, at once. Those of a cluster, if there is one, are
    processes, and as many as it has; `say` is told once where it is.

    Raises
    ------
    ParameterError
        If `n_workers` is not positive.
    ConfigError, SimulationError
        If there is no cluster where there should be: see `cluster_executor`.
    """
    executor = _shared(kind, n_workers) if cluster is None else cluster_executor(cluster, say)
    try:
        yield executor
    except BaseException as error:
        _stop(executor, error)
        _shared.cache_clear()
        raise


@functools.cache
def _shared(kind: Literal["threads", "processes"], n_workers: int) -> Executor:
    return _executor(kind, n_workers)


@contextmanager
def local_executor(kind: Literal["threads", "processes"], n_workers: int) -> Iterator[Executor]:
    """Yield an executor on this machine: threads where OpenMM works alone, processes where Python itself does.

    Raises
    ------
    ParameterError
        If `n_workers` is not positive.
    """
    executor = _executor(kind, n_workers)
    try:
        yield executor
    except BaseException as error:
        _stop(executor, error)
        raise
    executor.shutdown()


def _stop(executor: Executor, error: BaseException) -> None:
    """End the workers: after an interrupt at once, although it may have reached this process alone.

    Threads cannot be ended: they finish their tasks, for nobody, or end with the program.
    """
    executor.shutdown(wait=False, cancel_futures=True)
    if isinstance(error, KeyboardInterrupt):
        if not isinstance(executor, Workers):
            return
        executor.kill()
    executor.shutdown(wait=True)


def _executor(kind: Literal["threads", "processes"], n_workers: int) -> Executor:
    if n_workers < 1:
        raise ParameterError(f"the number of workers must be at least 1, but got {n_workers}")
    return (
        ThreadPoolExecutor(n_workers, thread_name_prefix="tps") if kind == "threads" else Workers(n_workers)
    )


def map_tasks(
    executor: Executor,
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    done: Callable[[], None] = lambda: None,
) -> list[Result]:
    """Run `function` on every task and return the results in the order of the tasks.

    Parameters
    ----------
    executor : concurrent.futures.Executor
        Of this machine or of a cluster: `function` and tasks travel by pickle.
    function : callable
        A module-level function; what it raises is raised here.
    tasks : sequence
    done : callable, optional
        Called after each finished task, for a progress bar.

    Raises
    ------
    SimulationError
        If a worker process dies, or none of them starts.
    """
    futures = {executor.submit(function, task): index for index, task in enumerate(tasks)}
    results: dict[int, Result] = {}
    try:
        for future in as_completed(futures):
            results[futures[future]] = future.result()
            done()
    except BrokenExecutor as error:
        raise SimulationError(_why_broken(executor)) from error
    return [results[index] for index in range(len(tasks))]


def _why_broken(executor: Executor) -> str:
    if isinstance(executor, Workers) and not executor.started.is_set():
        return (
            "no worker process could start: each reads the running script again, so what the script does must stand in "
            'a file and under `if __name__ == "__main__":`'
        )
    return "a worker process died before its work was done (out of memory?): run again with fewer workers"
