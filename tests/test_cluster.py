"""A Dask cluster in the run file: what is refused, what stays the same, and what a worker of another kind is told."""

import sys

import pytest

from tps.config import RunConfig, load_config
from tps.engine import ClusterSection
from tps.engine.cluster import _check_worker, _versions, cluster_executor
from tps.errors import ConfigError, SimulationError
from tps.pipeline import RunFolder
from tps.pipeline.stages import STAGES, stage_key

QUEUE = {"kind": "slurm", "memory": "4GB", "cores": 4, "max_workers": 64}


def config(**sections):
    run = {"system": "double-well", "seed": 3} | sections.pop("run", {})
    return RunConfig.model_validate({"run": run, **sections})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('executor = "dask"', "needs cluster.scheduler, an address, or cluster.kind, a queue"),
        ('executor = "mpi"', "run.executor: .*'local' or 'dask', but got 'mpi'"),
        ('[cluster]\nkind = "slurm"', 'cluster: kind needs the memory of a job: .* memory = "4GB"'),
        ('[cluster]\nkind = "slurm"\nmemory = "4GB"\nscheduler = "tcp://a:1"', "exclude each other"),
        ('[cluster]\nkind = "slurm"\nmemory = "9GB"\ncores = 64', "cores = 64, .* exceeds max_workers = 32"),
        ("[cluster]\nmin_workers = 9\nmax_workers = 8", "min_workers = 9 exceeds max_workers = 8"),
        ("[cluster]\nwaltime = '1:00'", "cluster.waltime: unknown key; did you mean 'walltime'"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(tmp_path, text, said):
    file = tmp_path / "run.toml"
    file.write_text(f'[run]\nsystem = "double-well"\n{text}\n')
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(file)
    assert "\n" not in str(caught.value)


def test_where_the_work_is_done_changes_no_key_and_a_run_goes_on_elsewhere(tmp_path):
    here = RunFolder.create(tmp_path / "run", config())
    there = config(run={"executor": "dask", "n_workers": 7}, cluster=QUEUE)
    moved = RunFolder.create(tmp_path / "run", there)
    assert [stage_key(here, stage) for stage in STAGES] == [stage_key(moved, stage) for stage in STAGES]
    assert load_config(tmp_path / "run" / "run.toml") == there
    assert not config().gives_the_same_as(config(run={"seed": 4}))
    assert [config(run={"n_workers": 3}).n_workers, there.n_workers] == [3, 64]


def test_without_dask_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r'pip install "tps-spacetime\[dask\]"'):
        cluster_executor(ClusterSection(scheduler="tcp://127.0.0.1:1"), print)


def test_a_worker_that_would_give_other_numbers_is_refused():
    _check_worker(1, "tcp://n7:1", _versions())
    with pytest.raises(SimulationError, match=r"tcp://n7:1 has 4 threads, .* --nthreads 1"):
        _check_worker(4, "tcp://n7:1", _versions())
    with pytest.raises(SimulationError, match=r"and this process tps 0\.0, OpenMM 8: install the same"):
        _check_worker(1, "tcp://n7:1", {"tps": "0.0", "OpenMM": "8"})
