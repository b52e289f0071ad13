"""What to make of a model that is no true family: how it shows, how much of a curve it spoils, and where to start."""

from __future__ import annotations

import torch
from torch import Tensor

from tps.spacetime.curve import SpacetimeCurve, squared_chords
from tps.spacetime.family import Family, fisher_metric
from tps.spacetime.points import Spacetime, SpacetimePoint
from tps.spacetime.starts import chart_line, winding_line

#: Round-off leaves 1e-6 of a true family in single precision; networks trained by score matching have 0.03 and more.
_LARGEST_ASYMMETRY = 1e-3
#: How far, in units of log-SNR, the starts for doubtful models dip between their ends.
_DIPS = (1.0, 2.0, 3.0, 4.0, 6.0)


def asymmetry_of(metric: Tensor) -> Tensor:
    """Return |G - G'| / |G + G'| (Frobenius) of metrics (n, K, K): (n,), 0 for a true family."""
    return (metric - metric.mT).norm(dim=(1, 2)) / (metric + metric.mT).norm(dim=(1, 2)).clamp_min(1e-300)


def is_symmetric(family: Family, eta: Tensor) -> bool:
    """Return whether d mu / d eta at eta (n, K) is that of a true family: always where mu is the gradient of psi."""
    return family.has_psi or bool((asymmetry_of(fisher_metric(family, eta)) <= _LARGEST_ASYMMETRY).all())


def doubtful_share(family: Family, curve: SpacetimeCurve) -> float:
    """Return the share of a curve's length on chords that the model's own error could have made.

    The antisymmetric part of the Jacobian is nothing but error, and what there is of error in the symmetric part is
    taken to be as large: a chord is doubtful where it is negative, or below |d eta|' |G - G'|/2 |d eta|.

    Parameters
    ----------
    family : Family
    curve : SpacetimeCurve

    Returns
    -------
    float
        Of the lengths sqrt(sum of max(0, d eta_i d mu_i)); 0 for a true family.
    """
    step, chords = curve.eta.diff(dim=0), squared_chords(curve)
    metric = fisher_metric(family, (curve.eta[1:] + curve.eta[:-1]) / 2)
    error = torch.einsum("ni,nij,nj->n", step.abs(), (metric - metric.mT).abs() / 2, step.abs())
    round_off = 1e-12 * (1e-3 + step.norm(dim=1) * curve.mu.norm(dim=1).max())
    length = (step * curve.mu.diff(dim=0)).clamp_min(0).sum(1).sqrt()
    doubtful = (chords < -round_off) | (chords < error - round_off)
    return float(length[doubtful].sum() / length.sum().clamp_min(1e-300))


def dipping_lines(spacetime: Spacetime, a: SpacetimePoint, b: SpacetimePoint, n_points: int) -> list[Tensor]:
    """Return starts (n_points, K) that let go of the data to different degrees between two points.

    A model's errors make local minima of the energy, so one start is not enough.
    """
    line = winding_line(spacetime, a, b, n_points, [0] * spacetime.n_circles)
    s = torch.linspace(0, 1, n_points, dtype=torch.float64)[:, None]
    dips = [line * (-4 * dip * s * (1 - s)).exp() for dip in _DIPS]
    return [chart_line(spacetime, a, b, n_points), *dips]
