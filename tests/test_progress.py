"""What a run says while it works: bars on a terminal, lines in a log file."""

import io

from rich.console import Console

from tps.cli.console import ConsoleProgress


def log_of(*, terminal, times):
    """Return what a task of 100 units prints that stands at (time, done) one after another."""
    out, now = io.StringIO(), [0.0]
    console = Console(file=out, force_terminal=terminal, width=200, highlight=False)
    with ConsoleProgress(console, clock=lambda: now[0]).task("walkers", 100) as advance:
        for now[0], done in times:
            advance(done)
    return out.getvalue()


def test_a_log_file_gets_a_line_in_thirty_seconds_with_the_time_left():
    """25 units in 50 s leave 150 s for 75; the units at 60 s fall into the thirty seconds of the line before."""
    times = [(1.0, 1), (29.9, 20), (50.0, 25), (60.0, 30), (79.0, 35), (100.0, 80), (140.0, 100)]
    assert log_of(terminal=False, times=times).splitlines() == [
        "walkers: 25 of 100, about 2.5 min left",
        "walkers: 80 of 100, about 25 s left",
    ]


def test_a_short_task_says_nothing():
    assert log_of(terminal=False, times=[(1.0, 50), (2.0, 100)]) == ""


def test_a_terminal_gets_its_bar():
    assert "walkers" in log_of(terminal=True, times=[(50.0, 25)])
    assert "left" not in log_of(terminal=True, times=[(50.0, 25)])
