"""Signals end the program and its workers, wherever they arrive."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from threading import Timer

import click
import pytest
from runs import LONG_RUN

from tps.cli.time_limit import seconds

#: By the clock, on a machine that has other work; one that has none needs three seconds at most.
LONGEST = 60.0
LONG_WORK = """
import os
import time
from tps.engine import local_executor, map_tasks

def work(seconds):
    os.write(1, b"ready\\n")  # at once, so that two workers' lines never run into each other
    time.sleep(seconds)

if __name__ == "__main__":
    with local_executor("processes", 2) as executor:
        map_tasks(executor, work, [600.0, 600.0, 600.0])
"""


def hearing():
    """Undo that a shell's background jobs, and so their children, are born deaf to interrupts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def running(*arguments, **options):
    """A program of its own; where it or a worker does not end, all are killed and the test fails."""
    with subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hearing,
        **options,
    ) as program:
        late = []

        def end():
            late.append(True)
            os.killpg(program.pid, signal.SIGKILL)

        watch = Timer(LONGEST, end)
        watch.start()
        try:
            yield program
        finally:
            watch.cancel()
            program.kill()
    assert not late


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_workers_end_with_their_program(tmp_path, name):
    """A scheduler's signal, unlike Ctrl-C, does not reach the workers; of SIGKILL the program itself knows nothing."""
    script = tmp_path / "long_work.py"
    script.write_text(LONG_WORK)
    with running(script) as program:
        assert program.stdout.readline() == "ready\n"
        program.send_signal(getattr(signal, name))
        # each worker holds the other end: it comes to its end when none of them is left
        assert program.stdout.read() in ("", "ready\n")
        assert program.wait() != 0


@pytest.mark.parametrize(
    ("name", "code", "how"),
    [("SIGINT", 130, "by SIGINT"), ("SIGTERM", 143, "by SIGTERM"), ("SIGUSR1", 0, "as asked")],
)
def test_one_sentence_says_how_to_go_on(tmp_path, name, code, how):
    (tmp_path / "long.toml").write_text(LONG_RUN)
    with running("-m", "tps", "run", "long.toml", "-o", "a run", cwd=tmp_path) as program:
        said = []
        while not said or not said[-1].startswith("paths:"):
            said.append(program.stderr.readline())
            assert said[-1], said
        while not list(tmp_path.glob("a run/shooting/chains/*/moves-*")):
            assert program.poll() is None
        program.send_signal(getattr(signal, name))
        rest = program.stderr.read()
        assert program.wait() == code
    assert "Traceback" not in rest
    last = rest.splitlines()[-1]
    assert last == f"stopped {how}; what was finished is kept, go on with: tps run long.toml -o 'a run'"
    assert not list(tmp_path.glob("a run/.*"))


@pytest.mark.parametrize(
    ("text", "expected"), [("3h50m", 13_800), ("90s", 90), ("1d1h1m1s", 90_061), ("2d", 172_800)]
)
def test_times_are_read(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "0s", "3:50", "3h 50m", "1.5h", "50m3h", "m", "9999999d"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(click.BadParameter, match="such as 3h50m"):
        seconds(text)
