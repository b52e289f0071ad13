"""From a start to a geodesic: coarse curve, fine curve, equal steps, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from scipy.interpolate import CubicSpline
from torch import Tensor
from torch.nn.functional import max_pool1d

from tps.spacetime import augmented_lagrangian, sequential_quadratic
from tps.spacetime.constraints import ConstraintReport, constraint_reports
from tps.spacetime.curve import (
    SpacetimeCurve,
    clamped_energy,
    curve_energy,
    fisher_rao_length,
    negative_chord_fraction,
    resample,
)
from tps.spacetime.curve_problem import CurveProblem
from tps.spacetime.doubt import dipping_lines, doubtful_share, is_symmetric
from tps.spacetime.family import Family
from tps.spacetime.points import SpacetimePoint, eta_of
from tps.spacetime.solver_settings import SolverSettings
from tps.spacetime.starts import starting_chart

#: Curves of at least 32 points are found on half as many points first, and on no more than 32, less exactly.
_COARSE_POINTS = 32
_COARSE_RTOL = 1e-3
#: Newton's steps are worth more exactness: of two minima side by side the better one is told from the other.
_COARSE_RTOL_NEWTON = 1e-5
_COARSE_TOLERANCE = 1e-2
#: Rounds that aim further inside, and the violation, in tolerances, that they may mend.
_MARGIN_ROUNDS, _MENDABLE = 4, 20.0
#: What is found outside at a point moves the aim of so many around it.
_ABOUT = 7
#: Of a model that is no true family nothing finer is worth finding; several starts are tried, less exactly still, on
#: few points, and so many of them on more.
_DOUBTFUL_RTOL, _DOUBTFUL_COARSE_RTOL = 1e-4, 3e-4
_FEWEST, _KEPT = 16, 3
_ROUGH_ITERATIONS, _ROUGH_RTOL = 40, 1e-3
_WEIGHT_STEP = 0.25
#: What round-off may leave of the energy between two ends that are the same.
_ROUND_OFF = 1e-12


@dataclass(frozen=True, eq=False)
class Geodesic:
    """A shortest curve, and how far to trust it.

    Parameters
    ----------
    curve : SpacetimeCurve
        At equal Fisher-Rao steps.
    length : float
        Sum of its chords sqrt(d eta . d mu).
    curve_energy : float
        (N - 1)/2 sum d eta . d mu; length**2 / 2 at constant speed.
    status : str
        "converged", or why not.
    n_gradient_evaluations : int
        Evaluations of mu along a whole curve of n_points with derivatives, those for the metric included.
    constraints : tuple of ConstraintReport
    n_iterations : int
    clamped_energy : float
        The energy without the negative terms of single coordinates: what is minimised where the model is no true
        family.
    doubtful : float
        Share of the length that the model's own error could have made; 0 for a true family.
    warning : str
        What that means, in a sentence; empty where nothing is doubtful.
    """

    curve: SpacetimeCurve
    length: float
    curve_energy: float
    status: str
    n_gradient_evaluations: int
    constraints: tuple[ConstraintReport, ...] = ()
    n_iterations: int = 0
    clamped_energy: float = 0.0
    doubtful: float = 0.0
    warning: str = ""

    @property
    def converged(self) -> bool:
        """Whether the status is "converged"."""
        return self.status == "converged"


def solve_batch(
    family: Family,
    pairs: Sequence[tuple[SpacetimePoint, SpacetimePoint]],
    starts: Sequence[Tensor | None],
    settings: SolverSettings,
    progress: Callable[[int], None],
) -> list[Geodesic]:
    """Find geodesics between checked pairs of points, side by side; see `find_geodesics`.

    Where the model turns out to be no true family, the energy is clamped: see `CurveProblem`.
    """
    lines = [dipping_lines(family.spacetime, a, b, _COARSE_POINTS) for a, b in pairs]
    if not all(is_symmetric(family, torch.cat(row)) for row in lines):
        return _solve(family, pairs, starts, settings, progress, clamped=True)
    found = _found(family, pairs, starts, settings, progress)
    untrue = [k for k, one in enumerate(found) if negative_chord_fraction(one.curve) > 0]
    if untrue:
        again = _solve(
            family,
            [pairs[k] for k in untrue],
            [starts[k] for k in untrue],
            settings,
            lambda _: None,
            clamped=True,
        )
        for k, one in zip(untrue, again, strict=True):
            found[k] = one
    return _bent_more(family, pairs, starts, settings, found)


def _found(
    family: Family,
    pairs: Sequence[tuple[SpacetimePoint, SpacetimePoint]],
    starts: Sequence[Tensor | None],
    settings: SolverSettings,
    progress: Callable[[int], None],
) -> list[Geodesic]:
    """Solve for the curves of a true family: first without constraints where those are dear, and they may hold unasked.

    A free curve that obeys all constraints is the one asked for, and the multiplier method takes twenty times as long
    to say so.
    """
    if not settings.hard or _newton(family, pairs[0], settings):
        return _solve(family, pairs, starts, settings, progress, clamped=False)
    free = replace(settings, constraints=tuple(settings.soft))
    found = [
        replace(one, constraints=_reports(family, one.curve, settings))
        for one in _solve(family, pairs, starts, free, progress, clamped=False)
    ]
    held = [one.converged and all(report.satisfied for report in one.constraints) for one in found]
    pressed = [k for k, obeys in enumerate(held) if not obeys]
    if pressed:
        again = _solve(
            family,
            [pairs[k] for k in pressed],
            [starts[k] for k in pressed],
            settings,
            progress,
            clamped=False,
        )
        for k, one in zip(pressed, again, strict=True):
            found[k] = one
    return found


def _newton(family: Family, pair: tuple[SpacetimePoint, SpacetimePoint], settings: SolverSettings) -> bool:
    """Return whether second derivatives are cheap, and constraints with them."""
    chart = starting_chart(family, *pair, None, settings.n_points, settings.hard, settings.chart(family))
    return sequential_quadratic.applies(_problem(family, chart[None], settings, False))


def _bent_more(
    family: Family,
    pairs: Sequence[tuple[SpacetimePoint, SpacetimePoint]],
    starts: Sequence[Tensor | None],
    settings: SolverSettings,
    found: list[Geodesic],
) -> list[Geodesic]:
    """Solve those again, on a finer spline and with the iterations left, that did not converge under constraints."""
    finer, tried = settings.finer, list(found)
    for k, one in enumerate(found):
        left = settings.max_iterations - one.n_iterations
        if finer is None or one.converged or left <= 0:
            continue
        (again,) = _solve(
            family,
            [pairs[k]],
            [starts[k]],
            replace(finer, max_iterations=left),
            lambda _: None,
            clamped=False,
        )
        better = again if again.converged else one
        tried[k] = replace(
            better,
            n_iterations=one.n_iterations + again.n_iterations,
            n_gradient_evaluations=one.n_gradient_evaluations + again.n_gradient_evaluations,
        )
    return tried


def _solve(
    family: Family,
    pairs: Sequence[tuple[SpacetimePoint, SpacetimePoint]],
    starts: Sequence[Tensor | None],
    settings: SolverSettings,
    progress: Callable[[int], None],
    *,
    clamped: bool,
) -> list[Geodesic]:
    n_points, settings = settings.n_points, settings.dense if clamped else settings
    coarse = settings.n_points >= _COARSE_POINTS
    n_start = _n_coarse(settings, clamped) if coarse else settings.n_points
    charts = [
        _rough_start(family, a, b, n_start, settings)
        if clamped and s is None and not settings.hard and settings.log_snr is None
        else starting_chart(family, a, b, s, n_start, settings.hard, settings.chart(family))
        for (a, b), s in zip(pairs, starts, strict=True)
    ]
    rtol = max(settings.rtol, _DOUBTFUL_RTOL) if clamped else settings.rtol
    problem = _problem(family, torch.stack(charts), settings, clamped)
    budget = torch.full((len(pairs),), settings.max_iterations)
    evaluations = torch.zeros(len(pairs), dtype=torch.float64)
    tolerance, everything, index = settings.constraint_tolerance, problem.everything, problem.everything
    if coarse:
        loose = max(tolerance, _COARSE_TOLERANCE)
        rough = _COARSE_RTOL_NEWTON if sequential_quadratic.applies(problem) else _COARSE_RTOL
        rough = _DOUBTFUL_COARSE_RTOL if clamped else rough
        _, used = _minimise(problem, everything, budget // 2, max(rtol, rough), loose, progress, rough=True)
        if settings.hard:
            # what was given up on few points is given up
            broken = problem.violations(everything).amax(1) > loose
            index = torch.nonzero(~(broken & (used < budget // 2)))[:, 0]
        budget = budget - used
        evaluations = problem.n_evaluations * (n_start / settings.n_points)
        problem = _refined(family, problem, settings)
    converged = torch.zeros(len(pairs), dtype=torch.bool)
    if len(index):
        before = 2 * len(pairs) - len(index)
        converged[index], used = _minimise(
            problem, index, budget[index], rtol, tolerance, lambda done: progress(before + done)
        )
        budget[index] -= used
    for weight in _weights(settings.free_energy_weight) if len(index) else ():
        problem.free_energy_weight = weight
        problem.press_anew()
        # twice, since the length that spaces the points is taken where a descent begins
        for _ in range(2):
            budget[index] = settings.max_iterations
            converged[index], used = _minimise(problem, index, budget[index], rtol, tolerance, feasible=True)
        budget[index] -= used
    curves = _resampled(problem, pairs, n_points)
    for _ in range(_MARGIN_ROUNDS if settings.hard else 0):
        excess = torch.stack([_excess(family, curve, settings) for curve in curves])
        worst = excess.amax(2)
        # what did not converge is better tried on a finer spline, where there is one to try
        mendable = converged | ((worst <= _MENDABLE * tolerance).all(1) & (clamped or settings.finer is None))
        outside = (worst > tolerance).any(1) & mendable
        again = index[(outside & (budget > 0))[index]]
        if len(again) == 0:
            break
        # points moved when they were spaced evenly: aim further inside by what was found outside thereabouts
        about = max_pool1d(excess[again].clamp_min(0), _ABOUT, stride=1, padding=_ABOUT // 2)
        problem.margin[again] += 1.2 * about @ _linear_design(n_points, problem.n_points).T
        converged[again], used = _minimise(problem, again, budget[again], rtol, tolerance)
        budget[again] -= used
        for number, curve in zip(again.tolist(), _resampled(problem, pairs, n_points, again), strict=True):
            curves[number] = curve
    evaluations = evaluations + problem.n_evaluations
    spent = (settings.max_iterations - budget).tolist()
    return [
        _verdict(family, curve, done, used, round(count), settings, clamped=clamped)
        for curve, done, used, count in zip(
            curves, converged.tolist(), spent, evaluations.tolist(), strict=True
        )
    ]


def _n_coarse(settings: SolverSettings, clamped: bool) -> int:
    """Return on how many points a curve is found first; a rough model shows its errors on many points alone."""
    return settings.n_points // 2 if clamped else min(_COARSE_POINTS, settings.n_points // 2)


def _minimise(
    problem: CurveProblem,
    index: Tensor,
    budget: Tensor,
    rtol: float,
    tolerance: float,
    progress: Callable[[int], None] = lambda done: None,
    *,
    feasible: bool = False,
    rough: bool = False,
) -> tuple[Tensor, Tensor]:
    """Solve for the curves `index` by the method that suits the problem; see `augmented_lagrangian.solve`."""
    if sequential_quadratic.applies(problem):
        return sequential_quadratic.solve(problem, index, budget, rtol, tolerance, progress)
    return augmented_lagrangian.solve(
        problem, index, budget, rtol, tolerance, progress, feasible=feasible, rough=rough
    )


def _weights(weight: float) -> list[float]:
    """Return the weights of the free energy on the way up to the one asked for, none for 0."""
    n_steps = math.ceil(weight / _WEIGHT_STEP)
    return [weight * (step + 1) / n_steps for step in range(n_steps)]


def _rough_start(
    family: Family, a: SpacetimePoint, b: SpacetimePoint, n_points: int, settings: SolverSettings
) -> Tensor:
    """Return the chart (n_points, K) of the lowest of several curves after a few steps: errors make local minima."""
    few = min(n_points, max(_FEWEST, n_points // 2))
    lines = dipping_lines(family.spacetime, a, b, few)
    charts = torch.stack([family.spacetime.to_chart(line) for line in lines])
    for n, kept in ((few, _KEPT), (n_points, 1)):
        problem = _problem(family, _interpolated(charts, n), settings, True)
        budget = torch.full((len(charts),), _ROUGH_ITERATIONS)
        _minimise(problem, problem.everything, budget, _ROUGH_RTOL, settings.constraint_tolerance)
        charts = problem.chart()[problem.mean_chord().argsort()[:kept]]
    return charts[0]


def _verdict(
    family: Family,
    curve: SpacetimeCurve,
    done: bool,
    spent: int,
    n_evaluations: int,
    settings: SolverSettings,
    *,
    clamped: bool,
) -> Geodesic:
    reports, energy = _reports(family, curve, settings), curve_energy(curve)
    without = clamped_energy(curve)
    doubtful = doubtful_share(family, curve) if clamped else 0.0
    # no step lowers the energy of a noisy model: as exact as it gets
    done = done or (clamped and spent < settings.max_iterations)
    return Geodesic(
        curve=curve,
        length=fisher_rao_length(curve),
        curve_energy=energy,
        status=_status(done, spent, settings, reports, energy),
        n_gradient_evaluations=n_evaluations,
        constraints=reports,
        n_iterations=spent,
        clamped_energy=without,
        doubtful=doubtful,
        warning=_warning(doubtful, energy, without) if clamped else "",
    )


def _warning(doubtful: float, energy: float, without: float) -> str:
    return (
        f"{doubtful:.0%} of the length is doubtful: the model is no true family here, and its error could have made "
        f"it (energy {energy:.3g}, {without:.3g} without negative terms); train longer, or a conservative model"
    )


def _problem(family: Family, chart: Tensor, settings: SolverSettings, clamped: bool) -> CurveProblem:
    design = settings.design(chart.shape[1], rough=clamped)
    return CurveProblem(
        family,
        chart,
        design,
        settings.hard,
        settings.soft,
        settings.constraint_tolerance,
        clamped=clamped,
        chart=settings.chart(family),
    )


def _refined(family: Family, coarse: CurveProblem, settings: SolverSettings) -> CurveProblem:
    """Carry curves, multipliers and stiffness over to more points."""
    fine = _problem(family, _interpolated(coarse.chart(), settings.n_points), settings, coarse.clamped)
    fine.stiffness, fine.trust = coarse.stiffness, coarse.trust
    between = _linear_design(coarse.n_points, settings.n_points)
    fine.multipliers = [between @ m for m in coarse.multipliers]
    return fine


def _interpolated(charts: Tensor, n_points: int) -> Tensor:
    """Return curves (b, n_points, k) on more points, by the cubic spline through those of `charts` (b, N, k)."""
    old, new = (torch.linspace(0, 1, n, dtype=torch.float64).numpy() for n in (charts.shape[1], n_points))
    return torch.tensor(CubicSpline(old, charts.numpy(), axis=1)(new))


def _linear_design(n_old: int, n_new: int) -> Tensor:
    """Return the matrix (n_new, n_old) of linear interpolation between uniform grids."""
    place = torch.linspace(0, n_old - 1, n_new, dtype=torch.float64)
    return (1 - (place[:, None] - torch.arange(n_old)).abs()).clamp_min(0)


def _resampled(
    problem: CurveProblem,
    pairs: Sequence[tuple[SpacetimePoint, SpacetimePoint]],
    n_points: int,
    index: Tensor | None = None,
) -> list[SpacetimeCurve]:
    """Return the curves `index`, all unless given, on n_points at equal steps."""
    index, curves = problem.everything if index is None else index, []
    charts = problem.chart(problem.coefficients[index], index)
    for (a, b), chart in zip([pairs[i] for i in index.tolist()], charts, strict=True):
        eta = problem.coordinates.from_chart(chart)
        eta[0], eta[-1] = eta_of(problem.spacetime, a), eta_of(problem.spacetime, b)
        curve = SpacetimeCurve.from_eta(problem.family, eta)
        curves.append(
            resample(problem.family, curve, n_points, clamped=problem.clamped, chart=problem.coordinates)
        )
    return curves


def _reports(family: Family, curve: SpacetimeCurve, settings: SolverSettings) -> tuple[ConstraintReport, ...]:
    return constraint_reports(family, curve, settings.hard, settings.constraint_tolerance)


def _excess(family: Family, curve: SpacetimeCurve, settings: SolverSettings) -> Tensor:
    """Return by how much each constraint is broken at each point (n_constraints, N)."""
    with torch.no_grad():
        return torch.stack([c.values(family, curve.eta, curve.mu).amax(1) for c in settings.hard])


def _status(
    converged: bool, spent: int, settings: SolverSettings, reports: Sequence[ConstraintReport], energy: float
) -> str:
    broken = [str(r) for r in reports if not r.satisfied]
    if broken and converged:
        return "; ".join(broken) + ", between the points where it was solved for: raise n_points"
    if broken:
        far = max(r.largest for r in reports) > _MENDABLE * settings.constraint_tolerance
        given_up = far and spent < settings.max_iterations
        return ("no feasible curve was found from this start: " if given_up else "") + "; ".join(broken)
    if energy < -_ROUND_OFF:
        return f"the energy is negative ({energy:.3g}): the model is nowhere near a true family here; train again"
    if not converged and spent >= settings.max_iterations:
        return f"stopped after {spent} iterations while the energy was still falling; raise max_iterations"
    if not converged:
        return f"stopped after {spent} iterations: no step lowers the energy, yet its gradient is not small"
    return "converged"
