"""What every geodesic is compared with: straight lines, at constant stiffness or with a given log-SNR profile."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tps.errors import CurveError
from tps.spacetime.curve import SpacetimeCurve
from tps.spacetime.family import Family
from tps.spacetime.points import SpacetimePoint


def straight_line(
    family: Family,
    a: SpacetimePoint,
    b: SpacetimePoint,
    *,
    n_points: int = 64,
    log_snr: Tensor | None = None,
    windings: Sequence[int] | None = None,
) -> SpacetimeCurve:
    """Return the straight line from a to b: what steered dynamics would do.

    Parameters
    ----------
    family : Family
    a, b : SpacetimePoint
    n_points : int
        Ignored when a profile is given.
    log_snr : Tensor (n_points,), optional
        Profile, for instance a geodesic's. Linear between the ends unless given, so constant where they
        agree.
    windings : sequence of int (n_circles,), optional
        Full turns added to the short way, per angle; none unless given. Those of a curve to compare with:
        `winding_numbers`.

    Returns
    -------
    SpacetimeCurve
        The center moves linearly in s; of angles, the angles do, and they keep their stiffness relative to log_snr
        (interpolated geometrically where the ends differ).

    Raises
    ------
    CurveError
        If the profile is not a vector of finite numbers, or there is not one whole number per angle.
    """
    spacetime = family.spacetime
    if log_snr is None:
        s = torch.linspace(0, 1, n_points, dtype=torch.float64)
        profile = (1 - s) * a.log_snr + s * b.log_snr
    else:
        profile = torch.as_tensor(log_snr, dtype=torch.float64)
        if profile.ndim != 1 or len(profile) < 2 or not bool(torch.isfinite(profile).all()):
            raise CurveError(
                f"a log-SNR profile needs at least two finite numbers, but got {tuple(profile.shape)}"
            )
        s = torch.linspace(0, 1, len(profile), dtype=torch.float64)
    center = spacetime.line_center(a, b, len(s), (0,) * spacetime.n_circles if windings is None else windings)
    return SpacetimeCurve.from_eta(family, spacetime.eta(center, profile), s)
