"""The solver: shortest spacetime curves between anchored states, under constraints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from torch import Tensor

from tps.errors import CurveError, ParameterError
from tps.spacetime.constraints import Constraint, UserPenalty
from tps.spacetime.coordinates import SpacetimePoint, TorusSpacetime
from tps.spacetime.curve import SpacetimeCurve
from tps.spacetime.family import Family
from tps.spacetime.solution import Geodesic, check_ends, solve_batch
from tps.spacetime.solver_settings import Representation, SolverOptions, SolverSettings
from tps.spacetime.starts import winding_line


def find_geodesic(
    family: Family,
    a: SpacetimePoint,
    b: SpacetimePoint,
    *,
    n_points: int = SolverSettings.n_points,
    start: Tensor | SpacetimeCurve | Sequence[int] | None = None,
    representation: Representation = SolverSettings.representation,
    n_coefficients: int | None = SolverSettings.n_coefficients,
    constraints: Sequence[Constraint | UserPenalty] = SolverSettings.constraints,
    constraint_tolerance: float = SolverSettings.constraint_tolerance,
    rtol: float = SolverSettings.rtol,
    max_iterations: int = SolverSettings.max_iterations,
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
    """Find geodesics between many pairs of points: in one batch without constraints, one by one with them.

    Parameters
    ----------
    family : Family
    pairs : sequence of (SpacetimePoint, SpacetimePoint)
    starts : sequence of Tensor (n, K) or None, optional
        One starting curve in natural parameters, or None, for each pair.
    **options
        As for `find_geodesic`.

    Returns
    -------
    tuple of Geodesic
        One for each pair.

    Raises
    ------
    CurveError, ParameterError
        As for `find_geodesic`.
    """
    settings = SolverSettings(**options)
    given = [None] * len(pairs) if starts is None else list(starts)
    if len(given) != len(pairs):
        raise ParameterError(f"give one start for each of {len(pairs)} pairs, or none; got {len(given)}")
    if len(pairs) == 0:
        return ()
    for a, b in pairs:
        check_ends(family, a, b, settings)
    if not settings.hard:
        return tuple(solve_batch(family, pairs, given, settings))
    return tuple(
        solve_batch(family, [pair], [start], settings)[0] for pair, start in zip(pairs, given, strict=True)
    )
