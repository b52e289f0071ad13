"""The spacetime of features on lines: T = (f, |f|**2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tps.errors import CurveError, ParameterError
from tps.spacetime.points import SpacetimePoint, checked_windings, eta_of


@dataclass(frozen=True)
class EuclideanSpacetime:
    """Features in R^D with T = (f, |f|**2) and eta = (e^l center, -e^l / 2), l = log_snr.

    The solver's chart is the posterior mean that Gaussian data of `reference_variance` would have, and
    u = arccosh(1 + variance e^l / 2): about l for high signal, and regular at the boundary l = -inf (u = 0), where
    geodesics may run. The reference sets the chart only; it moves no geodesic.

    Parameters
    ----------
    n_features : int
        D.
    reference_variance : float
        Typical variance of one feature.
    reference_mean : tuple of float
        Typical mean of the features (n_features,); empty for zero.
    """

    n_features: int
    reference_variance: float = 1.0
    reference_mean: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.n_features < 1 or not self.reference_variance > 0:
            raise ParameterError(
                "a Euclidean spacetime needs n_features >= 1 and a positive reference variance, but got "
                f"{self.n_features} and {self.reference_variance}"
            )
        if len(self.reference_mean) not in (0, self.n_features):
            raise ParameterError(
                f"reference_mean needs {self.n_features} numbers or none, but got {len(self.reference_mean)}"
            )

    @property
    def n_statistics(self) -> int:
        """K = D + 1."""
        return self.n_features + 1

    @property
    def n_circles(self) -> int:
        """None."""
        return 0

    @property
    def groups(self) -> tuple[slice, ...]:
        """The mean's entries, and u."""
        return slice(0, self.n_features), slice(self.n_features, self.n_features + 1)

    def _mean(self, like: Tensor) -> Tensor:
        if not self.reference_mean:
            return torch.zeros(self.n_features, dtype=like.dtype, device=like.device)
        return torch.tensor(self.reference_mean, dtype=like.dtype, device=like.device)

    def eta(self, center: Tensor, log_snr: Tensor) -> Tensor:
        """Map center (n, D) and log_snr (n,) to eta (n, D + 1)."""
        snr = log_snr.exp()[..., None]
        return torch.cat([snr * center, -snr / 2], dim=-1)

    def split(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        """Map eta (n, D + 1) to center (n, D) and log_snr (n,); at the boundary e^l = 0 the center is infinite."""
        snr = -2 * eta[..., -1:]
        return eta[..., :-1] / snr, snr[..., 0].log()

    def to_chart(self, eta: Tensor) -> Tensor:
        """Map eta (n, D + 1) to (reference posterior mean, u) (n, D + 1)."""
        precision = 1 / self.reference_variance
        snr = (-2 * eta[..., -1:]).clamp_min(0)
        mean = (eta[..., :-1] + precision * self._mean(eta)) / (precision + snr)
        return torch.cat([mean, 2 * torch.asinh((snr / precision).sqrt() / 2)], dim=-1)

    def from_chart(self, chart: Tensor) -> Tensor:
        """Map (reference posterior mean, u) (n, D + 1) to eta (n, D + 1)."""
        precision = 1 / self.reference_variance
        snr = 4 * precision * torch.sinh(chart[..., -1:] / 2) ** 2
        slope = (precision + snr) * chart[..., :-1] - precision * self._mean(chart)
        return torch.cat([slope, -snr / 2], dim=-1)

    def posterior_std(self, mu: Tensor) -> Tensor:
        """Root of the mean posterior variance of a feature (n, 1), in the features' unit."""
        variance = (mu[..., -1:] - mu[..., :-1].square().sum(-1, keepdim=True)) / self.n_features
        return variance.clamp_min(1e-14).sqrt()

    def floor_violation(self, eta: Tensor, floor: float) -> Tensor:
        """Floor - log_snr (n, 1)."""
        return floor - (-2 * eta[..., -1:]).clamp_min(1e-300).log()

    def inside(self, eta: Tensor) -> Tensor:
        """Whether e^l > 0 (n,)."""
        return eta[..., -1] < 0

    def kappa(self, eta: Tensor) -> Tensor:
        """No angle has a stiffness (n, 0)."""
        return eta[..., :0]

    def precision(self, eta: Tensor) -> Tensor:
        """Map eta (n, D + 1) to e^l, the same for every feature (n, D)."""
        return (-2 * eta[..., -1:]).expand(*eta.shape[:-1], self.n_features)

    def flat_psi(self, eta: Tensor) -> Tensor:
        """Map eta (n, D + 1) to (D / 2) ln(2 pi e^-l) + e^l |c|**2 / 2 (n,); infinite without signal."""
        snr = -2 * eta[..., -1]
        return self.n_features / 2 * (2 * math.pi / snr).log() + eta[..., :-1].square().sum(-1) / (2 * snr)

    def positions(self, eta: Tensor) -> Tensor:
        """Map eta (n, D + 1) to centers (n, D)."""
        return self.split(eta)[0]

    def tilt(self, positions: Tensor, log_snr: float) -> Tensor:
        """Map centers (n, D) to eta (n, D + 1) at one noise level."""
        return self.eta(positions, torch.full((len(positions),), log_snr, dtype=positions.dtype))

    def blurred_score(self, positions: Tensor, log_snr: float, mu: Tensor) -> Tensor:
        """e^l (E[f | c] - c) (n, D)."""
        return math.exp(log_snr) * (mu[..., : self.n_features] - positions)

    def nearest(self, change: Tensor) -> Tensor:
        """Changes as they are (n, D): there is one way only."""
        return change

    def winding_line(self, ends: Tensor, n_points: int, windings: Sequence[int]) -> Tensor:
        """Return eta (n_points, D + 1) with center and log_snr linear between two ends (2, D + 1)."""
        checked_windings(windings, 0)
        if not bool(self.inside(ends).all()):
            raise CurveError("a straight line needs a positive signal at both ends; raise log_snr")
        center, log_snr = self.split(ends)
        s = torch.linspace(0, 1, n_points, dtype=torch.float64)
        eta = self.eta(torch.lerp(center[0], center[1], s[:, None]), torch.lerp(log_snr[0], log_snr[1], s))
        eta[0], eta[-1] = ends[0], ends[1]
        return eta

    def line_center(
        self, a: SpacetimePoint, b: SpacetimePoint, n_points: int, windings: Sequence[int]
    ) -> Tensor:
        """Return centers (n_points, D) linear between two points."""
        checked_windings(windings, 0)
        eta_of(self, a), eta_of(self, b)
        s = torch.linspace(0, 1, n_points, dtype=torch.float64)[:, None]
        return (1 - s) * a.center + s * b.center
