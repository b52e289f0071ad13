"""Pictures of committors, free energies and transition-path ensembles."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.patches import StepPatch

from tps.errors import ParameterError
from tps.features import FeatureSpace
from tps.report import (
    committor_histogram_figure,
    committor_path_figure,
    convergence_figure,
    ensemble_figure,
    profile_figure,
    reweighted_map_figure,
    roads_figure,
)

S = np.linspace(0, 1, 50)


def quantity(value, error=None, unit="kJ/mol"):
    return {"value": value, "error": error, "unit": unit, "definition": ""}


def test_committors_stand_beside_what_shots_alone_give():
    """Of points with 10 shots and p_B = 1/2, bin [0.5, 0.6) expects C(10, 5)/2^10; 3/10 lies in [0.3, 0.4)."""
    p = np.array([0.5, 0.5, 0.3, np.nan, 1.0])
    ax = committor_histogram_figure(p, np.array([10, 10, 10, 0, 10])).axes[0]
    assert [bar.get_height() for bar in ax.containers[0]] == [0, 0, 0, 1, 0, 2, 0, 0, 0, 1]
    (expected,) = (patch for patch in ax.patches if type(patch) is StepPatch)
    assert expected.get_data().values[5] == pytest.approx(4 * 252 / 1024)
    assert expected.get_data().values.sum() == pytest.approx(4)
    # mean 0.575, deviation 0.259; sqrt(0.575 * 0.425 / 10) = 0.156
    assert "0.57 ± 0.26" in ax.get_title() and "0.16" in ax.get_title()
    stacked = committor_histogram_figure(p, np.full(5, 10), names=["left", "left", "right", "right", "right"])
    labels = [text.get_text() for text in stacked.legends[0].get_texts()]
    assert {"left, 2", "right, 2"} <= set(labels)


def test_roads_are_rows_with_their_numbers():
    roads = {
        "windows (MBAR)": quantity(4.12, 0.21),
        "BAR": quantity(3.6, np.nan),
        "metadynamics": quantity(None),
    }
    figure = roads_figure(
        {"anchored states": roads, "regions": {"BAR": quantity(1.0, 0.1, "kT")}}, tolerance=2
    )
    first, second = figure.axes
    assert [text.get_text() for text in first.texts] == ["4.12 ± 0.21", "3.600", "no value"]
    assert [text.get_text() for text in first.get_yticklabels()] == list(roads)
    assert first.patches[0].get_width() == pytest.approx(4)
    assert second.get_xlabel() == "Difference B − A [kT]"


def test_profile_shares_s_and_marks_the_model():
    figure = profile_figure(S, S, 0.1 + 0 * S, S, 0.1 + 0 * S, unit="kT", model=(S[:9], S[:9]), mean_a=1.0)
    top, bottom = figure.axes
    assert (top.get_ylabel(), bottom.get_ylabel()) == ("Free energy [kT]", "Mean potential energy [kT]")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "model, −kTψ" in labels and "mean of A" in labels and "mean of B" not in labels


TORSIONS = FeatureSpace(
    ("phi", "psi", "omega"), (True,) * 3, ("rad",) * 3, (1.0,) * 3, np.array([[-np.pi, np.pi]] * 3)
)
PLANE = FeatureSpace(("x", "y"), (False,) * 2, ("", "nm"), (1.0,) * 2, np.array([[0.0, 1.0]] * 2))
GRID = -np.pi + 2 * np.pi * (np.arange(12) + 0.5) / 12


def test_reweighted_map_shows_free_energy_and_error_in_degrees():
    values = np.where(GRID[:, None] > 2, np.nan, GRID[:, None] + GRID**2)
    states = {"A": {"phi": (2.0, -2.5)}, "B": {"other": (0.0, 1.0)}}
    shared = {"space": TORSIONS, "unit": "kJ/mol", "states": states}
    figure = reweighted_map_figure((GRID, GRID), values, values / 9, **shared)
    left, _, *bars = figure.axes
    assert [bar.get_ylabel() for bar in bars] == ["Free energy [kJ/mol]", "Standard error [kJ/mol]"]
    assert left.get_xlim() == pytest.approx((-180, 180)) and left.get_xlabel() == "phi [degree]"
    assert len(left.patches) == 2  # A goes through the seam, B limits neither feature
    assert left.collections[0].get_array().mask.sum() == 2 * 12
    (line,) = reweighted_map_figure((GRID,), values[:, 0], values[:, 0], **shared).axes[0].lines
    assert np.isnan(line.get_ydata()).sum() == 2


def test_ensemble_names_channels_with_their_shares():
    path = np.linspace([-2.0, 2.0], [4.0, -1.0], 30)  # over the seam
    options = {"space": TORSIONS, "ranges": TORSIONS.bounds[:2]}
    figure = ensemble_figure(
        np.eye(8) / 8,
        **options,
        candidates=[path],
        paths=[path] * 40 + [-path] * 2,
        channels=["up"] * 40 + ["down"] * 2,
        shares={"up": {"value": 0.9, "error": 0.05}},
        states={"A": {"phi": (-2.2, -1.8)}},
    )
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["up: 90.0 ± 5.0 %", "down", "candidates"]
    lines = [c for c in figure.axes[0].collections if type(c) is LineCollection]
    assert [len(c.get_segments()) for c in lines] == [
        2,
        2 * 12,
        2 * 2,
    ]  # each path comes back at the other edge
    steps = [np.abs(np.diff(piece, axis=0)).max() for c in lines for piece in c.get_segments()]
    assert max(steps) < 180
    profile = ensemble_figure(np.ones(8) / 8, space=TORSIONS, ranges=TORSIONS.bounds[:1], paths=[path])
    assert profile.axes[0].get_ylabel() == "Share of the frames [-]"
    assert [text.get_text() for text in profile.legends[0].get_texts()] == ["transition paths"]


def test_convergence_begins_with_the_candidates():
    moves, found = np.array([0, 1, 10, 100]), {"geodesic": np.array([0.6, 0.4, np.nan, 0.1])}
    figure = convergence_figure(
        moves, found, floor=0.05, durations=np.array([1.0, 4.0]), weights=np.array([2, 1])
    )
    left, right = figure.axes
    assert [text.get_text() for text in left.get_xticklabels()] == ["candidates", "1", "10", "100"]
    np.testing.assert_array_equal(left.lines[0].get_xdata(), [0, 1, 100])
    assert right.get_title() == "mean 2 ps"


def test_committor_along_a_path_leaves_out_unknown_frames():
    p = np.array([0.0, 0.4, np.nan, 1.0])
    figure = committor_path_figure(np.arange(4), p, 0.05 + 0 * p, unit="frame")
    line = figure.axes[0].containers[0].lines[0]
    np.testing.assert_array_equal(line.get_xdata(), [0, 1, 3])
    assert figure.axes[0].get_xlabel() == "Place along the path [frame]"


def map_of(free_energy, axes=(GRID, GRID)):
    return reweighted_map_figure(axes, free_energy, free_energy, space=TORSIONS, unit="kT")


def ensemble_of(histogram, **more):
    return ensemble_figure(histogram, space=PLANE, ranges=PLANE.bounds, **more)


def test_pictures_of_mixed_features_have_their_units():
    """An angle in degrees beside a distance in nm, whose axis spans the cells."""
    space = FeatureSpace(
        ("phi", "ends"), (True, False), ("rad", "nm"), (1.0, 0.1), np.array([[-np.pi, np.pi], [0, np.inf]])
    )
    far = 0.1 + 0.05 * np.arange(10)
    values = np.add.outer(GRID**2, far)
    figure = reweighted_map_figure(
        (GRID, far), values, values, space=space, unit="kJ/mol", states={"A": {"ends": (0.0, 0.2)}}
    )
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("phi [degree]", "ends [nm]")
    assert ax.get_ylim() == pytest.approx((0.075, 0.575)) and len(ax.patches) == 1
    path = np.column_stack([np.linspace(2.0, 4.0, 9), np.linspace(0.2, 0.4, 9)])
    ranges = [(-np.pi, np.pi), (0.1, 0.5)]
    figure = ensemble_figure(np.ones((4, 4)) / 16, space=space, ranges=ranges, paths=[path])
    ax = figure.axes[0]
    assert ax.get_ylabel() == "ends [nm]" and ax.get_ylim() == (0.1, 0.5)
    drawn = [c for c in ax.collections if type(c) is LineCollection][-1]
    assert len(drawn.get_segments()) == 2


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: committor_histogram_figure(np.ones(3), np.ones(4)), r"\(3,\), \(4,\)"),
        (
            lambda: committor_histogram_figure(np.array([np.nan]), np.array([0])),
            "no point has a finished shot",
        ),
        (lambda: committor_path_figure(S, S, S[:4], unit="-"), r"\(4,\)"),
        (lambda: roads_figure({"regions": {}}), "one road"),
        (lambda: roads_figure({"x": {"a": quantity(1), "b": quantity(1, 1, "kT")}}), "kJ/mol, kT"),
        (lambda: profile_figure(S, S, S[:4], S, S, unit="kT"), r"\(4,\)"),
        (lambda: profile_figure(S, S, S, S, S, unit="kT", model=(S, S[:4])), r"\(4,\)"),
        (lambda: map_of(np.zeros((12, 9))), r"\(12, 9\)"),
        (lambda: map_of(np.full((12, 12), np.nan)), "0 values"),
        (lambda: map_of(np.zeros((2, 2, 2)), [GRID[:2]] * 3), "one or two features"),
        (lambda: ensemble_of(np.zeros((4, 4))), "sum 0"),
        (lambda: ensemble_of(np.ones(4)), r"\(4,\)"),
        (lambda: ensemble_of(np.ones((4, 4)), paths=[S[:, None]]), r"\(50, 1\)"),
        (lambda: ensemble_of(np.ones((4, 4)), channels=["up"]), "0 paths"),
        (lambda: convergence_figure(np.array([0, 5]), {}), "increasing"),
        (lambda: convergence_figure(np.array([5, 0]), {"x": np.zeros(2)}), "increasing"),
        (lambda: convergence_figure(np.arange(2), {"x": np.zeros(2)}, durations=S, weights=S[:4]), r"\(4,\)"),
    ],
)
def test_pictures_of_results_refuse_what_does_not_fit(draw, message):
    with pytest.raises(ParameterError, match=message):
        draw()
