"""Minimum free-energy paths on the blurred density: the simplified string method with steps of a mean shift."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from tps.spacetime.curve import SpacetimeCurve
from tps.spacetime.family import Family
from tps.spacetime.noise_level import NoiseLevel
from tps.spacetime.points import SpacetimePoint

#: Steps are halved when the path moves across itself by less than this fraction of what the force asks for.
_STALLED = 0.2


@dataclass(frozen=True, eq=False)
class MinimumFreeEnergyPath:
    """A path along which the force of the blurred density is parallel to it.

    Parameters
    ----------
    curve : SpacetimeCurve
        At one log-SNR; images at equal distance.
    free_energy : Tensor (n_points,)
        -ln p_l, zero at the first point [kT]. Of angles p_l is the von Mises kernel estimate of the density.
    status : str
        "converged", or why not.
    largest_force : float
        Largest perpendicular force times the width of the blur, e^(-l/2) [kT].
    n_iterations : int
    """

    curve: SpacetimeCurve
    free_energy: Tensor
    status: str
    largest_force: float
    n_iterations: int

    @property
    def converged(self) -> bool:
        """Whether the status is "converged"."""
        return self.status == "converged"


def minimum_free_energy_path(
    family: Family,
    a: SpacetimePoint,
    b: SpacetimePoint,
    *,
    log_snr: float,
    start: SpacetimeCurve | None = None,
    n_points: int = 64,
    tolerance: float = 1e-3,
    max_iterations: int = 1000,
) -> MinimumFreeEnergyPath:
    """Find a minimum free-energy path between two fixed ends on -ln p_l, that is on psi at fixed log-SNR.

    A step carries every image down the free energy for as long as the mean shift to its posterior mean would, a time of
    the noise's variance, at which no curvature of ln p_l is unstable; then images are spread evenly. Angles have
    the stiffness e^l.

    Parameters
    ----------
    family : Family
    a, b : SpacetimePoint
        Whose centers (of angles, where they point) are the ends, which stay.
    log_snr : float
        Blur: features within e^(-l/2) are not told apart.
    start : SpacetimeCurve, optional
        Its centers are taken, and its windings stay. The straight line, angles the short way, unless given.
    n_points : int
    tolerance : float
        Largest perpendicular force to stop at [kT per width of the blur].
    max_iterations : int

    Returns
    -------
    MinimumFreeEnergyPath

    Raises
    ------
    CurveError
        If the start does not lead from a to b.

    References
    ----------
    E, Ren and Vanden-Eijnden, J. Chem. Phys. 126, 164103 (2007); Comaniciu and Meer, IEEE TPAMI 24, 603 (2002).
    """
    level, width = NoiseLevel(family, log_snr), math.exp(-log_snr / 2)
    x, tangent = _spread(level.line(a, b, n_points, start), n_points)
    force, n_iterations, time = math.inf, 0, 1.0

    def slope(images: Tensor) -> Tensor:
        with torch.no_grad():
            return width**2 * level.score(images)

    while n_iterations < max_iterations:
        n_iterations += 1
        downhill = slope(x)
        force = float(_across(downhill, tangent).norm(dim=1).max()) / width
        if force <= tolerance:
            break
        moved = x + _flow(slope, x, downhill, time)
        moved[0], moved[-1] = x[0], x[-1]
        images, new_tangent = _spread(moved, n_points)
        # steps along a bent path leave it a little: where that balances the force, only shorter steps get further
        if float(_across(images - x, tangent).norm(dim=1).max()) < _STALLED * time * force * width:
            time /= 2
        x, tangent = images, new_tangent
    curve = level.curve(x)
    status = "converged"
    if force > tolerance:
        status = f"stopped after {n_iterations} iterations at a perpendicular force of {force:.2g} kT per blur width"
    return MinimumFreeEnergyPath(curve, _free_energy(level, curve, x), status, force, n_iterations)


def _flow(slope: Callable[[Tensor], Tensor], x: Tensor, first: Tensor, time: float) -> Tensor:
    """Return how far x (n, d) is carried by dx/dt = slope(x): one classical Runge-Kutta step; first is slope(x)."""
    second = slope(x + time / 2 * first)
    third = slope(x + time / 2 * second)
    fourth = slope(x + time * third)
    return time / 6 * (first + 2 * second + 2 * third + fourth)


def _across(step: Tensor, tangent: Tensor) -> Tensor:
    """Return the part of steps (n, d) across the path, zero at its ends."""
    across = step - (step * tangent).sum(1, keepdim=True) * tangent
    across[0], across[-1] = 0, 0
    return across


def _free_energy(level: NoiseLevel, curve: SpacetimeCurve, x: Tensor) -> Tensor:
    """-ln p_l along a curve at one log-SNR, from psi, or by integrating the score along it."""
    if curve.psi is not None:
        # of angles |center|**2 is constant
        value = 0.5 * math.exp(level.log_snr) * curve.center.square().sum(1) - curve.psi
    else:
        with torch.no_grad():
            force = level.score(x)
        steps = -(0.5 * (force[1:] + force[:-1]) * x.diff(dim=0)).sum(1)
        value = torch.cat([torch.zeros(1, dtype=torch.float64), steps.cumsum(0)])
    return value - value[0]


def _spread(x: Tensor, n_points: int) -> tuple[Tensor, Tensor]:
    """Return images (n_points, d) at equal distance along a spline through x (n, d), and its unit tangents there."""
    points = x.numpy()
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1) + 1e-15)])
    spline = CubicSpline(arc, points)
    where = np.linspace(0.0, arc[-1], n_points)
    tangent = torch.from_numpy(spline(where, 1))
    return torch.from_numpy(spline(where)), tangent / tangent.norm(dim=1, keepdim=True).clamp_min(1e-12)
