"""Curves to start from: each way round the torus or through the data ends in its own local minimum."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tps.errors import CurveError
from tps.spacetime.constraints import Constraint
from tps.spacetime.coordinates import Spacetime, SpacetimePoint, TorusSpacetime, eta_of
from tps.spacetime.curve import SpacetimeCurve
from tps.spacetime.family import Family

#: A curve, its natural parameters (n, K), or on a torus one winding number per torsion.
Start = SpacetimeCurve | Tensor | Sequence[int]

#: How far a user's start may miss the end points, relative to their chart vectors.
_LARGEST_GAP = 0.05


def wrap_angle(angle: Tensor) -> Tensor:
    """Map angles [rad] to [-pi, pi)."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def chart_line(spacetime: Spacetime, a: SpacetimePoint, b: SpacetimePoint, n_points: int) -> Tensor:
    """Return the straight line from a to b in the solver's chart: where the solver starts.

    Parameters
    ----------
    spacetime : Spacetime
    a, b : SpacetimePoint
    n_points : int

    Returns
    -------
    Tensor (n_points, K)
        Natural parameters.
    """
    ends = spacetime.to_chart(torch.stack([eta_of(spacetime, a), eta_of(spacetime, b)]))
    s = torch.linspace(0, 1, n_points, dtype=torch.float64)[:, None]
    return spacetime.from_chart((1 - s) * ends[0] + s * ends[1])


def winding_line(
    spacetime: TorusSpacetime, a: SpacetimePoint, b: SpacetimePoint, n_points: int, windings: Sequence[int]
) -> Tensor:
    """Return natural parameters along a line on the torus that winds as told.

    Parameters
    ----------
    spacetime : TorusSpacetime
    a, b : SpacetimePoint
    n_points : int
    windings : sequence of int (n_torsions,)
        Full turns added to the short way, per torsion: 0 is the short way, and -1 the long one where the
        short way goes up.

    Returns
    -------
    Tensor (n_points, 2 d)
        Angles linear, ln kappa linear.

    Raises
    ------
    CurveError
        If there is not one whole number per torsion, or an end has no stiffness.
    """
    if len(windings) != spacetime.n_torsions:
        raise CurveError(
            f"windings need a whole number for each of {spacetime.n_torsions} torsions, but got {len(windings)}"
        )
    ends = torch.stack([eta_of(spacetime, a), eta_of(spacetime, b)])
    angles, kappa = spacetime.angles(ends), spacetime.kappa(ends)
    if not bool((kappa > 0).all()):
        raise CurveError("a winding needs a positive stiffness of every torsion at both ends; raise log_snr")
    if any(w != int(w) for w in windings):
        raise CurveError(f"windings count full turns and must be whole, but got {list(windings)}")
    turns = 2 * math.pi * torch.tensor([float(w) for w in windings], dtype=torch.float64)
    change = wrap_angle(angles[1] - angles[0]) + turns
    s = torch.linspace(0, 1, n_points, dtype=torch.float64)[:, None]
    stiffness = ((1 - s) * kappa[0].log() + s * kappa[1].log()).exp()
    eta = spacetime.eta_from_angles(angles[0] + s * change, stiffness)
    eta[0], eta[-1] = ends[0], ends[1]
    return eta


def winding_numbers(curve: SpacetimeCurve) -> tuple[int, ...]:
    """Return how a curve on the torus winds, as `winding_line` counts it.

    Parameters
    ----------
    curve : SpacetimeCurve

    Returns
    -------
    tuple of int (n_torsions,)
        Full turns beyond the short way between its ends, per torsion. Where the stiffness of a torsion vanishes on the
        way, so does the meaning of its number: the smaller turn is taken from each point to the next.

    Raises
    ------
    CurveError
        If the features are not torsions.
    """
    spacetime = curve.spacetime
    if not isinstance(spacetime, TorusSpacetime):
        raise CurveError("only curves over torsions wind, but the curve's features are Euclidean")
    angles = spacetime.angles(curve.eta)
    travelled = wrap_angle(angles.diff(dim=0)).sum(0)
    turns = (travelled - wrap_angle(angles[-1] - angles[0])) / (2 * math.pi)
    return tuple(int(turn) for turn in turns.round())


def start_eta(family: Family, a: SpacetimePoint, b: SpacetimePoint, start: Start, n_points: int) -> Tensor:
    """Return the natural parameters (n, K) of a start: of a winding line, n_points of them.

    Raises
    ------
    CurveError
        If winding numbers are given off a torus.
    """
    if isinstance(start, SpacetimeCurve):
        return start.eta
    if isinstance(start, Tensor):
        return start
    if isinstance(family.spacetime, TorusSpacetime):
        return winding_line(family.spacetime, a, b, n_points, list(start))
    raise CurveError("winding numbers start a curve only on a torus; give a curve instead")


def starting_chart(
    family: Family,
    a: SpacetimePoint,
    b: SpacetimePoint,
    start: Tensor | None,
    n_points: int,
    constraints: Sequence[Constraint] = (),
) -> Tensor:
    """Return the starting curve in the solver's chart.

    Parameters
    ----------
    family : Family
    a, b : SpacetimePoint
    start : Tensor (n, K) or None
        Natural parameters of any number of points from a to b. Unless given, the straight line in the chart,
        or on a torus, where constraints forbid that, the short way at constant stiffness.
    n_points : int
    constraints : sequence of Constraint

    Returns
    -------
    Tensor (n_points, K)

    Raises
    ------
    CurveError
        If the start is not a finite curve from a to b.
    """
    spacetime = family.spacetime
    if start is None:
        candidates = [chart_line(spacetime, a, b, n_points)]
        if isinstance(spacetime, TorusSpacetime) and constraints:
            candidates.append(winding_line(spacetime, a, b, n_points, [0] * spacetime.n_torsions))
        eta = min(candidates, key=lambda line: _violation(family, line, constraints))
        return spacetime.to_chart(eta)
    eta = torch.as_tensor(start, dtype=torch.float64).detach()
    if (
        eta.ndim != 2
        or eta.shape[1] != spacetime.n_statistics
        or len(eta) < 2
        or not bool(eta.isfinite().all())
    ):
        raise CurveError(
            f"a starting curve needs finite natural parameters (n >= 2, {spacetime.n_statistics}), but got "
            f"{tuple(eta.shape)}; take them from SpacetimeCurve.eta"
        )
    given = spacetime.to_chart(eta)
    place = torch.linspace(0, len(given) - 1, n_points, dtype=torch.float64)
    low = place.floor().long().clamp_max(len(given) - 2)
    chart = torch.lerp(given[low], given[low + 1], (place - low)[:, None])
    ends = spacetime.to_chart(torch.stack([eta_of(spacetime, a), eta_of(spacetime, b)]))
    gap = float((chart[[0, -1]] - ends).norm(dim=1).max())
    if gap > _LARGEST_GAP * max(1.0, float(ends.abs().max())):
        raise CurveError(
            f"the starting curve misses the end points by {gap:.3g} in the solver's chart; "
            "start it at A and end it at B"
        )
    chart[0], chart[-1] = ends[0], ends[1]
    return chart


def _violation(family: Family, eta: Tensor, constraints: Sequence[Constraint]) -> float:
    with torch.no_grad():
        mu = family.mu(eta)
        return max((max(0.0, float(c.values(family, eta, mu).max())) for c in constraints), default=0.0)
