"""SIGKILL at moments that chance chooses, over all stages: the same bytes as in one go (`make test-survive`)."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from results import results

pytestmark = pytest.mark.survive

TPS = [sys.executable, "-m", "tps"]


def started(*arguments):
    return subprocess.Popen(
        [*TPS, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(*arguments):
    start = time.monotonic()
    program = started(*arguments)
    said = program.communicate()[1]
    assert program.returncode == 0, said
    return time.monotonic() - start


def alive(group):
    """Return whether a process of a group is left that is more than an entry in a table."""
    states = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [row.split() for row in states.splitlines()]
    return any(int(pgid) == group and not state.startswith("Z") for pgid, state in rows)


def killed(n_kills, longest, rng, run, *arguments, anew=lambda: None, check=lambda: None):
    """Kill a program so many times, letting it go on; where it comes to its end, check, and begin `anew`."""
    n = 0
    while n < n_kills:
        program = started(*arguments)
        try:
            said = program.communicate(timeout=rng.uniform(0.0, longest))[1]
        except subprocess.TimeoutExpired:
            program.kill()  # the program alone: its workers are to notice
            said = program.communicate()[1]
            n += 1
            continue
        assert program.returncode == 0, said
        check()
        anew()
    finished(*arguments)
    check()


@pytest.fixture(scope="module")
def in_one_go(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    seconds = finished("run", "smoke", "-o", folder / "run")
    return folder / "run", results(folder / "run"), seconds


def test_a_hundred_kills_over_all_stages(in_one_go, tmp_path):
    _, expected, seconds = in_one_go
    run = tmp_path / "run"

    def check():
        assert results(run) == expected

    killed(
        100,
        seconds,
        np.random.default_rng(1),
        run,
        *("run", "smoke", "-o", run),
        anew=lambda: shutil.rmtree(run),
        check=check,
    )


def test_thirty_kills_in_shooting(in_one_go, tmp_path):
    first = tmp_path / "first"
    shutil.copytree(in_one_go[0], first)
    seconds = finished("shoot", first, "-n", 1200)
    expected, run = results(first), tmp_path / "run"

    def anew():
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(in_one_go[0], run)

    def check():
        assert results(run) == expected

    anew()
    killed(30, seconds, np.random.default_rng(2), run, *("shoot", run, "-n", 1200), anew=anew, check=check)


def test_twenty_kills_while_results_are_replaced(in_one_go, tmp_path):
    """Another seed over a finished run; then the same as that seed alone."""
    alone = tmp_path / "alone"
    seconds = finished("run", "smoke", "--seed", 2, "-o", alone)
    expected, run = results(alone), tmp_path / "run"

    def anew():
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(in_one_go[0], run)

    def check():
        assert results(run) == expected

    anew()
    command = ("run", "smoke", "--seed", 2, "-o", run, "--force")
    killed(20, seconds, np.random.default_rng(3), run, *command, anew=anew, check=check)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_no_process_is_left_five_seconds_after_a_signal(in_one_go, tmp_path, name):
    number, rng = getattr(signal, name), np.random.default_rng(4)
    for _ in range(20):
        program = started("run", "smoke", "-o", tmp_path / "run")
        time.sleep(rng.uniform(5.0, in_one_go[2]))
        if program.poll() is not None:
            shutil.rmtree(tmp_path / "run")
            continue
        program.send_signal(number)
        time.sleep(5.0)
        left = alive(program.pid)
        if left:
            os.killpg(program.pid, signal.SIGKILL)
        said = program.communicate()[1]
        assert not left
        assert program.returncode == 128 + number
        assert "Traceback" not in said
        assert f"stopped by {name}; what was finished is kept, go on with: tps run" in said
