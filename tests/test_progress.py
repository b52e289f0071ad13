"""What a run says while it works: a list and bars on a terminal, lines in a log file."""

import io
import json
import re
import shutil

import pytest
from rich.console import Console

from tps.cli.console import ConsoleProgress
from tps.cli.stage_list import StageList, counted_time
from tps.pipeline import STAGES, RunFolder, run_all
from tps.prepare import StageEstimate


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


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.9, "8 s"), (62, "1 min 2 s"), (3599, "59 min 59 s"), (7500, "2 h 5 min")]
)
def test_a_time_that_goes_on(seconds, text):
    assert counted_time(seconds) == text


def test_a_log_has_a_line_for_each_stage_as_it_starts_and_ends_with_the_time_used_and_left(tiny):
    """On the log of a whole run; what each stage took is what its manifest says."""
    log = (tiny / "log.txt").read_text()
    entries = json.loads((tiny / "run" / "manifest.json").read_text())["stages"]
    starts = re.findall(r"^(\S+) starts(?:, estimated .+)?$", log, re.MULTILINE)
    ends = re.findall(
        r"^(\S+): (\S+) s(?:, without .*)?; used [\d hmins]+(, about .+ left(?: if .+)?)?$", log, re.MULTILINE
    )
    assert starts == [name for name, *_ in ends] == [stage.name for stage in STAGES]
    assert [float(took) for _, took, _ in ends] == [round(entries[n]["seconds"], 1) for n, *_ in ends]
    assert [bool(left) for *_, left in ends] == [True] * (len(STAGES) - 1) + [False]


def test_a_terminal_sees_the_stages_as_a_list(copy):
    """A run whose committors are lost: what is there, what is made with its time, what comes after."""
    shutil.rmtree(copy / "committor")
    run, out, drawn = RunFolder.open(copy), io.StringIO(), []
    console = Console(file=out, force_terminal=True, width=100, highlight=False)
    names = ["paths", "shoot", "committor", "free-energy"]
    estimates = [StageEstimate("committor", 1, 7200.0, 0), StageEstimate("free-energy", 1, 3600.0, 0)]

    class Watched(StageList):
        def task(self, description, total):
            drawn.extend(self.rows())
            return super().task(description, total)

    with Watched([s.name for s in STAGES], estimates, dict.fromkeys(names[:2], 1.0), console) as progress:
        run_all(run, progress, until="committor")
        drawn.append("")
        drawn.extend(progress.rows())
    during, after = drawn[: drawn.index("")], drawn[drawn.index("") + 1 :]
    assert "● shoot           up to date" in during
    assert any(re.fullmatch(r"▸ committor       \d+ s, estimated 2 h", row) for row in during)
    assert "○ free-energy     estimated 60 min" in during
    assert any(re.fullmatch(r"  used \d+ s, about 3 h left", row) for row in during)
    took = json.loads((copy / "manifest.json").read_text())["stages"]["committor"]["seconds"]
    assert f"● committor       {took:.1f} s" in after
    assert f"● committor       {took:.1f} s" in out.getvalue()
    assert "▸" not in "".join(after)


def test_the_time_left_says_what_it_assumes_until_a_stage_has_shown_it():
    """Shots of 1 ps were assumed; once shooting is there, its own time corrects what comes after."""
    shoot, committor = (
        StageEstimate(name, 1000, 60.0, 0, "if a shot flies 1 ps") for name in ("shoot", "committor")
    )
    names, console = ["paths", "shoot", "committor"], Console(file=io.StringIO())
    before = StageList(names, [shoot, committor], {"paths": 1.0}, console, clock=lambda: 0.0)
    assert before.rows()[-1] == "  used 0 s, about 2 min left if a shot flies 1 ps"
    after = StageList(names, [shoot, committor], {"paths": 1.0, "shoot": 600.0}, console, clock=lambda: 0.0)
    assert re.fullmatch(r"  used 0 s, about (9|8)\.?\d* min left", after.rows()[-1])


def test_a_stage_that_breaks_down_is_not_left_at_work(tiny):
    progress = StageList(["paths"], [], {}, Console(file=io.StringIO()))
    with pytest.raises(ZeroDivisionError), progress.stage("paths"):
        raise ZeroDivisionError
    assert progress.rows()[0] == "○ paths           "
