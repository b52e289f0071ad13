"""Files of a few kilobytes that promise more than a machine holds are refused before room is made for it."""

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzz.originals import make_doubles
from fuzz.sizes import gzip_bomb, npz_bomb
from safetensors.torch import save

from tps.arrays import read_npz
from tps.diffusion import load_model
from tps.errors import ConfigError, ModelError, ParameterError, SystemDefinitionError
from tps.files import check_unpacked, opened
from tps.sections import validate
from tps.systems.definition import ForceFieldSection
from tps.systems.gromacs_top import check_top
from tps.systems.prepared import open_prepared

PREPARED = Path(__file__).parent / "prepared"


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
