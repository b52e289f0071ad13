"""The solver: shortest spacetime curves between anchored states, under constraints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict, Unpack

import torch
from scipy.interpolate import BSpline, CubicSpline
from torch import Tensor

from tps.errors import CurveError, ParameterError
from tps.spacetime.augmented_lagrangian import solve
from tps.spacetime.constraints import Constraint, ConstraintReport, UserPenalty, constraint_reports
from tps.spacetime.coordinates import SpacetimePoint, TorusSpacetime, eta_of
from tps.spacetime.curve import (
    SpacetimeCurve,
    curve_energy,
    fisher_rao_length,
    negative_chord_fraction,
    resample,
)
from tps.spacetime.curve_problem import CurveProblem
from tps.spacetime.family import Family
from tps.spacetime.starts import starting_chart, winding_line

Representation = Literal["spline", "points"]

#: Longer curves are found on so many points first, less exactly.
_COARSE_POINTS = 32
_COARSE_RTOL = 1e-4
_COARSE_TOLERANCE = 1e-2
_MAX_COEFFICIENTS = 24
_MARGIN_ROUNDS = 4


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
    """

    curve: SpacetimeCurve
    length: float
    curve_energy: float
    status: str
    n_gradient_evaluations: int
    constraints: tuple[ConstraintReport, ...] = ()
    n_iterations: int = 0

    @property
    def converged(self) -> bool:
        """Whether the status is "converged"."""
        return self.status == "converged"


@dataclass(frozen=True)
class _Settings:
    """The options of `find_geodesic`, where they are explained."""

    n_points: int = 64
    representation: Representation = "spline"
    n_coefficients: int | None = None
    constraints: Sequence[Constraint | UserPenalty] = ()
    constraint_tolerance: float = 1e-3
    rtol: float = 1e-6
    max_iterations: int = 500

    def __post_init__(self) -> None:
        if self.n_points < 4 or self.max_iterations < 1:
            raise ParameterError(
                f"a geodesic needs n_points >= 4 and max_iterations >= 1, but got {self.n_points} and "
                f"{self.max_iterations}"
            )
        if not self.rtol > 0 or not self.constraint_tolerance > 0:
            raise ParameterError(
                f"tolerances must be positive, but got rtol {self.rtol} and constraint_tolerance "
                f"{self.constraint_tolerance}"
            )
        if self.representation not in ("spline", "points"):
            raise ParameterError(
                f"representation must be 'spline' or 'points', but got {self.representation!r}"
            )
        if self.n_coefficients is not None and not 4 <= self.n_coefficients <= self.n_points:
            raise ParameterError(
                f"n_coefficients must lie between 4 and n_points = {self.n_points}, but got {self.n_coefficients}"
            )

    @property
    def hard(self) -> list[Constraint]:
        """Conditions that must hold."""
        return [c for c in self.constraints if not isinstance(c, UserPenalty)]

    @property
    def soft(self) -> list[UserPenalty]:
        """Costs."""
        return [c for c in self.constraints if isinstance(c, UserPenalty)]

    def design(self, n_points: int) -> Tensor:
        """Return the matrix (n_points, n_coefficients) from coefficients to points."""
        if self.representation == "points":
            return torch.eye(n_points, dtype=torch.float64)
        default = max(6, min(n_points // 2, _MAX_COEFFICIENTS))
        return _spline_design(n_points, min(self.n_coefficients or default, n_points))


class SolverOptions(TypedDict, total=False):
    """Keyword options of `find_geodesic` that other functions pass on."""

    n_points: int
    representation: Representation
    n_coefficients: int | None
    constraints: Sequence[Constraint | UserPenalty]
    constraint_tolerance: float
    rtol: float
    max_iterations: int


def find_geodesic(
    family: Family,
    a: SpacetimePoint,
    b: SpacetimePoint,
    *,
    n_points: int = _Settings.n_points,
    start: Tensor | SpacetimeCurve | Sequence[int] | None = None,
    representation: Representation = _Settings.representation,
    n_coefficients: int | None = _Settings.n_coefficients,
    constraints: Sequence[Constraint | UserPenalty] = _Settings.constraints,
    constraint_tolerance: float = _Settings.constraint_tolerance,
    rtol: float = _Settings.rtol,
    max_iterations: int = _Settings.max_iterations,
) -> Geodesic:
    """Find a shortest curve from a to b: a local minimum of the curve energy near the start.

    Parameters
    ----------
    family : Family
    a, b : SpacetimePoint
    n_points : int
        Points of the curve, at equal Fisher-Rao steps.
    start : optional
        A curve, or its natural parameters (n, K), or on a torus one winding number per torsion. A straight
        line in the solver's chart unless given; on a torus, when constraints forbid that, the short way at
        constant stiffness.
    representation : "spline" or "points"
        Cubic B-spline in the solver's chart, or every point free.
    n_coefficients : int, optional
        Of the spline; n_points / 2 and at most 24 unless given.
    constraints : sequence
        LogSnrFloor, StdCeiling, RegionProbability, KLDistance, UserConstraint, UserPenalty.
    constraint_tolerance : float
        What counts as zero at every point of the returned curve, in each constraint's own unit.
    rtol : float
        Stop when the predicted decrease of the energy is below this fraction of it.
    max_iterations : int

    Returns
    -------
    Geodesic
        With status "converged", or a sentence that says why not.

    Raises
    ------
    CurveError
        If an end point or the start cannot be used, or an end point violates a constraint.
    ParameterError
        If a number is out of range.

    References
    ----------
    Karczewski et al., ICLR 2026, Eq. 14-16 and 21-23.
    """
    curve: Tensor | None
    if start is None or isinstance(start, Tensor):
        curve = start
    elif isinstance(start, SpacetimeCurve):
        curve = start.eta
    elif isinstance(family.spacetime, TorusSpacetime):
        curve = winding_line(family.spacetime, a, b, n_points, list(start))
    else:
        raise CurveError("winding numbers start a curve only on a torus; give a curve instead")
    return find_geodesics(
        family,
        [(a, b)],
        starts=[curve],
        n_points=n_points,
        representation=representation,
        n_coefficients=n_coefficients,
        constraints=constraints,
        constraint_tolerance=constraint_tolerance,
        rtol=rtol,
        max_iterations=max_iterations,
    )[0]


def find_geodesics(
    family: Family,
    pairs: Sequence[tuple[SpacetimePoint, SpacetimePoint]],
    *,
    starts: Sequence[Tensor | None] | None = None,
    **options: Unpack[SolverOptions],
) -> tuple[Geodesic, ...]:
    """Find geodesics between many pairs of points, all in one batch.

    Parameters
    ----------
    family : Family
    pairs : sequence of (SpacetimePoint, SpacetimePoint)
    starts : sequence of Tensor (n, K) or None, optional
        One starting curve in natural parameters, or None, for each pair.
    **options
        As for `find_geodesic`; `max_iterations` holds for the batch.

    Returns
    -------
    tuple of Geodesic
        One for each pair.

    Raises
    ------
    CurveError, ParameterError
        As for `find_geodesic`.
    """
    settings = _Settings(**options)
    given = [None] * len(pairs) if starts is None else starts
    if len(given) != len(pairs):
        raise ParameterError(f"give one start for each of {len(pairs)} pairs, or none; got {len(given)}")
    if len(pairs) == 0:
        return ()
    for a, b in pairs:
        _check_ends(family, a, b, settings)
    coarse = settings.n_points >= 1.5 * _COARSE_POINTS
    n_start = _COARSE_POINTS if coarse else settings.n_points
    start = torch.stack(
        [
            starting_chart(family, a, b, s, n_start, settings.hard)
            for (a, b), s in zip(pairs, given, strict=True)
        ]
    )
    problem = _problem(family, start, settings)
    spent, evaluations = 0, torch.zeros(len(pairs), dtype=torch.float64)
    if coarse:
        rough = max(settings.constraint_tolerance, _COARSE_TOLERANCE)
        _, spent = solve(problem, settings.max_iterations // 2, max(settings.rtol, _COARSE_RTOL), rough)
        evaluations = problem.n_evaluations * (_COARSE_POINTS / settings.n_points)
        problem = _refined(family, problem, settings)
    converged, used = solve(
        problem, settings.max_iterations - spent, settings.rtol, settings.constraint_tolerance
    )
    spent += used
    curves = _resampled(problem, pairs)
    for _ in range(_MARGIN_ROUNDS if settings.hard else 0):
        reports = [_reports(family, curve, settings) for curve in curves]
        worst = torch.tensor([[r.largest for r in row] for row in reports], dtype=torch.float64)
        if bool((worst <= settings.constraint_tolerance).all()) or spent >= settings.max_iterations:
            break
        # points moved when they were spaced evenly: aim further inside by what was found outside
        problem.margin = problem.margin + 1.2 * worst.clamp_min(0)
        converged, used = solve(
            problem, settings.max_iterations - spent, settings.rtol, settings.constraint_tolerance
        )
        spent += used
        curves = _resampled(problem, pairs)
    evaluations = evaluations + problem.n_evaluations
    found = []
    for curve, done, count in zip(curves, converged.tolist(), evaluations.tolist(), strict=True):
        reports_of = _reports(family, curve, settings)
        found.append(
            Geodesic(
                curve=curve,
                length=fisher_rao_length(curve),
                curve_energy=curve_energy(curve),
                status=_status(done, spent, settings, reports_of, negative_chord_fraction(curve)),
                n_gradient_evaluations=round(count),
                constraints=reports_of,
                n_iterations=spent,
            )
        )
    return tuple(found)


def _spline_design(n_points: int, n_coefficients: int) -> Tensor:
    """Return the cubic B-spline design matrix (n_points, n_coefficients), clamped at both ends."""
    inner = torch.linspace(0, 1, n_coefficients - 2, dtype=torch.float64)
    knots = torch.cat([torch.zeros(3), inner, torch.ones(3)]).double().numpy()
    where = torch.linspace(0, 1, n_points, dtype=torch.float64).numpy()
    return torch.tensor(BSpline.design_matrix(where, knots, 3).toarray())


def _problem(family: Family, chart: Tensor, settings: _Settings) -> CurveProblem:
    design = settings.design(chart.shape[1])
    return CurveProblem(family, chart, design, settings.hard, settings.soft, settings.constraint_tolerance)


def _refined(family: Family, coarse: CurveProblem, settings: _Settings) -> CurveProblem:
    """Carry curves, multipliers and stiffness over to more points."""
    old = torch.linspace(0, 1, coarse.n_points, dtype=torch.float64).numpy()
    new = torch.linspace(0, 1, settings.n_points, dtype=torch.float64).numpy()
    chart = torch.tensor(CubicSpline(old, coarse.chart().numpy(), axis=1)(new))
    fine = _problem(family, chart, settings)
    fine.stiffness = coarse.stiffness
    between = _linear_design(coarse.n_points, settings.n_points)
    fine.multipliers = [[between @ m for m in row] for row in coarse.multipliers]
    return fine


def _linear_design(n_old: int, n_new: int) -> Tensor:
    """Return the matrix (n_new, n_old) of linear interpolation between uniform grids."""
    place = torch.linspace(0, n_old - 1, n_new, dtype=torch.float64)
    return (1 - (place[:, None] - torch.arange(n_old)).abs()).clamp_min(0)


def _resampled(
    problem: CurveProblem, pairs: Sequence[tuple[SpacetimePoint, SpacetimePoint]]
) -> list[SpacetimeCurve]:
    curves = []
    for (a, b), chart in zip(pairs, problem.chart(), strict=True):
        eta = problem.spacetime.from_chart(chart)
        eta[0], eta[-1] = eta_of(problem.spacetime, a), eta_of(problem.spacetime, b)
        curves.append(resample(problem.family, SpacetimeCurve.from_eta(problem.family, eta)))
    return curves


def _reports(family: Family, curve: SpacetimeCurve, settings: _Settings) -> tuple[ConstraintReport, ...]:
    return constraint_reports(family, curve, settings.hard, settings.constraint_tolerance)


def _status(
    converged: bool,
    spent: int,
    settings: _Settings,
    reports: Sequence[ConstraintReport],
    negative_chords: float,
) -> str:
    broken = [str(r) for r in reports if not r.satisfied]
    if broken:
        return "; ".join(broken)
    if negative_chords > 0:
        return f"{negative_chords:.0%} of the chords are negative: the model is not a true family here"
    if not converged and spent >= settings.max_iterations:
        return f"stopped after {spent} iterations while the energy was still falling; raise max_iterations"
    if not converged:
        return f"stopped after {spent} iterations: no step lowers the energy, yet its gradient is not small"
    return "converged"


def _check_ends(family: Family, a: SpacetimePoint, b: SpacetimePoint, settings: _Settings) -> None:
    eta = torch.stack([eta_of(family.spacetime, a), eta_of(family.spacetime, b)])
    with torch.no_grad():
        mu = family.mu(eta)
        if not bool(torch.isfinite(mu).all()):
            raise CurveError(
                "mu is not finite at an end point; lower its log_snr or move it to where the data are"
            )
        for constraint in settings.hard:
            worst = constraint.values(family, eta, mu).amax(1)
            for name, value in zip("AB", worst.tolist(), strict=True):
                if value > settings.constraint_tolerance:
                    raise CurveError(
                        f"end point {name} itself violates the constraint '{constraint.name}' by {value:.3g}: "
                        "move the end point or relax the constraint"
                    )
