"""One noise level: positions in it (centers of features on lines, angles themselves), and what its noise remembers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tps.errors import CurveError
from tps.spacetime.curve import SpacetimeCurve
from tps.spacetime.family import Family, fisher_metric, row_jacobian
from tps.spacetime.points import SpacetimePoint, eta_of

#: How far a start may miss the end points, relative to its own length.
_LARGEST_GAP = 0.05


@dataclass(frozen=True, eq=False)
class NoiseLevel:
    """The density of the data blurred at one log-SNR, in coordinates without constraints.

    Angles are unwrapped and have the stiffness e^l all of them, so that no curve leaves their circles and none changes
    how often it winds.

    Parameters
    ----------
    family : Family
    log_snr : float
    """

    family: Family
    log_snr: float

    @property
    def groups(self) -> tuple[slice, ...]:
        """Angles, and features on lines."""
        circles, d = self.family.spacetime.n_circles, self.n_positions
        return tuple(slice(*ends) for ends in ((0, circles), (circles, d)) if ends[0] < ends[1])

    @property
    def n_positions(self) -> int:
        """Number d of positions: a circle has two features and one of them."""
        return self.family.spacetime.n_features - self.family.spacetime.n_circles

    def to_chart(self, eta: Tensor) -> Tensor:
        """Map the natural parameters of a curve (n, K) to positions (n, d)."""
        return self.family.spacetime.positions(eta)

    def from_chart(self, chart: Tensor) -> Tensor:
        """Map positions (n, d) to natural parameters (n, K)."""
        return self.eta(chart)

    def holds(self, eta: Tensor) -> bool:
        """Whether natural parameters (n, K) are of this level."""
        return bool(torch.allclose(self.eta(self.to_chart(eta)), eta, rtol=1e-6, atol=1e-6))

    def eta(self, positions: Tensor) -> Tensor:
        """Map positions (n, d) to natural parameters (n, K)."""
        return self.family.spacetime.tilt(positions, self.log_snr)

    def score(self, positions: Tensor) -> Tensor:
        """Map positions (n, d) to the gradient of ln p_l there (n, d), Tweedie's formula; differentiable."""
        mu = self.family.mu(self.eta(positions))
        return self.family.spacetime.blurred_score(positions, self.log_snr, mu)

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
            Only their centers count, and of angles only where they point.
        n_points : int
        start : SpacetimeCurve, optional
            Whose centers are taken, with its windings. The straight line, angles the short way, unless given.

        Raises
        ------
        CurveError
            If the start does not lead from a to b, or passes points of no signal, which have no center.
        """
        spacetime = self.family.spacetime
        ends = torch.stack([eta_of(spacetime, p) for p in (a, b)])
        if start is None:
            given = spacetime.positions(ends)
        else:
            given = spacetime.positions(start.eta)
            if not bool(torch.isfinite(given).all()):
                raise CurveError(
                    "a start needs a positive signal at all points; add a LogSnrFloor to its solver"
                )
        place = torch.linspace(0, len(given) - 1, n_points, dtype=torch.float64)
        low = place.floor().long().clamp_max(len(given) - 2)
        line = torch.lerp(given[low], given[low + 1], (place - low)[:, None])
        gap = spacetime.nearest(spacetime.positions(ends) - line[[0, -1]])
        reach = float(given.diff(dim=0).norm(dim=1).sum())
        if float(gap.norm(dim=1).max()) > _LARGEST_GAP * reach:
            raise CurveError(
                f"the start misses the end points by {float(gap.norm(dim=1).max()):.3g} over a length of {reach:.3g}; "
                "start it at A and end it at B"
            )
        line[[0, -1]] += gap
        return line


def noise_metric(family: Family, x: Tensor, log_snr: float) -> Tensor:
    """Return the Fisher-Rao metric of noisy observations alone, at one noise level.

    The metric of p(f | x) in x = alpha f + sigma noise, alpha**2 + sigma**2 = 1: (alpha / sigma**2)**2 Cov[f | x].
    Noise forgets the data: as log_snr falls the metric vanishes like e^log_snr Cov[f], relative errors of the order of
    e^(log_snr / 2), whatever x. So the deepest level alone has no geometry, and spacetime is needed.

    Parameters
    ----------
    family : Family
    x : Tensor (n, n_features)
        Of standard scale where the data have no signal left.
    log_snr : float

    Returns
    -------
    Tensor (n, n_features, n_features)

    References
    ----------
    Karczewski et al., ICLR 2026, Section 3.
    """
    levels = torch.full((len(x),), log_snr, dtype=torch.float64)
    alpha = torch.sigmoid(levels)[:, None].sqrt()
    x = x.detach().to(torch.float64)
    slope = row_jacobian(lambda point: family.spacetime.eta(point / alpha, levels), x)
    return slope.mT @ fisher_metric(family, family.spacetime.eta(x / alpha, levels)) @ slope
