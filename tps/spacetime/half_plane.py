"""Isotropic Gaussian data: spacetime is a strip of the hyperbolic half-plane, with lengths in closed form.

A posterior N(m, v I) in R^D has the metric |dm|**2 / v + D/2 dv**2 / v**2, which is 2 D times the half-plane's in
(m, y) with y = sqrt(2 D v). No posterior is wider than the data, so y stays below sqrt(2 D variance).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tps.errors import CurveError, ParameterError
from tps.spacetime.curve import SpacetimeCurve
from tps.spacetime.mixture import GaussianFamily
from tps.spacetime.points import SpacetimePoint


def posterior(family: GaussianFamily, point: SpacetimePoint) -> tuple[Tensor, float]:
    """Return the mean (n_features,) and the variance of one feature of p(x | point).

    Raises
    ------
    ParameterError
        If the data's variance is not the same for all features.
    """
    variance = _isotropic(family)
    precision = 1 / variance + math.exp(point.log_snr)
    mean = (family.mean / variance + math.exp(point.log_snr) * point.center) / precision
    return mean, 1 / precision


def half_plane_distance(family: GaussianFamily, a: SpacetimePoint, b: SpacetimePoint) -> float:
    """Return the exact length of the geodesic between two points of a Gaussian family that stays in spacetime.

    Where the half-plane's geodesic would need posteriors wider than the data, the shortest curve inside the strip
    touches its edge: an arc up to it, a run along it at no signal at all, and an arc down.

    Parameters
    ----------
    family : GaussianFamily
        With one variance for all features.
    a, b : SpacetimePoint

    Returns
    -------
    float
        sqrt(2 D) arccosh(1 + (dm**2 + dy**2) / (2 y_a y_b)), or with the edge at Y
        sqrt(2 D) (arccosh(Y / y_a) + arccosh(Y / y_b) + (dm - sqrt(Y**2 - y_a**2) - sqrt(Y**2 - y_b**2)) / Y).

    Raises
    ------
    ParameterError
        If the data's variance is not the same for all features.
    """
    distance, y_a, y_b, edge = _half_plane(family, a, b)
    scale = math.sqrt(2 * family.spacetime.n_features)
    if _leaves_strip(distance, y_a, y_b, edge):
        run = distance - math.sqrt(edge**2 - y_a**2) - math.sqrt(edge**2 - y_b**2)
        return scale * (math.acosh(edge / y_a) + math.acosh(edge / y_b) + run / edge)
    return scale * math.acosh(1 + (distance**2 + (y_a - y_b) ** 2) / (2 * y_a * y_b))


def leaves_strip(family: GaussianFamily, a: SpacetimePoint, b: SpacetimePoint) -> bool:
    """Return whether the half-plane's geodesic from a to b passes posteriors wider than the data."""
    return _leaves_strip(*_half_plane(family, a, b))


def half_plane_geodesic(
    family: GaussianFamily, a: SpacetimePoint, b: SpacetimePoint, *, n_points: int = 64
) -> SpacetimeCurve:
    """Return the exact geodesic between two points of a Gaussian family, at equal steps.

    Parameters
    ----------
    family : GaussianFamily
    a, b : SpacetimePoint
        With different posterior means.
    n_points : int

    Returns
    -------
    SpacetimeCurve
        The circle m = m_0 + R tanh t, y = R / cosh t, at equal steps of t.

    Raises
    ------
    CurveError
        If the geodesic leaves spacetime, or the two means are equal.
    """
    distance, y_a, y_b, edge = _half_plane(family, a, b)
    if distance == 0 or _leaves_strip(distance, y_a, y_b, edge):
        raise CurveError(
            "the half-plane's geodesic is a circle inside the strip only where the means differ and no posterior is "
            f"wider than the data, but here the means are {distance:.3g} apart and the top would be at "
            f"{_radius(distance, y_a, y_b) / edge:.3g} of the edge; use find_geodesic"
        )
    foot = (distance**2 + y_b**2 - y_a**2) / (2 * distance)
    radius = _radius(distance, y_a, y_b)
    # along the circle, m = foot + radius tanh(t) and y = radius / cosh(t) at hyperbolic speed 1
    t_a, t_b = math.atanh(-foot / radius), math.atanh((distance - foot) / radius)
    t = torch.linspace(t_a, t_b, n_points, dtype=torch.float64)
    mean_a, mean_b = posterior(family, a)[0], posterior(family, b)[0]
    mean = mean_a + ((foot + radius * t.tanh()) / distance)[:, None] * (mean_b - mean_a)
    precision = 2 * family.spacetime.n_features * t.cosh().square() / radius**2
    prior = 1 / _isotropic(family)
    eta = torch.cat(
        [precision[:, None] * mean - prior * family.mean, 0.5 * (prior - precision)[:, None]], dim=1
    )
    return SpacetimeCurve.from_eta(family, eta)


def _isotropic(family: GaussianFamily) -> float:
    low, high = float(family.variance.min()), float(family.variance.max())
    if high - low > 1e-12 * high:
        raise ParameterError(
            f"the half-plane needs one variance for all features, but got {low:g} to {high:g}; use find_geodesic"
        )
    return low


def _half_plane(
    family: GaussianFamily, a: SpacetimePoint, b: SpacetimePoint
) -> tuple[float, float, float, float]:
    """Return the distance of the means, y of both points, and the strip's edge."""
    (mean_a, variance_a), (mean_b, variance_b) = posterior(family, a), posterior(family, b)
    scale = 2 * family.spacetime.n_features
    distance, edge = float((mean_a - mean_b).norm()), math.sqrt(scale * _isotropic(family))
    return distance, math.sqrt(scale * variance_a), math.sqrt(scale * variance_b), edge


def _radius(distance: float, y_a: float, y_b: float) -> float:
    if distance == 0:
        return math.inf
    return math.hypot((distance**2 + y_b**2 - y_a**2) / (2 * distance), y_a)


def _leaves_strip(distance: float, y_a: float, y_b: float, edge: float) -> bool:
    if distance == 0:
        return False
    foot = (distance**2 + y_b**2 - y_a**2) / (2 * distance)
    return 0 < foot < distance and _radius(distance, y_a, y_b) > edge
