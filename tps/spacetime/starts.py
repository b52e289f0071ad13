"""Curves to start from: each winding round the torus, or way through the data, ends in its own local minimum."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tps.errors import CurveError
from tps.spacetime.coordinates import Spacetime, SpacetimePoint, TorusSpacetime, eta_of


def wrap_angle(angle: Tensor) -> Tensor:
    """Map angles [rad] to [-pi, pi)."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def chart_line(spacetime: Spacetime, a: SpacetimePoint, b: SpacetimePoint, n_points: int) -> Tensor:
    """Return natural parameters (n_points, K) along the straight line in the solver's chart from a to b."""
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
        Full turns added to the short way, per torsion: 0 is the short way, and -1 the long one where the short way
        goes up.

    Returns
    -------
    Tensor (n_points, 2 d)
        Angles linear, ln kappa linear.

    Raises
    ------
    CurveError
        If there is not one winding per torsion, or an end has no stiffness.
    """
    if len(windings) != spacetime.n_torsions:
        raise CurveError(
            f"windings need one whole number for each of {spacetime.n_torsions} torsions, but got {len(windings)}"
        )
    ends = torch.stack([eta_of(spacetime, a), eta_of(spacetime, b)])
    angles, kappa = spacetime.angles(ends), spacetime.kappa(ends)
    if not bool((kappa > 0).all()):
        raise CurveError("a winding is defined only where every torsion has a positive stiffness; raise log_snr")
    turns = 2 * math.pi * torch.tensor([float(w) for w in windings], dtype=torch.float64)
    change = wrap_angle(angles[1] - angles[0]) + turns
    s = torch.linspace(0, 1, n_points, dtype=torch.float64)[:, None]
    eta = spacetime.eta_from_angles(angles[0] + s * change, ((1 - s) * kappa[0].log() + s * kappa[1].log()).exp())
    eta[0], eta[-1] = ends[0], ends[1]
    return eta
