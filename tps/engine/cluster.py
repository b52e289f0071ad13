"""Workers on other machines: a Dask cluster behind the interface of `concurrent.futures.Executor`.

Nothing here knows what a task is. Whatever a worker computes follows from the task alone, so one that is lost begins
again on another worker and gives the same numbers.
"""

from __future__ import annotations

import functools
import logging
import pickle
import zlib
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from typing import Any, Literal

import openmm
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

import tps
from tps.errors import ConfigError, SimulationError, TpsError
from tps.sections import Section

#: What dask-jobqueue calls each queue, and the account that is charged there.
_QUEUES = {
    "slurm": ("SLURMCluster", "account"),
    "pbs": ("PBSCluster", "account"),
    "lsf": ("LSFCluster", "project"),
    "sge": ("SGECluster", "project"),
}
_CONNECT_SECONDS = 30


class ClusterSection(Section):
    """[cluster] Where tasks are done with run.executor = "dask": by a scheduler that runs, or in jobs of a queue."""

    scheduler: str | None = Field(
        None, description="Address of a Dask scheduler that runs, such as tcp://host:8786."
    )
    kind: Literal["slurm", "pbs", "lsf", "sge"] | None = Field(
        None, description="Queue to which jobs of workers are sent; instead of scheduler."
    )
    cores: PositiveInt = Field(1, description="Cores of a job; each is a worker of its own.")
    memory: str | None = Field(None, description="Memory of a job, such as 8GB; needed with kind.")
    walltime: str | None = Field(None, description="Time limit of a job, as the queue writes it.")
    queue: str | None = Field(None, description="Queue or partition.")
    account: str | None = Field(None, description="Account or project that is charged.")
    interface: str | None = Field(
        None, description="Network that workers reach this machine by, such as ib0."
    )
    min_workers: NonNegativeInt = Field(0, description="Workers that stay while there is nothing to do.")
    max_workers: PositiveInt = Field(
        32, description="Most workers at a time; with scheduler, what the estimate of the time counts on."
    )
    directives: tuple[str, ...] = Field(
        (), description="More for the head of the job script, such as --constraint=icelake."
    )
    prologue: tuple[str, ...] = Field(
        (), description="Lines of the job script before its worker, such as module load python."
    )
    n_retries: NonNegativeInt = Field(
        5, description="Times a task that failed or lost its worker begins again elsewhere."
    )

    @model_validator(mode="after")
    def _one_cluster(self) -> ClusterSection:
        if self.scheduler and self.kind:
            raise ValueError("scheduler and kind exclude each other: give the one or the other")
        if self.kind and not self.memory:
            raise ValueError('kind needs the memory of a job: give for instance memory = "4GB"')
        if self.min_workers > self.max_workers:
            raise ValueError(f"min_workers = {self.min_workers} exceeds max_workers = {self.max_workers}")
        return self


def cluster_executor(section: ClusterSection, say: Callable[[str], None]) -> ClusterExecutor:
    """Return the executor of a cluster that one stage after another takes over, and say once where it is.

    Raises
    ------
    ConfigError
        If Dask is not installed, or the queue's settings are not to be understood.
    SimulationError
        If no scheduler answers.
    """
    executor = _open.get(section)
    if executor is None or executor.closed:
        executor = _open[section] = ClusterExecutor(section)
        say(f"workers: {executor.describe()}")
    return executor


_open: dict[ClusterSection, ClusterExecutor] = {}


@functools.cache
def job_queue(section: ClusterSection) -> Any:
    """Return the cluster of a queue, whose `job_script()` is what it sends; its jobs end with this process.

    Parameters
    ----------
    section : ClusterSection
        With a kind.

    Raises
    ------
    ConfigError
        If dask-jobqueue is not installed, or the settings are not to be understood.
    """
    _import_distributed()
    import dask
    import dask_jobqueue

    assert section.kind is not None
    name, account = _QUEUES[section.kind]
    given = {
        "walltime": section.walltime,
        "queue": section.queue,
        account: section.account,
        "interface": section.interface,
        "job_extra_directives": list(section.directives) or None,
        "job_script_prologue": list(section.prologue) or None,
    }
    limit = {"distributed.scheduler.allowed-failures": section.n_retries}
    try:
        with dask.config.set(limit):
            return getattr(dask_jobqueue, name)(
                cores=section.cores,
                processes=section.cores,
                memory=section.memory,
                **{key: value for key, value in given.items() if value is not None},
            )
    except (ValueError, OSError, RuntimeError) as error:
        raise ConfigError(f"[cluster]: no {section.kind} cluster can be made: {error}") from error


class ClusterExecutor(Executor):
    """Tasks done by a Dask cluster; each worker is a process with one thread, and may come and go."""

    def __init__(self, section: ClusterSection) -> None:
        distributed = _import_distributed()
        self._retries = section.n_retries
        self._where = section.scheduler or f"of {section.kind} jobs"
        address: Any = section.scheduler
        if section.kind:
            address = job_queue(section)
            address.adapt(minimum=section.min_workers, maximum=section.max_workers)
        try:
            self._client = distributed.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise SimulationError(
                f"no Dask scheduler answers at {self._where}: start one with `dask scheduler`, and give the address "
                "that it prints as cluster.scheduler"
            ) from error
        self._pending: set[Future[Any]] = set()

    @property
    def closed(self) -> bool:
        """Whether it takes no more tasks."""
        return self._client.status in ("closing", "closed")

    def describe(self) -> str:
        """Return where the scheduler and its dashboard are."""
        info = self._client.scheduler_info()
        known = "dashboard" in info["services"]
        shown = (
            f"dashboard {self._client.dashboard_link}"
            if known
            else "no dashboard (bokeh is not installed there)"
        )
        return f"of the Dask scheduler at {info['address']}, {shown}"

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Send a call of a module-level function to the cluster.

        Raises
        ------
        SimulationError
            If the scheduler is gone.
        """
        found: Future[Any] = Future()
        packed = zlib.compress(pickle.dumps((_versions(), fn, args, kwargs)), level=1)
        try:
            remote = self._client.submit(_work, packed, pure=False, retries=self._retries)
        except Exception as error:
            if self.closed:
                raise SimulationError(self._scheduler_gone()) from error
            raise
        self._pending.add(found)
        found.add_done_callback(self._pending.discard)
        found.add_done_callback(lambda done: remote.cancel() if done.cancelled() else None)
        remote.add_done_callback(functools.partial(self._pass_on, found))
        return found

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster, once all tasks are done unless they are to be given up."""
        if wait and not cancel_futures:
            wait_for(list(self._pending))
        self._client.close()

    def _pass_on(self, found: Future[Any], remote: Any) -> None:
        """Hand on what has become of a task; in a thread of Dask's."""
        if not found.set_running_or_notify_cancel():
            return
        try:
            answer = remote.result()
        except BaseException as error:  # whatever it is: somebody waits for it
            found.set_exception(self._explained(error, remote.status))
        else:
            if isinstance(answer, _Refusal):
                found.set_exception(answer.reason)
            else:
                found.set_result(answer)
        remote.release()

    def _explained(self, error: BaseException, status: str) -> BaseException:
        from distributed.scheduler import KilledWorker

        if status != "error":  # of the way to the scheduler, not of the task
            return SimulationError(self._scheduler_gone())
        if isinstance(error, KilledWorker):
            return SimulationError(
                f"{error.allowed_failures + 1} workers died over the same task, the last of them at "
                f"{error.last_worker.address} (out of memory, or a time limit shorter than the task?): what was "
                "finished is kept, so give workers more of it and run again"
            )
        if isinstance(error, ImportError) or "deserialization" in str(error):
            return SimulationError(
                f"the cluster {self._where} cannot read tasks: scheduler and workers need the same Python packages as "
                f"this process, tps among them ({str(error).splitlines()[0]})"
            )
        return error

    def _scheduler_gone(self) -> str:
        return (
            f"the Dask scheduler {self._where} went away before the work was done: what was finished is kept, so "
            "start it again and repeat the command"
        )


@dataclass(frozen=True)
class _Refusal:
    """What `tps` itself raised in a worker: the same elsewhere, so there is no use in trying again."""

    reason: TpsError


def _work(packed: bytes) -> Any:
    """Do a task in a worker."""
    from distributed import get_worker

    versions, function, args, kwargs = pickle.loads(zlib.decompress(packed))
    worker = get_worker()
    try:
        _check_worker(worker.state.nthreads, worker.address, versions)
        return function(*args, **kwargs)
    except TpsError as error:
        return _Refusal(error)


def _check_worker(n_threads: int, address: str, versions: dict[str, str]) -> None:
    """Refuse a worker that would give other numbers."""
    if n_threads != 1:
        raise SimulationError(
            f"the Dask worker {address} has {n_threads} threads, which would share one generator of noise on OpenMM's "
            "Reference platform: start workers with --nthreads 1 and as many of them as there are cores"
        )
    if versions != _versions():
        raise SimulationError(
            f"the Dask worker {address} has {_listed(_versions())}, and this process {_listed(versions)}: install the "
            "same there"
        )


def _versions() -> dict[str, str]:
    return {"tps": tps.__version__, "OpenMM": openmm.Platform.getOpenMMVersion()}


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _import_distributed() -> Any:
    """Return Dask's `distributed`, told not to log what becomes a sentence here."""
    try:
        import dask_jobqueue  # noqa: F401
        import distributed
    except ImportError as error:
        raise ConfigError(
            f'run.executor = "dask" needs Dask, which is not installed ({error}): run `pip install '
            '"tps-spacetime[dask]"`'
        ) from error
    for name in ["asyncio", "tornado", *logging.root.manager.loggerDict]:  # each has a level of its own
        if name.partition(".")[0] in ("asyncio", "distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return distributed
