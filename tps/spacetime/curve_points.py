"""Curves of a solve on few points and on many, and at equal steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from tps.spacetime.curve import SpacetimeCurve, resample
from tps.spacetime.curve_problem import CurveProblem
from tps.spacetime.family import Family
from tps.spacetime.points import SpacetimePoint, eta_of
from tps.spacetime.solver_settings import SolverSettings


def problem_of(family: Family, charts: Tensor, settings: SolverSettings, *, clamped: bool) -> CurveProblem:
    """Return what the settings ask of curves that start as charts (b, N, K)."""
    return CurveProblem(
        family,
        charts,
        settings.design(charts.shape[1], rough=clamped),
        settings.hard,
        settings.soft,
        settings.constraint_tolerance,
        clamped=clamped,
        chart=settings.chart(family),
    )


def on_more_points(coarse: CurveProblem, settings: SolverSettings) -> CurveProblem:
    """Carry curves, multipliers and stiffness over to the points that the settings ask for."""
    charts = interpolated(coarse.chart(), settings.n_points)
    fine = problem_of(coarse.family, charts, settings, clamped=coarse.clamped)
    fine.stiffness, fine.trust = coarse.stiffness, coarse.trust
    between = linear_design(coarse.n_points, settings.n_points)
    fine.multipliers = [between @ m for m in coarse.multipliers]
    return fine


def interpolated(charts: Tensor, n_points: int) -> Tensor:
    """Return curves (b, n_points, k) on more points, by the cubic spline through those of `charts` (b, N, k)."""
    old, new = (torch.linspace(0, 1, n, dtype=torch.float64).numpy() for n in (charts.shape[1], n_points))
    return torch.tensor(CubicSpline(old, charts.numpy(), axis=1)(new))


def linear_design(n_old: int, n_new: int) -> Tensor:
    """Return the matrix (n_new, n_old) of linear interpolation between uniform grids."""
    place = torch.linspace(0, n_old - 1, n_new, dtype=torch.float64)
    return (1 - (place[:, None] - torch.arange(n_old)).abs()).clamp_min(0)


def at_equal_steps(
    problem: CurveProblem,
    pairs: Sequence[tuple[SpacetimePoint, SpacetimePoint]],
    n_points: int,
    index: Tensor,
) -> list[SpacetimeCurve]:
    """Return the curves `index` (b,), between their exact ends, on n_points at equal Fisher-Rao steps."""
    curves = []
    charts = problem.chart(problem.coefficients[index], index)
    for (a, b), chart in zip([pairs[i] for i in index.tolist()], charts, strict=True):
        eta = problem.coordinates.from_chart(chart)
        eta[0], eta[-1] = eta_of(problem.spacetime, a), eta_of(problem.spacetime, b)
        curve = SpacetimeCurve.from_eta(problem.family, eta)
        curves.append(
            resample(problem.family, curve, n_points, clamped=problem.clamped, chart=problem.coordinates)
        )
    return curves
