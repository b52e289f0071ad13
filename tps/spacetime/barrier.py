"""The free energy along a curve where its tilts are tight enough to mean places, and the barrier on it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tps.diffusion.posterior import tilted_weights
from tps.errors import ParameterError
from tps.spacetime.curve import SpacetimeCurve
from tps.spacetime.empirical import EmpiricalFamily
from tps.spacetime.family import Family
from tps.spacetime.information import integrated_psi
from tps.spacetime.points import Spacetime

#: A tilt that alone would spread an angle by more than this is weak: its center says little.
WEAK_SPREAD_DEGREE = 30.0
#: From so many widths on two Gaussians are two: 5 % of each lies beyond the middle between them at 3.3 widths.
_DISTINCT_WIDTHS = 4.0
_N_BLOCKS = 10


@dataclass(frozen=True)
class Barrier:
    """The highest free energy along a curve, above its two ends [kT].

    Parameters
    ----------
    above_a, above_b : float
        F at its highest point, less F at the first and at the last one.
    error_a, error_b : float or None
        Their standard errors; None where no frames were given.
    index : int
        Of the highest point.
    """

    above_a: float
    above_b: float
    error_a: float | None
    error_b: float | None
    index: int


@dataclass(frozen=True, eq=False)
class FreeEnergyProfile:
    """F = -[psi - psi_flat] along a curve [kT], above its first point: that of p0, smoothed by the tilts.

    Parameters
    ----------
    values : Tensor (n_points,)
    means_place : Tensor (n_points,) of bool
        Where the tilt is tight enough for F to be that of a place: see `means_place`.
    deviations : Tensor (n_blocks, n_points) or None
        By how much each block of frames moves their own F.
    gap : Tensor (n_points,) or None
        F of the family less F of the frames, zero at the first point.
    """

    values: Tensor
    means_place: Tensor
    deviations: Tensor | None = None
    gap: Tensor | None = None

    def error(self, reference: int = 0) -> Tensor | None:
        """Standard error (n_points,) above a point: scatter of the blocks, and what the frames say otherwise."""
        if self.deviations is None or self.gap is None:
            return None
        n = len(self.deviations)
        moved = self.deviations - self.deviations[:, [reference]]
        variance = n / (n - 1) * moved.square().sum(0)
        return (variance + (self.gap - self.gap[reference]).square()).sqrt()

    @property
    def barrier(self) -> Barrier | None:
        """The barrier; None where the tilt is too weak to mean a place somewhere on the way."""
        if not bool(self.means_place.all()):
            return None
        top = int(self.values.argmax())
        above_a, above_b = (float(self.values[top] - self.values[end]) for end in (0, -1))
        error_a, error_b = (None if e is None else float(e[top]) for e in (self.error(0), self.error(-1)))
        return Barrier(above_a, above_b, error_a, error_b, top)

    @property
    def loose(self) -> tuple[int, int] | None:
        """First and last point whose tilt is too weak to mean a place; None where there is none."""
        weak = torch.nonzero(~self.means_place)[:, 0].tolist()
        return (weak[0], weak[-1]) if weak else None


def free_energy_profile(
    curve: SpacetimeCurve, frames: EmpiricalFamily | None = None, blocks: Tensor | None = None
) -> FreeEnergyProfile:
    """Return the free energy along a curve, with its error from weighted frames.

    Parameters
    ----------
    curve : SpacetimeCurve
        psi is integrated along it where its family does not know it.
    frames : EmpiricalFamily, optional
        Without them there is no error.
    blocks : Tensor (n_frames,) of int, optional
        To which block each frame belongs, of two or more that are independent of each other; ten runs of consecutive
        frames unless given. For the points of a grid: interleaved ones, whose differences bound its error.

    Returns
    -------
    FreeEnergyProfile

    Raises
    ------
    ParameterError
        If there are fewer than two blocks.
    """
    psi = integrated_psi(curve.eta, curve.mu) if curve.psi is None else curve.psi
    flat = curve.spacetime.flat_psi(curve.eta)
    values = (flat - psi) - (flat - psi)[0]
    tight = means_place(curve.spacetime, curve.eta, curve.eta[[0, -1]])
    if frames is None:
        return FreeEnergyProfile(values, tight)
    seen = flat - frames.psi(curve.eta)
    gap = values - (seen - seen[0])
    return FreeEnergyProfile(values, tight, _deviations(frames, curve.eta, blocks), gap)


def tethered_free_energy(family: Family, eta: Tensor) -> Tensor:
    """Return F = -[psi - psi_flat] of tilts [kT]: the free energy of what they hold, without the tether's own.

    For tight tilts -ln of p0 smoothed by the tilt: by a von Mises density on circles, by a Gaussian on lines.

    Parameters
    ----------
    family : Family
        One that knows psi.
    eta : Tensor (n, K)

    Returns
    -------
    Tensor (n,)
        Differentiable; on lines up to a constant.
    """
    return family.spacetime.flat_psi(eta) - family.psi(eta)


def free_energies(family: Family, eta: Tensor, mu: Tensor) -> Tensor:
    """Return F along curves (b, N), above its first point where psi has to be integrated, with its exact gradient.

    Parameters
    ----------
    family : Family
    eta, mu : Tensor (b, N, K)
        mu is the gradient of psi: nothing is sent back through it.

    Returns
    -------
    Tensor (b, N)
    """
    still, slope = eta.detach(), mu.detach()
    if family.has_psi:
        with torch.no_grad():
            psi = family.psi(still.flatten(0, 1)).unflatten(0, eta.shape[:2])
    else:
        psi = torch.stack([integrated_psi(e, m) for e, m in zip(still, slope, strict=True)])
    return family.spacetime.flat_psi(eta) - psi - (slope * (eta - still)).sum(-1)


def means_place(spacetime: Spacetime, eta: Tensor, ends: Tensor) -> Tensor:
    """Return where a tilt is tight enough to mean a place.

    No angle may be spread by more than 30 degrees by its tilt alone, and two tilts of this strength at the places of
    both ends must lie at least four of their widths apart.

    Parameters
    ----------
    spacetime : Spacetime
    eta : Tensor (n, K)
    ends : Tensor (2, K)
        Natural parameters of both ends.

    Returns
    -------
    Tensor (n,) of bool
    """
    precision, circles = spacetime.precision(eta), spacetime.n_circles
    apart = spacetime.nearest(spacetime.positions(ends).diff(dim=0))[0]
    apart = torch.cat([2 * (apart[:circles] / 2).sin(), apart[circles:]])
    distinct = precision @ apart.square() >= _DISTINCT_WIDTHS**2
    weak = precision[:, :circles] < math.radians(WEAK_SPREAD_DEGREE) ** -2
    return distinct & ~weak.any(dim=1)


def _deviations(frames: EmpiricalFamily, eta: Tensor, blocks: Tensor | None) -> Tensor:
    """Return S_k / S - its mean (n_blocks, n): first-order changes of ln S, S = sum_i w_i e^(eta . T_i), by blocks."""
    if blocks is None:
        blocks = torch.arange(frames.n_frames) * _N_BLOCKS // frames.n_frames
    labels = torch.unique(blocks, return_inverse=True)[1]
    n = int(labels.max()) + 1
    if n < 2:
        raise ParameterError("the error of a free energy needs frames in two blocks or more, but got one")
    member = torch.nn.functional.one_hot(labels, n).to(torch.float64)
    shares = torch.empty(n, len(eta), dtype=torch.float64)
    for rows, weights, _ in tilted_weights(eta, frames.statistics, frames.log_weights):
        shares[:, rows] = (weights @ member).T / weights.sum(1)
    return shares
