"""The script of plain dynamics: what it records, and what it counts against chains whose rates are known."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tps.systems import load_system

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

import plain_dynamics  # noqa: E402


def test_it_records_what_tps_measures(tmp_path):
    """Torsions and a distance, to round-off; and the states as ranges of them."""
    file = tmp_path / "alanine.npz"
    plain_dynamics.prepare("alanine-dipeptide", file)
    given, system = np.load(file), load_system("alanine-dipeptide")
    found = plain_dynamics.values(system.ends, given["atoms"])
    assert found == pytest.approx(system.feature_values(system.ends), abs=1e-12)
    distance = plain_dynamics.values(system.ends, np.array([[4, 20, -1, -1]]))
    assert distance[:, 0] == pytest.approx(np.linalg.norm(system.ends[:, 4] - system.ends[:, 20], axis=1))
    for end, ranges in enumerate(given["states"]):
        assert plain_dynamics.in_region(found, ranges).tolist() == [end == 0, end == 1]


def test_it_counts_by_the_state_last_visited():
    """A A - - B - B A - A, by hand."""
    in_a = np.array([1, 1, 0, 0, 0, 0, 0, 1, 0, 1], dtype=bool)
    in_b = np.array([0, 0, 0, 0, 1, 0, 1, 0, 0, 0], dtype=bool)
    found = plain_dynamics.count(in_a, in_b)
    assert found == {
        **{"in_a": 4, "in_b": 2, "frames": 10, "from_a": 7, "from_b": 3},
        **{"ab": 1, "ba": 1, "ab_time": 3, "ba_time": 1},
    }
    nothing = plain_dynamics.count(np.zeros(3, dtype=bool), np.zeros(3, dtype=bool))
    assert nothing["frames"] == 3
    assert sum(nothing.values()) == 3


def test_histograms_of_all_frames_and_of_transitions():
    """Bins of 15 degrees: A at 0, B at 90, one frame between them at 50 that is passed once each way."""
    in_degrees = [0, 0, 50, 90, 90, 50, 0, 50, 0]
    walk = np.radians(np.array([in_degrees, [10] * 9]).T)
    states = np.radians(np.array([[[-5, 5], [-180, 180]], [[85, 95], [-180, 180]]], dtype=float))
    found = plain_dynamics.histograms([walk], states)
    place = {angle: int((angle + 180) // 15) for angle in (0, 50, 90, 10)}
    for name, counts in (("all", {0: 4, 50: 3, 90: 2}), ("transitions", {0: 2, 50: 2, 90: 2})):
        assert found[name].shape == (1, 24, 24)
        assert found[name].sum() == sum(counts.values())
        for angle, n in counts.items():
            assert found[name][0, place[angle], place[10]] == n


def test_rates_and_times_of_a_chain_with_known_ones():
    """A - i - B hopping with probability p left and q right from i, and p, q out of A, B: all four numbers, |z| < 4.

    From A, the chain leaves with probability a and then reaches B before A with probability q/(p + q), so the rate per
    frame with A last visited is q/(p + q) / (1/a + 1/(p + q)). A transition takes one step out of A and 1/(p + q) on
    the average from i.
    """
    p, q, a, b = 0.1, 0.05, 0.02, 0.01
    rng = np.random.default_rng(4)
    tables = []
    for _ in range(40):
        draws, state, states = rng.random(20_000), 0, np.empty(20_000, dtype=int)
        for k, draw in enumerate(draws):
            states[k] = state
            if state == 1:
                state = 0 if draw < p else 2 if draw < p + q else 1
            elif draw < (a if state == 0 else b):
                state = 1
        tables.append(plain_dynamics.count(states == 0, states == 2))
    seen = {key: np.array([float(table[key]) for table in tables]) for key in tables[0]}
    weights = np.array([1.0, a / p, a / p * q / b])
    exact = {
        ("in_a", "frames"): weights[0] / weights.sum(),
        ("in_b", "in_a"): weights[2],
        ("ab", "from_a"): q / (p + q) / (1 / a + 1 / (p + q)),
        ("ba", "from_b"): p / (p + q) / (1 / b + 1 / (p + q)),
        ("ab_time", "ab"): 1 + 1 / (p + q),
        ("ba_time", "ba"): 1 + 1 / (p + q),
    }
    for (numerator, denominator), value in exact.items():
        found, error = plain_dynamics.ratio(seen[numerator], seen[denominator])
        assert abs(found - value) < 4 * error
        assert error < 0.2 * value


def test_the_script_from_start_to_end(tmp_path):
    """Two walks in processes of their own end by themselves, one from A and one from B, and differ."""
    script = [sys.executable, str(EXAMPLES / "plain_dynamics.py")]
    file, out = tmp_path / "alanine.npz", tmp_path / "walks"
    plain_dynamics.prepare("alanine-dipeptide", file)
    walk = [
        *script,
        "walk",
        str(file),
        "--seconds",
        "3",
        "--platform",
        "Reference",
        "--files",
        "1",
        "-o",
        str(out),
    ]
    subprocess.run(walk, check=True, timeout=60)
    assert [each.name for each in out.iterdir()] == ["walks-0.npz"]
    content, given = np.load(out / "walks-0.npz"), np.load(file)
    starts = [content[f"walk_00{i}"][:1].astype(float) for i in (0, 1)]
    for start, ranges in zip(starts, given["states"], strict=True):
        assert plain_dynamics.in_region(start, ranges).all()
    analyse = [*script, "analyse", str(file), str(out / "walks-0.npz"), "--skip", "0"]
    printed = subprocess.run(analyse, check=True, capture_output=True, text=True).stdout
    assert printed.startswith("2 walks, ")
    assert "F(B) - F(A)" in printed
    refused = subprocess.run([*analyse[:-1], "1e9"], check=False, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "two walks longer than 1e+09 ps, but got 0" in refused.stderr
