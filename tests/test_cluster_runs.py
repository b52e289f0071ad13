"""The same bytes from a Dask cluster as from this machine, though workers and scheduler are killed (make test-dask)."""

import contextlib
import hashlib
import itertools
import os
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tps.config import RunConfig, load_config
from tps.engine import ClusterSection, shared_executor
from tps.engine.cluster import ClusterExecutor
from tps.engine.jobs import job_queue
from tps.errors import ConfigError, SideStageError, SimulationError
from tps.pipeline import RunFolder, Silent, run_all

pytestmark = pytest.mark.dask

ROOT = Path(__file__).parent.parent
SURFACE = ROOT / "docs" / "_site" / "surface" / "run.toml"
#: smoke, made shorter: every stage that has tasks.
MOLECULE = {
    "run": {"system": "alanine-dipeptide", "seed": 1, "platform": "Reference", "n_workers": 2},
    "conformations": {"n_build_steps": 100_000, "n_sample_steps": 100_000, "frame_interval_steps": 50},
    "train": {"n_steps": 50, "log_partition": {"n_components": 32}},
    "geodesic": {"n_points": 32},
    "paths": {"n_paths": 4, "n_baseline_paths": 2, "n_steps": 16_000, "n_updates": 160, "n_frames": 80},
    "shooting": {"n_moves": 80, "n_chains": 4, "n_frame_shots": 40},
    "committor": {"n_paths": 2, "n_shots": 10},
    "free_energy": {
        "n_windows": 6,
        "n_bridge_windows": 3,
        "n_frames": 60,
        "frame_interval_steps": 50,
        "n_backward_paths": 2,
    },
}
_GONE = "went away before the work was done"
#: What holds times of day, and pictures and pages made of the rest.
TIMED = ("manifest.json", "run.toml", "report.html", ".lock")


def data_bytes(folder):
    """Digest of every file of a run that holds data."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "figures" not in path.parts)
    kept = [path for path in files if path.name not in TIMED]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in kept}


def finish(config, folder):
    with contextlib.suppress(RuntimeError):  # numbers of so short a run may be withheld
        run_all(RunFolder.create(folder, config), Silent(), until="rate")
    return data_bytes(folder)


def on(address, config, **cluster):
    """The same run on the workers of a scheduler."""
    data = config.model_dump(mode="json")
    data["run"]["executor"], data["cluster"] = "dask", {"scheduler": address, **cluster}
    return RunConfig.model_validate(data)


class DaskProcesses:
    """A scheduler and workers of one thread each, as a user starts them, under signals of a test."""

    def __init__(self, folder, n_workers):
        self.folder = folder
        self.scheduler, line = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"
        )
        self.address = re.search(r"tcp://[\d.:]+", line)[0]
        self.workers = [self.add_worker() for _ in range(n_workers)]

    def _start(self, *words):
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "20",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *words],
            stderr=subprocess.PIPE,
            cwd=self.folder,
            text=True,
            env=environment,
        )
        line = next(text for text in process.stderr if "tcp://" in text)
        threading.Thread(target=process.stderr.read, daemon=True).start()
        return process, line

    def add_worker(self):
        return self._start("worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard")[0]

    def kill_worker(self, place):
        """Kill one without warning, and start another in its place."""
        self._kill(self.workers[place])
        self.workers[place] = self.add_worker()

    def restart_scheduler(self):
        """Kill it, and start another at the same address, with workers of its own."""
        for process in [self.scheduler, *self.workers]:
            self._kill(process)
        port = self.address.rpartition(":")[2]
        self.scheduler, _ = self._start("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")
        self.workers = [self.add_worker() for _ in self.workers]

    def close(self):
        for process in [*self.workers, self.scheduler]:
            self._kill(process)

    @staticmethod
    def _kill(process):
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    started = DaskProcesses(tmp_path_factory.mktemp("dask"), 4)
    yield started
    started.close()


@pytest.fixture(scope="module")
def molecule(tmp_path_factory):
    """A short run of alanine dipeptide on this machine."""
    config = RunConfig.model_validate(MOLECULE)
    return config, finish(config, tmp_path_factory.mktemp("local") / "run")


def test_a_molecule_gets_the_same_bytes(cluster, molecule, tmp_path):
    config, expected = molecule
    assert {"shooting", "rate", "free_energy"} <= {name.split("/")[0] for name in expected}
    assert finish(on(cluster.address, config), tmp_path / "run") == expected


def test_a_surface_gets_the_same_bytes(cluster, tmp_path):
    config = load_config(SURFACE)
    assert finish(on(cluster.address, config), tmp_path / "there") == finish(config, tmp_path / "here")


def test_twenty_workers_killed_and_a_scheduler_restarted_change_nothing(cluster, molecule, tmp_path):
    """Workers die at random moments; the scheduler once, which ends the command: the same command goes on."""
    config, expected = molecule
    chance, n_killed, lost = random.Random(7), 0, []
    (tmp_path / "run.toml").write_text(on(cluster.address, config).to_toml())
    for number in itertools.count():
        said = None
        while said is None or _GONE in said:
            program, log = start_run(tmp_path, number)
            while program.poll() is None:
                time.sleep(chance.uniform(0, 3))
                cluster.kill_worker(chance.randrange(len(cluster.workers)))
                n_killed += 1
                if not lost and n_killed % 6 == 5:
                    cluster.restart_scheduler()
            said = log.read_text()
            assert "Traceback" not in said
            lost += [said] if _GONE in said else []
        assert data_bytes(tmp_path / f"run{number}") == expected
        if n_killed >= 20 and lost:
            break


def start_run(folder, number):
    """Start the command line on the run file of a folder, and return it and what it says on stderr."""
    log = folder / f"said{number}.txt"
    command = f"from tps.cli import main; main(['run', 'run.toml', '-o', 'run{number}', '--until', 'rate'])"
    with log.open("w") as stderr:
        program = subprocess.Popen(
            [sys.executable, "-c", command],
            cwd=folder,
            stderr=stderr,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    return program, log


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        ("slurm", ["#SBATCH -p short", "#SBATCH -A chem7", "#SBATCH --cpus-per-task=8", "#SBATCH -t 02:00"]),
        (
            "pbs",
            ["#PBS -q short", "#PBS -A chem7", "#PBS -l select=1:ncpus=8:mem=", "#PBS -l walltime=02:00"],
        ),
        ("lsf", ["#BSUB -q short", '#BSUB -P "chem7"', "#BSUB -n 8", "#BSUB -W 02:00"]),
        ("sge", ["#$ -q short", "#$ -P chem7", "#$ -l h_rt=02:00"]),
    ],
)
def test_a_job_asks_the_queue_for_workers_of_one_thread(kind, header):
    section = ClusterSection(
        kind=kind,
        cores=8,
        memory="16GB",
        walltime="02:00",
        queue="short",
        account="chem7",
        directives=("--mark=me",),
        prologue=("module load python",),
    )
    queue = job_queue(section)
    try:
        script = queue.job_script()
    finally:
        queue.close()
    for line in [*header, "--mark=me", "module load python"]:
        assert line in script
    assert "--nthreads 1" in script
    assert "--nworkers 8" in script


def test_a_memory_nobody_can_read_is_refused():
    with pytest.raises(ConfigError, match=r"\[cluster\]: no slurm cluster can be made: .*lots"):
        job_queue(ClusterSection(kind="slurm", memory="lots"))


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """What is put in the place of SLURM's command."""
    commands = tmp_path / "bin"
    commands.mkdir()
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")

    def be(script, name="sbatch"):
        (commands / name).write_text(f"#!/bin/bash\n{script}\n")
        (commands / name).chmod(0o755)

    return be


def in_jobs(config, **cluster):
    """The same run on workers in jobs of a queue."""
    data = config.model_dump(mode="json")
    section = {"kind": "slurm", "memory": "8GiB", "cores": 2, "max_workers": 2, "interface": "lo", **cluster}
    return RunConfig.model_validate({**data, "run": {**data["run"], "executor": "dask"}, "cluster": section})


def test_jobs_of_a_queue_give_the_same_bytes(sbatch, tmp_path):
    """A queue that starts each job at once; the script is gone when sbatch returns."""
    sbatch('setsid bash -c "$(cat $1)" > /dev/null 2>&1 & echo Submitted batch job $!')
    sbatch("kill -- -$1", "scancel")
    config = load_config(SURFACE)
    assert finish(in_jobs(config), tmp_path / "there") == finish(config, tmp_path / "here")


def test_a_queue_that_takes_no_job_is_one_sentence(sbatch, tmp_path):
    """Dask itself would wait for ever; and the stages after it are not to wait either."""
    sbatch("echo sbatch: error: Invalid account >&2; exit 1")
    run = RunFolder.create(tmp_path / "run", in_jobs(load_config(SURFACE), account="nobody"))
    said = r"the queue took none of slurm jobs \(sbatch: error: Invalid account\): mend \[cluster\]"
    with pytest.raises(SideStageError, match=rf"shoot: {said}.*; free-energy: {said}.*; rate: {said}"):
        run_all(run, Silent(), until="rate")


def test_a_scheduler_that_is_not_there_gets_one_sentence(monkeypatch):
    monkeypatch.setattr("tps.engine.cluster._CONNECT_SECONDS", 1)
    with pytest.raises(SimulationError, match=r"no Dask scheduler answers at tcp://127.0.0.1:1"):
        ClusterExecutor(ClusterSection(scheduler="tcp://127.0.0.1:1"))


def _refuse(number):
    raise ConfigError(f"no {number}")


def test_what_a_task_raises_comes_back_and_a_task_that_kills_is_given_up():
    from distributed import LocalCluster

    said = []
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as local:
        section = ClusterSection(scheduler=local.scheduler_address)
        with (
            pytest.raises(ConfigError, match="no 7"),
            shared_executor("threads", 1, section, said.append) as executor,
        ):
            executor.submit(_refuse, 7).result(100)
        with (
            pytest.raises(SimulationError, match=r"4 workers died over the same task, .* give workers more"),
            shared_executor("threads", 1, section, said.append) as executor,
        ):
            executor.submit(os._exit, 9).result(200)
    assert "Dask scheduler at tcp://" in said[0]
