"""A disk that fills up: one sentence, and the same bytes once there is room."""

import subprocess
from contextlib import contextmanager

import pytest
from commands import complaint, tps
from results import results


@contextmanager
def small_disk(place, size):
    """A file system of so many bytes, as only root may make it; what is yielded gives it room."""
    place.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def filled_up(whole_run, place, share):
    """Run on a disk that holds a share of what the run needs, make room, go on, and compare."""
    expected = results(whole_run / "run")
    need = sum(
        -(-file.stat().st_size // 4096) * 4096 for file in (whole_run / "run").rglob("*") if file.is_file()
    )
    command = ("run", whole_run / "small.toml", "-o", place / "run")
    with small_disk(place, max(4096, int(share * need))) as make_room:
        said = complaint(*command)
        assert "no space left on device" in said
        assert "make room; what was finished is kept, go on with: tps" in said
        make_room()
        tps(*command)
        assert results(place / "run") == expected


def test_one_sentence_and_the_same_bytes_once_there_is_room(whole_run, tmp_path):
    filled_up(whole_run, tmp_path / "disk", 0.5)


@pytest.mark.survive
@pytest.mark.parametrize("share", [(level + 0.5) / 20 for level in range(20)])
def test_at_twenty_levels(whole_run, tmp_path, share):
    filled_up(whole_run, tmp_path / "disk", share)


def test_an_output_under_a_file_is_one_sentence(whole_run):
    said = complaint("run", whole_run / "small.toml", "-o", whole_run / "small.toml" / "run")
    assert "a file stands where a folder should be, give another place" in said
