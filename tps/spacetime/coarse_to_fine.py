"""One solve: curves on few points, on all of them, in equal steps, and a verdict on each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool1d

from tps.spacetime import augmented_lagrangian, sequential_quadratic
from tps.spacetime.curve import SpacetimeCurve
from tps.spacetime.curve_points import at_equal_steps, interpolated, linear_design, on_more_points, problem_of
from tps.spacetime.curve_problem import CurveProblem
from tps.spacetime.doubt import dipping_lines
from tps.spacetime.family import Family
from tps.spacetime.points import SpacetimePoint
from tps.spacetime.solution import MENDABLE, Geodesic, judged
from tps.spacetime.solver_settings import SolverSettings
from tps.spacetime.starts import starting_chart

#: Curves of at least so many points are found on half as many points first, and on no more than so many, less exactly.
COARSE_POINTS = 32
_COARSE_RTOL = 1e-3
#: Newton's steps are worth more exactness: of two minima side by side the better one is told from the other.
_COARSE_RTOL_NEWTON = 1e-5
_COARSE_TOLERANCE = 1e-2
#: Rounds that aim further inside, by so much of the violation found, at so many points about it.
_MARGIN_ROUNDS, _FURTHER, _ABOUT = 4, 1.2, 7
#: Of a model that is no true family nothing finer is worth finding; several starts are tried, less exactly still, on
#: few points, and so many of them on more.
_DOUBTFUL_RTOL, _DOUBTFUL_COARSE_RTOL = 1e-4, 3e-4
_FEWEST, _KEPT = 16, 3
_ROUGH_ITERATIONS, _ROUGH_RTOL = 40, 1e-3
_WEIGHT_STEP = 0.25


def nothing(done: int) -> None:
    """Tell nobody what is done."""


@dataclass(frozen=True, eq=False)
class Asked:
    """Curves asked for: checked pairs of ends, a start or None for each, and what all are to obey."""

    family: Family
    pairs: Sequence[tuple[SpacetimePoint, SpacetimePoint]]
    starts: Sequence[Tensor | None]
    settings: SolverSettings

    def of(self, which: Sequence[int]) -> Asked:
        """Return some of them."""
        pairs, starts = [self.pairs[k] for k in which], [self.starts[k] for k in which]
        return Asked(self.family, pairs, starts, self.settings)


def coarse_to_fine(
    asked: Asked, progress: Callable[[int], None] = nothing, *, clamped: bool = False
) -> list[Geodesic]:
    """Find the curves asked for, side by side.

    Parameters
    ----------
    asked : Asked
    progress : callable
        Told how many curves are found, each counted twice: on few points, then on all.
    clamped : bool
        Whether the energy counts no negative terms; see `CurveProblem`.

    Returns
    -------
    list of Geodesic
    """
    solve = _Solve(asked, progress, clamped)
    if solve.coarse:
        solve.on_few_points()
    solve.on_all_points()
    solve.pay_for_free_energy()
    curves = solve.inside(
        at_equal_steps(solve.problem, asked.pairs, asked.settings.n_points, solve.everything)
    )
    return solve.verdicts(curves)


class _Solve:
    """Where a solve stands: the problem, the iterations left to each curve, and which are worth them."""

    def __init__(self, asked: Asked, progress: Callable[[int], None], clamped: bool) -> None:
        self.asked, self.progress, self.clamped = asked, progress, clamped
        self.settings = asked.settings.dense if clamped else asked.settings
        self.coarse = self.settings.n_points >= COARSE_POINTS
        self.rtol = max(self.settings.rtol, _DOUBTFUL_RTOL) if clamped else self.settings.rtol
        n_start = self._n_coarse if self.coarse else self.settings.n_points
        charts = torch.stack([self._start(k, n_start) for k in range(len(asked.pairs))])
        self.problem = problem_of(asked.family, charts, self.settings, clamped=clamped)
        self.everything = self.index = self.problem.everything
        self.budget = torch.full((len(asked.pairs),), self.settings.max_iterations)
        self.converged = torch.zeros(len(asked.pairs), dtype=torch.bool)
        self.evaluations = torch.zeros(len(asked.pairs), dtype=torch.float64)

    @property
    def _n_coarse(self) -> int:
        """On how many points a curve is found first; a rough model shows its errors on many points alone."""
        half = self.settings.n_points // 2
        return half if self.clamped else min(COARSE_POINTS, half)

    def _start(self, number: int, n_points: int) -> Tensor:
        family, settings = self.asked.family, self.settings
        (a, b), start = self.asked.pairs[number], self.asked.starts[number]
        if self.clamped and start is None and not settings.hard and settings.log_snr is None:
            return _rough_start(family, a, b, n_points, settings)
        return starting_chart(family, a, b, start, n_points, settings.hard, settings.chart(family))

    def on_few_points(self) -> None:
        """Find the curves less exactly, and give up what cannot be led inside."""
        problem, budget, loose = (
            self.problem,
            self.budget // 2,
            max(self.settings.constraint_tolerance, _COARSE_TOLERANCE),
        )
        rough = _COARSE_RTOL_NEWTON if sequential_quadratic.applies(problem) else _COARSE_RTOL
        rough = _DOUBTFUL_COARSE_RTOL if self.clamped else rough
        _, used = _minimise(
            problem, self.everything, budget, max(self.rtol, rough), loose, self.progress, rough=True
        )
        if self.settings.hard:
            broken = problem.violations(self.everything).amax(1) > loose
            self.index = torch.nonzero(~(broken & (used < budget)))[:, 0]
        self.budget = self.budget - used
        self.evaluations = problem.n_evaluations * (problem.n_points / self.settings.n_points)
        self.problem = on_more_points(problem, self.settings)

    def on_all_points(self) -> None:
        """Find them on all points."""
        before = 2 * len(self.everything) - len(self.index)
        self.progress(before)
        if len(self.index):
            self._minimise(self.index, lambda done: self.progress(before + done))

    def pay_for_free_energy(self) -> None:
        """Raise the weight of the free energy in steps to the one asked for, each with iterations of its own."""
        for weight in _weights(self.settings.free_energy_weight) if len(self.index) else ():
            self.problem.free_energy_weight = weight
            self.problem.press_anew()
            # twice, since the length that spaces the points is taken where a descent begins
            for _ in range(2):
                self.budget[self.index] = self.settings.max_iterations
                self._minimise(self.index, feasible=True)

    def inside(self, curves: list[SpacetimeCurve]) -> list[SpacetimeCurve]:
        """Return the curves, solved again where spacing their points evenly has put some outside the constraints."""
        for _ in range(_MARGIN_ROUNDS if self.settings.hard else 0):
            excess = torch.stack([self._excess(curve) for curve in curves])
            again = self._worth_mending(excess.amax(2))
            if len(again) == 0:
                break
            # aim further inside by what was found outside thereabouts
            about = max_pool1d(excess[again].clamp_min(0), _ABOUT, stride=1, padding=_ABOUT // 2)
            n_points = self.asked.settings.n_points
            self.problem.margin[again] += _FURTHER * about @ linear_design(n_points, self.problem.n_points).T
            self._minimise(again)
            spaced = at_equal_steps(self.problem, self.asked.pairs, n_points, again)
            for number, curve in zip(again.tolist(), spaced, strict=True):
                curves[number] = curve
        return curves

    def _worth_mending(self, worst: Tensor) -> Tensor:
        """Return which curves break a constraint by `worst` (b, n_constraints), and are to be solved again."""
        tolerance = self.settings.constraint_tolerance
        # what did not converge is better tried on a finer spline, where there is one to try
        last = self.clamped or self.settings.finer is None
        mendable = self.converged | ((worst <= MENDABLE * tolerance).all(1) & last)
        outside = (worst > tolerance).any(1) & mendable
        return self.index[(outside & (self.budget > 0))[self.index]]

    def _excess(self, curve: SpacetimeCurve) -> Tensor:
        """Return by how much each constraint is broken at each point (n_constraints, N)."""
        with torch.no_grad():
            return torch.stack(
                [c.values(self.asked.family, curve.eta, curve.mu).amax(1) for c in self.settings.hard]
            )

    def _minimise(
        self, index: Tensor, progress: Callable[[int], None] = nothing, *, feasible: bool = False
    ) -> None:
        self.converged[index], used = _minimise(
            self.problem,
            index,
            self.budget[index],
            self.rtol,
            self.settings.constraint_tolerance,
            progress,
            feasible=feasible,
        )
        self.budget[index] -= used

    def verdicts(self, curves: list[SpacetimeCurve]) -> list[Geodesic]:
        """Say of each curve how far to trust it."""
        spent = (self.settings.max_iterations - self.budget).tolist()
        evaluations = (self.evaluations + self.problem.n_evaluations).tolist()
        return [
            judged(self.asked.family, curve, done, used, round(count), self.settings, clamped=self.clamped)
            for curve, done, used, count in zip(
                curves, self.converged.tolist(), spent, evaluations, strict=True
            )
        ]


def _minimise(
    problem: CurveProblem,
    index: Tensor,
    budget: Tensor,
    rtol: float,
    tolerance: float,
    progress: Callable[[int], None] = nothing,
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
        problem = problem_of(family, interpolated(charts, n), settings, clamped=True)
        budget = torch.full((len(charts),), _ROUGH_ITERATIONS)
        _minimise(problem, problem.everything, budget, _ROUGH_RTOL, settings.constraint_tolerance)
        charts = problem.chart()[problem.mean_chord().argsort()[:kept]]
    return charts[0]
