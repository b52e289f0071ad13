"""The page of a run in a browser without network: what is clicked, typed and chosen moves everything to one frame.

`make test-page` runs these with Debian's chromium. The page's own state is read as `window.tps.state`.
"""

import csv
import os
import re
import shutil

import mdtraj
import numpy as np
import pytest
from commands import sealed, tps
from openmm import app
from test_prepare import write_pdb

from tps.conformations import read_dcd
from tps.pipeline import RunFolder
from tps.prepare import Request, initialise
from tps.systems import load_system
from tps.systems.imaging import superpose

pytestmark = pytest.mark.page

CHROMIUM = os.environ.get("CHROMIUM", "chromium")
SURFACE = """
[run]
system = "double-well-2d"
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
"""
SOLVATED = """
[run]
system = "ions"
n_workers = 1

[conformations]
method = "metadynamics"
n_build_steps = 2_000
n_sample_steps = 2_000
frame_interval_steps = 20

[geodesic]
n_points = 12
anchor_log_snr = 4.0

[paths]
n_paths = 2
n_baseline_paths = 1
n_steps = 400
n_updates = 40
n_frames = 20
n_equilibration_steps = 20

[shooting]
n_moves = 0

[free_energy]
n_windows = 0
"""
STATE = "window.tps.state"
PATIENCE = 120_000  # ms, of a busy machine


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright  # not there where these tests are not asked for

    found = shutil.which(CHROMIUM)
    assert found, f"there is no {CHROMIUM}: install Debian's chromium, or name another browser in CHROMIUM"
    flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=flags)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def surface(tmp_path_factory):
    folder = tmp_path_factory.mktemp("surface")
    (folder / "surface.toml").write_text(SURFACE)
    tps("run", folder / "surface.toml", "-o", folder / "run")
    return folder / "run"


@pytest.fixture(scope="session")
def solvated(tmp_path_factory):
    """Two ions in a box of water: one feature, and a cell."""
    folder = tmp_path_factory.mktemp("solvated")
    topology = app.Topology()
    chain = topology.addChain("A")
    for symbol in ("Na", "Cl"):
        residue = topology.addResidue(symbol.upper(), chain)
        topology.addAtom(symbol.upper(), app.Element.getBySymbol(symbol), residue)
    ends = [
        write_pdb(folder / f"{name}.pdb", topology, [[0, 0, 0], [distance, 0, 0]])
        for name, distance in (("contact", 0.27), ("apart", 0.55))
    ]
    initialise(Request(*ends, solvent="water", padding=0.6, short_run=2.0), folder / "ions")
    (folder / "ions.toml").write_text(SOLVATED)
    tps("run", folder / "ions.toml", "-o", folder / "run")
    return folder / "run"


@pytest.fixture(scope="session")
def many(tiny, tmp_path_factory):
    """A run of a molecule with 1,000 paths: those of the tiny one, again and again."""
    run = tmp_path_factory.mktemp("many") / "run"
    shutil.copytree(tiny / "run", run)
    stored = dict(np.load(run / "paths" / "paths.npz"))
    n_paths = len(stored["status"])
    again = np.arange(1000) % n_paths
    of_paths = {name for name, found in stored.items() if found.shape[:1] == (n_paths,)}
    np.savez(run / "paths" / "paths.npz", **{k: v[again] if k in of_paths else v for k, v in stored.items()})
    for path in range(n_paths, 1000):
        shutil.copy(run / "paths" / f"{path % n_paths:04d}.dcd", run / "paths" / f"{path:04d}.dcd")
    sealed(run, "paths")
    tps("report", run, "--force")
    return run


def page_seconds(browser):
    """Return the CPU time [s] of the processes that run a browser's pages, without the one that draws for WebGL."""
    session = browser.new_browser_cdp_session()
    found = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return sum(process["cpuTime"] for process in found if process["type"] == "renderer")


def until(page, frame, condition):
    """Wait for a condition in a page or its frame; the page's policy keeps playwright's own waiting out."""
    for _ in range(PATIENCE // 50):
        if frame.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never came about: {condition}")


class Watched:
    """A page, and everything it asked for or complained about."""

    def __init__(self, browser, run, script="", **options):
        self.context = browser.new_context(
            viewport={"width": 1200, "height": 1400}, offline=True, accept_downloads=True, **options
        )
        self.page, self.complaints, self.requests = self.context.new_page(), [], []
        self.page.add_init_script(script)
        address = (run / "report.html").resolve().as_uri()
        self.page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type != "log" else None
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda asked: self.requests.append(asked.url))
        self.page.goto(address, timeout=PATIENCE)
        self.until("window.tps.ready > 0")
        self.page.locator(".player").scroll_into_view_if_needed()
        self.address, self.first = address, self.state["set"]
        self.change(set=0)

    @property
    def state(self):
        return self.page.evaluate(STATE)

    def until(self, condition):
        """Wait for a condition."""
        until(self.page, self.page, condition)

    def place(self):
        return tuple(self.state[key] for key in ("set", "path", "frame"))

    def change(self, **patch):
        self.page.evaluate("patch => window.tps.change(patch)", patch)

    def pixel(self, x, y):
        return self.page.evaluate("([x, y]) => window.tps.pixel(x, y)", [x, y])

    def click_map(self, x, y):
        """Click where a point in the axes' units lies."""
        self.page.locator(".player canvas.map").click(position=self.pixel(x, y))

    def value(self, key):
        """A number of the shown frame."""
        return self.page.evaluate("key => window.tps.value(key)", key)

    def save(self, name):
        with self.page.expect_download() as found:
            self.page.get_by_role("button", name=name).first.click()
        return found.value

    def close(self):
        """No complaint, and nothing asked for but the file itself."""
        self.context.close()
        assert self.complaints == []
        assert set(self.requests) <= {self.address} | {u for u in self.requests if u.startswith("blob:")}


@pytest.fixture(params=["molecule", "surface"])
def kind(request):
    return request.param


@pytest.fixture
def run(kind, request):
    return (
        request.getfixturevalue("tiny") / "run" if kind == "molecule" else request.getfixturevalue("surface")
    )


@pytest.fixture
def shown(browser, run):
    page = Watched(browser, run)
    yield page
    page.close()


def test_a_run_with_1000_paths_opens_with_little_work(browser, many):
    """Of the two seconds that it may take, half are left to a browser that must start WebGL without a GPU."""
    before = page_seconds(browser)
    shown = Watched(browser, many)
    assert page_seconds(browser) - before < 1
    assert "1000 are here" in shown.page.evaluate("window.tps.scene.sets[0].note")
    assert shown.page.evaluate("window.tps.usable < window.tps.ready")
    shown.close()


def test_what_is_shown_first_are_unbiased_paths(shown):
    assert shown.page.evaluate(f"window.tps.scene.sets[{shown.first}].name").startswith("unbiased")


def test_the_player_has_the_frames_of_the_shown_path(shown, kind):
    n = shown.page.evaluate("window.tps.scene.sets[0].paths[1][1]")
    shown.change(path=1)
    assert shown.page.locator(".player input[type=range]").get_attribute("max") == str(n - 1)
    if kind == "molecule":
        assert shown.page.evaluate("window.tps.viewer.getNumFrames()") == n
        assert shown.page.evaluate("window.tps.viewer.getModel().selectedAtoms({}).length") == 22


def test_a_click_on_the_map_shows_the_frame_there(shown):
    shown.change(set=0, path=0, frame=3)
    x, y = shown.value(shown.state["x"]), shown.value(shown.state["y"])
    shown.change(frame=0)
    shown.click_map(x, y)
    here, there = shown.pixel(x, y), shown.pixel(shown.value(shown.state["x"]), shown.value(shown.state["y"]))
    assert (
        abs(here["x"] - there["x"]) + abs(here["y"] - there["y"]) <= 2
    )  # it, or one as near: clicks are in whole pixels
    assert shown.state["set"] == 0 and shown.state["path"] == 0
    agrees(shown)


def test_a_click_on_a_trace_shows_the_frame_there(shown):
    n = shown.page.evaluate("window.tps.scene.sets[0].paths[0][1]")
    over = shown.page.locator(".player .trace .u-over").first
    box = over.bounding_box()
    over.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
    assert 0 < shown.state["frame"] < n - 1
    agrees(shown)


def test_a_click_on_a_transition_state_shows_it(shown):
    mark = shown.page.evaluate("window.tps.scene.marks[0]")
    shown.change(set=mark["set"], frame=mark["frame"])
    x, y = shown.value(shown.state["x"]), shown.value(shown.state["y"])
    shown.change(set=0)
    shown.click_map(x, y)
    assert shown.state["set"] == mark["set"]
    assert (shown.value(shown.state["x"]), shown.value(shown.state["y"])) == pytest.approx((x, y), abs=1e-3)
    agrees(shown)
    shown.change(set=0)
    shown.page.get_by_role("button", name=mark["label"]).click()
    assert shown.place() == (mark["set"], 0, mark["frame"])
    agrees(shown)


def test_a_channel_shows_a_frame_of_the_set(shown):
    line = shown.page.evaluate("window.tps.scene.lines.at(-1)")
    shown.page.get_by_role("button", name=line["label"]).click()
    assert shown.state["set"] == 0
    agrees(shown)


def agrees(shown):
    """The player, the slider and the words are at the frame of the state."""
    frame = shown.state["frame"]
    assert shown.page.locator(".player input[type=range]").input_value() == str(frame)
    assert f"frame {frame + 1} of" in shown.page.locator(".player .readout").inner_text()
    if shown.page.evaluate("Boolean(window.tps.viewer)"):
        shown.until(f"window.tps.viewer.getFrame() === {frame}")


def test_keys_play_step_and_choose(shown):
    keys, n = shown.page.keyboard, shown.page.evaluate("window.tps.scene.sets[0].paths[0][1]")
    for key, place in (
        ("ArrowRight", (0, 0, 1)),
        ("ArrowLeft", (0, 0, 0)),
        ("End", (0, 0, n - 1)),
        ("Home", (0, 0, 0)),
        ("]", (0, 1, 0)),
        ("[", (0, 0, 0)),
        ("}", (1, 0, 0)),
        ("{", (0, 0, 0)),
    ):
        keys.press(key)
        assert shown.place() == place, key
        agrees(shown)
    speed = shown.state["speed"]
    keys.press("+")
    assert shown.state["speed"] > speed
    keys.press(" ")
    shown.until(f"{STATE}.frame > 2")
    assert shown.state["playing"]
    keys.press(" ")
    assert not shown.state["playing"]


def test_every_control_can_be_reached_and_shows_its_focus(shown):
    shown.page.locator(".player select").first.focus()
    reached = set()
    for _ in range(60):
        reached.add(shown.page.evaluate("document.activeElement.textContent + document.activeElement.type"))
        outline = shown.page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        if shown.page.evaluate("Boolean(document.activeElement.closest('.player'))"):
            assert outline == "3px"
        shown.page.keyboard.press("Tab")
    n = shown.page.evaluate(
        "document.querySelectorAll('.player button, .player select, .player input').length"
    )
    assert n > 8 and len(reached) > 8
    assert any(name.startswith("Play") for name in reached)


def test_choosers_change_set_path_and_axes(shown):
    choosers = shown.page.locator(".player .choices select")
    choosers.nth(0).select_option(index=1)
    assert shown.place() == (1, 0, 0)
    choosers.nth(0).select_option(index=0)
    choosers.nth(1).select_option(index=1)
    assert shown.place() == (0, 1, 0)
    choosers.nth(2).select_option("progress")
    assert shown.state["x"] == "progress"
    agrees(shown)
    assert 0 <= shown.value("progress") <= 1


def test_the_downloaded_path_is_that_of_the_run(shown, run, kind, tmp_path):
    """Both superposed: a coordinate is off by the page's error, by the PDB's 5e-5 nm, and by little else."""
    if kind == "surface":
        assert shown.page.get_by_role("button", name="PDB").count() == 0
        return
    shown.change(set=0, path=1)
    file = tmp_path / "path.pdb"
    shown.save("PDB").save_as(file)
    system = load_system("alanine-dipeptide")
    found = mdtraj.load(str(file))
    assert [a.name for a in found.topology.atoms] == [a.name for a in system.mdtraj_topology.atoms]
    assert found.topology.n_bonds == system.mdtraj_topology.n_bonds
    name = shown.page.evaluate("window.tps.scene.sets[0].paths[1][0]")
    stored = read_dcd(run / "paths" / f"{int(re.search(r'[0-9]+', name)[0]):04d}.dcd")
    given = mdtraj.Trajectory(stored, system.mdtraj_topology)
    error = shown.page.evaluate("window.tps.scene.sets[0].error")
    assert len(found) == len(given) and error <= 1e-3
    reference = mdtraj.Trajectory(system.positions_a, system.mdtraj_topology)
    heavy = np.array([a.index for a in system.mdtraj_topology.atoms if a.element.symbol != "H"])
    superpose(given, reference, heavy)
    np.testing.assert_allclose(found.xyz, given.xyz, atol=error + 5e-5 + 1e-6)


def test_the_data_of_every_plot_can_be_saved(shown, tmp_path):
    shown.change(set=0, path=0)
    n = shown.page.evaluate("window.tps.scene.sets[0].paths[0][1]")
    traces = shown.page.evaluate("window.tps.scene.traces")
    file = tmp_path / "plot.csv"
    shown.save(f"Save {traces[0]['label']} as CSV").save_as(file)
    rows = list(csv.reader(file.open()))
    assert len(rows) == n + 1 and traces[0]["label"] in rows[0]
    assert float(rows[1][2]) == pytest.approx(shown.value(traces[0]["column"]))
    shown.save("Save what the map shows as CSV").save_as(file)
    layers = [row[0] for row in csv.reader(file.open())]
    assert layers.count("shown path") == n and layers.count("map") >= 60 * 60


def test_without_webgl_the_rest_works(browser, tiny):
    shown = Watched(
        browser,
        tiny / "run",
        script="HTMLCanvasElement.prototype.getContext = "
        "(get => function (kind, ...more) { return kind.startsWith('webgl') ? null : get.call(this, kind, ...more); })"
        "(HTMLCanvasElement.prototype.getContext);",
    )
    assert "no WebGL" in shown.page.locator(".player .molecule").inner_text()
    shown.page.keyboard.press("ArrowRight")
    assert shown.place() == (0, 0, 1)
    agrees(shown)
    shown.close()


def test_a_notebook_shows_the_player_in_a_frame(browser, tiny, monkeypatch):
    """As JupyterLab and an export to HTML do: the run's HTML in a page of the folder that holds the run."""
    monkeypatch.chdir(tiny)
    notebook = tiny / "notebook.html"
    notebook.write_text(RunFolder.open(tiny / "run")._repr_html_())
    page = browser.new_page()
    page.goto(notebook.as_uri(), timeout=PATIENCE)
    (frame,) = page.main_frame.child_frames
    until(page, frame, "window.tps.ready > 0")
    assert frame.evaluate("window.tps.viewer.getNumFrames()") > 1
    assert page.locator("section.verdict li").count() >= 3
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_map_and_text_follow_the_scheme(browser, run, scheme):
    page = Watched(browser, run, color_scheme=scheme)
    paper = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) > 380) == (scheme == "light")
    page.page.emulate_media(media="print")
    assert page.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.page.locator(".player .transport").is_visible()
    assert len(page.page.pdf()) > 20_000
    page.close()


def test_a_solute_is_shown_in_its_cell(browser, solvated, tmp_path):
    """The two ions alone, as far apart as the feature says, in the box of the run."""
    shown = Watched(browser, solvated)
    assert (shown.state["x"], shown.state["y"]) == ("x0", "progress")
    assert shown.page.evaluate("window.tps.viewer.getModel().selectedAtoms({}).length") == 2
    shown.click_map(shown.value("x0"), shown.value("progress"))
    agrees(shown)
    shown.change(frame=0)
    file = tmp_path / "path.pdb"
    shown.save("PDB").save_as(file)
    found, system = mdtraj.load(str(file)), RunFolder.open(solvated).molecule
    np.testing.assert_allclose(found.unitcell_vectors[0], system.box, atol=1e-4)  # as far as CRYST1 goes
    apart = np.linalg.norm(found.xyz[:, 0] - found.xyz[:, 1], axis=-1)
    # two atoms, three directions, each off by the page's error and the PDB's 5e-5 nm
    error = shown.page.evaluate("window.tps.scene.sets[0].error")
    assert apart[0] == pytest.approx(shown.value("x0"), abs=2 * np.sqrt(3) * (error + 5e-5))
    shown.close()
