"""Runs whose numbers cannot be right, or that fail beside their paths: what the command line says and leaves."""

import html
import json

import pytest
from commands import TINY, complaint, sealed, tps

from tps.pipeline import RunFolder
from tps.report import verdict_section

WELL = """
[run]
system = "double-well-2d"
seed = 3

[conformations]
n_grid_points = 60

[geodesic]
n_points = 16
{geodesic}

[paths]
n_paths = 4
n_baseline_paths = 2
n_steps = 200
n_updates = 50
n_frames = 25
n_equilibration_steps = 20

[shooting]
n_moves = 0

[free_energy]
n_windows = {windows}
{more}
"""
#: Too few walkers and shots to see one transition over 8 kT.
RARE = """
[rate]
n_walkers = 4
n_frames = 400
n_shots = 1
"""


def run_file(folder, *, geodesic="", windows=0, more=""):
    file = folder / "run.toml"
    file.write_text(WELL.format(geodesic=geodesic, windows=windows, more=more))
    return file


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """A finished run of which the rate has failed, and what its command printed."""
    folder = tmp_path_factory.mktemp("failed")
    return folder / "run", tps("run", run_file(folder, more=RARE), "-o", folder / "run", code=1)


def metrics_of(run):
    return json.loads((run / "analysis" / "metrics.json").read_text())


def test_a_failed_side_stage_does_not_cost_the_summary(failed):
    run, result = failed
    assert "ending in state B" in result.stdout and "force evaluations" in result.stdout
    assert str(run / "report.html") in result.stdout
    assert "Error: rate: only 0 of" in result.stderr and "too few for a rate" in result.stderr
    again = tps("run", run.parent / "run.toml", "-o", run, code=1)
    assert "ending in state B" in again.stdout


def test_the_verdict_is_one_in_metrics_terminal_page_and_notebook(failed, monkeypatch):
    """Of a surface with an exact grid and no shooting: three sentences, on curve, candidates and rate."""
    run, result = failed
    verdict, page = metrics_of(run)["verdict"], (run / "report.html").read_text()
    assert [found["rule"] for found in verdict] == ["support", "candidates", "rate"]
    said = " ".join(result.stdout.split())
    for found in verdict:
        assert found["sentence"] in said and html.escape(found["sentence"]) in page
    assert said.index(verdict[-1]["sentence"]) < said.index(str(run / "report.html"))
    monkeypatch.chdir(run.parent)
    shown = RunFolder.open(run)._repr_html_()
    assert verdict_section(verdict, str(run)) in page and verdict_section(verdict, str(run)) in shown
    assert f'<iframe src="{run.name}/report.html"' in shown


def test_the_budget_of_growing_is_an_option(tmp_path):
    """Of a surface, whose grid needs none: it is kept for when frames grow."""
    tps("run", run_file(tmp_path), "-o", tmp_path / "run", "--until", "conformations")
    tps("conformations", tmp_path / "run", "--max-steps", 12_345, "--force")
    assert RunFolder.open(tmp_path / "run").config.grow.max_steps == 12_345


def test_the_check_comes_before_the_first_step_and_only_then(failed):
    run, result = failed
    said = result.stderr
    assert "double-well-2d, axes x, y" in said
    assert said.index("axes x, y") < said.index("conformations: ")
    assert "axes" not in tps("run", run.parent / "run.toml", "-o", run, code=1).stderr


def test_a_run_that_fails_its_check_leaves_nothing(tmp_path):
    """Two walkers of 80 frames each, where training needs 500."""
    file = tmp_path / "run.toml"
    file.write_text(TINY.format(seed=1).replace("n_sample_steps = 40_000", "n_sample_steps = 4_000"))
    assert "frames, and training needs at least" in complaint("run", file, "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_good_run_withholds_nothing(failed):
    content = metrics_of(failed[0])
    assert not any("withheld" in text for text in content["warnings"])
    assert content["metrics"]["free_energy_difference"]["value"] == pytest.approx(0.0, abs=1e-9)


def test_the_models_number_is_withheld_where_the_frames_contradict_it(failed, tmp_path):
    """ψ of the model made to say 34 kT more than the frames: everything that uses it is withheld, nothing else."""
    run = failed[0]
    file = run / "geodesic" / "result.json"
    kept = file.read_text()
    solved = json.loads(kept)
    for curve in solved["curves"].values():
        curve["delta_psi_model"] += 34.0
    file.write_text(json.dumps(solved))
    sealed(run, "geodesic")
    try:
        tps("analyse", run, "--force")
        content = metrics_of(run)
        tps("report", run, "--force")
    finally:
        file.write_text(kept)
        sealed(run, "geodesic")
    for found in (content["metrics"], *content["baselines"].values()):
        assert found["dissipated_work"]["value"] is None and found["work"]["value"] is not None
    difference = content["metrics"]["free_energy_difference"]
    assert difference["value"] is None and "34.0 kT apart" in difference["withheld"]
    (said, *_) = [text for text in content["warnings"] if "free_energy_difference" in text]
    assert said.startswith("withheld: ") and "dissipated_work" in said
    assert "Withheld: " in (run / "report.html").read_text()
    assert [f["remedy"] for f in content["verdict"] if f["rule"] == "support"] == [
        "tps train RUN --model frames --force"
    ]
    assert tps("analyse", run, "--force").exit_code == 0


def test_ends_closer_than_the_noise_are_said_and_nothing_is_concluded(tmp_path):
    """Anchors so weak that the two ends are nearly one distribution: no length, no curve, no hits."""
    run = tmp_path / "run"
    found = complaint("run", run_file(tmp_path, geodesic="anchor_log_snr = -6.0", windows=4), "-o", run)
    assert "the ends are closer than the noise: the geodesic between them has length" in found
    assert not (run / "paths").exists()
    tps("paths", run)
    tps("analyse", run)
    metrics = metrics_of(run)["metrics"]
    for name in ("hit_rate", "free_energy_difference", "dissipated_work"):
        assert metrics[name]["value"] is None and "closer than the noise" in metrics[name]["withheld"], name
    assert "closer than the noise" in metrics_of(run)["verdict"][0]["sentence"]
    assert "closer than the noise" in complaint("free-energy", run)


def test_what_rests_on_the_weights_of_walkers_that_never_met_is_withheld(tmp_path):
    """Plain dynamics of 300 frames from each end, over 8 kT: each walker stays where it started."""
    more = "n_backward_paths = 2\nn_frames = 60\nframe_interval_steps = 20\nn_bridge_windows = 2\n"
    file = run_file(tmp_path, windows=3, more=more)
    plain = 'method = "md"\nn_walkers = 2\nn_sample_steps = 6_000\nframe_interval_steps = 20'
    file.write_text(file.read_text().replace("n_grid_points = 60", plain))
    tps("run", file, "-o", tmp_path / "run")
    content = metrics_of(tmp_path / "run")
    for found in (content["metrics"], *content["baselines"].values()):
        assert "0 of 2 walkers saw both A and B" in found["dissipated_work"]["withheld"]
        assert found["work"]["value"] is not None and found["hit_rate"]["value"] is not None
    assert content["metrics"]["free_energy_difference"]["value"] is None
    for difference in ("anchored", "regions"):
        roads = content["free_energy"]["roads"][difference]
        assert "walkers saw both" in roads["plain dynamics"]["withheld"]
        assert roads["windows (MBAR)"]["value"] is not None
    assert "walkers saw both" in tps("free-energy", tmp_path / "run").stdout
    support = content["verdict"][0]
    assert support["state"] == "doubtful" and "do not tell how likely A is against B" in support["sentence"]
    assert support["remedy"] == "tps conformations RUN --n-sample-steps 12000 --force"
