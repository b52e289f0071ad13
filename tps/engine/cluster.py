"""Workers on other machines: a Dask cluster behind the interface of `concurrent.futures.Executor`.

Nothing here knows what a task is. Whatever a worker computes follows from the task alone, so one that is lost begins
again on another worker and gives the same numbers.
"""

from __future__ import annotations

import functools
import pickle
import zlib
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from typing import Any

import openmm

import tps
from tps.engine.jobs import ClusterSection, adapt, import_distributed, job_queue
from tps.errors import SimulationError, TpsError

_CONNECT_SECONDS = 30


def cluster_executor(section: ClusterSection, say: Callable[[str], None]) -> ClusterExecutor:
    """Return the executor of a cluster that one stage after another takes over, and say once where it is.

    Raises
    ------
    ConfigError
        If Dask is not installed, or the queue's settings are not to be understood.
    SimulationError
        If no scheduler answers, or the queue takes no jobs.
    """
    executor = _open.get(section)
    if executor is None or executor.closed:
        executor = _open[section] = ClusterExecutor(section)
        say(f"workers: {executor.describe()}")
    return executor


_open: dict[ClusterSection, ClusterExecutor] = {}


class ClusterExecutor(Executor):
    """Tasks done by a Dask cluster; each worker is a process with one thread, and may come and go."""

    def __init__(self, section: ClusterSection) -> None:
        distributed = import_distributed()
        self._retries = section.n_retries
        self._where = section.scheduler or f"of {section.kind} jobs"
        self._pending: set[Future[Any]] = set()
        address: Any = section.scheduler
        self._jobs: Any = None
        if section.kind:
            address = job_queue(section)
            self._jobs = address.job_cls
            self._check_jobs()
            self._jobs.when_refused = self._give_up
            adapt(address, section)
        try:
            self._client = distributed.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise SimulationError(
                f"no Dask scheduler answers at {self._where}: start one with `dask scheduler`, and give the address "
                "that it prints as cluster.scheduler"
            ) from error

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
        waits = "; tasks wait until the queue starts the first job" if self._jobs else ""
        return f"of the Dask scheduler at {info['address']}, {shown}{waits}"

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Send a call of a module-level function to the cluster.

        Raises
        ------
        SimulationError
            If the scheduler is gone, or the queue takes no jobs.
        """
        self._check_jobs()
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
        if found.done() or not found.set_running_or_notify_cancel():
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

    def _check_jobs(self) -> None:
        if self._jobs is not None and self._jobs.refusal:
            raise SimulationError(
                f"the queue took none {self._where} ({self._jobs.refusal}): mend [cluster], or start `tps` where such "
                "jobs can be sent from"
            )

    def _give_up(self) -> None:
        """Tell those who wait that no worker will come; in a thread of Dask's."""
        for found in list(self._pending):
            try:
                self._check_jobs()
            except SimulationError as error:
                found.set_exception(error)

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
