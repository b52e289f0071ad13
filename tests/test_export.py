"""Exported trajectories open in MDTraj as they went in; viewer scripts find their files."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import mdtraj
import numpy as np
import pytest
from boxes import BOX, boxed_molecule, boxed_positions, wrapped_atom_by_atom

from tps.analysis import heavy_atom_rmsd
from tps.arrays import load_arrays, save_arrays
from tps.errors import ParameterError, RunFolderError, SystemDefinitionError, TrajectoryError
from tps.export import FORMATS, VIEWER_FORMATS, export_paths, read_record, write_viewer_scripts
from tps.export.formats import ALIASES, NOT_OFFERED, find_format
from tps.paths import PathEnsemble, save_paths
from tps.systems import load_system

SYSTEM = load_system("alanine-dipeptide")
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
    paths = []
    for index in range(N_PATHS):
        frames = SYSTEM.positions_a + rng.normal(0, shake, size=(N_FRAMES, N_ATOMS, 3))
        frames = frames @ rotations(rng, N_FRAMES) + rng.normal(size=(N_FRAMES, 1, 3))
        paths.append(None if index == FAILED else frames)
    return save_run(folder, paths, rng)


def save_run(folder, paths, rng, box=None):
    potential_energy = rng.normal(20.0, 5.0, size=(N_PATHS, N_FRAMES))
    potential_energy[FAILED] = np.nan
    segment = np.tile([[FIRST], [LAST]], N_PATHS)
    segment[:, [FAILED, UNREACTIVE]] = -1
    status = ["completed"] * N_PATHS
    status[FAILED] = "failed: coordinates are not finite"
    nothing = np.zeros((N_PATHS, N_FRAMES))
    ensemble = PathEnsemble(
        values=nothing[..., None],
        potential_energy=potential_energy,
        cumulative_work=nothing,
        s=nothing[0],
        reactive_start=segment[0],
        reactive_end=segment[1],
        status=np.array(status),
        seeds=np.arange(N_PATHS),
        feature_names=np.array(["phi"]),
        frame_interval=INTERVAL,
        time_unit="ps",
        n_evaluations=0,
    )
    save_paths(folder / "paths", ensemble, paths, box)
    return folder


def stored(run, index):
    return mdtraj.load_dcd(str(run / "paths" / f"{index:04d}.dcd"), top=SYSTEM.mdtraj_topology)


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
    record = export_paths(run, tmp_path / "out", SYSTEM, format=name, align=False)
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
        export_paths(run, tmp_path / "out", SYSTEM, format="h5")


def test_reactive_segments_only(run, tmp_path):
    record = export_paths(run, tmp_path / "out", SYSTEM, format="xtc", reactive_only=True, align=False)
    assert [path.index for path in record.paths] == [0, 2, 4]
    assert (record.n_failed, record.n_without_reactive_segment) == (1, 1)
    assert "1 failed, 1 without a reactive segment" in record.sentence()
    only_two = export_paths(run, tmp_path / "two", SYSTEM, which=[0, UNREACTIVE], reactive_only=True)
    assert (only_two.n_failed, only_two.n_without_reactive_segment) == (0, 1)
    for path in record.paths:
        frames = opened(tmp_path / "out", path.file)
        assert path.n_frames == frames.n_frames == LAST - FIRST + 1
        np.testing.assert_allclose(frames.xyz, stored(run, path.index).xyz[FIRST : LAST + 1], atol=6e-4)
        # time counts from the start of the whole path
        np.testing.assert_allclose(frames.time, np.arange(FIRST, LAST + 1) * INTERVAL, atol=1e-5)
    table = load_arrays(run / "paths" / "paths.npz")
    highest = table["potential_energy"][:, FIRST : LAST + 1].max(axis=1)
    assert [path.potential_energy_max for path in record.paths] == list(highest[[0, 2, 4]])


def test_atom_selection_keeps_order_and_names(run, tmp_path):
    record = export_paths(run, tmp_path / "out", SYSTEM, atoms="not element H", align=False)
    topology = mdtraj.load_pdb(str(tmp_path / "out" / "topology.pdb"), standard_names=False).topology
    heavy = [atom.index for atom in SYSTEM.mdtraj_topology.atoms if atom.element.symbol != "H"]
    assert [atom.name for atom in topology.atoms] == [SYSTEM.mdtraj_topology.atom(i).name for i in heavy]
    frames = opened(tmp_path / "out", "path_0000.dcd")
    assert record.n_atoms == frames.n_atoms == len(heavy) == N_HEAVY
    np.testing.assert_allclose(frames.xyz, stored(run, 0).xyz[:, heavy], atol=1e-6)


def test_aligned_copies_lie_on_the_reference(tmp_path):
    """Frames that are the reference turned and moved come back as the reference (float32: 1e-5 nm)."""
    run = make_run(tmp_path / "run", shake=0.0)
    turned = SYSTEM.positions_a @ rotations(np.random.default_rng(1), 1)[0] + 3.0
    other_b = SYSTEM.positions_b @ rotations(np.random.default_rng(2), 1)[0] - 1.0
    export_paths(run, tmp_path / "out", SYSTEM)
    export_paths(run, tmp_path / "turned", replace(SYSTEM, positions_a=turned, positions_b=other_b))
    frames = [opened(tmp_path / name, "path_0000.dcd").xyz for name in ("out", "turned")]
    for found, reference in zip(frames, (SYSTEM.positions_a, turned), strict=True):
        np.testing.assert_allclose(found, np.broadcast_to(reference, found.shape), atol=1e-5)
    # B lies on A as well as it can, however it was turned; PDB rounds to 1e-4 nm
    heavy = SYSTEM.mdtraj_topology.select("element != H")
    first, second = (opened(tmp_path / name, "state_C7ax.pdb") for name in ("out", "turned"))
    for end, reference in ((first, SYSTEM.positions_a), (second, turned)):
        apart = np.sqrt(np.mean(np.sum((end.xyz[0] - reference)[heavy] ** 2, axis=1)))
        assert apart == pytest.approx(
            heavy_atom_rmsd(SYSTEM, SYSTEM.positions_b[None], reference)[0], abs=2e-4
        )


def test_record_is_read_back(run, tmp_path):
    record = export_paths(run, tmp_path / "out", SYSTEM, which=[4, 0, 4], atoms="element C")
    assert [path.index for path in record.paths] == [4, 0]
    assert read_record(tmp_path / "out") == record
    assert "not physical time" in json.loads((tmp_path / "out" / "export.json").read_text())["note"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        [*record.files, "export.json"]
    )


def test_nothing_is_overwritten_without_force(run, tmp_path):
    out = tmp_path / "out"
    export_paths(run, out, SYSTEM)
    write_viewer_scripts(out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match=r"--force"):
        export_paths(run, out, SYSTEM, format="xtc")
    export_paths(run, out, SYSTEM, format="pdb", which=[2], force=True)
    assert {path.name for path in out.iterdir()} == {
        "export.json",
        "topology.pdb",
        "path_0002.pdb",
        "state_C5.pdb",
        "state_C7ax.pdb",
        "notes.txt",
    }


def test_a_failing_export_leaves_no_files(run, tmp_path):
    (run / "paths" / "0004.dcd").write_bytes(b"not a trajectory")
    with pytest.raises(TrajectoryError, match=r"0004\.dcd"):
        export_paths(run, tmp_path / "out", SYSTEM)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"atoms": "name CA and"}, SystemDefinitionError, "MDTraj cannot read 'name CA and'"),
        ({"atoms": "resname XYZ"}, SystemDefinitionError, "none of the 22"),
        ({"which": [0, 5]}, ParameterError, "0 to 4.*path 5"),
        ({"which": [-1]}, ParameterError, "path -1"),
        ({"which": [FAILED]}, RunFolderError, "of 1 paths, 1: failed"),
        ({"which": [UNREACTIVE], "reactive_only": True}, RunFolderError, "1: no reactive segment"),
        ({"format": "lammpstrj"}, ParameterError, "no trajectory format"),
        ({"source": "baselines/straight"}, RunFolderError, "tps paths"),
    ],
)
def test_bad_requests_are_refused(run, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        export_paths(run, tmp_path / "out", SYSTEM, **options)
    assert not (tmp_path / "out").exists()


def test_damaged_runs_are_refused(run, tmp_path):
    table = load_arrays(run / "paths" / "paths.npz")
    short = stored(run, 0)[:7]
    short.save_dcd(str(run / "paths" / "0000.dcd"))
    with pytest.raises(TrajectoryError, match=r"12 frames.*has 7"):
        export_paths(run, tmp_path / "out", SYSTEM)
    broken = stored(run, 2)
    broken.xyz[3, 4, 1] = np.nan
    broken.save_dcd(str(run / "paths" / "0002.dcd"))
    with pytest.raises(TrajectoryError, match="not finite"):
        export_paths(run, tmp_path / "out", SYSTEM, which=[2])
    stored(run, 3).atom_slice(range(5)).save_dcd(str(run / "paths" / "0003.dcd"))
    with pytest.raises(TrajectoryError, match="22 atoms"):
        export_paths(run, tmp_path / "out", SYSTEM, which=[3])
    save_arrays(run / "paths" / "paths.npz", **{**table, "reactive_end": table["reactive_end"][:2]})
    with pytest.raises(RunFolderError, match=r"reactive_end is of shape \(2,\)"):
        export_paths(run, tmp_path / "out", SYSTEM)
    del table["status"]
    save_arrays(run / "paths" / "paths.npz", **table)
    with pytest.raises(RunFolderError, match="has no status"):
        export_paths(run, tmp_path / "out", SYSTEM)


BOXED = boxed_molecule()


@pytest.fixture
def boxed_run(tmp_path):
    """Paths of the chain in water, all atoms in the cell: molecules broken by its borders. And the whole ones."""
    rng = np.random.default_rng(5)
    whole = np.array(
        [
            [boxed_positions(a) + 3 * rng.normal(size=3) for a in rng.uniform(-3, 3, N_FRAMES)]
            for _ in range(N_PATHS)
        ]
    )
    paths = [None if i == FAILED else wrapped_atom_by_atom(frames) for i, frames in enumerate(whole)]
    return save_run(tmp_path / "run", paths, rng, BOX), whole


def inner(xyz):
    """Positions within each molecule of the box, from its first atom."""
    return np.concatenate([xyz[:, i : i + 4] - xyz[:, i : i + 1] for i in range(0, xyz.shape[1], 4)], axis=1)


@pytest.mark.filterwarnings("ignore:Warning. The 'netCDF4'")
@pytest.mark.parametrize("name", [name for name, item in FORMATS.items() if item.cells == "any"])
def test_molecules_in_a_box_come_out_whole_with_their_cell(boxed_run, tmp_path, name):
    """A file of the cell's lengths and angles keeps six or more digits of them, of PDB three decimals in angstrom."""
    if FORMATS[name].package is not None:
        pytest.importorskip(FORMATS[name].package)
    run, whole = boxed_run
    out = tmp_path / "out"
    record = export_paths(run, out, BOXED, format=name, atoms="all", align=False)
    assert record.periodic and "turned" not in record.note
    for path in record.paths:
        frames = opened(out, path.file)
        assert frames.n_atoms == BOXED.n_atoms
        for cell in frames.unitcell_vectors:
            np.testing.assert_allclose(cell, BOX, atol=2e-4)
        np.testing.assert_allclose(
            inner(frames.xyz), inner(whole[path.index]), atol=2 * FORMATS[name].precision + 1e-5
        )
        middle = frames.xyz[:, :4].mean(axis=1)
        np.testing.assert_allclose(middle, np.tile(np.diag(BOX) / 2, (N_FRAMES, 1)), atol=1e-3)
    for file in ("topology.pdb", "state_left.pdb", "state_right.pdb"):
        np.testing.assert_allclose(opened(out, file).unitcell_vectors[0], BOX, atol=2e-4)


def test_only_the_solute_is_written_unless_asked_and_frames_are_laid_on_it(boxed_run, tmp_path):
    run, _ = boxed_run
    record = export_paths(run, tmp_path / "out", BOXED)
    assert record.n_atoms == 4 and "not images" in record.note
    frames = opened(tmp_path / "out", "path_0000.dcd")
    reference = opened(tmp_path / "out", "topology.pdb").xyz[0]
    assert np.linalg.norm(frames.xyz - reference, axis=-1).max() < 0.2  # lying on one another, whole
    assert frames.unitcell_vectors[0] == pytest.approx(BOX, abs=1e-4)


def test_a_format_that_cannot_hold_the_cell_is_refused(boxed_run, tmp_path):
    run, _ = boxed_run
    with pytest.raises(ParameterError, match=r"xyz files cannot hold a unit cell, .*dcd, xtc"):
        export_paths(run, tmp_path / "out", BOXED, format="xyz")
    with pytest.raises(ParameterError, match="mdcrd files cannot hold a unit cell that is not rectangular"):
        export_paths(run, tmp_path / "out", BOXED, format="mdcrd")
    cube = replace(BOXED, box=np.diag([3.0, 3.0, 3.0]))
    export_paths(run, tmp_path / "out", cube, format="mdcrd")
    assert opened(tmp_path / "out", "path_0000.mdcrd").unitcell_lengths[0] == pytest.approx(
        [3, 3, 3], abs=1e-3
    )


def test_the_name_of_a_state_must_do_for_a_file(run, tmp_path):
    named = replace(SYSTEM, state_b=replace(SYSTEM.state_b, name="../C7ax"))
    with pytest.raises(ParameterError, match="not a word"):
        export_paths(run, tmp_path / "out", named)
    assert not (tmp_path / "out").exists()


@pytest.fixture(params=VIEWER_FORMATS)
def exported(request, run, tmp_path):
    """An export with end states in a folder whose name needs quoting, and its viewer scripts."""
    out = tmp_path / "some [odd] $name {x}"
    export_paths(run, out, SYSTEM, format=request.param)
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
    assert "new state_C5.pdb pdb\nnew state_C7ax.pdb pdb\n" in done.stdout


def test_chimerax_script_names_existing_files(exported):
    """ChimeraX runs a .cxc file in its own folder; models are addressed by the names given at opening."""
    text = (exported / "view.cxc").read_text()
    commands = [line for line in text.splitlines() if line and not line.startswith("#")]
    files = [line.split()[1] for line in commands if line.startswith("open ")]
    assert all((exported / file).is_file() for file in files)
    assert set(files) >= set(read_record(exported).files) - {"topology.pdb"}
    named = set(re.findall(r" name (\S+)", text))
    used = set(re.findall(r"##name=([\w]+)", "\n".join(commands)))
    assert used == named == {f"path_000{i}" for i in (0, 2, 3, 4)} | {"state_C5", "state_C7ax"}
    known = "open hide show style size color transparency set view coordset"
    assert {line.split()[0] for line in commands} <= set(known.split())


def test_paths_are_coloured_by_their_largest_energy(run, tmp_path):
    record = export_paths(run, tmp_path / "out", SYSTEM)
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
    export_paths(run, tmp_path / "out", SYSTEM, **options)
    with pytest.raises(ParameterError, match=message):
        write_viewer_scripts(tmp_path / "out")


def test_viewers_need_an_export(tmp_path):
    with pytest.raises(RunFolderError, match=r"export\.json"):
        write_viewer_scripts(tmp_path)
    (tmp_path / "export.json").write_text("{}")
    with pytest.raises(RunFolderError, match="damaged"):
        write_viewer_scripts(tmp_path)
