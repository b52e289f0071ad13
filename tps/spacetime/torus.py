"""The spacetime of angles on circles: T = (cos t, sin t)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tps.errors import CurveError, ParameterError
from tps.features import wrap_angle
from tps.spacetime.points import SpacetimePoint, checked_windings, eta_of


@dataclass(frozen=True)
class TorusSpacetime:
    """Angles as f = (cos t1, sin t1, ...), T = f: von Mises tilts eta_i = kappa_i (cos c_i, sin c_i).

    |f|**2 is constant, so it is left out of T; log_snr is ln sqrt(mean kappa_i**2). The solver's chart
    y_i = eta_i / (4 + kappa_i**2)**(1/4) has about the identity as Fisher metric of uniform angles.

    Parameters
    ----------
    n_circles : int
        Number d of angles; there are K = 2 d statistics.
    """

    n_circles: int

    def __post_init__(self) -> None:
        if self.n_circles < 1:
            raise ParameterError(f"a torus spacetime needs n_circles >= 1, but got {self.n_circles}")

    @property
    def n_features(self) -> int:
        """2 d."""
        return 2 * self.n_circles

    @property
    def n_statistics(self) -> int:
        """K = 2 d."""
        return 2 * self.n_circles

    @property
    def groups(self) -> tuple[slice, ...]:
        """All entries at once."""
        return (slice(0, self.n_statistics),)

    def _pairs(self, vector: Tensor) -> Tensor:
        return vector.unflatten(-1, (self.n_circles, 2))

    def kappa(self, eta: Tensor) -> Tensor:
        """Map eta (n, 2 d) to the stiffness of each angle (n, d) [1/rad**2]."""
        return self._pairs(eta).norm(dim=-1)

    def precision(self, eta: Tensor) -> Tensor:
        """Map eta (n, 2 d) to kappa (n, d) [1/rad**2]."""
        return self.kappa(eta)

    def flat_psi(self, eta: Tensor) -> Tensor:
        """Map eta (n, 2 d) to the sum of ln I0(kappa_i) (n,), differentiable."""
        kappa = self._pairs(eta).square().sum(-1).clamp_min(1e-24).sqrt()
        return (torch.special.i0e(kappa).log() + kappa).sum(-1)

    def angles(self, eta: Tensor) -> Tensor:
        """Map eta (n, 2 d) to the centers (n, d) [rad], in (-pi, pi]."""
        pairs = self._pairs(eta)
        return torch.atan2(pairs[..., 1], pairs[..., 0])

    def eta_from_angles(self, angles: Tensor, kappa: Tensor) -> Tensor:
        """Map centers (n, d) [rad] and stiffnesses, broadcast against them, to eta (n, 2 d)."""
        return (kappa[..., None] * torch.stack([angles.cos(), angles.sin()], dim=-1)).flatten(-2)

    def eta(self, center: Tensor, log_snr: Tensor) -> Tensor:
        """Map center (n, 2 d) and log_snr (n,) to eta (n, 2 d)."""
        return log_snr.exp()[..., None] * center

    def split(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        """Map eta (n, 2 d) to center (n, 2 d), root-mean-square length 1 per angle, and log_snr (n,)."""
        log_snr = 0.5 * (eta.square().sum(-1) / self.n_circles).log()
        return eta * (-log_snr).exp()[..., None], log_snr

    def to_chart(self, eta: Tensor) -> Tensor:
        """Map eta (n, 2 d) to y (n, 2 d)."""
        kappa = self.kappa(eta).repeat_interleave(2, dim=-1)
        return eta / (4 + kappa.square()) ** 0.25

    def from_chart(self, chart: Tensor) -> Tensor:
        """Map y (n, 2 d) to eta (n, 2 d)."""
        r2 = self._pairs(chart).square().sum(-1).repeat_interleave(2, dim=-1)
        return chart * ((r2 + (r2.square() + 16).sqrt()) / 2).sqrt()

    def posterior_std(self, mu: Tensor) -> Tensor:
        """sqrt(1 - |mu_i|**2) of each angle (n, d), about rad when small."""
        resultant = self._pairs(mu).square().sum(-1)
        return (1 - resultant).clamp_min(1e-14).sqrt()

    def floor_violation(self, eta: Tensor, floor: float) -> Tensor:
        """1 - kappa_i e^-floor (n, d): floor - ln kappa_i to first order, and linear where kappa is small."""
        kappa = self._pairs(eta).square().sum(-1).clamp_min(1e-24).sqrt()
        return 1 - kappa * math.exp(-floor)

    def inside(self, eta: Tensor) -> Tensor:
        """Every eta belongs to some noise level (n,)."""
        return torch.ones(eta.shape[:-1], dtype=torch.bool)

    def positions(self, eta: Tensor) -> Tensor:
        """Map the points of a curve (n, 2 d) to angles (n, d) [rad] that do not jump from one to the next."""
        return torch.from_numpy(np.unwrap(self.angles(eta).numpy(), axis=0))

    def tilt(self, positions: Tensor, log_snr: float) -> Tensor:
        """Map angles (n, d) to eta (n, 2 d), every stiffness e^l."""
        return self.eta_from_angles(positions, torch.full_like(positions, math.exp(log_snr)))

    def blurred_score(self, positions: Tensor, log_snr: float, mu: Tensor) -> Tensor:
        """e^l (mu_y cos t - mu_x sin t) of each angle (n, d) [1/rad]."""
        mean = self._pairs(mu)
        return math.exp(log_snr) * (positions.cos() * mean[..., 1] - positions.sin() * mean[..., 0])

    def nearest(self, change: Tensor) -> Tensor:
        """Changes of angles (n, d) the shorter way round, in (-pi, pi] [rad]."""
        return wrap_angle(change)

    def winding_line(self, ends: Tensor, n_points: int, windings: Sequence[int]) -> Tensor:
        """Return eta (n_points, 2 d), angles and ln kappa linear, between two ends (2, 2 d)."""
        whole = checked_windings(windings, self.n_circles)
        angles, kappa = self.angles(ends), self.kappa(ends)
        if not bool((kappa > 0).all()):
            raise CurveError(
                "a winding needs a positive stiffness of every angle at both ends; raise log_snr"
            )
        turns = 2 * math.pi * torch.tensor(whole, dtype=torch.float64)
        change = wrap_angle(angles[1] - angles[0]) + turns
        s = torch.linspace(0, 1, n_points, dtype=torch.float64)[:, None]
        stiffness = ((1 - s) * kappa[0].log() + s * kappa[1].log()).exp()
        eta = self.eta_from_angles(angles[0] + s * change, stiffness)
        eta[0], eta[-1] = ends[0], ends[1]
        return eta

    def line_center(
        self, a: SpacetimePoint, b: SpacetimePoint, n_points: int, windings: Sequence[int]
    ) -> Tensor:
        """Return the centers (n_points, 2 d) of the line that winds as told between two points."""
        ends = torch.stack([eta_of(self, a), eta_of(self, b)])
        return self.split(self.winding_line(ends, n_points, windings))[0]
