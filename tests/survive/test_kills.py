"""SIGKILL at moments that chance chooses, over all stages: the same bytes as in one go (`make test-survive`)."""

import os
import shutil
import signal

import numpy as np
import pytest
from programs import START, Program, finished, struck
from results import results

from tps.config import load_config
from tps.pipeline import STAGES

pytestmark = pytest.mark.survive

EVERYWHERE = (START, *(stage.name for stage in STAGES))


@pytest.fixture(scope="module")
def in_one_go(tmp_path_factory):
    """A finished run, its bytes, and the seconds of each stage."""
    run = tmp_path_factory.mktemp("one") / "run"
    lengths = finished("run", "smoke", "-o", run)
    assert set(EVERYWHERE) <= set(lengths)
    return run, results(run), lengths


class Victim:
    """A command on a run folder: over and over, as it was left or as `first` was, by the bytes of a whole one."""

    def __init__(self, place, expected, *command, first=None):
        self.run, self.scratch, self.expected, self.first = place / "run", place / "scratch", expected, first
        self.scratch.mkdir()
        self.command = (*command, "-o", self.run)

    def start(self, anew):
        """Start the program, in a folder for temporary files of its own."""
        if anew:
            shutil.rmtree(self.run, ignore_errors=True)
            if self.first is not None:
                shutil.copytree(self.first, self.run)
        return Program(*self.command, **{**os.environ, "TMPDIR": str(self.scratch)})

    def check(self):
        """Compare, and look for what kills have left behind."""
        assert results(self.run) == self.expected
        assert not [file for file in self.scratch.rglob("*") if file.is_file()]  # torch makes an empty folder


@pytest.mark.parametrize("part", range(5))
def test_a_hundred_kills_over_all_stages(in_one_go, tmp_path, part):
    _, expected, lengths = in_one_go
    victim = Victim(tmp_path, expected, "run", "smoke")
    due = dict.fromkeys(EVERYWHERE, 2)
    fell = struck(due, lengths, np.random.default_rng([1, part]), victim.start, victim.check)
    assert all(fell[stage] >= 2 for stage in EVERYWHERE)


@pytest.mark.parametrize("part", range(2))
def test_thirty_kills_in_shooting(in_one_go, tmp_path, part):
    """Of chains that go on: about four in each time they make all their moves."""
    file = tmp_path / "longer.toml"
    shutil.copytree(in_one_go[0], tmp_path / "whole")
    longer = load_config(in_one_go[0] / "run.toml").updated("shooting", {"n_moves": 1200})
    file.write_text(longer.to_toml())
    command = ("run", file, "--until", "shoot", "--force")
    lengths = finished(*command, "-o", tmp_path / "whole")
    victim = Victim(tmp_path, results(tmp_path / "whole"), *command, first=in_one_go[0])
    until = {"shoot": lengths["shoot"] / 2}
    fell = struck({"shoot": 15}, until, np.random.default_rng([2, part]), victim.start, victim.check)
    assert fell["shoot"] >= 15


@pytest.mark.parametrize("part", range(2))
def test_twenty_kills_while_results_are_replaced(in_one_go, tmp_path, part):
    """Another seed over a finished run; then the same as that seed alone."""
    command = ("run", "smoke", "--seed", 2)
    lengths = finished(*command, "-o", tmp_path / "alone")
    victim = Victim(tmp_path, results(tmp_path / "alone"), *command, "--force", first=in_one_go[0])
    due = dict.fromkeys(EVERYWHERE, 1)
    fell = struck(due, lengths, np.random.default_rng([3, part]), victim.start, victim.check)
    assert all(fell[stage] >= 1 for stage in EVERYWHERE)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_no_process_is_left_five_seconds_after_a_signal(in_one_go, tmp_path, name):
    """Twice in each stage; what comes before them is too early to have a command to go on with."""
    _, expected, lengths = in_one_go
    number = getattr(signal, name)
    victim = Victim(tmp_path, expected, "run", "smoke")

    def strike(program):
        stage = program.strike(number)
        if stage == f"after {EVERYWHERE[-1]}":  # Python itself was ending
            return stage
        assert program.process.returncode == 128 + number
        assert "Traceback" not in "".join(program.said)
        assert f"stopped by {name}; what was finished is kept, go on with: tps run smoke" in program.said[-1]
        return stage

    due = dict.fromkeys((stage for stage in EVERYWHERE if stage != START), 2)
    fell = struck(due, lengths, np.random.default_rng(4), victim.start, victim.check, strike)
    assert all(fell[stage] >= 2 for stage in due)
