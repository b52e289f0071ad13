"""The Schrödinger bridge against closed forms: Gaussians, Doob's transform, and the way round a wall."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.sparse import csc_array

from tests.spacetime.test_max_flux import ENDS, wall_with_a_gate
from tps.errors import CurveError, ParameterError
from tps.spacetime import MethodProblem, follow, schroedinger_bridge
from tps.spacetime.geodesic import find_geodesic


def free_diffusion(n: int, spacing: float) -> csc_array:
    """Jumps to both neighbours, 1 / spacing^2 each: unit diffusion between reflecting walls."""
    loss = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    loss[0, 0] = loss[-1, -1] = 1
    return csc_array(loss / spacing**2)


def test_gaussians_under_free_diffusion():
    """Means on a straight line; variances of the closed form.

    The ends of a bridge of Brownian motion whose variance grows by e = 2 T, from variance p to q, have the
    covariance c = (sqrt(4 p q + e^2) - e) / 2 (Bunne et al., AISTATS 2023). Implicit steps have its variance and
    a kurtosis too large by 3 / n over n of them: 508 steps leave errors of about 0.6 %.
    """
    x = np.linspace(-3, 3, 301)
    variance, mean, duration = (0.04, 0.02), (-0.5, 0.5), 0.2
    start, end = (np.exp(-((x - m) ** 2) / (2 * v)) for m, v in zip(mean, variance, strict=True))
    loss = free_diffusion(len(x), x[1] - x[0])
    bridge = schroedinger_bridge(loss, start / start.sum(), end / end.sum(), duration)
    assert bridge.converged
    t, e = np.linspace(0, 1, len(bridge.marginals)), 2 * duration
    together = (math.sqrt(4 * variance[0] * variance[1] + e**2) - e) / 2
    expected = (1 - t) ** 2 * variance[0] + t**2 * variance[1] + t * (1 - t) * (2 * together + e)
    found = bridge.marginals @ x
    spread = bridge.marginals @ x**2 - found**2
    assert found == pytest.approx(mean[0] + t * (mean[1] - mean[0]), abs=2e-3)
    assert spread == pytest.approx(expected, rel=1e-2)


def test_pinned_ends_are_doobs_transform():
    """Densities P(0, t) P(t, T) / P(0, T) of a chain of 12 states, by powers of its matrix."""
    rng = np.random.default_rng(3)
    rates = rng.exponential(size=(12, 12)) * (1 - np.eye(12))
    loss = np.diag(rates.sum(0)) - rates
    start, end = np.eye(12)[[2, 9]]
    bridge = schroedinger_bridge(csc_array(loss), start, end, 0.3, n_times=6)
    step = np.linalg.inv(np.eye(12) + 0.3 / 20 * loss)
    for instant, found in enumerate(bridge.marginals):
        forward = np.linalg.matrix_power(step, 4 * instant) @ start
        backward = end @ np.linalg.matrix_power(step, 20 - 4 * instant)
        assert found == pytest.approx(forward * backward / (forward @ backward), abs=1e-12)
    assert bridge.n_fits == 1


def test_both_ends_are_those_asked_for():
    """The first and the last distribution, whatever the process; it is fitted, not told."""
    rng = np.random.default_rng(4)
    rates = rng.exponential(size=(20, 20)) * (1 - np.eye(20))
    start, end = rng.dirichlet(np.ones(20), 2)
    bridge = schroedinger_bridge(csc_array(np.diag(rates.sum(0)) - rates), start, end, 0.05)
    assert bridge.converged
    assert bridge.n_fits > 1
    assert bridge.marginals[0] == pytest.approx(start, abs=1e-12)
    assert bridge.marginals[-1] == pytest.approx(end, abs=1e-7)


def test_walkers_go_through_the_gate():
    """A wall of 12 kT lies between the ends, its gate off the line: the geodesic does not see it, the bridge does."""
    family = wall_with_a_gate()
    geodesic = find_geodesic(family, *ENDS)
    found = follow("bridge", MethodProblem(family, *ENDS, 64, 4.0, geodesic, (), frames=family))
    assert found.status == "converged"
    middle = found.curve.center[found.curve.n_points // 2]
    assert float(middle[0]) == pytest.approx(0, abs=0.1)
    assert 0.45 < float(middle[1]) < 1.35  # within 1.5 of the gate's widths of 0.35 of its middle at 0.8
    assert float(geodesic.curve.center[32, 1]) < 0.45


def test_what_has_no_bridge_is_said():
    """No way between two parts; no frames; no time."""
    apart = np.kron(np.eye(2), free_diffusion(4, 1.0).toarray())
    start, end = np.eye(8)[[1, 6]]
    with pytest.raises(CurveError, match="no way leads through the frames"):
        schroedinger_bridge(csc_array(apart), start, end, 1.0)
    with pytest.raises(ParameterError, match="duration = 0"):
        schroedinger_bridge(csc_array(apart), start, end, 0.0)
    problem = MethodProblem(wall_with_a_gate(), *ENDS, 64, 4.0, None, ())
    with pytest.raises(ParameterError, match="weighted frames"):
        follow("bridge", problem)
