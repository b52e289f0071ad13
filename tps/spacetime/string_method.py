"""Minimum free-energy paths on the blurred density: the simplified string method with mean-shift steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from tps.spacetime.baselines import straight_line
from tps.spacetime.coordinates import SpacetimePoint, TorusSpacetime
from tps.spacetime.curve import SpacetimeCurve
from tps.spacetime.family import Family
from tps.spacetime.score import posterior_mean

#: Steps are halved when the force has not fallen by this factor for so many iterations.
_PROGRESS, _PATIENCE = 0.98, 20


@dataclass(frozen=True, eq=False)
class MinimumFreeEnergyPath:
    """A path along which the force of the blurred density is parallel to it.

    Parameters
    ----------
    curve : SpacetimeCurve
        At one log-SNR; images at equal distance.
    free_energy : Tensor (n_points,)
        -ln p_l, zero at the first point [kT]. On a torus p_l is the von Mises kernel estimate of the density.
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
    max_iterations: int = 5000,
) -> MinimumFreeEnergyPath:
    """Find a minimum free-energy path between two fixed ends on -ln p_l, that is on psi at fixed log-SNR.

    A step moves every image to its posterior mean, steepest descent by the noise's variance, which no curvature of
    ln p_l makes unstable; then images are spread evenly. On a torus images are angles, of unit stiffness e^l.

    Parameters
    ----------
    family : Family
    a, b : SpacetimePoint
        Whose centers (on a torus, angles) are the ends, which stay.
    log_snr : float
        Blur: features within e^(-l/2) are not told apart.
    start : SpacetimeCurve, optional
        The straight line, on a torus the short way, unless given.
    n_points : int
    tolerance : float
        Largest perpendicular force to stop at [kT per width of the blur].
    max_iterations : int

    Returns
    -------
    MinimumFreeEnergyPath

    References
    ----------
    E, Ren and Vanden-Eijnden, J. Chem. Phys. 126, 164103 (2007); Comaniciu and Meer, IEEE TPAMI 24, 603 (2002).
    """
    ends = [SpacetimePoint(p.center, log_snr) for p in (a, b)]
    line = straight_line(family, *ends, n_points=n_points) if start is None else start
    torus = family.spacetime if isinstance(family.spacetime, TorusSpacetime) else None
    levels = torch.full((n_points,), log_snr, dtype=torch.float64)
    stiffness = torch.tensor(log_snr, dtype=torch.float64).exp()
    x = line.center if torus is None else torch.from_numpy(np.unwrap(torus.angles(line.eta).numpy(), axis=0))
    x, tangent = _spread(x, n_points)
    force, least, n_iterations, since, fraction = math.inf, math.inf, 0, 0, 1.0

    def centers(images: Tensor) -> Tensor:
        return images if torus is None else torus.eta_from_angles(images, torch.ones_like(images))

    def shift(images: Tensor) -> Tensor:
        """Steepest-descent step: the negative free-energy gradient over the stiffness."""
        with torch.no_grad():
            mean = posterior_mean(family, centers(images), levels)
        if torus is None:
            return mean - images
        pairs = mean.unflatten(-1, (torus.n_torsions, 2))
        return images.cos() * pairs[..., 1] - images.sin() * pairs[..., 0]

    while n_iterations < max_iterations:
        n_iterations += 1
        step = shift(x)
        across = step - (step * tangent).sum(1, keepdim=True) * tangent
        across[0], across[-1] = 0, 0
        force = float(across.norm(dim=1).max() * stiffness.sqrt())
        if force <= tolerance:
            break
        # full steps move images along the path too, off the curve by the square of the step: shorten when that shows
        since = 0 if force < _PROGRESS * least else since + 1
        least = min(least, force)
        if since > _PATIENCE:
            fraction, since = fraction / 2, 0
        moved = x + fraction * step
        moved[0], moved[-1] = x[0], x[-1]
        x, tangent = _spread(moved, n_points)
    center = centers(x)
    curve = SpacetimeCurve.from_eta(family, family.spacetime.eta(center, levels))
    status = "converged"
    if force > tolerance:
        status = f"stopped after {n_iterations} iterations at a perpendicular force of {force:.2g} kT per blur width"
    return MinimumFreeEnergyPath(curve, _free_energy(curve, center, stiffness), status, force, n_iterations)


def _free_energy(curve: SpacetimeCurve, center: Tensor, stiffness: Tensor) -> Tensor:
    """-ln p_l along a curve at one log-SNR, from psi, or by integrating the score along it."""
    if curve.psi is not None:
        value = 0.5 * stiffness * center.square().sum(1) - curve.psi
    else:
        force = stiffness * (curve.mu[:, : center.shape[1]] - center)
        steps = -(0.5 * (force[1:] + force[:-1]) * center.diff(dim=0)).sum(1)
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
