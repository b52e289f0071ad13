"""The solver: shortest spacetime curves between anchored states, under constraints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Unpack

from tps.errors import ParameterError
from tps.spacetime.coarse_to_fine import Asked
from tps.spacetime.constraints import Constraint, UserPenalty
from tps.spacetime.family import Family
from tps.spacetime.points import SpacetimePoint
from tps.spacetime.solution import Geodesic
from tps.spacetime.solver import solve_batch
from tps.spacetime.solver_settings import Representation, SolverOptions, SolverSettings
from tps.spacetime.starts import Start, check_ends, start_eta


def find_geodesic(
    family: Family,
    a: SpacetimePoint,
    b: SpacetimePoint,
    *,
    n_points: int = SolverSettings.n_points,
    start: Start | None = None,
    representation: Representation = SolverSettings.representation,
    n_coefficients: int | None = SolverSettings.n_coefficients,
    constraints: Sequence[Constraint | UserPenalty] = SolverSettings.constraints,
    constraint_tolerance: float = SolverSettings.constraint_tolerance,
    rtol: float = SolverSettings.rtol,
    max_iterations: int = SolverSettings.max_iterations,
    free_energy_weight: float = SolverSettings.free_energy_weight,
    log_snr: float | None = SolverSettings.log_snr,
) -> Geodesic:
    """Find a shortest curve from a to b: a local minimum of the curve energy near the start.

    Parameters
    ----------
    family : Family
    a, b : SpacetimePoint
    n_points : int
        Points of the curve, at equal Fisher-Rao steps.
    start : optional
        A curve, or its natural parameters (n, K), or one winding number per angle. A straight line in the solver's
        chart unless given; where features are angles and constraints forbid that, the short way at constant
        stiffness.
    representation : "spline" or "points"
        Cubic B-spline in the solver's chart, or every point free.
    n_coefficients : int, optional
        Of the spline; n_points / 2 and at most 24 unless given, or where the model is no true family 2 n_points / 3 and
        at most 42: there the curve is solved for on three times as many points.
    constraints : sequence
        LogSnrFloor, StdCeiling, RegionProbability, KLDistance, UserConstraint, UserPenalty.
    constraint_tolerance : float
        What counts as zero at every point of the returned curve, in each constraint's own unit.
    rtol : float
        Stop when the predicted decrease of the energy is below this fraction of it.
    max_iterations : int
        For each weight on the way to `free_energy_weight`.
    free_energy_weight : float
        w of the conformal metric e^(2wF) G, F the free energy [kT] of `tethered_free_energy`, whose shortest curve is
        found: 0 is the geodesic, 1 the path of maximum flux. F is smoothed by the tilts, and lower the weaker they are.
    log_snr : float, optional
        Keep every point at this level, every angle as stiff; anywhere in spacetime unless given.

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
    Karczewski et al., ICLR 2026, Eq. 14-16 and 21-23. Maximum flux: Berkowitz et al., J. Chem. Phys. 79, 5563 (1983);
    Huo and Straub, J. Chem. Phys. 107, 5000 (1997).
    """
    return find_geodesics(
        family,
        [(a, b)],
        starts=[start],
        n_points=n_points,
        representation=representation,
        n_coefficients=n_coefficients,
        constraints=constraints,
        constraint_tolerance=constraint_tolerance,
        rtol=rtol,
        max_iterations=max_iterations,
        free_energy_weight=free_energy_weight,
        log_snr=log_snr,
    )[0]


def find_geodesics(
    family: Family,
    pairs: Sequence[tuple[SpacetimePoint, SpacetimePoint]],
    *,
    starts: Sequence[Start | None] | None = None,
    progress: Callable[[int], None] = lambda done: None,
    **options: Unpack[SolverOptions],
) -> tuple[Geodesic, ...]:
    """Find geodesics between many pairs of points, in one batch.

    Parameters
    ----------
    family : Family
    pairs : sequence of (SpacetimePoint, SpacetimePoint)
    starts : sequence, optional
        One start, or None, for each pair; what a start may be, see `find_geodesic`.
    progress : callable
        Told how many curves are found, each counted twice: on few points, then on all.
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
    curves = [
        None if start is None else start_eta(family, a, b, start, settings.n_points)
        for (a, b), start in zip(pairs, given, strict=True)
    ]
    return tuple(solve_batch(Asked(family, pairs, curves, settings), progress))
