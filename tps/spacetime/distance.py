"""Distances between states: the Diffusion Edit Distance, and Fisher-Rao distance matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Unpack

import torch
from torch import Tensor

from tps.spacetime.family import Family
from tps.spacetime.geodesic import find_geodesic, find_geodesics
from tps.spacetime.points import SpacetimePoint
from tps.spacetime.solution import Geodesic
from tps.spacetime.solver_settings import SolverOptions

#: Pairs solved in one batch.
_BATCH = 64


@dataclass(frozen=True, eq=False)
class DiffusionEditDistance:
    """How much of one state must be noised away and made anew to turn it into another.

    Parameters
    ----------
    length : float
        Of the geodesic between the two anchored states.
    anchor_log_snr : float
        Noise level at which the states are anchored; the distance grows with it and means nothing without it.
    geodesic : Geodesic
        With the status of the solve.
    """

    length: float
    anchor_log_snr: float
    geodesic: Geodesic


def diffusion_edit_distance(
    family: Family, x_a: Tensor, x_b: Tensor, *, anchor_log_snr: float, **options: Unpack[SolverOptions]
) -> DiffusionEditDistance:
    """Return the Diffusion Edit Distance between two clean states.

    Parameters
    ----------
    family : Family
    x_a, x_b : Tensor (n_features,)
        Clean features.
    anchor_log_snr : float
    **options
        As for `find_geodesic`.

    Returns
    -------
    DiffusionEditDistance

    References
    ----------
    Karczewski et al., ICLR 2026, Section 4.
    """
    a, b = SpacetimePoint(x_a, anchor_log_snr), SpacetimePoint(x_b, anchor_log_snr)
    found = find_geodesic(family, a, b, **options)
    return DiffusionEditDistance(found.length, anchor_log_snr, found)


@dataclass(frozen=True, eq=False)
class DistanceMatrix:
    """Fisher-Rao distances between points of spacetime.

    Parameters
    ----------
    lengths : Tensor (n, n)
        Symmetric, zero on the diagonal. Each is the length of a local minimum: an upper bound of the distance.
    converged : Tensor (n, n) of bool
    """

    lengths: Tensor
    converged: Tensor


def distance_matrix(
    family: Family, points: Sequence[SpacetimePoint], **options: Unpack[SolverOptions]
) -> DistanceMatrix:
    """Return all pairwise Fisher-Rao distances, solved in batches.

    Parameters
    ----------
    family : Family
    points : sequence of SpacetimePoint
    **options
        As for `find_geodesic`; 32 points a curve unless told otherwise.

    Returns
    -------
    DistanceMatrix
    """
    options = {"n_points": 32, **options}
    lengths = torch.zeros(len(points), len(points), dtype=torch.float64)
    converged = torch.eye(len(points), dtype=torch.bool)
    pairs = list(combinations(range(len(points)), 2))
    for first in range(0, len(pairs), _BATCH):
        batch = pairs[first : first + _BATCH]
        found = find_geodesics(family, [(points[i], points[j]) for i, j in batch], **options)
        for (i, j), geodesic in zip(batch, found, strict=True):
            lengths[i, j] = lengths[j, i] = geodesic.length
            converged[i, j] = converged[j, i] = geodesic.converged
    return DistanceMatrix(lengths, converged)
