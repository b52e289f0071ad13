"""The page's player without a browser: what the page holds is what the run has, and only its own scripts may run."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import mdtraj
import numpy as np
import pytest

from tps.errors import ParameterError
from tps.features import FeatureSpace
from tps.report import write_report
from tps.report.player import (
    NO_PLAYER,
    MapAxes,
    PlayerScene,
    Trace,
    Track,
    TrackSet,
    energy_map,
    player_parts,
    shares,
    thinned,
)
from tps.report.player.packed import MAX_ERROR, packed, packed_positions
from tps.report.player.projection import Projection

RNG = np.random.default_rng(0)
ANGLES = FeatureSpace(
    ("phi", "psi"), (True, True), ("rad", "rad"), (1.0, 1.0), np.array([[-np.pi, np.pi]] * 2)
)
LIBRARY_FILES = (
    "3Dmol-min.js",
    "3Dmol-LICENSE.txt",
    "uPlot.iife.min.js",
    "uPlot-LICENSE.txt",
    "uPlot.min.css",
)


def numbers(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


def dimer():
    topology = mdtraj.Topology()
    residue = topology.add_residue("<b>", topology.add_chain())
    for name in ("A", "B"):
        topology.add_atom(name, mdtraj.element.carbon, residue)
    topology.add_bond(topology.atom(0), topology.atom(1))
    return topology


def scene(n_frames=4, topology=None):
    axes = MapAxes.of_frames(ANGLES, RNG.uniform(-3, 3, (50, 2)), np.zeros(50))
    values = RNG.uniform(-3, 3, (n_frames, 2))
    columns = {"time": np.arange(n_frames), "energy": RNG.normal(size=n_frames), **axes.columns(values)}
    columns["progress"] = np.linspace(0, 1, n_frames)
    xyz = None if topology is None else RNG.normal(size=(n_frames, topology.n_atoms, 3))
    track = Track("path </script>", np.arange(n_frames), columns, xyz)
    paths = TrackSet("geodesic", "", "time [ps]", (track,))
    return PlayerScene("x", axes.axes, [paths], [Trace("energy", "U")], topology=topology)


@pytest.fixture
def libraries(tmp_path):
    """Stand-ins, so that no test needs npm."""
    for name in LIBRARY_FILES:
        (tmp_path / name).write_text(f"/* {name} */")
    return tmp_path


class Scripts(HTMLParser):
    """The scripts that a browser would run, as texts."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.policy = [], False, ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.open = tag == "script" and given.get("type") != "application/json"
        assert "src" not in given or given["src"].startswith("data:")
        assert not [name for name in given if name.startswith("on")]
        if given.get("http-equiv"):
            self.policy = given["content"]
        if self.open:
            self.found.append("")

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.open:
            self.found[-1] += data


@pytest.mark.parametrize("extent", [0.01, 1.0, 60.0])
def test_coordinates_come_back_within_the_error_said(extent):
    """Half a step, and round-off of float64."""
    xyz = RNG.uniform(-extent, extent, (7, 5, 3))
    found = packed_positions(xyz)
    back = numbers(found.data, "<i2").reshape(xyz.shape) * found.step
    assert np.abs(back - xyz).max() <= found.error <= found.step / 2 * (1 + 1e-9) <= MAX_ERROR * (1 + 1e-9)


def test_coordinates_too_far_out_are_refused():
    with pytest.raises(ParameterError, match=r"66 nm.*70 nm"):
        packed_positions(np.array([[[70.0, 0, 0]]]))


def test_numbers_come_back_in_single_precision():
    values = np.array([1 / 3, np.nan, -40.5])
    np.testing.assert_array_equal(numbers(packed(values), "<f4"), values.astype(np.float32))


def test_thinned_frames_hold_both_ends_and_the_passage():
    passage = np.arange(400, 420)
    frames = thinned(1000, 80, passage)
    assert set(passage) <= set(frames) and frames[0] == 0 and frames[-1] == 999 and len(frames) <= 80
    assert np.all(np.diff(frames) > 0)
    long = thinned(1000, 80, np.arange(100, 900))
    assert len(long) <= 80 and np.diff(long).max() <= 1000 / 40 + 1  # half of them evenly over all
    np.testing.assert_array_equal(thinned(5, 80), np.arange(5))


@pytest.mark.parametrize("n_frames", [300, 3000, 100_000])
def test_sets_share_the_frames_of_a_page(n_frames):
    sizes = [(1000, 300), (4, 20), (50, 80)]
    found = shares(sizes, n_frames)
    assert sum(share.n_paths * share.n_frames for share in found) <= n_frames
    assert found[1].n_paths * found[1].n_frames == min(80, n_frames // 3)  # the smallest is whole
    assert all(
        share.n_paths <= n and share.n_frames <= longest
        for share, (n, longest) in zip(found, sizes, strict=True)
    )


def test_maps_keep_the_energy_to_half_a_colour():
    energy = RNG.uniform(0, 30, (6, 4))
    energy[2, 3] = np.nan
    found = energy_map("x", "y", energy, "F", "kT", quantile=1.0)
    cells, above = numbers(found["cells"], np.uint8).reshape(6, 4), energy - np.nanmin(energy)
    assert cells[2, 3] == 255 and np.sum(cells == 255) == 1
    seen = cells < 255
    assert np.abs(cells[seen] / 254 * found["top"] - above[seen]).max() <= found["top"] / 254 / 2 * (1 + 1e-9)


def test_components_are_the_directions_of_the_weighted_frames():
    """Frames that move along one line of the statistic have that line as first component, whatever has no weight."""
    space = FeatureSpace(
        ("a", "b", "c"), (False,) * 3, ("nm",) * 3, (0.1, 0.1, 0.1), np.array([[-np.inf, np.inf]] * 3)
    )
    along = RNG.normal(size=200)
    values = 0.1 * along[:, None] * np.array([0.6, 0.0, 0.8])
    stray = np.array([[0, 50.0, 0]])
    found = Projection.principal(space, np.concatenate([values, stray]), np.append(np.zeros(200), -np.inf))
    np.testing.assert_allclose(found.directions[:, 0], [0.6, 0, 0.8], atol=1e-10)
    np.testing.assert_allclose(found(values)[:, 0], along - along.mean(), atol=1e-10)
    assert Projection.slowest(space, [values[:19]]) is None  # no path is long enough
    axes = MapAxes.of_frames(space, values, np.zeros(200), [values[:19]])
    assert [axis.name for axis in axes.axes[3:5]] == ["PC 1 of weighted frames", "PC 2 of weighted frames"]


def test_regions_are_clipped_and_split_where_angles_go_round():
    axes = MapAxes.of_frames(ANGLES, np.zeros((3, 2)), np.zeros(3))
    found = axes.pieces({"phi": (np.deg2rad(150), np.deg2rad(-160))})
    np.testing.assert_allclose(found["x0"], [[-180, -160], [150, 180]])
    assert "x1" not in found


def test_only_the_scripts_of_the_page_may_run(tmp_path, libraries, monkeypatch):
    """The policy names the digest of each script, and of no other; a name that closes a script does not."""
    monkeypatch.setattr("tps.report.html.player_parts", lambda scene: player_parts(scene, libraries))
    page = write_report(tmp_path / "report.html", title="t", player=scene(topology=dimer())).read_text()
    found = Scripts(page)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found.found]
    assert len(digests) == 3
    assert re.findall(r"'sha256-([^']+)'", found.policy) == digests
    assert "script-src 'sha256" in found.policy and "unsafe-eval" not in found.policy
    assert page.count("</script>") == 4  # these and the data
    assert "3Dmol-LICENSE" in page and "uPlot-LICENSE" in page
    content = json.loads(re.search(r'id="tps-scene">(.*?)</script>', page, re.DOTALL)[1])
    assert content["sets"][0]["paths"] == [["path </script>", 4]]
    assert content["atoms"]["bonds"] == [[0, 1]]


def test_surfaces_have_no_molecule_and_load_no_library_for_it(libraries):
    parts = player_parts(scene(), libraries)
    assert len(parts.scripts) == 2 and "molecule" not in parts.markup


def test_a_page_without_libraries_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr("tps.report.html.player_parts", lambda scene: player_parts(scene, tmp_path / "none"))
    page = write_report(tmp_path / "report.html", title="t", player=scene()).read_text()
    assert NO_PLAYER in page
    assert Scripts(page).found == [] and "script-src 'none'" in Scripts(page).policy
