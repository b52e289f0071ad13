"""Two programs in one folder: one wins, the other gets one sentence."""

import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
from commands import complaint, tps
from results import results
from runs import LONG_RUN
from surfaces import make_surface

from tps import lock
from tps.dynamics import SurfaceDynamics
from tps.engine import local_executor
from tps.errors import RunFolderError
from tps.lock import LOCK_FILE, locked, scratch_beside
from tps.paths import ShootingSettings, shoot
from tps.systems import DoubleWell

TPS = [sys.executable, "-m", "tps"]
FORK = multiprocessing.get_context("fork")


def stay(folder, ready, stop):
    with locked(folder):
        ready.set()
        stop.wait()


def test_the_second_program_is_told_who_the_first_is(tmp_path):
    ready, stop = FORK.Event(), FORK.Event()
    first = FORK.Process(target=stay, args=(tmp_path, ready, stop))
    first.start()
    ready.wait()
    named = rf"process {first.pid} on {socket.gethostname()}\) works in"
    with pytest.raises(RunFolderError, match=named), locked(tmp_path):
        pass
    stop.set()
    first.join()
    with locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_killed_program_leaves_no_lock_whoever_has_its_number_now(tmp_path):
    ready = FORK.Event()
    first = FORK.Process(target=stay, args=(tmp_path, ready, FORK.Event()))
    first.start()
    ready.wait()
    first.kill()
    first.join()
    file = tmp_path / LOCK_FILE
    assert file.read_text().split()[:2] == [str(first.pid), socket.gethostname()]
    file.write_text(f"{os.getpid()} {socket.gethostname()} 000000000000\n")  # of a process that lives
    with locked(tmp_path):
        pass


def test_a_program_on_another_machine_is_heard_though_the_disk_keeps_locks_to_one(tmp_path, monkeypatch):
    """As long as what it writes changes; once that stands still, its lock is broken."""
    monkeypatch.setattr(lock, "_BEAT", 0.05)
    monkeypatch.setattr(lock, "_SILENCE", 0.5)
    file, gone = tmp_path / LOCK_FILE, threading.Event()

    def live():
        beat = 0
        while not gone.wait(0.01):
            beat += 1
            with file.open("r+") as written:  # in place, never empty
                written.write(f"7 elsewhere {beat:012d}\n")

    file.write_text(f"7 elsewhere {0:012d}\n")
    other = threading.Thread(target=live)
    other.start()
    with pytest.raises(RunFolderError, match=r"process 7 on elsewhere\) works in"), locked(tmp_path):
        pass
    gone.set()
    other.join()
    with locked(tmp_path):
        assert file.read_text().split()[0] == str(os.getpid())


def test_a_folder_is_locked_within_one_program_too(tmp_path):
    """Two threads, or two calls of the library."""
    with locked(tmp_path), pytest.raises(RunFolderError, match=f"process {os.getpid()} on"), locked(tmp_path):
        pass


def take(folder, machine, answers, all_answered):
    """Be a program on a machine whose locks others do not see, where it is not this one."""
    lock._BEAT, lock._SILENCE = 0.5, 3.0
    if machine != socket.gethostname():
        lock.fcntl = None
        socket.gethostname = lambda: machine
    try:
        with locked(folder):
            answers.put("won")
            all_answered.wait()
    except RunFolderError as refused:
        answers.put(str(refused))


@pytest.mark.parametrize(
    "left", ["", "7 elsewhere 000000000007\n"], ids=["nothing there", "a dead program's lock"]
)
@pytest.mark.parametrize("machines", [[socket.gethostname()] * 4, ["a", "b", "c", "d"]], ids=["one", "four"])
def test_of_programs_that_start_at_once_one_wins(tmp_path, machines, left):
    """And on one machine it is the one that the others name; on several, who waits is named too."""
    if left:
        (tmp_path / LOCK_FILE).write_text(left)
    answers, all_answered = FORK.Queue(), FORK.Event()
    programs = [FORK.Process(target=take, args=(tmp_path, m, answers, all_answered)) for m in machines]
    for program in programs:
        program.start()
    given = [answers.get(timeout=60.0) for _ in programs]
    all_answered.set()
    for program in programs:
        program.join()
    given.remove("won")
    named = {
        tuple(re.match(r"another tps \(process (\d+) on (.+)\) works in", text).groups()) for text in given
    }
    assert named <= {(str(p.pid), m) for p, m in zip(programs, machines, strict=True)}
    assert len(named) == 1 or machines[0] != machines[1]
    assert len(given) == 3
    assert not list(tmp_path.iterdir())


def test_shooting_into_a_folder_that_another_program_shoots_into(tmp_path):
    """The library's own folders: nothing is written, and the next one goes on as if nothing had been."""
    dynamics = SurfaceDynamics(make_surface(DoubleWell(3.0), margin=0.3), 0.004)

    def shots():
        with local_executor("threads", 1) as executor:
            line = [np.linspace(-1, 1, 21)[:, None]]
            return shoot(dynamics, line, ShootingSettings(), tmp_path, executor, n_moves=5, seed=1)

    with locked(tmp_path):
        with pytest.raises(RunFolderError, match=rf"process {os.getpid()} on .* works in {tmp_path}: wait"):
            shots()
        assert [file.name for file in tmp_path.iterdir()] == [LOCK_FILE]
    assert len(shots().records[0]) == 5


@pytest.mark.parametrize(
    "command", [("run", "small.toml", "-o", "run"), ("shoot", "run", "-n", 80), ("report", "run")]
)
def test_a_command_on_a_run_folder_at_work(whole_run, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole_run, tmp_path, dirs_exist_ok=True)
    before = results(tmp_path / "run")
    force = ("--force",) if command[0] != "shoot" else ()
    with locked(tmp_path / "run"):
        assert f"another tps (process {os.getpid()} on {socket.gethostname()}) works in run" in complaint(
            *command, *force
        )
    assert results(tmp_path / "run") == before


def second(command, first):
    """Return what a program is told of the first on the same folder."""
    return f"Error: another tps (process {first.pid} on {socket.gethostname()}) works in {command[-1]}: wait for it, "


def test_a_program_on_a_run_folder_at_work(tmp_path):
    (tmp_path / "long.toml").write_text(LONG_RUN)
    command = [*TPS, "run", tmp_path / "long.toml", "-o", tmp_path / "run"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as first:
        try:
            assert any(line.startswith("conformations starts") for line in first.stderr)
            refused = subprocess.run(command, capture_output=True, text=True)
            assert first.poll() is None
        finally:
            first.kill()
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith(second(command, first))


@pytest.mark.survive
def test_two_programs_at_once(whole_run, tmp_path):
    """One makes the run, and the other names it."""
    command = [*TPS, "run", whole_run / "small.toml", "-o", tmp_path / "run"]
    programs = [
        subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        for _ in range(2)
    ]
    said = {program: program.communicate()[1] for program in programs}
    winner, loser = sorted(programs, key=lambda program: program.returncode)
    assert (winner.returncode, loser.returncode) == (0, 1)
    assert said[loser].splitlines()[-1].startswith(second(command, winner))
    assert results(tmp_path / "run") == results(whole_run / "run")


def test_what_killed_programs_left_is_gone_at_the_next_start(whole_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole_run / "run", run)
    before = results(run)
    for half in (".train.partial/model", ".free-energy.old/free_energy"):
        (run / half).mkdir(parents=True)
        (run / half / "file").touch()
    (run / ".manifest.partial.json").touch()
    with scratch_beside(run / "exported"):  # of another program at work
        tps("run", whole_run / "small.toml", "-o", run)
        assert [file.name for file in run.glob(".*")] == [".exported.partial"]
    assert results(run) == before


def test_a_folder_is_made_by_one_program_at_a_time(tmp_path):
    out = tmp_path / "out"
    with scratch_beside(out) as scratch:
        (scratch / "file").touch()
        with (
            pytest.raises(RunFolderError, match=f"process {os.getpid()} on .* works in"),
            scratch_beside(out),
        ):
            pass
        assert (scratch / "file").is_file()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_a_killed_program_was_making_is_begun_anew(tmp_path):
    def make(ready):
        with scratch_beside(tmp_path / "out") as scratch:
            (scratch / "half").touch()
            ready.set()
            FORK.Event().wait()

    ready = FORK.Event()
    first = FORK.Process(target=make, args=(ready,))
    first.start()
    ready.wait()
    first.kill()
    first.join()
    with scratch_beside(tmp_path / "out") as scratch:
        assert not list(scratch.iterdir())
    assert not list(tmp_path.iterdir())
