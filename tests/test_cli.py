"""The command line end to end on the real molecule, and every mistake of a user answered with one sentence."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner
from commands import TINY, complaint, tps

from tps.cli import GROUPS, main
from tps.cli.results import side_by_side
from tps.engine import PlatformChoice, potential_energies
from tps.systems import data_directory, load_system

SMOKE = data_directory("configs") / "smoke.toml"
PEPTIDE = data_directory("systems") / "alanine-dipeptide"


def test_the_run_folder_is_complete(tiny):
    run = tiny / "run"
    for name in (
        "run.toml",
        "manifest.json",
        "topology.pdb",
        "conformations/frames.dcd",
        "conformations/data.npz",
        "model/model.safetensors",
        "model/training.json",
        "geodesic/curve.npz",
        "geodesic/result.json",
        "paths/paths.npz",
        "paths/0002.dcd",
        "baselines/straight_line/paths.npz",
        "baselines/straight_line_with_profile/paths.npz",
        "analysis/metrics.json",
        "figures/free_energy_map.png",
        "report.html",
    ):
        assert (run / name).is_file(), name
    assert not list(run.glob(".*"))
    metrics = json.loads((run / "analysis" / "metrics.json").read_text())["metrics"]
    for name, metric in metrics.items():
        assert set(metric) - {"withheld"} == {"value", "error", "unit", "definition"}, name
    assert metrics["paths_started"]["value"] == 3
    assert metrics["negative_chords"]["value"] == 0
    stages = json.loads((run / "manifest.json").read_text())["stages"]
    assert stages["paths"]["force_evaluations"] == 5 * (2000 + 500 + 20)
    assert all(entry["versions"]["openmm"] for entry in stages.values())


def test_stored_energies_are_those_of_a_fresh_system(tiny):
    """Within 0.1 kJ/mol at the positions of the DCD files, tilt and bias left out."""
    system = load_system("alanine-dipeptide")
    with np.load(tiny / "run" / "paths" / "paths.npz") as data:
        stored = data["potential_energy"]
    for path in range(3):
        frames = mdtraj.load(str(tiny / "run" / "paths" / f"{path:04d}.dcd"), top=system.mdtraj_topology)
        fresh = potential_energies(system.create_openmm_system(), frames.xyz, PlatformChoice("Reference"))
        np.testing.assert_allclose(fresh, stored[path], atol=0.1)


def test_finished_stages_are_not_run_again(tiny):
    before = (tiny / "run" / "manifest.json").read_bytes()
    result = tps("run", tiny / "tiny.toml", "-o", tiny / "run")
    assert result.stderr.count("up to date") == 10
    assert (tiny / "run" / "manifest.json").read_bytes() == before
    assert "paths" in result.stdout
    assert "up to date" in tps("geodesic", tiny / "run").stdout


def test_the_same_seed_repeats_everything_and_another_does_not(tiny, tmp_path):
    tps("run", tiny / "tiny.toml", "-o", tmp_path / "again")
    for name in (
        "analysis/metrics.json",
        "paths/0001.dcd",
        "conformations/frames.dcd",
        "model/model.safetensors",
    ):
        assert (tiny / "run" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    tps("run", tiny / "tiny.toml", "-o", tmp_path / "other", "--seed", 3)
    for name in ("analysis/metrics.json", "paths/0001.dcd"):
        assert (tiny / "run" / name).read_bytes() != (tmp_path / "other" / name).read_bytes(), name


def test_a_stage_is_replaced_only_with_force_and_what_follows_is_out_of_date(copy):
    assert "of other settings" in complaint("geodesic", copy, "--min-log-snr", 2.5)
    assert "# min_log_snr" in (copy / "run.toml").read_text()
    result = tps("geodesic", copy, "--min-log-snr", 2.5, "--force")
    assert "status converged" in result.stdout
    with np.load(copy / "geodesic" / "curve.npz") as curve:
        kappa = np.hypot(curve["eta"][:, 0::2], curve["eta"][:, 1::2])
    assert np.log(kappa).min() >= 2.5 - 1e-3
    states = json.loads(tps("contents", copy, "--json").stdout)
    assert {name: row["state"] for name, row in states.items()} == {
        "conformations": "up to date",
        "train": "up to date",
        "geodesic": "up to date",
        "paths": "out of date",
        "shoot": "out of date",
        "committor": "out of date",
        "free-energy": "out of date",
        "rate": "up to date",
        "analyse": "out of date",
        "report": "out of date",
    }
    assert "needs the result of `tps paths`, which is out of date" in complaint("analyse", copy)
    tps("paths", copy, "-n", 2, "--n-baseline-paths", 0, "--force")
    tps("analyse", copy, "--force")
    tps("report", copy, "--force")
    metrics = json.loads((copy / "analysis" / "metrics.json").read_text())
    assert metrics["metrics"]["paths_started"]["value"] == 2
    assert metrics["baselines"] == {}


def test_avoiding_a_region(copy):
    region = "phi=-30..30,psi=-180..180"
    tps("geodesic", copy, "--avoid", region, "--avoid-p-max", 0.02, "--force")
    solved = json.loads((copy / "geodesic" / "result.json").read_text())
    assert solved["constraints"][0]["satisfied"]
    tps("paths", copy, "--enforce", "--force")
    tps("analyse", copy, "--force")
    found = json.loads((copy / "analysis" / "metrics.json").read_text())["metrics"]["paths_out_of_regions"]
    assert 0 <= found["value"] <= 100


def test_regions_that_cannot_be_avoided(copy):
    assert "contains end structure" in complaint("geodesic", copy, "--avoid", "phi=-180..0", "--force")
    assert "chi" in complaint("geodesic", copy, "--avoid", "chi=0..10", "--force")
    assert "--avoid-point takes" in complaint("geodesic", copy, "--avoid-point", "phi=0", "--force")
    assert "avoid_points center needs a value for each of phi, psi" in complaint(
        "geodesic", copy, "--avoid-point", "phi=0,log_snr=3,kl=2", "--force"
    )
    assert (copy / "geodesic" / "curve.npz").is_file()


def test_stages_in_order(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY.format(seed=1))
    tps("run", tmp_path / "tiny.toml", "-o", tmp_path / "run", "--until", "conformations")
    assert "needs the result of `tps geodesic`, which is missing" in complaint("paths", tmp_path / "run")
    assert "needs the result of `tps train`, which is missing" in complaint("geodesic", tmp_path / "run")
    assert "best_step" in tps("train", tmp_path / "run", "--model", "denoiser").stdout


def test_a_killed_run_goes_on(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY.format(seed=1).replace("n_steps = 2_000", "n_steps = 4_000_000"))
    command = [sys.executable, "-c", "from tps.cli import main; main()", "run", "tiny.toml", "-o", "run"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True, env={**os.environ}
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("geodesic:"):
            break
    os.killpg(process.pid, 9)
    process.wait()
    process.stderr.close()
    run = tmp_path / "run"
    assert list(json.loads((run / "manifest.json").read_text())["stages"]) == [
        "conformations",
        "train",
        "geodesic",
    ]
    assert not (run / "paths").exists()
    assert "of other settings" not in tps("contents", run).stdout
    tps("paths", run, "--n-steps", 2000)
    assert not list(run.glob(".*"))


@pytest.mark.parametrize("suffix", ["dcd", "xtc", "pdb", "h5"])
def test_export(copy, tmp_path, suffix):
    out = tmp_path / "out"
    result = tps("export", copy, "-o", out, "-f", suffix, "--atoms", "element != H", "--path", 1)
    assert "20 frames of 10 atoms" in result.stdout
    file = next(out.glob(f"path_*.{suffix}"))
    loaded = mdtraj.load(str(file), **({} if suffix in ("pdb", "h5") else {"top": str(out / "topology.pdb")}))
    assert (loaded.n_frames, loaded.n_atoms) == (20, 10)
    assert 0.1 < loaded.xyz.std() < 1.0  # nm


def test_help_has_each_command_in_a_group_and_says_whole_what_it_does():
    text = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    for title, commands in GROUPS.items():
        assert f"\n{title}:\n" in text
        for command in commands:
            assert re.search(rf"^  {command.name} +\S.*[^.]\.$", text, re.MULTILINE), command.name
    assert {command for commands in GROUPS.values() for command in commands} == set(main.commands.values())


@pytest.mark.parametrize(
    ("words", "begun", "offered"),
    [
        ([], "geo", ["geodesic"]),
        (["paths", "run"], "--protocol", ["--protocol"]),
        (["paths", "run", "--protocol"], "f", ["fisher", "friction"]),
        (["run", "demo", "--until"], "f", ["free-energy"]),
    ],
)
def test_a_shell_completes_commands_options_and_choices(words, begun, offered):
    complete = BashComplete(main, {}, "tps", "_TPS_COMPLETE")
    assert [item.value for item in complete.get_completions(words, begun)] == offered


def test_a_command_called_by_itself_has_the_same_help():
    assert "Usage:" in CliRunner().invoke(main.commands["run"], ["-h"]).output
    assert "Usage:" in tps("run", "-h").stdout


def test_information(copy):
    assert "alanine-dipeptide" in tps("systems").stdout
    assert "C7ax: phi=40..100" in tps("systems", "alanine-dipeptide").stdout
    assert "Reference" in tps("doctor").stdout
    contents = tps("contents", copy).stdout
    assert "up to date" in contents and "walkers saw both A and B" in " ".join(contents.split())
    assert max(len(line) for line in contents.splitlines()) <= 100
    for command in ("run", "geodesic", "export", "contents"):
        assert "Usage:" in tps(command, "-h").stdout


def write_system(folder, *changes):
    shutil.copytree(PEPTIDE, folder)
    text = (folder / "system.toml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "system.toml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("phi_degree = [-180, -40]", "phi_degree = [-20, 20]"), "contains neither end structure"),
        (("[40, 100]\npsi_degree = [-110, 10]", "[-100, 100]\npsi_degree = [-110, 100]"), "overlap"),
        (("temperature_kelvin", "temperatur_kelvin"), "did you mean 'temperature_kelvin'"),
        (("= 300.0", "= -3.0"), "temperature_kelvin"),
        (("c7ax.pdb", "nowhere.pdb"), "nowhere.pdb"),
        (("amber99sbildn", "amber98"), "amber98"),
    ],
)
def test_mistakes_in_a_system(tmp_path, change, message):
    import re

    folder = write_system(tmp_path / "mine", change)
    found = complaint("run", SMOKE, "-o", tmp_path / "run", "--system", folder)
    assert re.search(message, found), found
    assert not (tmp_path / "run").exists()


def test_end_structures_with_different_atoms(tmp_path):
    folder = write_system(tmp_path / "mine")
    lines = (folder / "c7ax.pdb").read_text().splitlines(keepends=True)
    (folder / "c7ax.pdb").write_text("".join(line for line in lines if " HB3 ALA" not in line))
    found = complaint("run", SMOKE, "-o", tmp_path / "run", "-s", folder)
    assert "22" in found
    assert "21" in found


def test_mistakes_in_files_and_folders(copy, tmp_path):
    assert "none.toml does not exist" in complaint("run", tmp_path / "none.toml", "-o", tmp_path / "run")
    (tmp_path / "bad.toml").write_text(TINY.format(seed=1).replace("n_paths", "n_path"))
    assert "did you mean 'n_paths'" in complaint("run", tmp_path / "bad.toml", "-o", tmp_path / "run")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("!")
    assert "is not a run folder" in complaint("run", SMOKE, "-o", tmp_path / "full")
    assert "another configuration" in complaint("run", SMOKE, "-o", copy)
    assert "is not a run folder" in complaint("paths", tmp_path / "nowhere")
    assert "'Quantum' is not available" in complaint(
        "run", _with(tmp_path, "[run]", '[run]\nplatform = "Quantum"'), "-o", tmp_path / "run2"
    )


def _with(folder: Path, old: str, new: str) -> Path:
    (folder / "changed.toml").write_text(TINY.format(seed=1).replace(old, new))
    return folder / "changed.toml"


def test_mistakes_in_the_users_trajectories(tiny, tmp_path):
    system = load_system("alanine-dipeptide")
    frames = mdtraj.load(str(tiny / "run" / "paths" / "0000.dcd"), top=system.mdtraj_topology)

    def importing(name, extra=""):
        text = f'[conformations]\nmethod = "import"\ntrajectories = ["{name}"]\n{extra}\n[train]'
        head, tail = TINY.format(seed=1).split("[conformations]")
        (tmp_path / "import.toml").write_text(head + text + tail.split("[train]")[1])
        return complaint("run", tmp_path / "import.toml", "-o", tmp_path / f"run-{name}")

    frames.atom_slice(range(10)).save(str(tmp_path / "other.dcd"))
    assert "22 atoms" in importing("other.dcd")
    frames.save(str(tmp_path / "good.dcd"))
    np.savetxt(tmp_path / "w.txt", np.zeros(7))
    assert "7 values, but the trajectories have 20 frames" in importing(
        "good.dcd", 'weights_file = "w.txt"\nweights_kind = "log-weight"'
    )
    frames.xyz[5, 2] = np.nan
    frames.save(str(tmp_path / "nan.dcd"))
    assert "not finite numbers" in importing("nan.dcd")
    frames.xyz[5] = 0
    frames.save(str(tmp_path / "point.dcd"))
    assert "1 of 20 frames have no finite energy" in importing("point.dcd")
    assert "there is no trajectory" in importing("missing.dcd")


def test_tables_side_by_side_keep_to_a_hundred_columns_and_lose_nothing():
    """The first column and three of 24 fill a line; a name longer than a line keeps its end."""
    number = {"value": 27.1, "error": 10.9, "unit": "kJ/mol"}
    columns = {
        "one": {"u": number},
        "two": {"u": number},
        "three": {},
        "four": {"u": number},
        "x" * 120 + "/y": {},
    }
    tables = side_by_side({"u": "energy", "lost": "of none"}, columns, 24).split("\n\n")
    heads = [table.splitlines()[0].split() for table in tables]
    assert heads == [["one", "two", "three"], ["four"], ["…" + "x" * 71 + "/y"]]
    assert all(len(line) <= 100 for table in tables for line in table.splitlines())
    assert tables[0].splitlines()[1].split() == [
        "energy",
        "27.1",
        "±",
        "10.9",
        "kJ/mol",
        "27.1",
        "±",
        "10.9",
        "kJ/mol",
        "–",
    ]
    assert "of none" not in "".join(tables)


def test_the_page_is_opened_where_there_is_a_display(tiny, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    page = tiny / "run" / "report.html"
    assert str(page.resolve()) in tps("view", tiny / "run").stdout
    assert not opened
    monkeypatch.setenv("DISPLAY", ":0")
    assert tps("report", tiny / "run", "--open").stdout.endswith(f"opened {page.resolve()}\n")
    assert opened == [page.resolve().as_uri()]


def test_a_run_without_a_page_says_how_to_make_it(copy):
    (copy / "report.html").unlink()
    assert f"`tps report {copy}`" in complaint("view", copy)


@pytest.mark.parametrize("name", ["", "a/" * 1500 + "b", "x" * 5000], ids=["empty", "deep", "long"])
@pytest.mark.parametrize(
    "command", [("run", "smoke", "-o"), ("compare", "x", "-o"), ("contents",), ("init", "a.pdb")]
)
def test_names_that_no_file_can_have_are_refused(command, name):
    said = tps(*command, name, code=2).stderr.splitlines()[-1]
    assert said.startswith("Error: Invalid value for ")
    assert len(said) < 300


def test_a_name_that_no_text_can_hold_is_spelled_out(tiny, tmp_path):
    """Bytes of a file's name that are no UTF-8 come in as lone surrogates."""
    said = tps("compare", tiny / "run", "-o", tmp_path / "\udcff.png")
    assert (tmp_path / "\udcff.png").is_file() and "\\udcff.png" in said.output
