"""The space of features: its statistic, natural parameters and geometry against hand arithmetic and differences."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tps.errors import ParameterError
from tps.features import FeatureSpace, wrap_angle

PLANE = [-math.inf, math.inf]
CIRCLE = [-math.pi, math.pi]


def space(kinds):
    """Return a space of circles ("t") and lines ("x", scale 0.1 nm; "n", a number)."""
    units = {"t": "rad", "x": "nm", "n": ""}
    return FeatureSpace(
        tuple(f"f{i}" for i in range(len(kinds))),
        tuple(kind == "t" for kind in kinds),
        tuple(units[kind] for kind in kinds),
        tuple(0.1 if kind == "x" else 1.0 for kind in kinds),
        np.array([CIRCLE if kind == "t" else PLANE for kind in kinds]),
    )


def draw(kinds, n, seed=0):
    rng = np.random.default_rng(seed)
    scale = np.array([{"t": 3.0, "x": 0.3, "n": 2.0}[kind] for kind in kinds])
    return rng.uniform(-1, 1, (n, len(kinds))) * scale


MIXES = ["t", "tt", "x", "xn", "xt", "txtn"]


def test_statistic_by_hand():
    found = space("xt").statistic([0.2, math.pi / 6])
    assert found == pytest.approx([math.sqrt(3) / 2, 0.5, 2.0, 4.0], abs=1e-15)
    assert space("tt").statistic([0.0, math.pi / 2]) == pytest.approx([1, 0, 0, 1], abs=1e-15)
    assert space("xn").statistic([[0.3, -2.0]]) == pytest.approx(np.array([[3.0, -2.0, 13.0]]), abs=1e-14)


@pytest.mark.parametrize("kinds", MIXES)
def test_a_tilt_is_centred_where_it_was_put(kinds):
    """Eta back to its center and spring; eta . T and the springs differ by `spring`, on lines and circles alike."""
    here, values, other = space(kinds), draw(kinds, 20), draw(kinds, 20, seed=1)
    log_snr = np.linspace(-2, 5, 20)
    eta = here.eta(values, log_snr)
    assert eta.shape == (20, here.n_statistics)
    assert here.center(eta) == pytest.approx(values, abs=1e-12)
    apart = here.difference(values, other)
    springs = np.zeros(20)
    for i, kind in enumerate(kinds):
        if kind == "t":
            springs += np.exp(log_snr) * np.cos(apart[:, i])
        else:
            springs -= np.exp(log_snr) * (apart[:, i] / here.scale[i]) ** 2 / 2
    tilt = np.sum(eta * here.statistic(other), axis=1)
    assert tilt - here.spring(eta) == pytest.approx(springs, rel=1e-12, abs=1e-10)


@pytest.mark.parametrize("kinds", MIXES)
def test_tilt_gradient_is_the_derivative(kinds):
    """Central differences of 1e-5: relative error 1e-8 for the springs' quadratic and the angles' cosines."""
    here, values = space(kinds), draw(kinds, 10)
    eta = np.random.default_rng(5).normal(size=(10, here.n_statistics))
    step = 1e-5 * np.array([0.1 if kind == "x" else 1.0 for kind in kinds])
    found = here.tilt_gradient(values, eta)
    for i in range(len(kinds)):
        shift = np.eye(len(kinds))[i] * step[i]
        change = here.statistic(values + shift) - here.statistic(values - shift)
        assert found[:, i] == pytest.approx(np.sum(eta * change, axis=1) / (2 * step[i]), rel=1e-6, abs=1e-6)


def test_stiffness_is_the_largest_second_derivative():
    here = space("txt")
    eta = here.eta([0.3, 0.5, -1.0], 2.0)
    assert here.stiffness(eta) == pytest.approx(math.exp(2.0) / 0.1**2)
    assert space("tt").stiffness([3.0, 4.0, 1.0, 0.0]) == 5.0


@given(st.floats(-50, 50))
def test_wrap_keeps_digits_and_lands_in_one_turn(angle):
    found = wrap_angle(angle)
    assert -math.pi < found <= math.pi or found == pytest.approx(-math.pi)  # round-off of several turns
    assert math.cos(found) == pytest.approx(math.cos(angle), abs=1e-13)
    assert found == angle or not -math.pi < angle <= math.pi
    assert float(wrap_angle(torch.tensor(angle, dtype=torch.float64))) == found


def test_wrap_unwrap_and_difference_know_which_columns_are_circles():
    here = space("xt")
    path = np.array([[4.0, 3.0], [5.0, -3.0], [6.0, -2.0]])
    assert here.unwrap(path)[:, 1] == pytest.approx([3.0, 2 * math.pi - 3, 2 * math.pi - 2])
    assert here.unwrap(path)[:, 0].tolist() == [4.0, 5.0, 6.0]
    assert here.wrap(here.unwrap(path)) == pytest.approx(path)
    assert here.difference(path[0], path[1]) == pytest.approx([1.0, 2 * math.pi - 6])
    assert here.mean([[1.0, 3.1], [2.0, -3.1]]) == pytest.approx([1.5, math.pi])
    assert here.mean(np.array([[1.0, 3.1], [2.0, -3.1]]), np.array([3.0, 1.0]))[0] == 1.25
    assert space("xn").mean(np.array([[1.0, 3.0], [2.0, 4.0]])).tolist() == [1.5, 3.5]


def test_ranges_take_the_data_where_nothing_is_said():
    assert space("xt").ranges([[1.0, 0.5], [3.0, 0.7]]).tolist() == [[1.0, 3.0], CIRCLE]
    assert space("x").ranges([[1.0], [math.nan]]).tolist() == [[0.5, 1.5]]


def test_user_units_are_degrees_and_nanometres():
    here = space("txn")
    assert here.user_units == ("degree", "nm", "")
    assert here.user_scale == pytest.approx([math.pi / 180, 1.0, 1.0])
    assert here.select(("f2", "f0")).units == ("", "rad")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ()}, "at least one"),
        ({"names": ("a", "a")}, "distinct"),
        ({"periodic": (True,)}, "2 features need as many"),
        ({"scale": (0.0, 1.0)}, "a scale must be positive"),
        ({"units": ("rad", "foot")}, "not 'foot'"),
        ({"periodic": (True, True), "scale": (2.0, 1.0)}, "with scale 1, but got 2"),
    ],
)
def test_nonsense_is_refused(change, message):
    given_ = {
        "names": ("a", "b"),
        "periodic": (False, False),
        "units": ("rad", "rad"),
        "scale": (1.0, 1.0),
        "bounds": [PLANE, PLANE],
    }
    with pytest.raises(ParameterError, match=message):
        FeatureSpace(**given_ | change)
    with pytest.raises(ParameterError, match=r"feature values must be \(\.\.\., 2\)"):
        space("tt").statistic([1.0])
    with pytest.raises(ParameterError, match=r"must be \(\.\.\., 4\), but got \(3,\)"):
        space("tt").center(np.zeros(3))
    with pytest.raises(ParameterError, match="no feature is named 'z'"):
        space("tt").select(("z",))
