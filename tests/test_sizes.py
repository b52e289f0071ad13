"""Files of a few kilobytes that promise more than a machine holds are refused before room is made for it."""

import io
import json
import lzma
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch
from fuzz.originals import make_doubles
from fuzz.sizes import gzip_bomb, npz_bomb, with_frames_of_nothing
from safetensors.torch import save

from tps.apart import _write, check_room, load_apart, room_for_frames
from tps.arrays import read_npz
from tps.conformations import import_trajectories
from tps.diffusion import load_model
from tps.errors import ConfigError, ModelError, ParameterError, SystemDefinitionError, TrajectoryError
from tps.files import check_unpacked, opened
from tps.sections import validate
from tps.systems import data_directory, load_system
from tps.systems.definition import ForceFieldSection
from tps.systems.gromacs_top import check_top
from tps.systems.prepared import open_prepared

PREPARED = Path(__file__).parent / "prepared"


@pytest.fixture(scope="module")
def molecule():
    return load_system(data_directory("systems") / "alanine-dipeptide")


@pytest.fixture(scope="module")
def frames(molecule, tmp_path_factory):
    """Ten frames and then seven."""
    folder = tmp_path_factory.mktemp("frames")
    noise = np.random.default_rng(1).normal(0, 0.003, (17, molecule.n_atoms, 3))
    trajectory = mdtraj.Trajectory(molecule.positions_a + noise, molecule.mdtraj_topology)
    for suffix in ("xtc", "trr", "h5", "dcd", "nc", "pdb"):
        trajectory[:10].save(str(folder / f"a.{suffix}"))
        trajectory[10:].save(str(folder / f"b.{suffix}"))
    return folder


def test_packed_arrays_are_not_unpacked_a_thousand_times(tmp_path):
    bomb = tmp_path / "bomb.npz"
    bomb.write_bytes(npz_bomb("u", {}))
    with pytest.raises(ParameterError, match="more than 100 times its size"):
        read_npz(bomb)


def test_equal_numbers_may_be_packed_as_far_as_they_go(tmp_path):
    """Weights that are all one are packed a thousand times, by a chemist too."""
    np.savez_compressed(tmp_path / "weights.npz", w=np.ones(10**6))
    assert (tmp_path / "weights.npz").stat().st_size < 8 * 10**6 / 500
    assert read_npz(tmp_path / "weights.npz")["w"].sum() == 10**6


def test_packed_texts_are_read_up_to_a_hundred_times_their_size(tmp_path):
    bomb, table, torn = tmp_path / "bomb.gz", tmp_path / "table.xz", tmp_path / "torn.xz"
    bomb.write_bytes(gzip_bomb(b"0\n"))
    with pytest.raises(OSError, match="more than 100 times its size"):
        check_unpacked(bomb)
    table.write_bytes(lzma.compress(b"#! FIELDS w\n1\n"))
    check_unpacked(table)
    with opened(table) as lines:
        assert lines.readline() == "#! FIELDS w\n"
    torn.write_bytes(table.read_bytes()[:-9])
    with pytest.raises(OSError, match="cannot be unpacked"):
        check_unpacked(torn)


@pytest.mark.parametrize(
    "size", [{"n_components": 10**9}, {"groups": [[0], [1]], "sizes": [{"width": 10**9}] * 2}]
)
def test_networks_larger_than_their_file_are_not_built(tmp_path, size):
    header = {"kind": "log-partition", "space": {}, "size": size}
    file = tmp_path / "model.safetensors"
    file.write_bytes(save({"a": torch.ones(10)}, metadata={"tps": json.dumps(header)}))
    with pytest.raises(ModelError, match="a larger network than it holds"):
        load_model(file)


@pytest.mark.parametrize(("at", "count"), [(0, "99999999"), (0, "     1e9"), (8, "99999999")])
def test_a_prmtop_that_counts_more_than_it_holds(tmp_path, at, count):
    text = (PREPARED / "alanine.prmtop").read_text()
    begin = text.index("\n", text.index("%FORMAT", text.index("%FLAG POINTERS"))) + 1 + at
    (tmp_path / "a.prmtop").write_text(text[:begin] + count + text[begin + 8 :])
    settings = validate({"amber_prmtop": "a.prmtop"}, ForceFieldSection, "system.toml", ConfigError)
    with pytest.raises(SystemDefinitionError, match=rf"{count.strip()}.*more than it can hold"):
        open_prepared(settings, tmp_path)


def test_topologies_that_double_without_end(tmp_path):
    """Thirty files that include the next one twice each have 2^30 leaves; macros of macros have as many words."""
    make_doubles(tmp_path / "ff")
    top = tmp_path / "ff" / "a.top"
    for line in ('#include "0.itp"', "#include 0.itp", '#include \\\n"0.itp"'):
        top.write_text(line + "\n")
        with pytest.raises(SystemDefinitionError, match="more than 50 times"):
            check_top(top)
    chain = [f"#define m{i + 1} m{i} m{i}\n" for i in range(40)]
    for macros in (chain, chain[::-1], ["#define m0 m40\n", *chain]):
        top.write_text("".join(macros))
        with pytest.raises(SystemDefinitionError, match="stands for over 100000 characters"):
            check_top(top)


def test_topologies_that_include_and_define_as_one_does(tmp_path):
    (tmp_path / "water.itp").write_text("#ifdef FLEXIBLE\n#endif\n")
    lines = [
        '#include "water.itp"',
        "#define FLEXIBLE",
        "#define gb_1 0.1 1.57e+07 ; gb_1",
        "#define twice gb_1 gb_1",
    ]
    (tmp_path / "a.top").write_text("\n".join(lines * 40))
    check_top(tmp_path / "a.top")


@pytest.mark.parametrize("stride", [4, 12])
@pytest.mark.parametrize("suffix", ["xtc", "trr", "h5", "dcd", "nc", "pdb"])
def test_every_so_many_frames_are_read_as_from_a_file_read_whole(molecule, frames, suffix, stride):
    """Of all frames together, wherever one file ends; of 12 the second one gives its third."""
    found = import_trajectories(molecule, [frames / f"a.{suffix}", frames / f"b.{suffix}"], stride=stride)
    whole = [mdtraj.load(str(frames / f"{name}.{suffix}"), top=molecule.mdtraj_topology).xyz for name in "ab"]
    np.testing.assert_array_equal(found.positions, np.concatenate(whole)[::stride])
    assert found.trajectory.tolist() == [int(i >= 10) for i in range(0, 17, stride)]


def test_a_dcd_of_what_are_no_frames_is_refused(molecule, frames, tmp_path):
    """Two files one after another: the head of the second is read as a frame, and MDTraj stops in silence."""
    content = (frames / "a.dcd").read_bytes()
    (tmp_path / "a.dcd").write_bytes(content + content)
    for stride in (1, 3):
        with pytest.raises(TrajectoryError, match="are no frames"):
            import_trajectories(molecule, [tmp_path / "a.dcd"], stride=stride)


def test_weights_stand_for_all_frames_and_bad_ones_are_named_by_their_number(molecule, frames, tmp_path):
    weights = np.linspace(1, 2, 17)
    np.save(tmp_path / "w.npy", weights)
    files = [frames / "a.xtc", frames / "b.xtc"]
    found = import_trajectories(
        molecule, files, stride=4, weights_file=tmp_path / "w.npy", weights_kind="weight"
    )
    np.testing.assert_allclose(np.diff(found.log_weights), np.diff(np.log(weights[::4])), rtol=1e-12)
    bad = mdtraj.load(str(frames / "b.trr"), top=molecule.mdtraj_topology)
    bad.xyz[2] = np.nan  # frame 12 of all
    bad.save(str(tmp_path / "b.trr"))
    with pytest.raises(TrajectoryError, match=r"1 of 5 frames .* frame 2 of .*b\.trr"):
        import_trajectories(molecule, [frames / "a.trr", tmp_path / "b.trr"], stride=4)


def test_a_trajectory_of_frames_that_are_not_there_is_refused(molecule, frames, tmp_path):
    (tmp_path / "many.h5").write_bytes(
        with_frames_of_nothing((frames / "a.h5").read_bytes(), 10**9, molecule.n_atoms)
    )
    with pytest.raises(OSError, match="more than 100 times its size"):
        load_apart(tmp_path / "many.h5", molecule.mdtraj_topology)


def test_other_hdf5_files_are_told_from_trajectories(molecule, tmp_path):
    """Of what HDF5's C code says, only what it comes to."""
    tables = pytest.importorskip("tables")
    (tmp_path / "noise.h5").write_bytes(np.random.default_rng(1).bytes(5000))
    with pytest.raises(OSError, match=r"Unable to open/create file '.*noise\.h5'$"):
        load_apart(tmp_path / "noise.h5", molecule.mdtraj_topology)
    with tables.open_file(str(tmp_path / "other.h5"), "w") as opened:
        opened.create_array("/", "x", [1, 2, 3])
    with pytest.raises(OSError, match="it names no atoms"):
        load_apart(tmp_path / "other.h5", molecule.mdtraj_topology)


def test_readers_get_no_more_memory_than_some_frames_need(molecule, frames, tmp_path):
    """One frame of 6 GB: room is asked for at once, and not given."""
    (tmp_path / "wide.h5").write_bytes(with_frames_of_nothing((frames / "a.h5").read_bytes(), 1, 5 * 10**8))
    with pytest.raises(OSError, match=r"asks for more than 4\.3 GB at once"):
        load_apart(tmp_path / "wide.h5", molecule.mdtraj_topology)


def test_frames_larger_than_memory_allows_are_refused_unless_fewer_are_kept(molecule, frames):
    """Ten frames of 22 atoms are 2640 bytes, five of them 1320."""
    with pytest.raises(OSError, match="keep fewer of them"):
        _write(io.BytesIO(), frames / "a.xtc", 0, 1, 2639)
    _write(io.BytesIO(), frames / "a.xtc", 0, 2, 1320)
    with pytest.raises(OSError, match=r"more than 1\.0 GB"):
        check_room(10**9 + 1, 10**9)
    assert 2**26 < room_for_frames() < 2**50
