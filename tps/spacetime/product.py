"""The spacetime of angles and features on lines together, and which spacetime a space of features has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tps.features import FeatureSpace
from tps.spacetime.euclidean import EuclideanSpacetime
from tps.spacetime.points import Spacetime, SpacetimePoint, checked_windings, eta_of
from tps.spacetime.torus import TorusSpacetime


@dataclass(frozen=True)
class ProductSpacetime:
    """Angles and features on lines with T = (cos t1, sin t1, ...; x; |x|**2): a torus block, then a Euclidean one.

    The log-SNR l of a point is that of the lines, eta = (e^l center; -e^l / 2); the pairs of the center carry the
    precision of their angle relative to it, so kappa_i = e^l |center_i|. The solver's chart is that of both blocks.

    Parameters
    ----------
    torus : TorusSpacetime
        Of the angles.
    lines : EuclideanSpacetime
        Of the other features, each over its scale.
    """

    torus: TorusSpacetime
    lines: EuclideanSpacetime

    @property
    def n_features(self) -> int:
        """2 n_circles + D."""
        return self.torus.n_features + self.lines.n_features

    @property
    def n_statistics(self) -> int:
        """K = 2 n_circles + D + 1."""
        return self.torus.n_statistics + self.lines.n_statistics

    @property
    def n_circles(self) -> int:
        """Number of angles."""
        return self.torus.n_circles

    @property
    def groups(self) -> tuple[slice, ...]:
        """The angles' entries, the mean's, and u."""
        at = self.torus.n_statistics
        return *self.torus.groups, *(slice(g.start + at, g.stop + at) for g in self.lines.groups)

    def _blocks(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        return vector[..., : self.torus.n_statistics], vector[..., self.torus.n_statistics :]

    def _positions(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        return positions[..., : self.n_circles], positions[..., self.n_circles :]

    def eta(self, center: Tensor, log_snr: Tensor) -> Tensor:
        """Map center (n, 2 n_circles + D) and log_snr (n,) to eta (n, K)."""
        angles, lines = self._blocks(center)
        return torch.cat([self.torus.eta(angles, log_snr), self.lines.eta(lines, log_snr)], dim=-1)

    def split(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        """Map eta (n, K) to center (n, 2 n_circles + D) and log_snr (n,); at e^l = 0 the center is infinite."""
        snr = -2 * eta[..., -1:]
        return eta[..., :-1] / snr, snr[..., 0].log()

    def to_chart(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to the charts of both blocks (n, K)."""
        angles, lines = self._blocks(eta)
        return torch.cat([self.torus.to_chart(angles), self.lines.to_chart(lines)], dim=-1)

    def from_chart(self, chart: Tensor) -> Tensor:
        """Map the charts of both blocks (n, K) to eta (n, K)."""
        angles, lines = self._blocks(chart)
        return torch.cat([self.torus.from_chart(angles), self.lines.from_chart(lines)], dim=-1)

    def posterior_std(self, mu: Tensor) -> Tensor:
        """Of each angle, about rad when small, and of a feature on a line over its scale (n, n_circles + 1)."""
        angles, lines = self._blocks(mu)
        return torch.cat([self.torus.posterior_std(angles), self.lines.posterior_std(lines)], dim=-1)

    def floor_violation(self, eta: Tensor, floor: float) -> Tensor:
        """How far each ln kappa_i and the log-SNR of the lines lie below `floor` (n, n_circles + 1)."""
        angles, lines = self._blocks(eta)
        return torch.cat(
            [self.torus.floor_violation(angles, floor), self.lines.floor_violation(lines, floor)], dim=-1
        )

    def inside(self, eta: Tensor) -> Tensor:
        """Whether e^l > 0 (n,)."""
        return self.lines.inside(self._blocks(eta)[1])

    def kappa(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to the stiffness of each angle (n, n_circles) [1/rad**2]."""
        return self.torus.kappa(self._blocks(eta)[0])

    def precision(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to kappa of each angle, then e^l of each line (n, n_circles + D)."""
        angles, lines = self._blocks(eta)
        return torch.cat([self.torus.precision(angles), self.lines.precision(lines)], dim=-1)

    def flat_psi(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to the sum of both blocks' (n,)."""
        angles, lines = self._blocks(eta)
        return self.torus.flat_psi(angles) + self.lines.flat_psi(lines)

    def positions(self, eta: Tensor) -> Tensor:
        """Map the points of a curve (n, K) to angles without jumps and centers on lines (n, n_circles + D)."""
        angles, lines = self._blocks(eta)
        return torch.cat([self.torus.positions(angles), self.lines.positions(lines)], dim=-1)

    def tilt(self, positions: Tensor, log_snr: float) -> Tensor:
        """Map positions (n, n_circles + D) to eta (n, K), every stiffness e^l."""
        angles, lines = self._positions(positions)
        return torch.cat([self.torus.tilt(angles, log_snr), self.lines.tilt(lines, log_snr)], dim=-1)

    def blurred_score(self, positions: Tensor, log_snr: float, mu: Tensor) -> Tensor:
        """Of both blocks (n, n_circles + D)."""
        (angles, lines), (around, along) = self._positions(positions), self._blocks(mu)
        return torch.cat(
            [
                self.torus.blurred_score(angles, log_snr, around),
                self.lines.blurred_score(lines, log_snr, along),
            ],
            dim=-1,
        )

    def nearest(self, change: Tensor) -> Tensor:
        """Changes of positions (n, n_circles + D), angles the shorter way round."""
        angles, lines = self._positions(change)
        return torch.cat([self.torus.nearest(angles), lines], dim=-1)

    def winding_line(self, ends: Tensor, n_points: int, windings: Sequence[int]) -> Tensor:
        """Return eta (n_points, K): angles, ln kappa, centers on lines and log_snr linear between two ends (2, K)."""
        checked_windings(windings, self.n_circles)
        angles, lines = self._blocks(ends)
        around = self.torus.winding_line(angles, n_points, windings)
        return torch.cat([around, self.lines.winding_line(lines, n_points, ())], dim=-1)

    def line_center(
        self, a: SpacetimePoint, b: SpacetimePoint, n_points: int, windings: Sequence[int]
    ) -> Tensor:
        """Return the centers (n_points, n_features) of the line that winds as told between two points."""
        ends = torch.stack([eta_of(self, a), eta_of(self, b)])
        return self.split(self.winding_line(ends, n_points, windings))[0]


def spacetime_of(
    space: FeatureSpace, reference_variance: float = 1.0, reference_mean: Sequence[float] = ()
) -> Spacetime:
    """Return the spacetime whose statistic is that of a feature space.

    Parameters
    ----------
    space : FeatureSpace
    reference_variance : float
        Typical variance of a feature on a line, over its scale; it sets the solver's chart only.
    reference_mean : sequence of float (n_lines,)
        Typical values of the features on lines, over their scales; empty for zero.

    Returns
    -------
    TorusSpacetime, EuclideanSpacetime or ProductSpacetime
        For angles only, for none, and for both.
    """
    if not space.n_lines:
        return TorusSpacetime(space.n_circles)
    lines = EuclideanSpacetime(space.n_lines, reference_variance, tuple(float(x) for x in reference_mean))
    return ProductSpacetime(TorusSpacetime(space.n_circles), lines) if space.n_circles else lines
