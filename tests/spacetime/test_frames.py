"""From feature spaces to families, points, starting curves and models, and what the frames say of a curve."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from spaces import feature_space

from tps.diffusion import ModelSettings
from tps.diffusion.convex import ConvexNetwork
from tps.diffusion.log_partition import LogPartitionNetwork
from tps.errors import ConfigError, ModelError
from tps.spacetime import (
    EmpiricalFamily,
    LogPartitionFamily,
    SpacetimeCurve,
    TorusSpacetime,
    anchors,
    curve_support,
    empirical_family,
    eta_of,
    integrated_psi,
    model_family,
    named_point,
    point_at,
    straight_line,
    support_warning,
    via_curves,
    winding_numbers,
)

SPACE = feature_space("xax", scale=0.1)


@pytest.fixture(scope="module")
def frames() -> tuple[np.ndarray, np.ndarray]:
    """Values (2000, 3) and log-weights of two lengths [nm] and an angle, all independent."""
    rng = np.random.default_rng(0)
    values = np.stack(
        [rng.normal(0.3, 0.05, 2000), rng.uniform(-math.pi, math.pi, 2000), rng.normal(0.5, 0.1, 2000)],
        axis=1,
    )
    log_weights = 0.7 * np.cos(values[:, 1])
    return values, log_weights - np.logaddexp.reduce(log_weights)


@pytest.fixture(scope="module")
def family(frames) -> EmpiricalFamily:
    return empirical_family(SPACE, *frames)


def test_frames_of_any_space_make_a_family(frames, family):
    """mu and psi by plain sums over the frames; the chart is that of the lengths over their scales."""
    values, log_weights = frames
    eta = np.array([2.0, -1.0, 3.0, 4.0, -1.5])
    statistic = np.stack(
        [
            np.cos(values[:, 1]),
            np.sin(values[:, 1]),
            values[:, 0] / 0.1,
            values[:, 2] / 0.1,
            (values[:, 0] ** 2 + values[:, 2] ** 2) / 0.01,
        ],
        axis=1,
    )
    tilted = log_weights + statistic @ eta
    share = np.exp(tilted - np.logaddexp.reduce(tilted))
    given = torch.from_numpy(eta)[None]
    assert float(family.psi(given)) == pytest.approx(np.logaddexp.reduce(tilted), abs=1e-10)
    assert np.allclose(family.mu(given)[0], share @ statistic, atol=1e-10)
    weights = np.exp(log_weights)
    mean = weights @ values[:, [0, 2]] / 0.1
    assert np.allclose(family.spacetime.lines.reference_mean, mean, rtol=1e-12)
    variance = weights @ ((values[:, [0, 2]] / 0.1 - mean) ** 2).sum(1) / 2
    assert family.spacetime.lines.reference_variance == pytest.approx(variance, rel=1e-12)


def test_points_have_the_eta_of_their_space():
    """Anchors in internal units, named points in user units: the same tilt as the feature space's own."""
    ends = np.array([[0.31, -2.0, 0.4], [0.2, 3.0, 0.6]])
    spacetime = empirical_family(SPACE, ends, np.log([0.5, 0.5])).spacetime
    for point, values in zip(anchors(SPACE, ends, 2.5), ends, strict=True):
        assert np.allclose(eta_of(spacetime, point), SPACE.eta(values, 2.5), rtol=1e-13)
    named = named_point(SPACE, {"x0": 0.31, "a1": math.degrees(-2.0), "x2": 0.4}, 2.5, "key")
    assert torch.allclose(named.center, point_at(SPACE, ends[0], 2.5).center, atol=1e-14)
    with pytest.raises(ConfigError, match="KEY needs a value for each of x0, a1, x2, but got x0, y"):
        named_point(SPACE, {"x0": 1.0, "y": 2.0}, 1.0, "KEY")


def test_starting_curves_pass_their_points(family):
    """Both points of a text are on its curve, and its ends are the anchors."""
    a, b = anchors(SPACE, [[0.25, -1.0, 0.4], [0.35, 1.0, 0.6]], 2.0)
    text = "x0=0.3,a1=90,x2=0.5; x0=0.2, a1=-90, x2=0.45"
    curves = via_curves(SPACE, family.spacetime, a, b, [text], log_snr=3.0, n_points=10)
    (eta,) = curves.values()
    assert list(curves) == [f"via {text}"]
    assert len(eta) == 28
    passed = np.stack([eta_of(family.spacetime, a), *eta[[9, 18]], eta_of(family.spacetime, b)])
    given = [[0.25, -1.0, 0.4], [0.3, math.pi / 2, 0.5], [0.2, -math.pi / 2, 0.45], [0.35, 1.0, 0.6]]
    assert np.allclose(passed, SPACE.eta(given, [2.0, 3.0, 3.0, 2.0]), rtol=1e-9, atol=1e-9)
    assert torch.allclose(eta[[0, -1]], torch.from_numpy(passed[[0, -1]]), rtol=1e-9, atol=1e-9)
    for bad in ("x0=0.3,a1=ninety,x2=1", "x0=0.3,a1=1,x2=1; a1"):
        with pytest.raises(ConfigError, match=r"geodesic\.via takes points"):
            via_curves(SPACE, family.spacetime, a, b, [bad], log_snr=3.0, n_points=10)
    with pytest.raises(ConfigError, match=r"geodesic\.via needs a value for each of x0, a1, x2, but got x0"):
        via_curves(SPACE, family.spacetime, a, b, ["x0=0.3"], log_snr=3.0, n_points=10)


def test_networks_become_families_of_their_own_features():
    """Each kind gives its family, in double precision; another system's features are refused."""
    two = feature_space("aa")
    network = LogPartitionNetwork(2, n_components=3)
    family = model_family(two, network, ModelSettings("log-partition", two))
    eta = torch.tensor([[1.0, 0.5, -2.0, 0.3]], dtype=torch.float64)
    assert isinstance(family, LogPartitionFamily)
    assert family.spacetime == TorusSpacetime(2)
    # all components alike: uniform angles
    expected = sum(math.log(np.i0(np.hypot(*pair))) for pair in ((1.0, 0.5), (-2.0, 0.3)))
    assert float(family.psi(eta)) == pytest.approx(expected, abs=1e-7)
    denoiser = model_family(two, ConvexNetwork(2, width=8, depth=2), ModelSettings("denoiser", two))
    assert denoiser.mu(eta).dtype == torch.float64
    assert float(denoiser.psi(torch.zeros_like(eta))) == 0
    with pytest.raises(
        ModelError, match=r"knows the features a0, a1, but the system has a0, x1 \(scale 0.1 nm\)"
    ):
        model_family(feature_space("ax", 0.1), network, ModelSettings("denoiser", two))


def test_frames_say_how_far_they_carry_a_curve(family):
    """Effective sizes, differences of psi and the springs of a line between two tilts, by definition."""
    a, b = anchors(SPACE, [[0.25, -1.0, 0.4], [0.35, 1.0, 0.6]], 1.0)
    curve = straight_line(family, a, b, n_points=400)
    found = curve_support(curve, family, SPACE)
    size = family.effective_sample_size(curve.eta)
    assert found["min_effective_sample_size"] == float(size.min())
    assert found["min_effective_sample_size_at_s"] == float(curve.s[int(size.argmin())])
    assert len(found["effective_sample_size"]) == 400
    # the curve's mu is the frames' own
    assert found["mean_mu_error"] == 0
    assert found["max_psi_error"] == 0
    assert found["delta_psi_model"] == found["delta_psi_frames"]
    squares = [sum((x / 0.1) ** 2 for x in pair) for pair in ((0.25, 0.4), (0.35, 0.6))]
    assert found["delta_spring"] == pytest.approx(0.5 * math.e * (squares[1] - squares[0]), rel=1e-12)
    without = SpacetimeCurve(curve.spacetime, curve.eta, curve.mu, None, curve.s)
    integrated = curve_support(without, family, SPACE)
    # the trapezoidal rule on 400 points: its error falls by 4 when steps are halved (below)
    assert integrated["delta_psi_model"] == pytest.approx(found["delta_psi_frames"], abs=2e-3)
    assert "max_psi_error" not in integrated
    assert winding_numbers(curve) == (0,)


def test_torus_curves_have_no_springs(torsion_family):
    """|T|^2 is constant on circles: nothing is left out."""
    space = feature_space("aa")
    a, b = anchors(space, [[-1.4, 1.2], [1.1, -0.9]], 3.0)
    assert curve_support(straight_line(torsion_family, a, b), torsion_family, space)["delta_spring"] == 0


def test_integrated_psi_is_second_order(torsion_family):
    """Against the frames' psi at 51, 101 and 201 points; with an offset it is the divergence of Eq. 62."""
    a, b = anchors(feature_space("aa"), [[-1.4, 1.2], [1.1, -0.9]], 3.0)
    errors = []
    for n in (51, 101, 201):
        curve = straight_line(torsion_family, a, b, n_points=n)
        exact = torsion_family.psi(curve.eta)
        errors.append(float((integrated_psi(curve.eta, curve.mu) - (exact - exact[0])).abs().max()))
    assert np.allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 2, atol=0.1)
    about = integrated_psi(curve.eta, curve.mu, about=curve.mu[0])
    offset = (curve.eta - curve.eta[0]) @ curve.mu[0]
    assert torch.allclose(about, integrated_psi(curve.eta, curve.mu) - offset, atol=1e-10)


def test_too_little_support_is_said():
    """Frames by their number; a grid by the points that a Gaussian as wide as the spacing covers."""
    support = {"min_effective_sample_size": 10.0, "min_effective_sample_size_at_s": 0.25}
    assert "only 10 effective frames carry the data (at s = 0.25)" in support_warning(support, 2, False)[0]
    # (4 pi)^(d/2) = 12.6 in two dimensions
    assert "only 10 points of the grid" in support_warning(support, 2, True)[0]
    assert support_warning(support, 1, True) == []
    assert support_warning(support | {"min_effective_sample_size": 30.0}, 2, False) == []
