"""All numbers of a run in the groups of its first ones: each where the stage that found it says it belongs."""

import json
import re

import pytest

from tps.pipeline import RunFolder, summary_groups
from tps.report import grouped


@pytest.fixture(scope="module")
def groups(tiny):
    metrics = json.loads((tiny / "run" / "analysis" / "metrics.json").read_text())["metrics"]
    found = grouped(metrics)
    assert {name: m for numbers in found.values() for name, m in numbers.items()} == metrics
    return {group: set(numbers) for group, numbers in found.items()}


def test_they_are_the_groups_of_the_first_numbers_in_their_order(tiny, groups):
    assert list(groups) == list(summary_groups(RunFolder.open(tiny / "run")))


@pytest.mark.parametrize(
    ("group", "file"),
    [
        ("ensemble", "committor/ts/result.json"),
        ("ensemble", "shooting/from_frames.json"),
        ("free energy", "free_energy/result.json"),
        ("rate", "rate/result.json"),
    ],
)
def test_what_a_stage_found_is_in_its_group(tiny, groups, group, file):
    content = json.loads((tiny / "run" / file).read_text())
    assert set(content.get("metrics", content)) <= groups[group]


def test_numbers_of_straight_lines_and_of_no_group_are_of_candidates(tiny, groups):
    content = json.loads((tiny / "run" / "analysis" / "metrics.json").read_text())
    for numbers in content["baselines"].values():
        assert set(numbers) & set(content["metrics"]) <= groups["candidates"]
    assert groups["cost"] == {name for name in content["metrics"] if name.startswith("evaluations_")}


def test_the_page_has_them_under_their_names_after_the_verdict(tiny):
    page = (tiny / "run" / "report.html").read_text()
    heads = re.findall(r'<h3 class="group">([^<]+)</h3>', page)
    assert heads[len(heads) // 2 :] == ["Candidates", "Ensemble", "Free energy", "Rate", "Cost"]
    order = [page.index(text) for text in ("<h2>Verdict</h2>", "A generated path is a candidate")]
    assert order == sorted(order)
