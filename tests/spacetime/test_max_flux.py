"""The conformal metric of the free energy: its gradient, w = 0, and the way over the lower of two passes."""

from __future__ import annotations

import math

import pytest
import torch

from tps.errors import ParameterError
from tps.spacetime import (
    GridFamily,
    LogSnrFloor,
    SpacetimePoint,
    find_geodesic,
    free_energy_profile,
    winding_line,
)
from tps.spacetime.curve_problem import CurveProblem
from tps.spacetime.solver_settings import spline_design


def wall_with_a_gate() -> GridFamily:
    """A wall of 12 kT at x = 0 with a gate at y = 0.8, and a weak well about the x axis that holds curves there."""
    x = torch.linspace(-2, 2, 61, dtype=torch.float64)
    y = torch.linspace(-1, 2, 46, dtype=torch.float64)
    height = 12 * (1 - 0.9 * torch.exp(-((y - 0.8) / 0.35).square()))
    wall = torch.exp(-(x / 0.4).square())[:, None] * height[None]
    return GridFamily([x, y], -wall - 0.5 * y.square()[None], periodic=False)


ENDS = [SpacetimePoint(torch.tensor([side, 0.0]), 4.0) for side in (-1.2, 1.2)]


def test_gradient_of_what_is_minimised():
    """Against central differences: F's gradient is that of psi_flat - psi, though only mu is at hand."""
    family = wall_with_a_gate()
    chart = family.spacetime.to_chart(winding_line(family.spacetime, *ENDS, 12, ()))[None].clone()
    chart[:, 1:-1, 1] += 0.1 * torch.sin(torch.arange(10, dtype=torch.float64))
    problem = CurveProblem(family, chart, spline_design(12, 8), (), (), 1e-3)
    problem.free_energy_weight, index = 0.7, torch.tensor([0])
    problem.weigh(index)
    chart = problem.chart()
    gradient = problem.value_and_gradient(chart, index)[1]
    step = 1e-5
    for point, axis in ((3, 0), (6, 1), (8, 2)):
        sides = []
        for sign in (1, -1):
            moved = chart.clone()
            moved[0, point, axis] += sign * step
            sides.append(float(problem.value_and_gradient(moved, index)[0]))
        # second order: 1e-10 of third derivatives, and round-off 1e-15 / 1e-5
        assert float(gradient[0, point, axis]) == pytest.approx(
            (sides[0] - sides[1]) / (2 * step), rel=1e-5, abs=1e-6
        )


def test_maximum_flux_goes_through_the_gate():
    """The geodesic goes straight through the wall; with w = 1 the gate's barrier is all that is left."""
    family = wall_with_a_gate()
    options = {"constraints": [LogSnrFloor(3.5)], "n_points": 24, "start": ()}
    straight = find_geodesic(family, *ENDS, **options)
    same = find_geodesic(family, *ENDS, free_energy_weight=0.0, **options)
    assert torch.equal(straight.curve.eta, same.curve.eta)
    flux = find_geodesic(family, *ENDS, free_energy_weight=1.0, **options)
    assert flux.status == "converged"
    assert float(flux.curve.log_snr.min()) >= 3.5 - 1e-3
    high, low = (free_energy_profile(found.curve).barrier for found in (straight, flux))
    # F at the gate itself, the tilt at the floor: the least a curve at that level can climb
    gate = family.spacetime.eta(torch.tensor([[0.0, 0.8]], dtype=torch.float64), torch.tensor([3.5]).double())
    exact = family.spacetime.flat_psi(gate) - family.psi(gate)
    from_a = family.spacetime.flat_psi(flux.curve.eta[:1]) - family.psi(flux.curve.eta[:1])
    assert high.above_a > 3 + low.above_a
    assert low.above_a == pytest.approx(float(exact - from_a), abs=0.3)
    crossing = flux.curve.center[int(flux.curve.center[:, 0].abs().argmin())]
    assert float(crossing[1]) == pytest.approx(0.8, abs=0.15)
    # points stay evenly spaced in the plain metric, so that none leaps over the wall
    assert 2 * flux.curve_energy / flux.length**2 == pytest.approx(1, abs=1e-3)


def test_a_weight_is_a_number_from_zero_on():
    """Negative weights would look for high passes."""
    with pytest.raises(ParameterError, match="-1"):
        find_geodesic(wall_with_a_gate(), *ENDS, free_energy_weight=-1.0)
    assert math.isfinite(find_geodesic(wall_with_a_gate(), *ENDS, n_points=8, max_iterations=3).length)
