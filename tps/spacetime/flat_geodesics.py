"""The two flat connections: curves straight in eta and curves straight in mu, whose lengths bound the geodesic's."""

from __future__ import annotations

import torch

from tps.errors import CurveError
from tps.spacetime.curve import SpacetimeCurve
from tps.spacetime.family import Family
from tps.spacetime.information import natural_from_expectation
from tps.spacetime.points import SpacetimePoint, eta_of


def e_geodesic(family: Family, a: SpacetimePoint, b: SpacetimePoint, *, n_points: int = 64) -> SpacetimeCurve:
    """Return the curve straight in eta: geometric interpolation of the two posteriors.

    Parameters
    ----------
    family : Family
    a, b : SpacetimePoint
    n_points : int

    Returns
    -------
    SpacetimeCurve
        At equal steps of eta.

    References
    ----------
    Amari, Information Geometry and Its Applications (2016), Section 2.4.
    """
    ends = [eta_of(family.spacetime, p) for p in (a, b)]
    s = torch.linspace(0, 1, n_points, dtype=torch.float64)[:, None]
    return SpacetimeCurve.from_eta(family, (1 - s) * ends[0] + s * ends[1])


def m_geodesic(family: Family, a: SpacetimePoint, b: SpacetimePoint, *, n_points: int = 64) -> SpacetimeCurve:
    """Return the curve straight in mu: the expectations of a mixture of the two posteriors.

    Parameters
    ----------
    family : Family
    a, b : SpacetimePoint
    n_points : int

    Returns
    -------
    SpacetimeCurve
        At equal steps of mu.

    Raises
    ------
    CurveError
        If the curve leaves spacetime: the mixture is wider than any posterior, or no eta is found.

    References
    ----------
    Amari, Information Geometry and Its Applications (2016), Section 2.4.
    """
    ends = torch.stack([eta_of(family.spacetime, p) for p in (a, b)])
    with torch.no_grad():
        mu = family.mu(ends)
    s = torch.linspace(0, 1, n_points, dtype=torch.float64)[:, None]
    eta = torch.lerp(ends[0], ends[1], s)
    eta[1:-1] = natural_from_expectation(family, torch.lerp(mu[0], mu[1], s)[1:-1], eta[1:-1])
    inside = family.spacetime.inside(eta)
    if not bool(inside.all()):
        first = float(s[int((~inside).nonzero()[0])])
        raise CurveError(
            f"the m-geodesic leaves spacetime at s = {first:.2f}, where the mixture of the two ends is wider than any "
            "posterior: bring the end points closer together or lower their log_snr"
        )
    return SpacetimeCurve.from_eta(family, eta)
