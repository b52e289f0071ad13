"""Surfaces through run files and the command line: exact families, every curve the paths can follow, comparisons."""

import json
import shutil

import numpy as np
import pytest
import torch
from commands import complaint, tps

from tps.arrays import FORMAT_VERSION, load_arrays
from tps.config import load_config
from tps.errors import RunFolderError
from tps.paths import load_paths, load_transition_paths
from tps.pipeline import RunFolder
from tps.pipeline.compare import compared_runs
from tps.pipeline.folder import Chance
from tps.pipeline.geodesic import load_curve
from tps.spacetime import (
    CURVE_METHODS,
    GaussianFamily,
    SpacetimePoint,
    empirical_family,
    half_plane_distance,
)
from tps.systems import data_directory, load_system

WELL = """
[run]
system = "{system}"
seed = 3

[conformations]
n_grid_points = 60

[geodesic]
n_points = 24

[paths]
n_paths = 8
n_baseline_paths = 4
n_steps = 400
n_updates = 100
n_frames = 50
n_equilibration_steps = 20

[shooting]
n_moves = 160
n_chains = 8
n_frame_shots = 100

[committor]
n_paths = 2
n_shots = 10

[free_energy]
n_windows = 4
n_bridge_windows = 2
n_frames = 100
frame_interval_steps = 50
n_backward_paths = 4
"""


def run_file(folder, system="double-well-2d", extra=""):
    file = folder / f"{system}.toml"
    file.write_text(WELL.format(system=system) + extra)
    return file


@pytest.fixture(scope="module")
def well(tmp_path_factory):
    folder = tmp_path_factory.mktemp("well")
    tps("run", run_file(folder), "-o", folder / "run")
    return folder / "run"


def test_a_surface_runs_from_end_to_end(well):
    content = json.loads((well / "analysis" / "metrics.json").read_text())
    metrics = content["metrics"]
    assert metrics["u_max_minus_bound"]["value"] == pytest.approx(
        metrics["u_max"]["value"] - metrics["lower_bound"]["value"]
    )
    assert metrics["lower_bound"]["value"] == pytest.approx(8.0, abs=1e-3)  # the barrier of 8 (x² - 1)²
    assert metrics["u_max"]["unit"] == "kT"
    # 60² energies; 400 + 20 steps and an energy for each path, 8 for the curvature; 361² for the bound
    assert metrics["evaluations_conformations"]["value"] == 3600
    assert metrics["evaluations_paths"]["value"] == 8 * 421 + 8
    assert metrics["evaluations_for_paths"]["value"] == 3600 + 8 * 421 + 8 + 361**2
    # two wells that mirror each other: no free-energy difference, whatever holds them
    assert metrics["free_energy_difference"]["value"] == pytest.approx(0.0, abs=1e-9)
    assert (well / "report.html").is_file()
    assert (well / "figures" / "surface.png").is_file()
    assert not (well / "topology.pdb").exists()
    assert not list((well / "paths").glob("*.dcd"))


def test_mean_energies_of_the_states_are_those_of_quadrature(well):
    """<U> in state A (x from -1.6 to -0.7), on the grid of 60 points against 2000: equal to the spacing's order."""
    metrics = json.loads((well / "analysis" / "metrics.json").read_text())["metrics"]
    x, y = np.linspace(-1.6, -0.7, 2000), np.linspace(-1.2, 1.2, 2000)
    along, across = 8 * (x**2 - 1) ** 2, 10 * y**2
    exact = np.average(along, weights=np.exp(-along)) + np.average(across, weights=np.exp(-across))
    assert metrics["mean_energy_a"]["value"] == pytest.approx(exact, rel=0.03)
    assert metrics["mean_energy_a"]["error"] is None


def test_free_energy_of_springs_is_that_of_the_springs(tmp_path):
    """Anchors in a harmonic valley, one displaced: F = k K d² / 2 (k + K), the spring's own constant included."""
    (tmp_path / "system.toml").write_text(
        """
[surface]
name = "valley"
description = "x²"
kind = "table"
file = "table.txt"
axes = ["x"]
kt = 1.0
energy_unit = "kT"

[states.A]
name = "a"
point = [0.0]
x = [-0.5, 0.5]

[states.B]
name = "b"
point = [1.5]
x = [1.0, 2.0]
"""
    )
    x = np.linspace(-6, 6, 401)
    np.savetxt(tmp_path / "table.txt", np.column_stack([x, x**2]))  # k = 2
    file = run_file(tmp_path, "valley")
    file.write_text(
        file.read_text()
        .replace('"valley"', '"."')
        .replace("n_grid_points = 60", "n_grid_points = 400")
        .replace("n_points = 24", "n_points = 128")
    )
    tps("run", file, "-o", tmp_path / "run", "--until", "geodesic")
    for stage in ("paths", "analyse"):
        tps(stage, tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "analysis" / "metrics.json").read_text())["metrics"]
    stiffness = np.exp(4.0)
    exact = 0.5 * 2 * stiffness / (2 + stiffness) * 1.5**2
    assert metrics["free_energy_difference"]["value"] == pytest.approx(exact, rel=1e-6)
    # so by every road of the free energies: exact on the grid, within 4 errors by windows and both ways of pulling;
    # one way is biased, but not by the 61 of the springs' constant K d²/2
    tps("free-energy", tmp_path / "run")
    roads = json.loads((tmp_path / "run" / "free_energy" / "result.json").read_text())["roads"]["anchored"]
    assert roads["grid"]["value"] == pytest.approx(exact, rel=1e-6)
    for name, road in roads.items():
        assert abs(road["value"] - exact) < 10, name
    for name in ("windows (MBAR)", "windows, integration of μ", "straight pulls, both ways (BAR)"):
        assert abs(roads[name]["value"] - exact) < 4 * roads[name]["error"], name
    # and so is the profile: F = k K c² / 2 (k + K) + ln(1 + K/k) / 2 all along the curve, of stiffness K about c
    profile = load_arrays(tmp_path / "run" / "free_energy" / "profile.npz")
    curve = load_curve(RunFolder.open(tmp_path / "run"))
    strength = np.exp(curve.log_snr)
    along = strength * curve.center[:, 0] ** 2 / (2 + strength) + 0.5 * np.log1p(strength / 2)
    along = np.interp(profile["s"], curve.s, along - along[0])
    assert (np.abs(profile["free_energy"] - along) <= 4 * profile["free_energy_error"] + 0.05).all()
    assert profile["free_energy"][-1] == pytest.approx(roads["windows (MBAR)"]["value"])
    # a Gaussian family: the length is that of the half-plane
    family = GaussianFamily(mean=[0.0], variance=0.5)
    exact = half_plane_distance(family, SpacetimePoint([0.0], 4.0), SpacetimePoint([1.5], 4.0))
    assert metrics["geodesic_length"]["value"] == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("method", [m for m in CURVE_METHODS if m != "geodesic"])
def test_every_curve_can_be_followed(well, tmp_path, method):
    copy = tmp_path / "run"
    shutil.copytree(well, copy)
    result = tps("geodesic", copy, "--method", method, "--force")
    assert f"method {method}" in result.stdout
    assert f"health of the {method}" in result.stdout
    solved = json.loads((copy / "geodesic" / "result.json").read_text())
    assert solved["method"] == method
    assert solved["length"] >= solved["geodesic_length"] * (1 - 1e-3)  # the geodesic is the shortest
    tps("paths", copy, "--force")
    tps("analyse", copy, "--force")
    content = json.loads((copy / "analysis" / "metrics.json").read_text())
    assert content["metrics"]["hit_rate"]["value"] > 50
    table = tps("compare", well, copy, "--baselines", "-o", tmp_path / "compare.png").stdout
    assert f"({method.replace('-', ' ')})" in table
    assert "max. above bound" in table
    assert (tmp_path / "compare.png").is_file()


def test_channels_follow_the_points_they_are_given(tmp_path):
    extra = (
        '\n[geodesic]\nn_points = 24\nmin_log_snr = 3.0\navoid = ["x=-0.5..0.5,y=-0.6..0.6"]\n'
        'via = ["x=-0.7,y=0.7; x=0,y=1; x=0.7,y=0.7", "x=-0.7,y=-0.7; x=0,y=-1; x=0.7,y=-0.7"]\n'
    )
    file = run_file(tmp_path, "dual-channel")
    file.write_text(file.read_text().replace("\n[geodesic]\nn_points = 24\n", extra))
    tps("run", file, "-o", tmp_path / "run", "--until", "geodesic")
    solved = json.loads((tmp_path / "run" / "geodesic" / "result.json").read_text())
    assert [channel["status"] for channel in solved["channels"]] == ["converged"] * 2
    sides = set()
    for number in range(2):
        with np.load(tmp_path / "run" / "geodesic" / "channels" / f"{number}.npz") as curve:
            middle = curve["mu"][len(curve["mu"]) // 2, :2]
            assert curve["log_snr"].min() >= 3 - 2e-3
        sides.add(np.sign(middle[1]))
        assert abs(middle[1]) > 0.6
    assert sides == {-1.0, 1.0}
    assert "only 2 geodesics were found" in complaint("geodesic", tmp_path / "run", "--channel", 2, "--force")
    tps("geodesic", tmp_path / "run", "--channel", 1, "--force")
    after = json.loads((tmp_path / "run" / "geodesic" / "result.json").read_text())
    assert after["length"] == pytest.approx(solved["channels"][1]["length"])


def test_points_to_avoid_are_given_in_the_axes_own_unit(well, tmp_path):
    """The KL divergence of every point of the curve from the tilt about (0, 0.1) rises to what was asked for."""
    shutil.copytree(well, tmp_path / "run")
    result = tps("geodesic", tmp_path / "run", "--avoid-point", "x=0,y=0.1,log_snr=2,kl=0.8", "--force")
    assert "KL" in result.stdout and "held" in result.stdout
    run = RunFolder.open(well)
    frames = run.load_frames()
    family = empirical_family(run.system.space, frames.values, frames.log_weights)
    target = torch.tensor([[0.0, 0.1, -0.5]], dtype=torch.float64) * np.exp(2.0)
    mu, psi = family.mu(target)[0], family.psi(target)[0]

    def nearest(folder):
        eta = torch.as_tensor(load_curve(RunFolder.open(folder)).eta)
        return float(((target - eta) @ mu - psi + family.psi(eta)).min())

    assert nearest(well) < 0.5
    assert nearest(tmp_path / "run") >= 0.8 - 2e-3


def test_a_run_folder_of_another_version_is_refused(well, tmp_path):
    shutil.copytree(well, tmp_path / "run")
    file = tmp_path / "run" / "manifest.json"
    manifest = json.loads(file.read_text())
    assert manifest.pop("format_version") == FORMAT_VERSION
    file.write_text(json.dumps(manifest))
    expected = f"version 1, this one reads {FORMAT_VERSION}): start a new run folder"
    assert expected in complaint("contents", tmp_path / "run")
    assert expected in complaint("run", run_file(tmp_path), "-o", tmp_path / "run")
    stages = {name: {**entry, "status": "1979-05-27"} for name, entry in manifest["stages"].items()}
    for damaged in ("{", json.dumps({**manifest, "format_version": FORMAT_VERSION, "stages": stages})):
        file.write_text(damaged)
        assert "is missing or damaged" in complaint("paths", tmp_path / "run")


def test_paths_may_be_given_as_text(well):
    """As to Python's own open()."""
    run = RunFolder.open(str(well))
    assert run.path == well
    assert load_config(str(well / "run.toml")) == run.config
    assert RunFolder.planned(str(well), run.config).started
    assert len(load_paths(str(well / "paths")).seeds) == run.config.paths.n_paths
    assert len(load_transition_paths(str(well / "shooting"))) > 0
    assert compared_runs([str(well)]) == compared_runs([well])


def test_files_of_another_run_are_refused(well, tmp_path):
    """Those of four features, in a folder of two."""
    copy = shutil.copytree(well, tmp_path / "run")
    run = RunFolder.open(copy)
    for file, stage in (("geodesic/curve.npz", "geodesic"), ("conformations/data.npz", "conformations")):
        arrays = load_arrays(copy / file)
        arrays["format_version"] = np.array(FORMAT_VERSION)
        wide = {name: np.hstack([x, x]) if x.ndim == 2 else x for name, x in arrays.items()}
        np.savez(copy / file, **wide)
        with pytest.raises(RunFolderError, match=rf"{file} is of other features.*`tps {stage} .* --force`"):
            load_curve(run) if stage == "geodesic" else run.load_frames()


def test_every_purpose_has_seeds_of_its_own(well):
    """Numbers that runs on disk depend on: a seed is SeedSequence(run.seed, spawn_key = (purpose,))."""
    run = RunFolder.open(well)
    assert run.seeds(Chance.RATE, 2) == np.random.SeedSequence(3, spawn_key=(13,)).generate_state(2).tolist()
    assert len({run.seeds(purpose, 1)[0] for purpose in Chance}) == len(Chance)


def test_plain_dynamics_gives_the_frames_of_a_surface_too(tmp_path):
    extra = 'method = "md"\nn_walkers = 20\nn_sample_steps = 2_000\nframe_interval_steps = 50\n'
    file = run_file(tmp_path)
    file.write_text(file.read_text().replace("n_grid_points = 60\n", extra))
    tps("run", file, "-o", tmp_path / "run", "--until", "conformations")
    with np.load(tmp_path / "run" / "conformations" / "data.npz") as data:
        assert data["values"].shape == (800, 2)
        # y is harmonic, k = 20: variance 1/20 within 4 standard errors of 800 correlated frames (two by two)
        assert data["values"][:, 1].var() == pytest.approx(0.05, rel=4 * np.sqrt(4 / 800))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ('[conformations]\nmethod = "metadynamics"', "'metadynamics' of conformations is for molecules"),
        ('[train]\nmodel = "denoisr"', "did you mean 'denoiser'?"),
        ("[geodesic]\nwindings = [1, 0]", "windings need angles"),
        ('[geodesic]\nvia = ["x=0"]', "needs a value for each of x, y"),
        ('[geodesic]\nvia = ["0,1"]', "geodesic.via takes points"),
    ],
)
def test_what_surfaces_cannot_do_is_said(tmp_path, change, expected):
    file = tmp_path / "run.toml"
    file.write_text('[run]\nsystem = "double-well-2d"\n' + change)
    assert expected in complaint("run", file, "-o", tmp_path / "run")


def test_surfaces_have_nothing_to_export_and_molecules_no_grid(well, tmp_path):
    assert "has no atoms" in complaint("export", well)
    file = tmp_path / "run.toml"
    file.write_text('[run]\nsystem = "alanine-dipeptide"\n[conformations]\nmethod = "grid"')
    assert "is for surfaces" in complaint("run", file, "-o", tmp_path / "run")


def test_runs_of_two_systems_are_not_compared(well, tmp_path):
    tps("run", run_file(tmp_path, "double-well"), "-o", tmp_path / "other")
    assert "compare runs of one system" in complaint("compare", well, tmp_path / "other")
    assert "is not a run folder" in complaint("compare", well, tmp_path / "nothing")


@pytest.mark.parametrize("file", sorted(data_directory("configs").glob("*.toml")), ids=lambda file: file.stem)
def test_run_files_that_ship_are_of_systems_that_ship(file):
    assert load_system(load_config(file).run.system).name
