"""Where a Dask cluster comes from: a scheduler that runs, or jobs that are sent to a queue by dask-jobqueue."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from tps.errors import ConfigError
from tps.sections import Section

#: What dask-jobqueue calls each queue, and the account that is charged there.
_QUEUES = {
    "slurm": ("SLURMCluster", "account"),
    "pbs": ("PBSCluster", "account"),
    "lsf": ("LSFCluster", "project"),
    "sge": ("SGECluster", "project"),
}
#: Seconds for which a job has too little to do before it ends: a queue may take long to start another.
_IDLE_SECONDS = 60


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
        if self.kind and self.cores > self.max_workers:
            raise ValueError(f"cores = {self.cores}, each a worker, exceeds max_workers = {self.max_workers}")
        if self.min_workers > self.max_workers:
            raise ValueError(f"min_workers = {self.min_workers} exceeds max_workers = {self.max_workers}")
        return self


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
    import_distributed()
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
    kind = getattr(dask_jobqueue, name)
    try:
        with dask.config.set(limit):
            return kind(
                job_cls=_answered(kind.job_cls),
                cores=section.cores,
                processes=section.cores,
                memory=section.memory,
                **{key: value for key, value in given.items() if value is not None},
            )
    except (ValueError, OSError, RuntimeError) as error:
        raise ConfigError(f"[cluster]: no {section.kind} cluster can be made: {error}") from error


def _answered(job: Any) -> Any:
    """Return a class of jobs that keeps what the queue said to the first: Dask itself would wait for ever."""

    class AnsweredJob(job):
        taken, refusal = False, ""
        when_refused: Callable[[], None] = staticmethod(lambda: None)

        async def start(self) -> None:
            try:
                await super().start()
            except (OSError, RuntimeError, ValueError) as error:
                if not AnsweredJob.taken:  # later ones may be more than a user's share
                    AnsweredJob.refusal = (str(error).strip().splitlines() or [repr(error)])[-1]
                    AnsweredJob.when_refused()
                raise
            AnsweredJob.taken = True

    return AnsweredJob


def adapt(queue: Any, section: ClusterSection) -> None:
    """Have as many jobs as the work asks for: whole ones, since a job ends with the first worker that is too many."""
    from distributed.deploy import Adaptive

    each = section.cores
    most = section.max_workers // each

    class WholeJobs(Adaptive):
        async def target(self) -> int:
            return -(-await super().target() // each) * each

    queue.adapt(
        Adaptive=WholeJobs,
        minimum=min(-(-section.min_workers // each), most) * each,
        maximum=most * each,
        interval=1.0,
        wait_count=_IDLE_SECONDS,
        worker_key=_job_of if each > 1 else None,
    )


def _job_of(worker: Any) -> str:
    """Return the job of a worker, one of several: dask-jobqueue numbers them at the end of its name."""
    return str(worker.name).rpartition("-")[0]


def import_distributed() -> Any:
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
