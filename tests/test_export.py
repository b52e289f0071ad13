"""Exported trajectories open in MDTraj as they went in; viewer scripts find their files."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import mdtraj
import numpy as np
import pytest

from tps.errors import ParameterError, RunFolderError, TrajectoryError
from tps.export import FORMATS, VIEWER_FORMATS, export_paths, read_record, write_viewer_scripts
from tps.export.formats import ALIASES, NOT_OFFERED, find_format
from tps.export.source import load_structure

SYSTEM = Path(__file__).parents[1] / "systems" / "alanine-dipeptide"
N_PATHS, N_FRAMES, N_ATOMS, N_HEAVY, INTERVAL = 5, 12, 22, 10, 0.25
FAILED, UNREACTIVE = 1, 3
FIRST, LAST = 4, 8


def rotations(rng, n):
    """Random rotation matrices (n, 3, 3)."""
    q, _ = np.linalg.qr(rng.normal(size=(n, 3, 3)))
    return q * np.sign(np.linalg.det(q))[:, None, None]


@pytest.fixture
def run(tmp_path):
    """A run folder whose frames are the reference structure turned, moved and (a little) shaken."""
    return make_run(tmp_path / "run", shake=0.002)


def make_run(folder, *, shake):
    rng = np.random.default_rng(7)
    (folder / "paths").mkdir(parents=True)
    shutil.copy(SYSTEM / "c5.pdb", folder / "topology.pdb")
    reference = load_structure(folder / "topology.pdb")
    potential_energy = rng.normal(20.0, 5.0, size=(N_PATHS, N_FRAMES))
    potential_energy[FAILED] = np.nan
    segment = np.tile([[FIRST], [LAST]], N_PATHS)
    segment[:, [FAILED, UNREACTIVE]] = -1
    status = ["completed"] * N_PATHS
    status[FAILED] = "failed: coordinates are not finite"
    for index in range(N_PATHS):
        if index != FAILED:
            frames = reference.xyz + rng.normal(0, shake, size=(N_FRAMES, N_ATOMS, 3))
            frames = frames @ rotations(rng, N_FRAMES) + rng.normal(size=(N_FRAMES, 1, 3))
            path = mdtraj.Trajectory(frames.astype(np.float32), reference.topology)
            path.save_dcd(str(folder / "paths" / f"{index:04d}.dcd"))
    save_table(folder, status=np.array(status), potential_energy=potential_energy, segment=segment)
    return folder


def save_table(folder, *, status, potential_energy, segment):
    np.savez(
        folder / "paths" / "paths.npz",
        status=status,
        potential_energy=potential_energy,
        reactive_start=segment[0],
        reactive_end=segment[1],
        frame_interval_ps=INTERVAL,
    )


def stored(run, index):
    return mdtraj.load_dcd(str(run / "paths" / f"{index:04d}.dcd"), top=str(run / "topology.pdb"))


def opened(folder, name):
    """Open an exported file as a user of MDTraj would."""
    own_topology = name.endswith((".pdb", ".pdb.gz", ".cif", ".h5", ".gro"))
    extra = {} if own_topology else {"top": str(folder / "topology.pdb")}
    return mdtraj.load(str(folder / name), **extra)


def test_every_format_of_mdtraj_is_offered_or_refused_with_a_reason():
    savers = {name for name in dir(mdtraj.Trajectory) if name.startswith("save_")}
    assert savers == {item.saver for item in FORMATS.values()} | set(NOT_OFFERED)
    assert set(ALIASES.values()) <= set(FORMATS)


@pytest.mark.filterwarnings("ignore:Warning. The 'netCDF4'")
@pytest.mark.parametrize("name", FORMATS)
def test_format_opens_in_mdtraj(run, tmp_path, name, capfd):
    if FORMATS[name].package is not None:
        pytest.importorskip(FORMATS[name].package)
    capfd.readouterr()
    record = export_paths(run, tmp_path / "out", format=name, align=False)
    assert capfd.readouterr().out == ""  # MDTraj's DCD plugin would print here

    assert [path.index for path in record.paths] == [0, 2, 3, 4]
    assert record.left_out == {FAILED: "failed: coordinates are not finite"}
    for path in record.paths:
        frames = opened(tmp_path / "out", path.file)
        assert (frames.n_frames, frames.n_atoms) == (N_FRAMES, N_ATOMS)
        assert frames.unitcell_lengths is None
        # the format's rounding in nm: a wrong unit would be off by a factor of ten
        np.testing.assert_allclose(frames.xyz, stored(run, path.index).xyz, atol=FORMATS[name].precision)
        if FORMATS[name].keeps_time:
            np.testing.assert_allclose(frames.time, np.arange(N_FRAMES) * INTERVAL, atol=1e-5)


def test_format_names_are_forgiving_and_unknown_ones_refused():
    if importlib.util.find_spec("tables"):
        assert find_format("HDF5").suffix == ".h5"
    assert find_format(".NetCDF").suffix == ".nc"
    with pytest.raises(ParameterError, match="dcd, xtc"):
        find_format("avi")


def test_hdf5_without_pytables_is_one_sentence(run, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ParameterError, match="pip install tables"):
        export_paths(run, tmp_path / "out", format="h5")


def test_reactive_segments_only(run, tmp_path):
    record = export_paths(run, tmp_path / "out", format="xtc", reactive_only=True, align=False)
    assert [path.index for path in record.paths] == [0, 2, 4]
    assert (record.n_failed, record.n_without_reactive_segment) == (1, 1)
    assert "1 failed, 1 without a reactive segment" in record.sentence()
    only_two = export_paths(run, tmp_path / "two", which=[0, UNREACTIVE], reactive_only=True)
    assert (only_two.n_failed, only_two.n_without_reactive_segment) == (0, 1)
    for path in record.paths:
        frames = opened(tmp_path / "out", path.file)
        assert path.n_frames == frames.n_frames == LAST - FIRST + 1
        np.testing.assert_allclose(frames.xyz, stored(run, path.index).xyz[FIRST : LAST + 1], atol=6e-4)
        # time counts from the start of the whole path
        np.testing.assert_allclose(frames.time, np.arange(FIRST, LAST + 1) * INTERVAL, atol=1e-5)
    with np.load(run / "paths" / "paths.npz") as table:
        highest = table["potential_energy"][:, FIRST : LAST + 1].max(axis=1)
    assert [path.potential_energy_max for path in record.paths] == list(highest[[0, 2, 4]])


def test_atom_selection_keeps_order_and_names(run, tmp_path):
    record = export_paths(run, tmp_path / "out", atoms="not element H", align=False)
    topology = load_structure(tmp_path / "out" / "topology.pdb").topology
    expected = ["CH3", "C", "O", "N", "CA", "CB", "C", "O", "N", "CH3"]
    assert [atom.name for atom in topology.atoms] == expected
    heavy = [
        atom.index for atom in load_structure(run / "topology.pdb").topology.atoms if atom.name in expected
    ]
    frames = opened(tmp_path / "out", "path_0000.dcd")
    assert record.n_atoms == frames.n_atoms == len(heavy) == N_HEAVY
    np.testing.assert_allclose(frames.xyz, stored(run, 0).xyz[:, heavy], atol=1e-6)


def test_structure_has_the_names_of_the_file_and_all_bonds():
    """Twenty-two atoms in one open chain have 21 bonds."""
    topology = load_structure(SYSTEM / "c5.pdb").topology
    assert topology.n_bonds == N_ATOMS - 1
    assert [atom.name for atom in topology.atoms][:2] == ["HH31", "CH3"]


def test_aligned_copies_lie_on_the_reference(tmp_path):
    """Frames that are the reference turned and moved come back as the reference (float32: 1e-5 nm)."""
    run = make_run(tmp_path / "run", shake=0.0)
    reference = load_structure(run / "topology.pdb")
    turned = reference.xyz[0] @ rotations(np.random.default_rng(1), 1)[0] + 3.0
    export_paths(run, tmp_path / "out", end_states={"A": turned})
    frames = opened(tmp_path / "out", "path_0000.dcd").xyz
    np.testing.assert_allclose(frames, np.broadcast_to(reference.xyz, frames.shape), atol=1e-5)
    # PDB rounds to 1e-4 nm
    np.testing.assert_allclose(opened(tmp_path / "out", "state_A.pdb").xyz, reference.xyz, atol=1.1e-4)


def test_record_is_read_back(run, tmp_path):
    record = export_paths(run, tmp_path / "out", which=[4, 0, 4], atoms="element C")
    assert [path.index for path in record.paths] == [4, 0]
    assert read_record(tmp_path / "out") == record
    assert "not physical time" in json.loads((tmp_path / "out" / "export.json").read_text())["note"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        [*record.files, "export.json"]
    )


def test_nothing_is_overwritten_without_force(run, tmp_path):
    out = tmp_path / "out"
    export_paths(run, out)
    write_viewer_scripts(out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match=r"--force"):
        export_paths(run, out, format="xtc")
    export_paths(run, out, format="pdb", which=[2], force=True)
    assert {path.name for path in out.iterdir()} == {
        "export.json",
        "topology.pdb",
        "path_0002.pdb",
        "notes.txt",
    }


def test_a_failing_export_leaves_no_files(run, tmp_path):
    (run / "paths" / "0004.dcd").write_bytes(b"not a trajectory")
    with pytest.raises(TrajectoryError, match=r"0004\.dcd"):
        export_paths(run, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"atoms": "name CA and"}, ParameterError, "MDTraj's language"),
        ({"atoms": "resname XYZ"}, ParameterError, "none of the 22"),
        ({"which": [0, 5]}, ParameterError, "0 to 4.*path 5"),
        ({"which": [-1]}, ParameterError, "path -1"),
        ({"which": [FAILED]}, RunFolderError, "of 1 paths, 1: failed"),
        ({"which": [UNREACTIVE], "reactive_only": True}, RunFolderError, "1: no reactive segment"),
        ({"format": "lammpstrj"}, ParameterError, "no trajectory format"),
        ({"source": "baselines/straight"}, RunFolderError, "tps paths"),
        ({"end_states": {"A": np.zeros((21, 3))}}, ParameterError, r"\(22, 3\).*\(21, 3\)"),
        ({"end_states": {"../A": np.zeros((22, 3))}}, ParameterError, "not a word"),
    ],
)
def test_bad_requests_are_refused(run, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        export_paths(run, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_damaged_runs_are_refused(run, tmp_path):
    table = dict(np.load(run / "paths" / "paths.npz"))
    short = stored(run, 0)[:7]
    short.save_dcd(str(run / "paths" / "0000.dcd"))
    with pytest.raises(TrajectoryError, match=r"12 frames.*has 7"):
        export_paths(run, tmp_path / "out")
    broken = stored(run, 2)
    broken.xyz[3, 4, 1] = np.nan
    broken.save_dcd(str(run / "paths" / "0002.dcd"))
    with pytest.raises(TrajectoryError, match="not finite"):
        export_paths(run, tmp_path / "out", which=[2])
    stored(run, 3).atom_slice(range(5)).save_dcd(str(run / "paths" / "0003.dcd"))
    with pytest.raises(TrajectoryError, match="22 atoms"):
        export_paths(run, tmp_path / "out", which=[3])
    np.savez(run / "paths" / "paths.npz", **{**table, "reactive_end": table["reactive_end"][:2]})
    with pytest.raises(TrajectoryError, match=r"\[2, 5\]"):
        export_paths(run, tmp_path / "out")
    del table["status"]
    np.savez(run / "paths" / "paths.npz", **table)
    with pytest.raises(TrajectoryError, match="status"):
        export_paths(run, tmp_path / "out")
    (run / "topology.pdb").unlink()
    with pytest.raises(RunFolderError, match=r"topology\.pdb"):
        export_paths(run, tmp_path / "out")


@pytest.fixture(params=VIEWER_FORMATS)
def exported(request, run, tmp_path):
    """An export with end states in a folder whose name needs quoting, and its viewer scripts."""
    out = tmp_path / "some [odd] $name {x}"
    a, b = (load_structure(SYSTEM / name).xyz[0] for name in ("c5.pdb", "c7ax.pdb"))
    export_paths(run, out, format=request.param, end_states={"A": a, "B": b})
    write_viewer_scripts(out, n_visible=2)
    return out


@pytest.mark.parametrize("n_states", [1, N_FRAMES])
def test_pymol_script_loads_every_file(exported, monkeypatch, n_states):
    """Run the script's Python block with a stand-in for PyMOL, in the way PyMOL runs it."""
    text = (exported / "view.pml").read_text()
    code = re.search(r"^python\n(.*)^python end$", text, flags=re.MULTILINE | re.DOTALL)[1]
    calls = []

    class Command:
        def __getattr__(self, name):
            return lambda *args, **kwargs: calls.append((name, *args)) or n_states

    pymol = ModuleType("pymol")
    pymol.cmd = Command()
    monkeypatch.setitem(sys.modules, "pymol", pymol)
    monkeypatch.chdir("/")
    exec(code, {"__script__": str(exported / "view.pml")})
    loaded = [call[1] for call in calls if call[0] in ("load", "load_traj")]
    assert all(Path(file).is_file() for file in loaded)
    assert {Path(file).name for file in loaded} >= set(read_record(exported).files) - {"topology.pdb"}
    assert [call[1] for call in calls if call[0] == "disable"] == ["path_0003", "path_0004"]
    # PyMOL refuses to smooth a single state
    assert sum(call[0] == "smooth" for call in calls) == (4 if n_states > 1 else 0)
    assert next(call[1] for call in calls if call[0] == "orient").count("path_") == 4


TCL_STUB = """
set n 0
proc mol {verb args} {
    global n
    if {$verb eq "new" || $verb eq "addfile"} {
        if {![file exists [lindex $args 0]]} { error "missing [lindex $args 0]" }
        puts "$verb [file tail [lindex $args 0]] [lindex $args 2]"
    }
    if {$verb eq "new"} { incr n; return [expr {$n - 1}] }
    set known {new addfile rename delrep representation color selection material addrep smoothrep off top}
    if {$verb ni $known} { error "VMD has no mol $verb" }
}
proc molinfo {what} { global n; if {$what eq "num"} { return $n }; return {0 1 2 3 4 5} }
foreach verb {animate color axes display} { proc $verb args {} }
"""


@pytest.mark.skipif(shutil.which("tclsh") is None, reason="needs tclsh")
@pytest.mark.parametrize("how", ["source", "line by line"])
def test_vmd_script_loads_every_file(exported, tmp_path, how):
    """`source` gives [info script]; `vmd -e` evaluates complete commands line by line without it."""
    script = exported / "view.vmd.tcl"
    if how == "source":
        moved = tmp_path / "moved"
        shutil.copytree(exported, moved)
        shutil.rmtree(exported)
        body, directory, exported = f"source {moved / script.name}", "/", moved
    else:
        lines = 'set f [open view.vmd.tcl]; set c ""; while {[gets $f l] >= 0} {append c "$l\\n"; '
        body, directory = lines + 'if {[info complete $c]} {eval $c; set c ""}}', exported
    stub = tmp_path / "stub.tcl"
    stub.write_text(TCL_STUB + body)
    done = subprocess.run(["tclsh", stub], cwd=directory, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    record = read_record(exported)
    kind = VIEWER_FORMATS[record.format]
    for path in record.paths:
        assert f"addfile {path.file} {kind}\n" in done.stdout
    assert "new state_A.pdb pdb\nnew state_B.pdb pdb\n" in done.stdout


def test_chimerax_script_names_existing_files(exported):
    """ChimeraX runs a .cxc file in its own folder; models are addressed by the names given at opening."""
    text = (exported / "view.cxc").read_text()
    commands = [line for line in text.splitlines() if line and not line.startswith("#")]
    files = [line.split()[1] for line in commands if line.startswith("open ")]
    assert all((exported / file).is_file() for file in files)
    assert set(files) >= set(read_record(exported).files) - {"topology.pdb"}
    named = set(re.findall(r" name (\S+)", text))
    used = set(re.findall(r"##name=([\w]+)", "\n".join(commands)))
    assert used == named == {f"path_000{i}" for i in (0, 2, 3, 4)} | {"state_A", "state_B"}
    known = "open hide show style size color transparency set view coordset"
    assert {line.split()[0] for line in commands} <= set(known.split())


def test_paths_are_coloured_by_their_largest_energy(run, tmp_path):
    record = export_paths(run, tmp_path / "out")
    write_viewer_scripts(tmp_path / "out")
    text = (tmp_path / "out" / "view.pml").read_text()
    colors = dict(re.findall(r"'(path_\d+)', '[^']+', '0x(\w+)'", text))
    lowest = min(record.paths, key=lambda path: path.potential_energy_max)
    highest = max(record.paths, key=lambda path: path.potential_energy_max)
    assert colors[f"path_{lowest.index:04d}"] == "440154"
    assert colors[f"path_{highest.index:04d}"] == "a0da39"


@pytest.mark.parametrize(
    ("options", "message"),
    [({"format": "gro"}, "dcd, xtc, trr, nc, pdb"), ({"align": False}, "with alignment")],
)
def test_viewers_refuse_what_they_cannot_show(run, tmp_path, options, message):
    export_paths(run, tmp_path / "out", **options)
    with pytest.raises(ParameterError, match=message):
        write_viewer_scripts(tmp_path / "out")


def test_viewers_need_an_export(tmp_path):
    with pytest.raises(RunFolderError, match=r"export\.json"):
        write_viewer_scripts(tmp_path)
    (tmp_path / "export.json").write_text("{}")
    with pytest.raises(RunFolderError, match="damaged"):
        write_viewer_scripts(tmp_path)
