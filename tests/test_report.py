"""Numbers, pictures and the page of the report."""

from __future__ import annotations

import base64
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from scipy.special import iv

from tps.errors import ParameterError, RunFolderError
from tps.features import FeatureSpace
from tps.report import (
    CANDIDATE_NOTE,
    ReportFigure,
    SurfaceScene,
    format_quantity,
    format_value,
    free_energy_map,
    growth_figure,
    learning_curve,
    log_snr_along_curve,
    potential_energy_along_paths,
    save_figure,
    surface_map,
    work_along_paths,
    write_report,
)
from tps.report.density import free_energy_on_grid
from tps.report.feature_axes import FeatureAxes, range_pieces, wrapped_lines
from tps.report.tilt import tilt_strength

DEGREE, KT = np.pi / 180, 2.5


def feature_space(**features):
    """Angles (None) and distances (low, high) [nm] by name."""
    limits = [(-np.pi, np.pi) if given is None else given for given in features.values()]
    turns = tuple(given is None for given in features.values())
    units, scale = zip(*(("rad", 1.0) if turn else ("nm", 0.1) for turn in turns), strict=True)
    return FeatureSpace(tuple(features), turns, units, scale, np.array(limits))


TORSIONS = feature_space(phi=None, psi=None)
MIXED = feature_space(phi=None, ends=(0.0, np.inf))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((27.123, 10.94, "kJ/mol"), "27.1 ± 10.9 kJ/mol"),
        ((7.9312, 0.4173, "kT"), "7.93 ± 0.42 kT"),
        ((-4.2, 0.0996, "kT"), "-4.20 ± 0.10 kT"),
        ((0.97, 0.0213, "-"), "0.970 ± 0.021"),
        ((12345.6, 2345.0, "x"), "12,300 ± 2,300 x"),
        ((98.4375, 99.96, "%"), "98 ± 100 %"),
        ((1.2e-7, 3e-8, "m"), "(1.20 ± 0.30)e-07 m"),
        ((3.0, 0.0, "kT"), "3.000 ± 0 kT"),
        ((5.0, float("nan"), "kT"), "5.000 kT"),
        ((16_000_000, None, "count"), "16,000,000"),
        ((64.0, None, "count"), "64"),
        ((np.int64(64),), "64"),
        ((np.float32(2.5), 0.3, "nm"), "2.50 ± 0.30 nm"),
        ((0.0,), "0"),
        ((0.012345, None, "nm"), "0.01235 nm"),
        ((2.5e-5,), "2.500e-05"),
        ((float("nan"), 1.0, "kT"), "not available"),
        ((None,), "not available"),
        ((float("-inf"), None, "kT"), "-infinite kT"),
        ((True,), "yes"),
        (("Reference",), "Reference"),
    ],
)
def test_numbers_keep_the_digits_their_error_allows(given, text):
    assert format_value(*given) == text


def test_quantity_is_formatted_from_a_metrics_entry():
    entry = {"value": 7.9312, "error": 0.4173, "unit": "kT", "definition": "..."}
    assert format_quantity(entry) == "7.93 ± 0.42 kT"
    assert format_quantity({"value": None, "error": None, "unit": "kT"}) == "not available"


def test_wrapped_lines_cover_the_curve_without_jumps():
    """Every point of a curve lies on a piece inside the square, and no piece jumps by half a turn."""
    t = np.linspace(0, 1, 300)
    curve = np.column_stack([-2.6 + 9.0 * t, 2.9 - 14.0 * t])  # goes round more than once in each angle
    wrapped = (curve + np.pi) % (2 * np.pi) - np.pi
    pieces = wrapped_lines(TORSIONS, wrapped)
    for piece in pieces:
        assert np.abs(np.diff(piece, axis=0)).max() < np.pi
        np.testing.assert_allclose(np.exp(1j * piece), np.exp(1j * curve), atol=1e-12)
    inside = np.array([(np.abs(piece) <= np.pi).all(axis=1) for piece in pieces])
    assert (inside.sum(axis=0) == 1).all()
    np.testing.assert_allclose(
        sum(np.where(i[:, None], p, 0) for i, p in zip(inside, pieces, strict=True)), wrapped
    )


def test_a_curve_that_stays_inside_is_drawn_once():
    curve = np.linspace([-1.0, 0.5], [1.0, 2.0], 20)
    (piece,) = wrapped_lines(TORSIONS, curve)
    np.testing.assert_allclose(piece, curve)


def test_a_distance_has_no_other_turn():
    """Only the angle comes back at the other edge; the distance goes past pi without a copy."""
    curve = np.column_stack([np.linspace(3.0, 3.5, 9), np.linspace(1.0, 8.0, 9)])
    pieces = wrapped_lines(MIXED, curve)
    assert len(pieces) == 2
    for piece in pieces:
        np.testing.assert_allclose(piece[:, 1], curve[:, 1])


def test_periodic_ranges_are_cut_at_the_seam():
    assert range_pieces((-0.5, 1.0)) == [(-0.5, 1.0)]
    assert range_pieces((2.0, -2.5)) == [(-np.pi, -2.5), (2.0, np.pi)]
    angles = np.random.default_rng(0).uniform(-np.pi, np.pi, size=(500, 2))
    axes = FeatureAxes(TORSIONS, TORSIONS.bounds)
    boxes = axes.boxes({"phi": (2.0, -2.5), "distance": (0.1, 0.2)})
    inside = [
        any(np.all([(a <= x) & (x <= b) for x, (a, b) in zip(p, box, strict=True)]) for box in boxes)
        for p in angles / DEGREE
    ]
    np.testing.assert_array_equal(inside, (angles[:, 0] >= 2.0) | (angles[:, 0] <= -2.5))
    assert axes.boxes({"distance": (0.1, 0.2)}) == []


def test_ranges_of_a_distance_are_cut_at_the_ends_of_the_picture():
    axes = FeatureAxes(MIXED, [(-np.pi, np.pi), (0.1, 0.9)])
    assert (axes.label(0), axes.label(1)) == ("phi [degree]", "ends [nm]")
    ((angle, far),) = axes.boxes({"ends": (0.5, np.inf)})
    assert angle == pytest.approx((-180, 180)) and far == (0.5, 0.9)
    assert axes.boxes({"ends": (1.0, 2.0)}) == []


@pytest.mark.parametrize("d", [1, 2])
def test_free_energy_of_a_von_mises_density_is_exact(d):
    """Frames on a regular grid, weighted by exp(kappa cos t): each Fourier term is damped by a known factor.

    The damping is the Gaussian's exp(-n^2 s^2 / 2) and the mean over the four frames of a bin; the Gaussian
    on bins differs from the continuous one by exp(-(2 pi s / bin)^2 / 2) = 3e-7.
    """
    kappa, width = 2.0, 3.5 * DEGREE
    angles = (np.arange(360) + 0.5 - 180) * DEGREE
    frames = (
        angles[:, None] if d == 1 else np.stack(np.meshgrid(angles, angles, indexing="ij"), -1).reshape(-1, 2)
    )
    space = TORSIONS.select(TORSIONS.names[:d])
    (edges, *_), found = free_energy_on_grid(space, frames, kappa * np.cos(frames).sum(axis=1), KT)
    centers = (edges[1:] + edges[:-1]) / 2
    n = np.arange(1, 30)
    damping = np.exp(-((n * width) ** 2) / 2) * np.cos(n[:, None] * np.array([0.5, 1.5]) * DEGREE).mean(
        axis=1
    )
    density = iv(0, kappa) + 2 * (iv(n, kappa) * damping * np.cos(centers[:, None] * n)).sum(axis=1)
    exact = -KT * np.log(density)
    exact = exact if d == 1 else exact[:, None] + exact[None, :]
    np.testing.assert_allclose(found, exact - exact.min(), atol=1e-5)


def test_free_energy_is_unknown_where_no_frame_is_near():
    frames = np.array([[0.0, 0.0], [3.1, 3.1]])  # the second reaches over the corner
    _, found = free_energy_on_grid(TORSIONS, frames, np.zeros(2), KT)
    assert np.isfinite(found[0, 0]) and np.isfinite(found[45, 45]) and np.isnan(found[20, 45])
    assert np.nanmin(found) == 0.0


def test_free_energy_of_a_distance_is_exact_up_to_its_ends():
    """exp(-x / l) between 0.2 and 0.8 nm, by even frames with weights: F = kT x / l where no end is within the kernel.

    A Gaussian leaves a slope as it is; at a hard wall the mirror image keeps an even density even, where a kernel cut
    there would lose half of it: kT ln 2.
    """
    x = 0.2 + 0.6 * (np.arange(9000) + 0.5) / 9000
    space = feature_space(ends=(0.2, 0.8))
    (edges,), flat = free_energy_on_grid(space, x[:, None], np.zeros(9000), KT)
    np.testing.assert_allclose(flat, 0.0, atol=1e-12)
    assert (edges[0], edges[-1]) == (0.2, 0.8)
    _, slope = free_energy_on_grid(space, x[:, None], -x / 0.3, KT)
    middles = (edges[1:] + edges[:-1])[6:-6] / 2
    np.testing.assert_allclose(slope[6:-6] - slope[6], KT * (middles - middles[0]) / 0.3, atol=1e-9)


def test_strength_of_a_tilt_is_that_it_was_made_with():
    """ln κ = l of every angle, and the log-SNR l of the distances: `FeatureSpace.eta`."""
    values, log_snr = np.array([[1.0, 0.4], [-2.0, 0.7]]), np.array([2.0, -1.0])
    found = tilt_strength(MIXED, MIXED.eta(values, log_snr))
    np.testing.assert_allclose(found, np.stack([log_snr, log_snr], axis=1), atol=1e-12)


@pytest.fixture
def landscape():
    rng = np.random.default_rng(3)
    frames = rng.uniform(-np.pi, np.pi, size=(3000, 3))
    s = np.linspace(0, 1, 64)
    center = np.column_stack([2.5 + 2.5 * s, 0.5 - s, s])
    strength = np.column_stack([3 - 6 * np.sin(np.pi * s), 3 + 0 * s, -9 + 0 * s])
    pairs = np.exp(strength)[..., None] * np.stack([np.cos(center), np.sin(center)], axis=-1)
    space = feature_space(phi=None, psi=None, omega=None)
    return {
        "space": space,
        "values": frames,
        "log_weights": np.cos(frames).sum(axis=1),
        "kt": KT,
        "eta": pairs.reshape(64, 6),
        "mu": space.statistic(center / 2),
        "paths": [center + rng.normal(0, 0.05, center.shape) for _ in range(4)],
        "states": {"A": {"phi": (2.0, 3.0)}, "B": {"phi": (-1.7, -1.0), "psi": (-1.0, 0.0)}},
        "avoided": [{"phi": (-0.5, 0.5), "psi": (2.5, -2.5)}],
    }


def test_map_shows_two_torsions_with_units(landscape):
    figure = free_energy_map(**landscape)
    ax, bar = figure.axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("phi [degree]", "psi [degree]")
    assert bar.get_ylabel() == "Free energy [kJ/mol]"
    assert ax.get_title() == "2 of 3 features"
    assert {text.get_text() for text in ax.texts} >= {"A", "B"}
    # a box for A, one for B, and two for the region through the seam
    assert len(ax.patches) == 4
    lines = [c for c in ax.collections if type(c) is LineCollection]
    steps = [np.abs(np.diff(piece, axis=0)).max() for c in lines for piece in c.get_segments()]
    assert max(steps) < 180  # degrees: no line across the seam


def test_map_marks_weak_tilts_of_the_torsions_shown(landscape):
    """The third torsion is weak everywhere, but it is not shown; the first is weak half-way."""
    dots = [c for c in free_energy_map(**landscape).axes[0].collections if type(c) is PathCollection]
    hollow = next(c for c in dots if (c.get_facecolor() == 1).all())
    shown = np.linspace(0, 63, 33).round().astype(int)
    weak = -2 * np.log(30 * DEGREE)  # spread 1/sqrt(kappa) of 30 degrees
    strength = tilt_strength(landscape["space"], landscape["eta"])
    assert len(hollow.get_offsets()) == (strength[shown, :2].min(axis=1) < weak).sum()
    assert sum(len(c.get_offsets()) for c in dots) == 33


def test_map_of_a_torsion_and_a_distance_has_their_units():
    """The distance spans its frames; the regions are cut there, and only the torsion comes back at the other edge."""
    rng, s = np.random.default_rng(2), np.linspace(0, 1, 40)
    values = np.column_stack([rng.uniform(-np.pi, np.pi, 4000), rng.uniform(0.1, 0.9, 4000)])
    path = np.column_stack([2.5 + 2 * s, 0.2 + 0.5 * s])
    figure = free_energy_map(
        MIXED,
        values,
        np.zeros(4000),
        KT,
        unit="kT",
        eta=MIXED.eta(path, 3 - 4 * s),
        paths=[path],
        states={"A": {"phi": (2.0, 3.0), "ends": (0.0, 0.3)}, "B": {"ends": (0.6, np.inf)}},
        avoided=[{"ends": (0.4, 0.45)}],
    )
    ax, bar = figure.axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("phi [degree]", "ends [nm]")
    assert ax.get_xlim() == pytest.approx((-180, 180))
    assert ax.get_ylim() == pytest.approx((0, values[:, 1].max()))
    assert bar.get_ylabel() == "Free energy [kT]" and len(ax.patches) == 3
    lines = [c for c in ax.collections if type(c) is LineCollection]
    assert len(lines[0].get_segments()) == 2
    hollow = next(c for c in ax.collections if type(c) is PathCollection and (c.get_facecolor() == 1).all())
    assert 0 < len(hollow.get_offsets()) < 33
    profile = free_energy_map(MIXED, values, np.zeros(4000), KT, features=["ends"], paths=[path])
    assert profile.axes[1].get_xlabel() == "ends [nm]"


def test_map_of_one_torsion_is_a_profile(landscape):
    figure = free_energy_map(**landscape, features=["psi"])
    top, bottom = figure.axes
    assert top.get_ylabel() == "Free energy [kJ/mol]" and bottom.get_xlabel() == "psi [degree]"
    assert bottom.get_ylim()[1] >= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": ["chi1"]}, "phi, psi, omega.*chi1"),
        ({"features": ["phi", "psi", "omega"]}, "one or two"),
        ({"log_weights": np.zeros(7)}, r"\(7,\)"),
        ({"eta": np.zeros((64, 5))}, r"\(64, 5\)"),
    ],
)
def test_map_refuses_what_does_not_fit(landscape, change, message):
    with pytest.raises(ParameterError, match=message):
        free_energy_map(**{**landscape, **change})


S = np.linspace(0, 1, 50)


def paths_with_one_failed(seed=0):
    values = np.random.default_rng(seed).normal(size=(6, 50)) + 10 * S
    values[2] = np.nan
    return values


def test_energy_panels_are_side_by_side_and_count_failures():
    figure = potential_energy_along_paths(
        S,
        {"geodesic": paths_with_one_failed(), "straight": paths_with_one_failed(1)},
        mean_a=-1.0,
        mean_b=9.0,
    )
    first, second = figure.axes
    assert first.get_ylabel() == "Potential energy [kJ/mol]"
    assert first.get_title() == "geodesic\n5 paths, 1 failed"
    assert first.get_ylim() == second.get_ylim()
    assert {text.get_text() for text in second.texts} == {"mean of A", "mean of B"}
    median = next(line for line in first.lines if line.get_label() == "median")
    np.testing.assert_allclose(median.get_ydata(), np.nanmedian(paths_with_one_failed(), axis=0))


def test_surface_pictures_have_the_units_of_their_axes():
    """A plane has pure numbers and a torus degrees; a curve through 180 degrees comes back at the other edge."""
    plane = FeatureSpace(
        ("x", "y"), (False, False), ("", ""), (1.0, 1.0), np.array([[-2.0, 2.0], [-1.0, 1.0]])
    )
    for space, label, pieces in ((plane, "x", 1), (TORSIONS, "phi [degree]", 2)):
        grid = tuple(np.linspace(low, high, 21) for low, high in space.bounds)
        scene = SurfaceScene(
            space,
            grid,
            np.hypot(*np.meshgrid(*grid, indexing="ij")),
            "kT",
            curve=np.column_stack([2.8 + S, 0 * S]),
            states={"A": {space.names[0]: (-1.0, -0.5)}},
            avoided=[{space.names[1]: (0.2, 0.4)}],
            highest=np.array([0.5, 0.5]),
        )
        ax = surface_map(scene).axes[0]
        assert ax.get_xlabel() == label and len(ax.patches) == 2
        assert len(ax.collections[-1].get_segments()) == pieces
        np.testing.assert_allclose([*ax.lines[0].get_xydata()[0]], np.array([0.5, 0.5]) / space.user_scale)
    profile = surface_map(
        SurfaceScene(
            plane.select(("x",)), grid[:1], grid[0] ** 2, "kT", curve=S[:, None], highest=np.array([1.0])
        )
    )
    assert profile.axes[1].get_xlabel() == "x"


def test_work_figure_states_the_dissipated_work():
    """Mean work 10 kT at the end minus a free energy of 4 kT."""
    work = np.vstack([8 * S, 12 * S])
    figure = work_along_paths(S, {"geodesic": work}, free_energy={"geodesic": 4 * S})
    assert figure.axes[0].get_ylabel() == "Work [kT]"
    assert figure.axes[0].get_title() == "geodesic\n2 paths, 6.0 kT dissipated"


def test_log_snr_figure_names_features_and_floor():
    """Each angle has a κ of its own, the distances one log-SNR together; where there are only these, none is weak."""
    space = feature_space(phi=None, near=(0.0, 1.0), psi=None, far=(0.0, 1.0))
    eta = space.eta(np.zeros((50, 4)), 3 - 5 * S)
    figure = log_snr_along_curve(S, eta, space, floor=-2.5)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["phi", "psi", "near, far", "floor -2.5", "weak tilt\n(spread > 30°)"]
    assert figure.axes[0].get_ylim()[0] <= -2.5
    for line in figure.axes[0].lines[:3]:
        np.testing.assert_allclose(line.get_ydata(), 3 - 5 * S, atol=1e-12)
    lines = space.select(("near", "far"))
    alone = log_snr_along_curve(S, lines.eta(np.zeros((50, 2)), 3 - 5 * S), lines)
    assert [text.get_text() for text in alone.legends[0].get_texts()] == ["near, far"]


def test_learning_curve_leaves_out_missing_losses():
    held_out = np.array([0.5, np.nan, 0.4])
    figure = learning_curve(np.array([0, 10, 20]), np.array([0.5, 0.4, 0.3]), held_out, best_step=20)
    line = next(line for line in figure.axes[0].lines if line.get_label() == "held out")
    np.testing.assert_array_equal(line.get_xdata(), [0, 20])
    assert figure.axes[0].get_yscale() == "log"


def test_growth_figure_has_ladders_of_both_ends_and_leaves_out_silent_rounds():
    nan = np.nan
    figure = growth_figure(
        np.array([nan, -1.0]),
        np.array([nan, 0.5]),
        np.array([[nan, nan, nan], [-1.0, -2.0, 0.0]]),
        np.array([False, True, False]),
        np.array([nan, 50.0]),
        np.array([nan, nan]),
        np.array([nan, nan]),
        needed=30.0,
    )
    left, middle, _ = figure.axes
    from_a = next(line for line in left.lines if line.get_label() == "ladders from A")
    assert sorted(y for y in from_a.get_ydata() if np.isfinite(y)) == [-1.0, 0.0]
    assert middle.lines[1].get_ydata()[0] == 30.0
    assert left.get_ylabel() == "F(B) − F(A) [kT]"


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda: growth_figure(S[:0], S[:0], S[:0, None], S[:0] > 0, S, S, S, needed=1.0),
            "at least one round",
        ),
        (lambda: potential_energy_along_paths(S, {}), "at least one method"),
        (lambda: potential_energy_along_paths(S, {"x": np.zeros((3, 7))}), r"\(3, 7\)"),
        (lambda: work_along_paths(S, {"x": np.full((3, 50), np.nan)}), "no completed path"),
        (lambda: log_snr_along_curve(S, np.zeros((49, 4)), TORSIONS), r"\(50, 4\)"),
        (lambda: learning_curve(S, S, S[:4]), "4 held-out"),
    ],
)
def test_figures_refuse_what_does_not_fit(draw, message):
    with pytest.raises(ParameterError, match=message):
        draw()


def test_saved_figures_are_the_same_bytes_under_any_settings(landscape, tmp_path):
    import matplotlib

    first = save_figure(free_energy_map(**landscape), tmp_path / "new" / "a.png").read_bytes()
    with matplotlib.rc_context({"font.size": 30, "savefig.dpi": 50, "axes.facecolor": "red"}):
        second = save_figure(free_energy_map(**landscape), tmp_path / "b.png").read_bytes()
    assert first == second
    assert first.startswith(b"\x89PNG") and b"Software" not in first and b"Creation" not in first
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.png", "b.png", "new"]


def test_figures_need_no_window_system():
    code = "import sys, tps.report; raise SystemExit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


class Page(HTMLParser):
    """Collects text, tags and links of a page, and checks that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.open, self.text = [], [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [
            value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")
        ]
        if tag not in ("meta", "img", "wbr", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture
def page(tmp_path):
    picture = save_figure(learning_curve(S, S + 1, S + 1), tmp_path / "curve.png")
    metrics = {
        "u_max": {
            "value": 27.123,
            "error": 10.94,
            "unit": "kJ/mol",
            "definition": "Highest U; <b>mean</b> & s.d.",
        },
        "rmsd_end": {"value": None, "error": None, "unit": "nm", "definition": "RMSD to B."},
    }
    path = write_report(
        tmp_path / "out" / "report.html",
        title="C5 → C7ax <script>alert(1)</script>",
        summary={"candidates": [("paths", "64 started & 63 completed")]},
        metrics=metrics,
        methods={
            "geodesic": metrics,
            'straight "line"': {"hit_rate": {"value": 100.0, "error": 0.0, "unit": "%"}},
        },
        figures=[ReportFigure(picture, "Learning <curve>", "caption with 'quotes' & <i>more</i>")],
        warnings=["effective sample size 12 < 30"],
        provenance={"seed": 0, "versions": {"openmm": "8.6.1"}, "seconds": {"paths": 61.26}},
    )
    return path, picture


def test_report_is_one_file_that_loads_nothing(page):
    path, picture = page
    text = path.read_text(encoding="utf-8")
    found = Page(text)
    assert found.sources == ["data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()]
    assert "http" not in text.replace("http-equiv", "")
    assert "default-src 'none'" in text
    assert not {"script", "link", "iframe", "object", "b", "i", "curve"} & set(found.tags)
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_report_holds_every_value_and_escapes_every_text(page):
    text = Page(page[0].read_text(encoding="utf-8")).text
    for expected in (
        "C5 → C7ax <script>alert(1)</script>",
        CANDIDATE_NOTE,
        "64 started & 63 completed",
        "27.1 ± 10.9 kJ/mol",
        "Highest U; <b>mean</b> & s.d.",
        "not available",
        'straight "line"',
        "100.0 ± 0 %",
        "Learning <curve>",
        "caption with 'quotes' & <i>more</i>",
        "effective sample size 12 < 30",
        "8.6.1",
        "61.26",
    ):
        assert expected in text, expected
    assert text.count("27.1 ± 10.9 kJ/mol") == 2  # among all numbers and among the methods


def test_report_without_content_is_still_a_page(tmp_path):
    path = write_report(tmp_path / "report.html", title="empty")
    assert CANDIDATE_NOTE in Page(path.read_text(encoding="utf-8")).text


@pytest.mark.parametrize("content", [None, b"GIF89a"])
def test_report_refuses_missing_or_other_pictures(tmp_path, content):
    picture = tmp_path / "picture.png"
    if content is not None:
        picture.write_bytes(content)
    with pytest.raises(RunFolderError, match=r"picture\.png"):
        write_report(tmp_path / "report.html", title="x", figures=[ReportFigure(picture, "x")])
    assert not (tmp_path / "report.html").exists()
