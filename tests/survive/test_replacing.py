"""Results are replaced so that a kill between any two steps leaves nothing half old and half new."""

import resource
import sys
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from chains import shots_with_paths

from tps.config import load_config
from tps.pipeline import RunFolder
from tps.pipeline.folder import write_json
from tps.pipeline.growth.rounds import RoundsFolder

CHANGES = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")
ENTRY = {
    "status": "done",
    "failure": "",
    "seconds": 1.0,
    "force_evaluations": 0,
    "platform": None,
    "notes": [],
    "details": {},
    "key": "1",
    "growth_key": "1",
}
OLD, NEW = {"one": "old", "two": "old"}, {"one": "new", "three": "new"}


class KilledError(BaseException):
    """Stands for a kill: after it nothing more is written."""


class Disk:
    """Lets so many changes of files through."""

    def __init__(self):
        self.left = None
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        reads = event == "open" and not set(str(arguments[1])) & set("wax+")
        if self.left is None or event not in CHANGES or reads:
            return
        self.left -= 1
        if self.left < 0:
            raise KilledError


DISK = Disk()


def fill(folder, content):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        (folder / name).write_text(text)


def content_of(folder):
    return {file.name: file.read_text() for file in folder.iterdir()} if folder.is_dir() else None


def a_run(folder):
    run = RunFolder(folder, load_config(Path("double-well")))
    fill(run.path / "result", OLD)
    fill(run.path / "deep" / "result", OLD)
    write_json(run.path / "manifest.json", {"format_version": 3, "stages": {"stage": ENTRY}})
    return run


def grown(run):
    with run.growing("stage", ("result",), anew=True) as out:
        fill(out / "result", NEW)


def written(run):
    with run.writing("stage", ("result", "deep/result")) as out:
        fill(out / "result", NEW)
        fill(out / "deep" / "result", NEW)


@pytest.mark.parametrize("replace", [grown, written])
def test_a_kill_between_any_two_steps(tmp_path, replace):
    for n_steps in count():
        run = a_run(tmp_path / str(n_steps))
        DISK.left = n_steps
        try:
            replace(run)
            break
        except KilledError:
            pass
        finally:
            DISK.left = None
        recorded, there = "stage" in run.manifest()["stages"], content_of(run.path / "result")
        if recorded:
            assert there in (OLD, None)
        elif replace is grown:  # what is there is gone on with: then nothing of it may be old
            assert "old" not in (there or {}).values()
        with run.lock():
            pass
        assert not list(run.path.glob(".*"))
        replace(run)
        assert content_of(run.path / "result") == NEW
        assert not list(run.path.glob(".*"))
    assert n_steps > 8
    assert content_of(run.path / "result") == NEW
    assert not list(run.path.glob(".*"))


def test_a_kill_while_rounds_of_a_finished_growth_are_taken_over(tmp_path):
    """None of them is gone on with in part."""
    earlier = tmp_path / "rounds"
    for folder in (earlier, earlier / "0", earlier / "1"):
        fill(folder, OLD)
    (earlier / "key.txt").write_text("key")
    rounds = {file.relative_to(earlier) for file in earlier.rglob("*")}
    for n_steps in count():
        growing = tmp_path / f".growing-{n_steps}"
        DISK.left = n_steps
        try:
            RoundsFolder.opened(growing, earlier, None, "key")
            break
        except KilledError:
            pass
        finally:
            DISK.left = None
        RoundsFolder.opened(growing, earlier, None, "key")
        assert {file.relative_to(growing) for file in growing.rglob("*")} == rounds
    assert n_steps > len(rounds)


@contextmanager
def files_of_at_most(n_bytes):
    """As a kill, or a full disk, in the middle of writing a longer one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_shots_that_cannot_be_written_leave_those_that_are_there(tmp_path):
    shots, file = shots_with_paths(np.zeros(100)), tmp_path / "frame_shots.npz"
    shots.save(file, key="old")
    before = file.read_bytes()
    with files_of_at_most(len(before) // 2), pytest.raises(OSError, match="File too large"):
        shots.save(file, key="new")
    assert file.read_bytes() == before
    assert [left.name for left in tmp_path.iterdir()] == [file.name]
