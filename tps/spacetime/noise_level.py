"""Positions at one noise level: centers of Euclidean features, angles of torsions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tps.errors import CurveError
from tps.spacetime.coordinates import SpacetimePoint, TorusSpacetime, eta_of
from tps.spacetime.curve import SpacetimeCurve
from tps.spacetime.family import Family
from tps.spacetime.score import posterior_mean
from tps.spacetime.starts import wrap_angle

#: How far a start may miss the end points, relative to its own length.
_LARGEST_GAP = 0.05


@dataclass(frozen=True, eq=False)
class NoiseLevel:
    """The density of the data blurred at one log-SNR, in coordinates without constraints.

    On a torus positions are angles, unwrapped, and every torsion has the stiffness e^l, so that no curve leaves the
    torus and none changes how often it winds.

    Parameters
    ----------
    family : Family
    log_snr : float
    """

    family: Family
    log_snr: float

    def eta(self, positions: Tensor) -> Tensor:
        """Map positions (n, d) to natural parameters (n, K)."""
        spacetime = self.family.spacetime
        if isinstance(spacetime, TorusSpacetime):
            return spacetime.eta_from_angles(positions, torch.full_like(positions, math.exp(self.log_snr)))
        return spacetime.eta(positions, self._levels(positions))

    def score(self, positions: Tensor) -> Tensor:
        """Map positions (n, d) to the gradient of ln p_l there (n, d), Tweedie's formula; differentiable."""
        spacetime, stiffness = self.family.spacetime, math.exp(self.log_snr)
        if isinstance(spacetime, TorusSpacetime):
            mean = self.family.mu(self.eta(positions)).unflatten(-1, (spacetime.n_torsions, 2))
            return stiffness * (positions.cos() * mean[..., 1] - positions.sin() * mean[..., 0])
        return stiffness * (posterior_mean(self.family, positions, self._levels(positions)) - positions)

    def curve(self, positions: Tensor) -> SpacetimeCurve:
        """Return the spacetime curve through positions (n, d)."""
        return SpacetimeCurve.from_eta(self.family, self.eta(positions))

    def line(
        self, a: SpacetimePoint, b: SpacetimePoint, n_points: int, start: SpacetimeCurve | None = None
    ) -> Tensor:
        """Return positions (n_points, d) from a to b.

        Parameters
        ----------
        a, b : SpacetimePoint
            Only their centers count, on a torus only their angles.
        n_points : int
        start : SpacetimeCurve, optional
            Whose centers are taken, on a torus with its windings. The straight line, on a torus the short way,
            unless given.

        Raises
        ------
        CurveError
            If the start does not lead from a to b, or passes points of no signal, which have no center.
        """
        ends = torch.stack([eta_of(self.family.spacetime, p) for p in (a, b)])
        if start is None:
            given = self._positions(ends)
        else:
            given = self._positions(start.eta)
            if not bool(torch.isfinite(given).all()):
                raise CurveError(
                    "a start needs a positive signal at all points; add a LogSnrFloor to its solver"
                )
        place = torch.linspace(0, len(given) - 1, n_points, dtype=torch.float64)
        low = place.floor().long().clamp_max(len(given) - 2)
        line = torch.lerp(given[low], given[low + 1], (place - low)[:, None])
        gap = self._difference(line[[0, -1]], self._positions(ends))
        reach = float(given.diff(dim=0).norm(dim=1).sum())
        if float(gap.norm(dim=1).max()) > _LARGEST_GAP * reach:
            raise CurveError(
                f"the start misses the end points by {float(gap.norm(dim=1).max()):.3g} over a length of {reach:.3g}; "
                "start it at A and end it at B"
            )
        line[[0, -1]] += gap
        return line

    def _levels(self, positions: Tensor) -> Tensor:
        return torch.full((len(positions),), self.log_snr, dtype=positions.dtype)

    def _positions(self, eta: Tensor) -> Tensor:
        spacetime = self.family.spacetime
        if isinstance(spacetime, TorusSpacetime):
            return torch.from_numpy(np.unwrap(spacetime.angles(eta).numpy(), axis=0))
        return spacetime.split(eta)[0]

    def _difference(self, start: Tensor, end: Tensor) -> Tensor:
        change = end - start
        return wrap_angle(change) if isinstance(self.family.spacetime, TorusSpacetime) else change
