"""Shooting, committors, free energies and rates as stages of a run: on the molecule, and against exact answers."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time

import mdtraj
import numpy as np
import pytest
from commands import complaint, sealed, tps

from tps.cli.results import shooting_text
from tps.conformations import read_dcd, write_dcd
from tps.engine import PlatformChoice, potential_energies
from tps.export import export_paths
from tps.paths import WindowSamples, load_paths, load_shooting, load_transition_paths
from tps.paths.windows.windows import Windows
from tps.pipeline import RunFolder
from tps.pipeline.geodesic import load_curve
from tps.pipeline.player_tracks import TrackMaker
from tps.pipeline.player_windows import KeptWindows
from tps.pipeline.report_player import player_scene
from tps.pipeline.shooting import CHAINS
from tps.report.player import Share
from tps.report.player.packed import MAX_ERROR
from tps.systems import load_system

WELL = """
[surface]
name = "low-well"
description = "A double well of height 4 kT."
kind = "double-well"
axes = ["x"]
bounds = [[-1.8, 1.8]]
kt = 1.0
energy_unit = "kT"
parameters = { barrier = 4.0 }

[states.A]
name = "left"
point = [-1.0]
x = [-1.6, -0.7]

[states.B]
name = "right"
point = [1.0]
x = [0.7, 1.6]
"""
RUN = """
[run]
system = "low-well"
seed = 2

[conformations]
n_grid_points = 200

[geodesic]
n_points = 24

[paths]
n_paths = 24
n_baseline_paths = 12
n_steps = 2_000
n_updates = 1_000
n_frames = 1_000
n_equilibration_steps = 50

[shooting]
n_moves = 600
n_chains = 12
n_frame_shots = 300

[committor]
n_paths = 6
n_shots = 100

[free_energy]
n_windows = 8
n_bridge_windows = 4
n_frames = 300
frame_interval_steps = 50
n_backward_paths = 12

[rate]
n_walkers = 64
n_frames = 4_000
n_shots = 2
"""


def metrics_of(run):
    return json.loads((run / "analysis" / "metrics.json").read_text())


@pytest.fixture(scope="module")
def well(tmp_path_factory):
    folder = tmp_path_factory.mktemp("low")
    (folder / "low-well").mkdir()
    (folder / "low-well" / "system.toml").write_text(WELL)
    (folder / "run.toml").write_text(RUN)
    tps("run", folder / "run.toml", "-o", folder / "run")
    return folder / "run"


def exact_passage_time(barrier=4.0, n=4001):
    """Mean time from the border of A, x = -0.7, to that of B, by the backward equation's quadrature.

    The rate A → B counts transitions per time with A visited last, and every such stretch of time begins where a walker
    from B enters A: at the border, as there is one.
    """
    x = np.linspace(-1.8, 0.7, n)
    u = barrier * (x**2 - 1) ** 2
    inner = np.concatenate([[0], np.cumsum(0.5 * (np.exp(-u)[1:] + np.exp(-u)[:-1]) * np.diff(x))])
    outer = np.exp(u) * inner
    steps = 0.5 * (outer[1:] + outer[:-1]) * np.diff(x)
    return steps[x[1:] > -0.7].sum()


def test_every_path_of_the_ensemble_goes_from_a_to_b(tiny, tmp_path):
    """Its first frame in A, its last in B, all others in neither, by MDTraj and the system; energies are OpenMM's."""
    run, system = tiny / "run", load_system("alanine-dipeptide")
    paths = load_transition_paths(run / "shooting")
    assert len(paths) > 2
    export_paths(run, tmp_path / "out", system, source="shooting", atoms="all", align=False)
    for i, expected in enumerate(paths.positions):
        frames = mdtraj.load(str(tmp_path / "out" / f"path_{i:04d}.dcd"), top=system.mdtraj_topology).xyz
        np.testing.assert_allclose(frames, expected, atol=1e-6)
        values = system.values(frames)
        in_a, in_b = (s.region.contains(values) for s in (system.state_a, system.state_b))
        assert in_a[0] and in_b[-1] and not (in_a[1:].any() or in_b[:-1].any())
        energies = potential_energies(system.create_openmm_system(), frames, PlatformChoice("Reference"))
        np.testing.assert_allclose(paths.potential_energy[i], energies, atol=0.1)
    records = np.concatenate(load_shooting(run / "shooting" / CHAINS).records)
    assert len(records) == 60
    assert paths.multiplicity.sum() <= 60


def test_the_ensemble_is_exported(tiny, tmp_path):
    result = tps("export", tiny / "run", "-o", tmp_path / "out", "--source", "shooting", "--path", 0)
    length = int(load_transition_paths(tiny / "run" / "shooting").lengths[0])
    assert f"{length} frames of 22 atoms" in result.stdout


def test_the_analysis_speaks_of_everything(tiny):
    content = metrics_of(tiny / "run")
    metrics = content["metrics"]
    for name in (
        "shooting_moves",
        "mean_transition_time",
        "free_energy_regions",
        "committor",
        "ensemble_u_max",
    ):
        assert metrics[name]["value"] is not None, name
    for numbers in (metrics, *content["baselines"].values()):
        value = numbers["divergence_to_ensemble"]["value"]
        assert value is None or 0 <= value <= np.log(2) + 1e-12
    by_frames, by_chains = (content["ensemble"][name] for name in ("channels", "channels_of_chains"))
    if (tiny / "run" / "shooting" / "from_frames.json").is_file():  # some of the 40 shots went from A to B
        assert all("effective paths" in share["withheld"] for share in by_frames.values())
        assert any("share of" in text and "effective paths" in text for text in content["warnings"])
    else:
        assert by_frames == by_chains
    assert sum(share["value"] for share in by_chains.values()) == pytest.approx(1)
    stages = json.loads((tiny / "run" / "manifest.json").read_text())["stages"]
    spent = sum(stages[name]["force_evaluations"] for name in stages)
    assert metrics["evaluations_total"]["value"] == spent
    for name in ("ensemble", "committor", "free_energy_roads", "free_energy_profile", "free_energy_windows"):
        assert (tiny / "run" / "figures" / f"{name}.png").is_file()


def test_more_moves_go_on_from_those_made(copy):
    before = load_shooting(copy / "shooting" / CHAINS).records
    assert "of other settings" in complaint("shoot", copy, "--kind", "one-way")
    assert "120" in tps("shoot", copy, "-n", 120).stdout
    after = load_shooting(copy / "shooting" / CHAINS)
    for old, new in zip(before, after.records, strict=True):
        np.testing.assert_array_equal(new[: len(old)], old)
        assert len(new) == 40
    states = json.loads(tps("contents", copy, "--json").stdout)
    assert states["shoot"]["state"] == "up to date"
    assert states["committor"]["state"] == "out of date"
    tps("analyse", copy)
    found = metrics_of(copy)["metrics"]
    assert found["shooting_moves"]["value"] == 120
    assert "committor" not in found  # of another ensemble
    tps("shoot", copy, "--kind", "one-way", "--force")
    assert {int(d) for r in load_shooting(copy / "shooting" / CHAINS).records for d in r["direction"]} >= {
        -1,
        1,
    }


def test_a_killed_shoot_goes_on(copy, tmp_path):
    """SIGKILL at moments that chance chooses; then the same moves as in one go."""
    command = [
        sys.executable,
        "-c",
        "from tps.cli import main; main()",
        "shoot",
        str(copy),
        "-n",
        "240",
        "--force",
    ]
    rng = np.random.default_rng(3)
    for _ in range(3):
        process = subprocess.Popen(
            command,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ},
        )
        time.sleep(rng.uniform(2.0, 6.0))
        os.killpg(process.pid, 9)
        process.wait()
        command = command[:-1]  # only the first replaces what is there
    tps("shoot", copy, "-n", 240)
    made = load_shooting(copy / "shooting" / CHAINS).records
    tps("shoot", copy, "-n", 240, "--force")
    again = load_shooting(copy / "shooting" / CHAINS).records
    for one, other in zip(made, again, strict=True):
        np.testing.assert_array_equal(one, other)
        assert len(one) == 80


def test_committors_of_frames(copy, tmp_path):
    system = load_system("alanine-dipeptide")
    ends = mdtraj.Trajectory(system.ends.astype(np.float32), system.mdtraj_topology)
    ends.save_dcd(str(tmp_path / "ends.dcd"))
    rows = json.loads(
        tps("committor", copy, "--frames", tmp_path / "ends.dcd", "--shots", 4, "--json").stdout
    )["frames"]
    assert [row["p_b"] for row in rows] == [0.0, 1.0]
    assert (copy / "committor" / "ends.npz").is_file()
    result = tps("committor", copy, "--frames", "path", "--shots", 4, "--n-frames", 3)
    assert len(result.stdout.splitlines()) == 6
    assert "paths 0 to" in complaint("committor", copy, "--frames", "path", "--path", 9999)
    assert "there is no file" in complaint("committor", copy, "--frames", tmp_path / "none.dcd")
    ends.atom_slice(range(21)).save_dcd(str(tmp_path / "other.dcd"))
    assert "cannot be read as frames" in complaint("committor", copy, "--frames", tmp_path / "other.dcd")


def test_what_cannot_be_shot_costs_the_exit_code_but_not_the_report(well, tmp_path):
    """Paths of two steps do not get to B, and no shots were asked for; rates have shots of their own."""
    text = RUN.replace('"low-well"', f'"{well.parent / "low-well"}"')
    text = text.replace("n_steps = 2_000", "n_steps = 2").replace("n_updates = 1_000", "n_updates = 2")
    text = text.replace("n_frames = 1_000", "n_frames = 2").replace("n_windows = 8", "n_windows = 0")
    text = text.replace("n_frame_shots = 300", "n_frame_shots = 0")
    (tmp_path / "run.toml").write_text(text.replace("n_walkers = 64", "n_walkers = 0\nn_frame_shots = 300"))
    message = complaint("run", tmp_path / "run.toml", "-o", tmp_path / "run")
    assert "shooting starts from paths that go from A to B" in message
    assert (tmp_path / "run" / "report.html").is_file()
    stages = json.loads((tmp_path / "run" / "manifest.json").read_text())["stages"]
    assert not {"shoot", "committor", "free-energy"} & set(stages)
    assert stages["rate"]["details"]["frame_shots"] == 300


def test_free_energies_of_a_symmetric_well_vanish(well):
    content = json.loads((well / "free_energy" / "result.json").read_text())
    for name in ("anchored", "regions"):
        for road, metric in content["roads"][name].items():
            error = metric["error"] or 1e-9
            assert abs(metric["value"]) < 4 * error, (name, road)
    assert content["roads"]["regions"]["grid"]["value"] == pytest.approx(0, abs=1e-9)


def test_transition_states_of_a_symmetric_well_are_on_its_top(well):
    """p_B(x) is steep: its slope at the top is exp(4)/∫exp(u) over |x| < 0.7 = 1.04, so 0.4 to 0.6 is |x| < 0.1."""
    with np.load(well / "committor" / "ts" / "committor.npz") as data:
        p_b, x = data["p_b"], data["values"][:, 0]
    assert np.mean(p_b) == pytest.approx(0.5, abs=0.1)
    assert np.abs(x).max() < 0.35
    states = np.load(well / "committor" / "ts" / "transition_states.npy")
    assert len(states) == np.sum((p_b >= 0.4) & (p_b <= 0.6)) > 0


def test_the_rate_of_the_well_is_that_of_its_passage_time(well):
    """4 kT: 1/rate against the quadrature, within 4 standard errors and the time step's first-order shift (10 %)."""
    found = json.loads((well / "rate" / "result.json").read_text())
    for name in ("rate_a_to_b", "rate_b_to_a", "rate_by_flux"):
        value, error = found[name]["value"], found[name]["error"]
        assert abs(value * exact_passage_time() - 1) < 4 * error / value + 0.1
    assert found["first_passage_a_to_b"]["value"] == pytest.approx(1 / found["rate_a_to_b"]["value"])
    assert metrics_of(well)["metrics"]["rate_a_to_b"] == found["rate_a_to_b"]
    assert "<dt>from A to B</dt>" in (well / "report.html").read_text()


def test_a_rate_belongs_to_the_frames_it_was_counted_in(well, tmp_path):
    """More moves leave the rate as it is; another frame interval makes it out of date."""
    shutil.copytree(well, tmp_path / "run")
    text = (tmp_path / "run" / "run.toml").read_text()
    for old, new, state in (
        ("n_moves = 600", "n_moves = 601", "up to date"),
        ("steps = 5 ", "steps = 4 ", "out of date"),
    ):
        assert text.count(old) == 1
        (tmp_path / "run" / "run.toml").write_text(text.replace(old, new))
        assert json.loads(tps("contents", tmp_path / "run", "--json").stdout)["rate"]["state"] == state


def test_times_of_chains_that_the_frames_contradict_are_withheld(well, tmp_path):
    """A symmetric well has one channel, and both agree; frames that saw slower paths do not."""
    shutil.copytree(well, tmp_path / "run")
    assert metrics_of(well)["metrics"]["mean_transition_time"]["value"] is not None
    file = tmp_path / "run" / "shooting" / "from_frames.json"
    content = json.loads(file.read_text())
    numbers = content.get("metrics", content)["transition_time_from_frames"]
    numbers["value"] *= 10
    file.write_text(json.dumps(content))
    sealed(tmp_path / "run", "shoot")
    tps("analyse", tmp_path / "run", "--force")
    found = metrics_of(tmp_path / "run")["metrics"]["mean_transition_time"]
    assert found["value"] is None
    assert "chains stay in the channels they started in" in found["withheld"]
    assert found["withheld"] in shooting_text(tmp_path / "run")  # what `tps shoot` prints is no other number


def reactive_chance(x, barrier=4.0, n=2001):
    """Return 4 p_B (1 - p_B) at x (n,) of the well, p_B the exact committor between the borders at -0.7 and 0.7."""
    grid = np.linspace(-0.7, 0.7, n)
    weight = np.exp(barrier * (grid**2 - 1) ** 2)
    p_b = np.concatenate([[0], np.cumsum(0.5 * (weight[1:] + weight[:-1]))])
    p_b = np.interp(x, grid, p_b / p_b[-1])
    return 4 * p_b * (1 - p_b)


def test_a_learned_committor_chooses_frames(well, tmp_path):
    """Shots are nearer to the top than uniform ones: by more than half of what the exact committor would make of it.

    Expected of 4 p_B (1 - p_B) at a shot are its mean over the path's frames, 0.48, and, drawn in proportion to
    itself, that of its square over its mean, 0.71. Half-way is 7 standard errors from what either run has.
    """
    shutil.copytree(well, tmp_path / "run")
    tps("shoot", tmp_path / "run", "--frame-selection", "committor", "--force")
    tps("shoot", tmp_path / "run", "-n", 900)
    paths = load_transition_paths(tmp_path / "run" / "shooting")
    chances = [reactive_chance(path[1:-1, 0]) for path in paths.positions]
    uniform, chosen = (
        np.average([np.sum(c**k) / np.sum(c ** (k - 1)) for c in chances], weights=paths.multiplicity)
        for k in (1, 2)
    )
    made = [load_shooting(run / "shooting" / CHAINS) for run in (well, tmp_path / "run")]
    before, after = (reactive_chance(np.concatenate(run.shots)[:, 0]) for run in made)
    assert (len(before), len(after)) == (600, 900)
    assert before.mean() < (uniform + chosen) / 2 < after.mean()


def test_rates_that_direct_flux_cannot_reach_are_refused(copy):
    message = complaint("rate", copy, "--n-walkers", 2, "--n-frames", 200, "--force")
    assert "too few for a rate" in message or "no walker crossed" in message


def test_the_player_of_a_run_holds_its_frames(tiny):
    """All distances between atoms are those of the paths' files, to the error said of every coordinate."""
    run = RunFolder.open(tiny / "run")
    ensemble = load_paths(run.path / "paths")
    made = player_scene(run, run.load_frames(), {"paths": ensemble}, {"paths": "x"}, metrics_of(run.path))
    content, n_atoms = json.loads(made.as_json()), run.molecule.n_atoms
    shown, start = content["sets"][0], 0
    steps = np.frombuffer(base64.b64decode(shown["positions"]), "<i2").reshape(-1, n_atoms, 3)
    table = {
        key: np.frombuffer(base64.b64decode(text), "<f4") for key, text in shown["table"]["columns"].items()
    }
    for name, n in shown["paths"]:
        path, rows = int(re.search(r"\d+", name)[0]), slice(start, start + n)
        frames = table["frame"][rows].astype(int)
        given = read_dcd(run.path / "paths" / f"{path:04d}.dcd")[frames]
        apart = [
            np.linalg.norm(xyz[:, :, None] - xyz[:, None], axis=-1)
            for xyz in (given, steps[rows] * shown["step"])
        ]
        # of two atoms, in three directions; and single precision before
        assert np.abs(apart[0] - apart[1]).max() < 2 * np.sqrt(3) * shown["error"] + 1e-6
        np.testing.assert_allclose(table["energy"][rows], ensemble.potential_energy[path, frames], rtol=1e-6)
        np.testing.assert_allclose(table["x0"][rows], np.rad2deg(ensemble.values[path, frames, 0]), rtol=1e-5)
        start += n
    assert start == len(steps) and 0 < shown["error"] <= MAX_ERROR
    assert {mark["set"] for mark in content["marks"]} <= {len(content["sets"]) - 1}
    assert sum(n for s in content["sets"] if s["name"].startswith("unbiased") for _, n in s["paths"]) > 0


def test_the_player_of_a_run_holds_the_windows_of_its_last_round(copy):
    """Frames of a path as those of two windows: each window gets its own, and one that failed is left out."""
    run = RunFolder.open(copy)
    ensemble, curve = load_paths(run.path / "paths"), load_curve(run)
    positions, values = read_dcd(run.path / "paths" / "0000.dcd")[:8], ensemble.values[0, :8]
    flags = np.zeros((1, 4, 2), dtype=bool)
    samples = WindowSamples(
        windows=Windows(curve.s[[0, -1]], curve.eta[[0, -1]]),
        values=values.reshape(1, 4, 2, -1),
        statistics=run.system.space.statistic(values).reshape(1, 4, 2, -1),
        potential_energy=ensemble.potential_energy[0, :8].reshape(1, 4, 2),
        in_a=flags,
        in_b=flags,
        replica=np.zeros((1, 4, 2), dtype=np.int64),
        status=np.array([["failed: x", "completed"]]),
        n_evaluations=0,
    )
    folder = run.path / "conformations" / "rounds" / "10"
    folder.mkdir(parents=True)
    samples.save(folder / "samples.npz")
    write_dcd(folder / "frames.dcd", positions)
    found = KeptWindows.of(run)[-1]
    assert found.name == "windows of growing" and found.size == (1, 4)
    (track,) = found.tracks(TrackMaker.of(run, run.load_frames()), Share(1, 4)).tracks
    assert track.name == "window 1 at s = 1.00, ladder 0"
    np.testing.assert_allclose(track.columns["energy"], ensemble.potential_energy[0, 1:8:2])
    apart = [np.linalg.norm(xyz[:, 0] - xyz[:, 5], axis=-1) for xyz in (positions[1::2], track.positions)]
    np.testing.assert_allclose(*apart, atol=1e-6)  # superposed in double, kept in single precision


def test_the_player_of_a_run_holds_the_windows_of_the_free_energy(tiny):
    """Positions that were kept are those of the frames they are said to be of, a path for each window and ladder."""
    run = RunFolder.open(tiny / "run")
    (found,) = KeptWindows.of(run)
    samples = found.samples
    assert found.size == (samples.n_ladders * samples.windows.n_windows, 32)
    # single precision of 1e-8 nm over arms of 0.1 nm
    values = run.system.feature_values(samples.positions)
    turns = run.system.space.difference(values, samples.values[:, samples.kept_frames])
    np.testing.assert_allclose(turns, 0, atol=1e-4)
    tracks = found.tracks(TrackMaker.of(run, run.load_frames()), Share(1000, 10)).tracks
    assert len(tracks) == found.size[0] and {len(track.frames) for track in tracks} == {10}
    assert tracks[0].frames[[0, -1]].tolist() == [0, samples.n_frames - 1]
    on_curve, n_ladders = samples.windows.on_curve, samples.n_ladders
    assert tracks[0].name == "window 0 at s = 0.00, ladder 0"
    assert tracks[on_curve * n_ladders].name == f"window {on_curve} without a tilt, ladder 0"
