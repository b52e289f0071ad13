"""The solver: shortest spacetime curves between anchored states, under constraints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from scipy.interpolate import BSpline
from torch import Tensor

from tps.errors import CurveError, ParameterError
from tps.spacetime.constraints import Constraint, ConstraintReport, UserPenalty
from tps.spacetime.coordinates import Spacetime, SpacetimePoint, TorusSpacetime, eta_of
from tps.spacetime.curve import SpacetimeCurve, curve_energy, fisher_rao_length, negative_chord_fraction, resample
from tps.spacetime.family import Family, fisher_metric
from tps.spacetime.lbfgs import minimise
from tps.spacetime.preconditioner import (
    MAX_FULL_METRIC,
    MAX_NEWTON,
    CurvePreconditioner,
    GroupedPreconditioner,
    chord_blocks,
    clip_metric,
)
from tps.spacetime.starts import chart_line, winding_line

Representation = Literal["spline", "points"]

#: Curves of more points than this are found on so many points first.
_COARSE_POINTS = 32
_COARSE_RTOL = 1e-4
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
        Evaluations of mu along the whole curve with derivatives, those for the metric included.
    constraints : tuple of ConstraintReport
    n_iterations : int
    """

    curve: SpacetimeCurve
    length: float
    curve_energy: float
    status: str
    n_gradient_evaluations: int
    constraints: tuple[ConstraintReport, ...] = field(default=())
    n_iterations: int = 0

    @property
    def converged(self) -> bool:
        """Whether the status is "converged"."""
        return self.status == "converged"


def spline_design(n_points: int, n_coefficients: int) -> Tensor:
    """Return the cubic B-spline design matrix (n_points, n_coefficients), clamped at both ends."""
    inner = torch.linspace(0, 1, n_coefficients - 2, dtype=torch.float64)
    knots = torch.cat([torch.zeros(3), inner, torch.ones(3)]).double().numpy()
    where = torch.linspace(0, 1, n_points, dtype=torch.float64).numpy()
    return torch.from_numpy(BSpline.design_matrix(where, knots, 3).toarray())


def _reports(
    family: Family, curve: SpacetimeCurve, constraints: Sequence[Constraint], tolerance: float
) -> tuple[ConstraintReport, ...]:
    reports = []
    for constraint in constraints:
        with torch.no_grad():
            worst = constraint.values(family, curve.eta, curve.mu).amax(1)
        at = int(worst.argmax())
        reports.append(ConstraintReport(constraint.name, float(worst[at]), float(curve.s[at]), tolerance))
    return tuple(reports)


def _status(converged: bool, spent: int, limit: int, reports: Sequence[ConstraintReport], bad_chords: float) -> str:
    broken = [str(r) for r in reports if not r.satisfied]
    if broken:
        return "; ".join(broken)
    if bad_chords > 0:
        return f"{bad_chords:.0%} of the chords are negative: the model's Jacobian is not that of a true family here"
    if not converged and spent >= limit:
        return f"stopped after {spent} iterations while the energy was still falling; raise max_iterations"
    if not converged:
        return f"stopped after {spent} iterations: no step lowers the energy, though the gradient is not small"
    return "converged"


def _check_ends(family: Family, eta: Tensor, constraints: Sequence[Constraint], tolerance: float) -> None:
    with torch.no_grad():
        mu = family.mu(eta)
    if not bool(torch.isfinite(mu).all()):
        raise CurveError("the family's mu is not finite at an end point; lower its log_snr or move it into the data")
    for constraint in constraints:
        with torch.no_grad():
            worst = constraint.values(family, eta, mu).amax(1)
        for name, value in zip("AB", worst.tolist(), strict=True):
            if value > tolerance:
                raise CurveError(
                    f"end point {name} itself violates the constraint '{constraint.name}' by {value:.3g}: "
                    "move the end point or relax the constraint"
                )


def find_geodesics(
    family: Family,
    pairs: Sequence[tuple[SpacetimePoint, SpacetimePoint]],
    *,
    starts: Sequence[Tensor | None] | None = None,
    n_points: int = 64,
    representation: Representation = "spline",
    n_coefficients: int | None = None,
    constraints: Sequence[Constraint | UserPenalty] = (),
    constraint_tolerance: float = 1e-3,
    rtol: float = 1e-6,
    max_iterations: int = 500,
) -> tuple[Geodesic, ...]:
    """Find geodesics between many pairs of points at once; parameters as for `find_geodesic`.

    Parameters
    ----------
    pairs : sequence of (SpacetimePoint, SpacetimePoint)
    starts : sequence of Tensor (n, K) or None, optional
        One starting curve in natural parameters, or None, for each pair.

    Returns
    -------
    tuple of Geodesic
    """
    if n_points < 4:
        raise ParameterError(f"a geodesic needs n_points >= 4, but got {n_points}")
    if not rtol > 0 or not constraint_tolerance > 0:
        raise ParameterError(f"tolerances must be positive, but got rtol {rtol} and {constraint_tolerance}")
    if representation not in ("spline", "points"):
        raise ParameterError(f"representation must be 'spline' or 'points', but got {representation!r}")
    if starts is not None and len(starts) != len(pairs):
        raise ParameterError(f"give one start for each of {len(pairs)} pairs, or none; got {len(starts)}")
    if len(pairs) == 0:
        return ()
    hard: list[Constraint] = [c for c in constraints if not isinstance(c, UserPenalty)]
    soft = [c for c in constraints if isinstance(c, UserPenalty)]
    for pair in pairs:
        _check_ends(family, pair, hard, constraint_tolerance)
    given = starts if starts is not None else [None] * len(pairs)
    levels = [n_points] if n_points < 1.5 * _COARSE_POINTS else [_COARSE_POINTS, n_points]
    charts = torch.stack(
        [_start_chart(family, a, b, s, levels[0], hard) for (a, b), s in zip(pairs, given, strict=True)]
    )
    spent, evaluations, problem = 0, torch.zeros(len(pairs)), None
    for n in levels:
        final = n == n_points
        coarse, problem = problem, CurveProblem(family, charts, _design(n, representation, n_coefficients), hard, soft, constraint_tolerance)
def find_geodesic(
    family: Family,
    a: SpacetimePoint,
    b: SpacetimePoint,
    *,
    n_points: int = 64,
    start: Tensor | SpacetimeCurve | Sequence[int] | None = None,
    representation: Representation = "spline",
    n_coefficients: int | None = None,
    constraints: Sequence[Constraint | UserPenalty] = (),
    constraint_tolerance: float = 1e-3,
    rtol: float = 1e-6,
    max_iterations: int = 500,
) -> Geodesic:
    """Find a shortest curve from a to b: a local minimum of the curve energy near the start.

    Parameters
    ----------
    family : Family
    a, b : SpacetimePoint
    n_points : int
        Points of the curve, at equal Fisher-Rao steps.
    start : optional
        A curve, or its natural parameters (n, K), or on a torus one winding number per torsion. A straight line in the
        solver's chart unless given; on a torus, when constraints forbid that, the short way at constant stiffness.
    representation : "spline" or "points"
        Cubic B-spline in the solver's chart, or every point free.
    n_coefficients : int, optional
        Of the spline; n_points / 2 and at most 24 unless given.
    constraints : sequence
        From `tps.spacetime`: LogSnrFloor, StdCeiling, RegionProbability, KLDistance, UserConstraint, UserPenalty.
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
    else:
        if not isinstance(family.spacetime, TorusSpacetime):
            raise CurveError("winding numbers start a curve only on a torus; give a curve instead")
        curve = winding_line(family.spacetime, a, b, n_points, list(start))
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
