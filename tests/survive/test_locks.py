"""Two programs in one folder: one wins, the other gets one sentence."""

import multiprocessing
import os
import socket
import threading

import pytest

from tps import lock
from tps.errors import RunFolderError
from tps.lock import LOCK_FILE, locked

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
