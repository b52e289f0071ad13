"""Points of spacetime, and the charts that map natural parameters to a center and a noise level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tps.errors import CurveError, ParameterError


@dataclass(frozen=True, slots=True)
class SpacetimePoint:
    """A noisy observation: where it lies (divided by alpha) and how precise it is.

    Parameters
    ----------
    center : Tensor (n_features,)
        Noisy features over alpha, in the unit of the features; anything `torch.as_tensor` takes. For torsions
        the pairs (cos t, sin t), whose length is a torsion's own precision relative to exp(log_snr).
    log_snr : float
        ln(alpha**2 / sigma**2), for features in their own unit.

    Raises
    ------
    CurveError
        If the center is not a finite vector or log_snr is not finite.
    """

    center: Tensor
    log_snr: float

    def __post_init__(self) -> None:
        center = torch.as_tensor(self.center, dtype=torch.float64).detach()
        object.__setattr__(self, "center", center)
        object.__setattr__(self, "log_snr", float(self.log_snr))
        if center.ndim != 1 or not bool(torch.isfinite(center).all()) or not math.isfinite(self.log_snr):
            raise CurveError(
                "a spacetime point needs a finite center (n_features,) and a finite log_snr, but got a center of shape "
                f"{tuple(center.shape)} and log_snr {self.log_snr}; give one point at a time"
            )


class Spacetime(Protocol):
    """How natural parameters, centers and noise levels hang together, and the chart curves are optimised in."""

    @property
    def n_features(self) -> int:
        """Length of a center."""

    @property
    def n_statistics(self) -> int:
        """Length K of eta, mu and of a chart vector."""

    def eta(self, center: Tensor, log_snr: Tensor) -> Tensor:
        """Map center (n, n_features) and log_snr (n,) to natural parameters (n, K)."""

    def split(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        """Map natural parameters (n, K) back to center (n, n_features) and log_snr (n,)."""

    def to_chart(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, K) to the solver's coordinates (n, K)."""

    def from_chart(self, chart: Tensor) -> Tensor:
        """Map the solver's coordinates (n, K) to natural parameters (n, K)."""

    def posterior_std(self, mu: Tensor) -> Tensor:
        """Map expectation parameters (n, K) to standard deviations (n, n_torsions or 1), in the features' unit."""

    def floor_violation(self, eta: Tensor, floor: float) -> Tensor:
        """Map (n, K) to how far log-SNR lies below `floor` (n, n_torsions or 1), to first order; negative above."""

    @property
    def groups(self) -> tuple[slice, ...]:
        """Chart entries on which the metric is about a multiple of the identity (used when K is large)."""


def eta_of(spacetime: Spacetime, point: SpacetimePoint) -> Tensor:
    """Return the natural parameters of one point.

    Parameters
    ----------
    spacetime : Spacetime
    point : SpacetimePoint

    Returns
    -------
    Tensor (K,)
        (e^l center, -e^l / 2), l = log_snr; for torsions e^l center.

    Raises
    ------
    CurveError
        If the point has another number of features than the spacetime.
    """
    if point.center.shape[0] != spacetime.n_features:
        raise CurveError(
            f"the family has {spacetime.n_features} features, but the point's center has {point.center.shape[0]}: "
            "give as many numbers as the family has features"
        )
    log_snr = torch.tensor([point.log_snr], dtype=torch.float64)
    return spacetime.eta(point.center[None], log_snr)[0]


def point_of(spacetime: Spacetime, eta: Tensor) -> SpacetimePoint:
    """Return the spacetime point with given natural parameters.

    Parameters
    ----------
    spacetime : Spacetime
    eta : Tensor (K,)

    Returns
    -------
    SpacetimePoint

    Raises
    ------
    CurveError
        If there is no signal, e^l = 0, where a point has no center.
    """
    center, log_snr = spacetime.split(eta[None])
    return SpacetimePoint(center[0], float(log_snr[0]))


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


@dataclass(frozen=True)
class TorusSpacetime:
    """Torsions as f = (cos t1, sin t1, ...), T = f: von Mises tilts eta_i = kappa_i (cos c_i, sin c_i).

    |f|**2 is constant, so it is left out of T; log_snr is ln sqrt(mean kappa_i**2). The solver's chart
    y_i = eta_i / (4 + kappa_i**2)**(1/4) has about the identity as Fisher metric of uniform angles.

    Parameters
    ----------
    n_torsions : int
        d; there are K = 2 d statistics.
    """

    n_torsions: int

    def __post_init__(self) -> None:
        if self.n_torsions < 1:
            raise ParameterError(f"a torus spacetime needs n_torsions >= 1, but got {self.n_torsions}")

    @property
    def n_features(self) -> int:
        """2 d."""
        return 2 * self.n_torsions

    @property
    def n_statistics(self) -> int:
        """K = 2 d."""
        return 2 * self.n_torsions

    @property
    def groups(self) -> tuple[slice, ...]:
        """All entries at once."""
        return (slice(0, self.n_statistics),)

    def kappa(self, eta: Tensor) -> Tensor:
        """Map eta (n, 2 d) to the stiffness of each torsion (n, d) [1/rad**2]."""
        return eta.unflatten(-1, (self.n_torsions, 2)).norm(dim=-1)

    def angles(self, eta: Tensor) -> Tensor:
        """Map eta (n, 2 d) to the centers (n, d) [rad], in (-pi, pi]."""
        pairs = eta.unflatten(-1, (self.n_torsions, 2))
        return torch.atan2(pairs[..., 1], pairs[..., 0])

    def eta_from_angles(self, angles: Tensor, kappa: Tensor) -> Tensor:
        """Map centers (n, d) [rad] and stiffnesses, broadcast against them, to eta (n, 2 d)."""
        return (kappa[..., None] * torch.stack([angles.cos(), angles.sin()], dim=-1)).flatten(-2)

    def eta(self, center: Tensor, log_snr: Tensor) -> Tensor:
        """Map center (n, 2 d) and log_snr (n,) to eta (n, 2 d)."""
        return log_snr.exp()[..., None] * center

    def split(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        """Map eta (n, 2 d) to center (n, 2 d), root-mean-square length 1 per torsion, and log_snr (n,)."""
        log_snr = 0.5 * (eta.square().sum(-1) / self.n_torsions).log()
        return eta * (-log_snr).exp()[..., None], log_snr

    def to_chart(self, eta: Tensor) -> Tensor:
        """Map eta (n, 2 d) to y (n, 2 d)."""
        kappa = self.kappa(eta).repeat_interleave(2, dim=-1)
        return eta / (4 + kappa.square()) ** 0.25

    def from_chart(self, chart: Tensor) -> Tensor:
        """Map y (n, 2 d) to eta (n, 2 d)."""
        r2 = chart.unflatten(-1, (self.n_torsions, 2)).square().sum(-1).repeat_interleave(2, dim=-1)
        return chart * ((r2 + (r2.square() + 16).sqrt()) / 2).sqrt()

    def posterior_std(self, mu: Tensor) -> Tensor:
        """sqrt(1 - |mu_i|**2) of each torsion (n, d), about rad when small."""
        resultant = mu.unflatten(-1, (self.n_torsions, 2)).square().sum(-1)
        return (1 - resultant).clamp_min(1e-14).sqrt()

    def floor_violation(self, eta: Tensor, floor: float) -> Tensor:
        """1 - kappa_i e^-floor (n, d): floor - ln kappa_i to first order, and linear where kappa is small."""
        kappa = eta.unflatten(-1, (self.n_torsions, 2)).square().sum(-1).clamp_min(1e-24).sqrt()
        return 1 - kappa * math.exp(-floor)
