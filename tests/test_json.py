"""`--json`: one object on standard output and nothing else, with the names of metrics.json."""

import json

import numpy as np
import pytest
from commands import tps

from tps.cli import main
from tps.cli.output import print_json
from tps.pipeline import STAGES

RUN = "RUN"
#: How each command is called on a finished run, and what stands in what it prints.
CALLS = {
    "analyse": ([RUN], {"metrics", "verdict", "warnings", "status"}),
    "check": (["alanine-dipeptide"], {"checks", "warnings", "estimate"}),
    "committor": ([RUN], {"metrics", "status"}),
    "compare": ([RUN], {"run"}),
    "conformations": ([RUN], {"details", "status"}),
    "contents": ([RUN], {stage.name for stage in STAGES}),
    "doctor": ([], {"versions", "platforms", "run_files", "platform"}),
    "export": ([RUN, "--path", "1"], {"folder", "paths", "scripts", "n_atoms"}),
    "free-energy": ([RUN], {"metrics", "roads", "agreement"}),
    "geodesic": ([RUN], {"geodesic", "status"}),
    "paths": ([RUN], {"status"}),
    "report": ([RUN], {"page"}),
    "run": ([f"{RUN}/run.toml", "-o", RUN], {"metrics", "baselines", "verdict"}),
    "shoot": ([RUN], {"metrics", "channels", "switches"}),
    "systems": (["alanine-dipeptide"], {"name", "features", "states"}),
    "train": ([RUN], {"status"}),
}
#: What needs files of its own: `tps init` in test_prepare, `tps import-ops` in test_ops_export, and known rates.
ELSEWHERE = {"init", "import-ops", "rate"}
#: `tps view` opens a window.
FOR_PEOPLE = {"view"}


def printed(result):
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def test_every_command_but_those_for_people_alone_has_it():
    having = {name for name, c in main.commands.items() if any(p.name == "as_json" for p in c.params)}
    assert having == CALLS.keys() | ELSEWHERE == main.commands.keys() - FOR_PEOPLE


@pytest.fixture(scope="module")
def answers(tiny):
    """What each command prints, once: all of it is one object."""
    run = str(tiny / "run")
    return {
        name: printed(tps(name, *(word.replace(RUN, run) for word in words), "--json"))
        for name, (words, _) in CALLS.items()
    }


@pytest.mark.parametrize("name", CALLS)
def test_an_answer_has_what_it_promises(answers, name):
    assert CALLS[name][1] <= answers[name].keys()


def test_numbers_are_those_of_metrics_json(tiny, answers):
    metrics = json.loads((tiny / "run" / "analysis" / "metrics.json").read_text())["metrics"]
    assert answers["run"]["metrics"] == answers["analyse"]["metrics"] == metrics
    told = [name for name, answer in answers.items() if name != "run" and "metrics" in answer]
    assert told == ["analyse", "committor", "free-energy", "shoot"]
    for name in told:
        for number, metric in answers[name]["metrics"].items():
            assert metric == metrics[number], (name, number)


def test_rates_that_are_withheld_are_printed_and_the_command_fails(copy):
    """With the shots of shooting alone, which are there."""
    told = printed(tps("rate", copy, "-n", 40, "--json", code=1))["metrics"]
    assert told == json.loads((copy / "rate" / "result.json").read_text())
    assert told["rate_a_to_b"]["withheld"]


def test_the_systems_and_a_run_that_stops_early_and_frames_of_a_path(copy):
    systems = printed(tps("systems", "--json"))["systems"]
    assert {"alanine-dipeptide", "alanine-surface"} <= {row["name"] for row in systems}
    assert printed(tps("systems", "alanine-surface", "--json"))["kind"] == "surface"
    stopped = printed(tps("run", copy / "run.toml", "-o", copy, "--until", "train", "--json"))
    assert stopped["train"]["state"] == "up to date"
    ends = printed(tps("committor", copy, "--frames", "path", "--shots", 2, "--n-frames", 2, "--json"))
    assert [set(row) for row in ends["frames"]] == [{"frame", "p_b", "error"}] * 2


def test_an_error_leaves_standard_output_empty(tmp_path):
    assert tps("contents", tmp_path, "--json", code=1).stdout == ""


def test_what_json_cannot_say_is_said_in_its_types(capsys, tmp_path):
    values = {
        1: np.array([1.5, np.nan]),
        "b": (np.int64(2), float("inf")),
        "c": tmp_path,
        "d": np.bool_(True),
    }
    print_json(values)
    assert json.loads(capsys.readouterr().out) == {
        "1": [1.5, None],
        "b": [2, None],
        "c": str(tmp_path),
        "d": True,
    }
