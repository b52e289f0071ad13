"""Where channels are looked for: starting curves that wind every way round, or pass through clusters of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import torch
from torch import Tensor

from tps.spacetime.constraints import Constraint
from tps.spacetime.empirical import EmpiricalFamily
from tps.spacetime.family import Family
from tps.spacetime.points import Spacetime, SpacetimePoint, eta_of
from tps.spacetime.starts import Start, chart_line, largest_violation, winding_line

#: Up to this many angles every combination of long and short ways is tried; above, one long way at a time.
MAX_COMBINED_ANGLES = 3


def default_starts(
    spacetime: Spacetime, a: SpacetimePoint, b: SpacetimePoint, n_points: int
) -> dict[str, Tensor]:
    """Return the starting curves that need no data: the straight line and, where features are angles, windings.

    Parameters
    ----------
    spacetime : Spacetime
    a, b : SpacetimePoint
    n_points : int

    Returns
    -------
    dict of str to Tensor (n_points, K)
        Natural parameters by name.
    """
    return {
        "straight": chart_line(spacetime, a, b, n_points),
        **winding_starts(spacetime, a, b, n_points),
    }


def feasible_starts(
    family: Family, starts: Mapping[str, Start], constraints: Sequence[Constraint]
) -> dict[str, Start]:
    """Return the starts that obey all constraints; all of them where none does, or only one.

    Solving from a start that breaks a constraint takes long, and leads to a curve that another start finds.

    Parameters
    ----------
    family : Family
    starts : mapping of str to start
        Natural parameters (n, K), or what is kept whatever it is.
    constraints : sequence of Constraint

    Returns
    -------
    dict of str to start
    """
    kept = {
        name: start
        for name, start in starts.items()
        if not isinstance(start, Tensor) or largest_violation(family, start, constraints) <= 0
    }
    return kept if len(kept) > 1 else dict(starts)


def winding_starts(
    spacetime: Spacetime, a: SpacetimePoint, b: SpacetimePoint, n_points: int
) -> dict[str, Tensor]:
    """Return starting curves on which angles go the short or the long way round.

    Parameters
    ----------
    spacetime : Spacetime
    a, b : SpacetimePoint
    n_points : int

    Returns
    -------
    dict of str to Tensor (n_points, K)
        Natural parameters by name. All combinations up to three angles; above, one long way at a time; none where
        no feature is an angle.

    Raises
    ------
    CurveError
        If an end has no stiffness.
    """
    d = spacetime.n_circles
    if not d:
        return {}
    ends = torch.stack([eta_of(spacetime, a), eta_of(spacetime, b)])
    short = spacetime.nearest(spacetime.positions(ends).diff(dim=0))[0, :d]
    long = [-1 if step > 0 else 1 for step in short.tolist()]
    if d <= MAX_COMBINED_ANGLES:
        choices = list(product((False, True), repeat=d))
    else:
        choices = [tuple(i == j for j in range(d)) for i in range(-1, d)]
    windings = [
        tuple(w if turned else 0 for w, turned in zip(long, choice, strict=True)) for choice in choices
    ]
    return {winding_name(winding): winding_line(spacetime, a, b, n_points, winding) for winding in windings}


def winding_name(windings: Sequence[int]) -> str:
    """Return what the start that winds so is called.

    Parameters
    ----------
    windings : sequence of int (n_circles,)

    Returns
    -------
    str
        Such as "winding 0,-1".
    """
    return "winding " + ",".join(f"{w:+d}" if w else "0" for w in windings)


def cluster_points(
    frames: EmpiricalFamily, n_clusters: int, *, log_snr: float, seed: int = 0, n_iterations: int = 50
) -> tuple[SpacetimePoint, ...]:
    """Return centers of clusters of the data, to start curves through: k-means on the features.

    Parameters
    ----------
    frames : EmpiricalFamily
        Taken without their weights, so that rare regions count as much as they were sampled.
    n_clusters : int
    log_snr : float
        Noise level at which a curve passes through.
    seed : int
    n_iterations : int

    Returns
    -------
    tuple of SpacetimePoint
    """
    features = frames.statistics[:, : frames.spacetime.n_features]
    rng = torch.Generator().manual_seed(seed)
    centers = features[torch.randint(len(features), (1,), generator=rng)]
    for _ in range(n_clusters - 1):
        # k-means++: the next center is drawn far from those there are
        apart = torch.cdist(features, centers).amin(1).square().clamp_min(1e-300)
        centers = torch.cat([centers, features[torch.multinomial(apart, 1, generator=rng)]])
    for _ in range(n_iterations):
        nearest = torch.cdist(features, centers).argmin(1)
        counts = torch.bincount(nearest, minlength=len(centers))
        sums = torch.zeros_like(centers).index_add_(0, nearest, features)
        filled = counts > 0
        centers[filled] = sums[filled] / counts[filled, None]
    return tuple(SpacetimePoint(center, log_snr) for center in centers)
