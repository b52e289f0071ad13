"""How well the weighted frames carry a curve, and how far a model's psi and mu along it are from theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from tps.errors import CurveError
from tps.features import FeatureSpace
from tps.spacetime.curve import SpacetimeCurve
from tps.spacetime.empirical import EmpiricalFamily
from tps.spacetime.health import SUPPORTED_FRAMES
from tps.spacetime.information import integrated_psi

#: Fisher-Rao length from which two anchored states are two. Along a line between Gaussians of one width the length is
#: the distance of their means over that width: below 1 the best test takes one for the other in a third of all frames.
DISTINCT_LENGTH = 1.0
#: Effective frames that an anchored end needs: its ψ is then known to a tenth of kT.
ANCHOR_FRAMES = 100.0
_ANCHOR_STEP, _WEAKEST_ANCHOR = 0.1, -2.0
#: Grid points that carry a Gaussian as wide as the spacing, per axis: with fewer the grid is too coarse.
_GRID_POINTS_PER_AXIS = float(np.sqrt(4 * np.pi))


def curve_support(curve: SpacetimeCurve, empirical: EmpiricalFamily, space: FeatureSpace) -> dict[str, Any]:
    """Compare a curve with the weighted frames.

    Parameters
    ----------
    curve : SpacetimeCurve
    empirical : EmpiricalFamily
    space : FeatureSpace

    Returns
    -------
    dict of str to number or list of float
        Effective numbers of frames (all, the least, and at which s), the mean error of mu, and the differences of psi
        between the ends: the frames', the model's (integrated where it knows mu alone), the largest error on the way
        where it knows psi, and what eta . T leaves out of the tilts' springs.
    """
    size = empirical.effective_sample_size(curve.eta)
    worst = int(size.argmin())
    spring = space.spring(curve.eta.numpy())
    reference = empirical.psi(curve.eta)
    out: dict[str, Any] = {
        "min_effective_sample_size": float(size[worst]),
        "min_effective_sample_size_at_s": float(curve.s[worst]),
        "effective_sample_size": [round(float(value), 1) for value in size],
        "mean_mu_error": float((curve.mu - empirical.mu(curve.eta)).norm(dim=1).mean()),
        "delta_spring": float(spring[-1] - spring[0]),
        "delta_psi_frames": float(reference[-1] - reference[0]),
    }
    if curve.psi is None:
        return out | {"delta_psi_model": float(integrated_psi(curve.eta, curve.mu)[-1])}
    gap = (curve.psi - curve.psi[0]) - (reference - reference[0])
    return out | {
        "delta_psi_model": float(curve.psi[-1] - curve.psi[0]),
        "max_psi_error": float(gap.abs().max()),
    }


def support_warning(support: Mapping[str, Any], n_features: int, grid: bool) -> list[str]:
    """Return what is to be said of a curve that the data do not carry.

    Parameters
    ----------
    support : mapping
        From `curve_support`.
    n_features : int
        Number d of features.
    grid : bool
        Whether the frames are the points of a grid.

    Returns
    -------
    list of str
        One sentence, or none.
    """
    size, s = support["min_effective_sample_size"], support["min_effective_sample_size_at_s"]
    if size >= needed_support(n_features, grid):
        return []
    if grid:
        return [
            f"only {size:.0f} points of the grid carry the curve at s = {s:.2f}: the grid is too coarse for so strong "
            "a tilt; raise conformations.n_grid_points or lower anchor_log_snr"
        ]
    return [
        f"the curve passes where only {size:.0f} effective frames carry the data (at s = {s:.2f}): the model is a "
        "guess there; sample more"
    ]


def needed_support(n_features: int, grid: bool) -> float:
    """Return the effective number of frames, or of points of a grid, that every point of a curve needs.

    Parameters
    ----------
    n_features : int
    grid : bool
        Whether the frames are the points of a grid.

    Returns
    -------
    float
    """
    return _GRID_POINTS_PER_AXIS**n_features if grid else float(SUPPORTED_FRAMES)


def tightest_anchor(
    space: FeatureSpace,
    ends_values: ArrayLike,
    carriers: Sequence[EmpiricalFamily],
    *,
    highest: float,
    frames: float = ANCHOR_FRAMES,
) -> float:
    """Return the log-SNR at which both ends are anchored as tightly as the weighted frames allow.

    Parameters
    ----------
    space : FeatureSpace
    ends_values : array (2, d)
        Feature values of A and B, in internal units.
    carriers : sequence of EmpiricalFamily
        One whose frames carry both ends, or one for each end.
    highest : float
        No tighter than this.
    frames : float
        Effective number of frames that an anchored end needs.

    Returns
    -------
    float
        In steps of a tenth.

    Raises
    ------
    CurveError
        If no level, however weak, is carried at both ends.
    """
    levels = highest - _ANCHOR_STEP * np.arange(round((highest - _WEAKEST_ANCHOR) / _ANCHOR_STEP) + 1)
    sizes = []
    for end, carrier in zip(
        np.asarray(ends_values, dtype=np.float64), (carriers[0], carriers[-1]), strict=True
    ):
        tilts = space.eta(np.tile(end, (len(levels), 1)), levels)
        sizes.append(carrier.effective_sample_size(torch.as_tensor(tilts)).numpy())
    carried = np.min(sizes, axis=0) >= frames
    if not carried.any():
        best = np.max(sizes, axis=1)
        raise CurveError(
            f"no anchor from log-SNR {highest:g} down to {_WEAKEST_ANCHOR:g} has {frames:g} effective frames at both "
            f"ends: the most are {best[0]:.0f} at A and {best[1]:.0f} at B; sample more about the end structures"
        )
    return float(levels[np.argmax(carried)])


def indistinct_ends(length: float, anchor_log_snr: float) -> str:
    """Return why two anchored states are one and the same, from the length of their geodesic.

    Parameters
    ----------
    length : float
        Of the geodesic between them.
    anchor_log_snr : float

    Returns
    -------
    str
        A sentence with the remedy; empty if they are two.
    """
    if length >= DISTINCT_LENGTH:
        return ""
    return (
        f"the ends are closer than the noise: the geodesic between them has length {length:.2g}, and below "
        f"{DISTINCT_LENGTH:g} the two anchored states are one; take features that tell A from B (`tps check` measures "
        f"them), or anchor more tightly than geodesic.anchor_log_snr = {anchor_log_snr:g}"
    )
