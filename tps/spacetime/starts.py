"""Curves to start from: each way round the circles or through the data ends in its own local minimum."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tps.errors import CurveError
from tps.spacetime.constraints import Constraint
from tps.spacetime.curve import SpacetimeCurve
from tps.spacetime.family import Family
from tps.spacetime.noise_level import NoiseLevel
from tps.spacetime.points import Chart, Spacetime, SpacetimePoint, eta_of
from tps.spacetime.solver_settings import SolverSettings

#: A curve, its natural parameters (n, K), or one winding number per angle.
Start = SpacetimeCurve | Tensor | Sequence[int]

#: How far a user's start may miss the end points, relative to their chart vectors.
_LARGEST_GAP = 0.05
#: Starts are laid out on so many times as many points before they are spaced evenly.
_FINER = 4


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
    spacetime: Spacetime, a: SpacetimePoint, b: SpacetimePoint, n_points: int, windings: Sequence[int]
) -> Tensor:
    """Return natural parameters along a straight line on which angles wind as told.

    Parameters
    ----------
    spacetime : Spacetime
    a, b : SpacetimePoint
    n_points : int
    windings : sequence of int (n_circles,)
        Full turns added to the short way, per angle: 0 is the short way, and -1 the long one where the short way
        goes up.

    Returns
    -------
    Tensor (n_points, K)
        Angles and ln kappa linear; the center of features on lines and log_snr linear.

    Raises
    ------
    CurveError
        If there is not one whole number per angle, or an end has no stiffness.
    """
    ends = torch.stack([eta_of(spacetime, a), eta_of(spacetime, b)])
    return spacetime.winding_line(ends, n_points, windings)


def winding_numbers(curve: SpacetimeCurve) -> tuple[int, ...]:
    """Return how a curve winds, as `winding_line` counts it.

    Parameters
    ----------
    curve : SpacetimeCurve

    Returns
    -------
    tuple of int (n_circles,)
        Full turns beyond the short way between its ends, per angle; empty where no feature is an angle. Where the
        stiffness of an angle vanishes on the way, so does the meaning of its number: the smaller turn is taken from
        each point to the next.
    """
    spacetime = curve.spacetime
    if not spacetime.n_circles:
        return ()
    change = spacetime.positions(curve.eta)[[0, -1]].diff(dim=0)
    turns = (change - spacetime.nearest(change))[0, : spacetime.n_circles] / (2 * math.pi)
    return tuple(int(turn) for turn in turns.round())


def start_eta(family: Family, a: SpacetimePoint, b: SpacetimePoint, start: Start, n_points: int) -> Tensor:
    """Return the natural parameters (n, K) of a start: of a winding line, n_points of them.

    Raises
    ------
    CurveError
        If there is not one winding number per angle.
    """
    if isinstance(start, SpacetimeCurve):
        return start.eta
    if isinstance(start, Tensor):
        return start
    return winding_line(family.spacetime, a, b, n_points, start)


def starting_chart(
    family: Family,
    a: SpacetimePoint,
    b: SpacetimePoint,
    start: Tensor | None,
    n_points: int,
    constraints: Sequence[Constraint] = (),
    chart: Chart | None = None,
) -> Tensor:
    """Return the starting curve in the solver's chart.

    Parameters
    ----------
    family : Family
    a, b : SpacetimePoint
    start : Tensor (n, K) or None
        Natural parameters of any number of points from a to b. Unless given, the straight line in the chart, or
        where features are angles and constraints forbid that, the short way at constant stiffness.
    n_points : int
    constraints : sequence of Constraint
    chart : Chart, optional
        Of the spacetime unless given.

    Returns
    -------
    Tensor (n_points, k)
        At about equal Fisher-Rao steps.

    Raises
    ------
    CurveError
        If the start is not a finite curve from a to b.
    """
    spacetime = family.spacetime
    chart = spacetime if chart is None else chart
    if start is None:
        n_fine = _FINER * n_points
        candidates = [chart_line(spacetime, a, b, n_fine)]
        if spacetime.n_circles and constraints:
            candidates.append(winding_line(spacetime, a, b, n_fine, [0] * spacetime.n_circles))
        eta = min(candidates, key=lambda line: largest_violation(family, line, constraints))
        return _spaced(family, chart, chart.to_chart(eta), n_points)
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
    outer = torch.stack([eta_of(spacetime, a), eta_of(spacetime, b)])
    whole = chart.to_chart(torch.cat([outer[:1], eta, outer[1:]]))
    given, ends = whole[1:-1], whole[[0, -1]]
    line = _at(given, torch.linspace(0, len(given) - 1, _FINER * n_points, dtype=torch.float64))
    gap = float((line[[0, -1]] - ends).norm(dim=1).max())
    if gap > _LARGEST_GAP * max(1.0, float(ends.abs().max())):
        raise CurveError(
            f"the starting curve misses the end points by {gap:.3g} in the solver's chart; "
            "start it at A and end it at B"
        )
    line[[0, -1]] = ends
    return _spaced(family, chart, line, n_points)


def _chords(eta: Tensor, mu: Tensor) -> Tensor:
    return (eta.diff(dim=0) * mu.diff(dim=0)).sum(-1).clamp_min(0).sqrt()


def _spaced(family: Family, chart: Chart, line: Tensor, n_points: int) -> Tensor:
    """Return points (n_points, k) of a line in the chart at about equal Fisher-Rao steps; its first and last stay."""
    eta = chart.from_chart(line)
    with torch.no_grad():
        chords = _chords(eta, family.mu(eta))
    # where nothing changes, steps of the line
    arc = torch.cat([torch.zeros(1).double(), (chords + 1e-3 * chords.mean() + 1e-300).cumsum(0)])
    even = torch.linspace(0, 1, n_points, dtype=torch.float64) * arc[-1]
    return _at(line, torch.from_numpy(np.interp(even.numpy(), arc.numpy(), np.arange(len(arc)))))


def _at(line: Tensor, place: Tensor) -> Tensor:
    """Return points of a broken line (n, k) at places (m,) from 0 to n - 1."""
    low = place.floor().long().clamp_max(len(line) - 2)
    return torch.lerp(line[low], line[low + 1], (place - low)[:, None])


def largest_violation(family: Family, eta: Tensor, constraints: Sequence[Constraint]) -> float:
    """Return by how much a curve (n, K) breaks its constraints at the worst; 0 where it obeys them all."""
    with torch.no_grad():
        mu = family.mu(eta)
        return max((max(0.0, float(c.values(family, eta, mu).max())) for c in constraints), default=0.0)


def check_ends(family: Family, a: SpacetimePoint, b: SpacetimePoint, settings: SolverSettings) -> None:
    """Refuse end points where the family is not finite or a constraint does not hold."""
    eta = torch.stack([eta_of(family.spacetime, a), eta_of(family.spacetime, b)])
    if settings.log_snr is not None and not NoiseLevel(family, settings.log_snr).holds(eta):
        raise CurveError(
            f"a curve at log-SNR {settings.log_snr:g} needs both ends there, every angle as stiff, but they lie at "
            f"{a.log_snr:g} and {b.log_snr:g}: anchor them at {settings.log_snr:g}"
        )
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
