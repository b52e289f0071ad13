"""The conformal metric of the free energy: its gradient, w = 0, and the way over the lower of two passes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tps.analysis.flood_fill import surface_lower_bound
from tps.errors import CurveError, ParameterError
from tps.paths.annealed.surface import OverdampedSettings, overdamped_annealed_paths
from tps.spacetime import (
    GridFamily,
    LogSnrFloor,
    SpacetimePoint,
    anchors,
    empirical_family,
    find_geodesic,
    free_energy_profile,
    tethered_free_energy,
    winding_line,
)
from tps.spacetime.curve import squared_chords
from tps.spacetime.curve_problem import CurveProblem
from tps.spacetime.methods import MethodProblem, follow
from tps.spacetime.solver_settings import spline_design
from tps.spacetime.torus import wrap_angle
from tps.systems import load_system


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


def surface_family(name: str, n: int, level: float):
    """The exact family of a surface's grid, and its ends at one level."""
    system = load_system(name)
    values, energies = system.energy_grid(n)
    family = empirical_family(
        system.space,
        np.stack([x.ravel() for x in np.meshgrid(*values, indexing="ij")], 1),
        -energies.ravel() / system.kt,
    )
    return system, family, anchors(system.space, system.feature_values(system.ends), level)


def log_resistance(family, curve) -> float:
    """ln of the integral of e^F over the length, by trapezoids: what the path of maximum flux minimises."""
    free = tethered_free_energy(family, curve.eta)
    steps = squared_chords(curve).sqrt().log()
    return float((torch.logaddexp(free[1:], free[:-1]) - math.log(2) + steps).logsumexp(0))


def follow_both(family, a, b, level, windings=()):
    """The curves of max-flux and of the string method at a level, on the way that a geodesic under a floor takes."""
    options = {"n_points": 24, "start": windings, "constraints": [LogSnrFloor(level - 1)]}
    problem = MethodProblem(family, a, b, 64, level, find_geodesic(family, a, b, **options), windings)
    flux, string = (follow(method, problem) for method in ("max-flux", "string"))
    assert flux.status == string.status == "converged"
    return flux.curve, string.curve


def test_on_mueller_brown_it_passes_the_saddle_as_the_string_does():
    """The string has the lowest barrier of F at a level, the path of maximum flux the least resistance.

    Where it crosses beside the saddle it cuts a corner: the barrier grows by less than kT, or that would not pay. Paths
    that follow it rise above the bound by what a spring of e^5 lets them, about 7 +- 3 along the string; kT is 10.
    """
    level = 5.0
    system, family, (a, b) = surface_family("mueller-brown", 100, level)
    flux, string = follow_both(family, a, b, level)
    assert flux.log_snr.numpy() == pytest.approx(np.full(64, level), abs=1e-9)
    high, low = (free_energy_profile(curve).barrier.above_a for curve in (flux, string))
    assert -0.02 < high - low < 1
    assert log_resistance(family, flux) < log_resistance(family, string)
    settings = OverdampedSettings(n_steps=4000, n_updates=2000, n_frames=2000)
    paths, _ = overdamped_annealed_paths(system, flux.s.numpy(), flux.eta.numpy(), settings, list(range(60)))
    above = paths.potential_energy.max(axis=1) - surface_lower_bound(system).energy
    assert above.mean() < system.kt


def test_on_alanine_it_crosses_where_the_string_has_its_saddle():
    """Within 10 degrees at 300 K, on the way that transitions take: through phi = 0."""
    level = 4.0
    _, family, (a, b) = surface_family("alanine-surface-300k", 72, level)
    curves = follow_both(family, a, b, level, (1, -1))
    tops = [free_energy_profile(curve).barrier.index for curve in curves]
    places = [curve.spacetime.angles(curve.eta)[top] for curve, top in zip(curves, tops, strict=True)]
    assert abs(float(places[1][0])) < math.radians(10)
    assert float(wrap_angle(places[0] - places[1]).abs().max()) < math.radians(10)


def test_a_weight_and_a_floor_hold_together():
    """Turning the weight up moves the curve along the floor: it stays inside, and the barrier is crossed lower."""
    _, family, (a, b) = surface_family("alanine-surface-300k", 72, 4.0)
    options = {"start": (1, -1), "constraints": [LogSnrFloor(3.0)]}
    short = find_geodesic(family, a, b, **options)
    flux = find_geodesic(family, a, b, free_energy_weight=0.5, **options)
    assert flux.status == short.status == "converged"
    assert float(flux.curve.log_snr.min()) >= 3.0 - 1e-3
    assert flux.length > short.length
    lower = [free_energy_profile(found.curve).barrier.above_a for found in (flux, short)]
    assert lower[0] < lower[1]


def test_a_curve_at_one_level_needs_its_ends_there():
    """Two ends at 4, a curve at 5."""
    with pytest.raises(CurveError, match="5 needs both ends there"):
        find_geodesic(wall_with_a_gate(), *ENDS, log_snr=5.0)
