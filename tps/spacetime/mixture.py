"""Gaussian data and Gaussian mixtures in any dimension: every quantity in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tps.errors import ParameterError
from tps.spacetime.euclidean import EuclideanSpacetime


@dataclass(frozen=True, eq=False)
class Box:
    """A region of feature space: low < f < high, with infinities where it is open.

    Parameters
    ----------
    low, high : Tensor (n_features,)
        In the features' unit; anything `torch.as_tensor` takes.
    """

    low: Tensor
    high: Tensor

    def __post_init__(self) -> None:
        low, high = (torch.as_tensor(x, dtype=torch.float64) for x in (self.low, self.high))
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        if low.ndim != 1 or low.shape != high.shape or not bool((low < high).all()):
            raise ParameterError(
                f"a box needs low < high, one number per feature, but got {low.tolist()} and {high.tolist()}"
            )


class GaussianMixtureFamily:
    """Data from a mixture of Gaussians with diagonal covariances; tilting keeps it one.

    Component k becomes a Gaussian of precision 1/v_k - 2 eta_last and mean (eta_f + m_k/v_k) over that precision, with
    a weight that moves by its own log-partition function.

    Parameters
    ----------
    weights : Tensor (n_components,)
        Positive; normalised here.
    means : Tensor (n_components, n_features)
    variances : Tensor (n_components,) or (n_components, n_features)
        In the features' unit squared.

    Raises
    ------
    ParameterError
        If the shapes do not match, or a weight or variance is not positive.
    """

    has_psi = True

    def __init__(self, weights: Tensor, means: Tensor, variances: Tensor) -> None:
        weights, means, variances = (
            torch.as_tensor(x, dtype=torch.float64) for x in (weights, means, variances)
        )
        if variances.ndim == 1 and means.ndim == 2:
            variances = variances[:, None].expand(len(variances), means.shape[1])
        if means.ndim != 2 or weights.shape != means.shape[:1] or variances.shape != means.shape:
            raise ParameterError(
                "a mixture needs weights (n_components,), means (n_components, n_features) and variances of either "
                f"shape, but got {tuple(weights.shape)}, {tuple(means.shape)} and {tuple(variances.shape)}"
            )
        if not bool((weights > 0).all()) or not bool((variances > 0).all()):
            raise ParameterError(
                f"weights and variances must be positive, but the smallest are {float(weights.min()):g} and "
                f"{float(variances.min()):g}; leave empty components out"
            )
        self.log_weights = (weights / weights.sum()).log()
        self.means, self.precisions = means.clone(), 1 / variances
        w = self.log_weights.exp()[:, None]
        mean = (w * means).sum(0)
        spread = float((w * (variances + (means - mean).square())).sum(0).mean())
        self.spacetime = EuclideanSpacetime(means.shape[1], spread, tuple(mean.tolist()))

    def _components(self, eta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-partition functions (n, M), and means and variances (n, M, D), of the tilted components."""
        prior = self.precisions * self.means
        precision = self.precisions - 2 * eta[:, None, -1:]
        slope = eta[:, None, :-1] + prior
        mean = slope / precision
        log_z = 0.5 * ((self.precisions / precision).log() + slope * mean - prior * self.means).sum(-1)
        return log_z, mean, 1 / precision

    def psi(self, eta: Tensor) -> Tensor:
        """Map eta (n, D + 1) to psi (n,), zero at eta = 0; nan where 2 eta_last exceeds a precision of the data."""
        return torch.logsumexp(self.log_weights + self._components(eta)[0], dim=1)

    def mu(self, eta: Tensor) -> Tensor:
        """Map eta (n, D + 1) to E[f] and E[|f|**2] (n, D + 1)."""
        log_z, mean, variance = self._components(eta)
        share = torch.softmax(self.log_weights + log_z, dim=1)
        first = (share[..., None] * mean).sum(1)
        second = (share * (mean.square() + variance).sum(-1)).sum(1, keepdim=True)
        return torch.cat([first, second], dim=1)

    def metric(self, eta: Tensor) -> Tensor:
        """Map eta (n, D + 1) to Cov[T] (n, D + 1, D + 1)."""
        log_z, mean, variance = self._components(eta.detach())
        share = torch.softmax(self.log_weights + log_z, dim=1)
        mu = torch.cat([mean, (mean.square() + variance).sum(-1, keepdim=True)], dim=-1)
        centred = mu - (share[..., None] * mu).sum(1, keepdim=True)
        between = (share[..., None] * centred).mT @ centred
        cross = (share[..., None] * 2 * mean * variance).sum(1)
        corner = (share[..., None] * (2 * variance.square() + 4 * mean.square() * variance)).sum((1, 2))
        between[:, :-1, :-1] += torch.diag_embed((share[..., None] * variance).sum(1))
        between[:, :-1, -1] += cross
        between[:, -1, :-1] += cross
        between[:, -1, -1] += corner
        return between

    def log_probability(self, eta: Tensor, region: Box) -> Tensor:
        """Return ln p(region | eta) (n,), a product of error functions for each component, differentiable.

        Raises
        ------
        ParameterError
            If the box has another number of features.
        """
        if len(region.low) != self.spacetime.n_features:
            raise ParameterError(
                f"the box has {len(region.low)} features, but the family has {self.spacetime.n_features}"
            )
        log_z, mean, variance = self._components(eta)
        share = torch.log_softmax(self.log_weights + log_z, dim=1)
        inside = _log_normal_interval(
            (region.low - mean) / variance.sqrt(), (region.high - mean) / variance.sqrt()
        )
        return torch.logsumexp(share + inside.sum(-1), dim=1)

    def probability(self, eta: Tensor, region: Box) -> Tensor:
        """Return p(region | eta) (n,)."""
        return self.log_probability(eta, region).exp()


class GaussianFamily(GaussianMixtureFamily):
    """Data from one Gaussian; spacetime is a strip of the hyperbolic half-plane where the variance is one number.

    Parameters
    ----------
    mean : Tensor (n_features,)
    variance : float or Tensor (n_features,)
    """

    def __init__(self, mean: Tensor, variance: float | Tensor) -> None:
        mean = torch.as_tensor(mean, dtype=torch.float64)
        variance = torch.as_tensor(variance, dtype=torch.float64).expand(mean.shape)
        super().__init__(torch.ones(1), mean[None], variance[None])

    @property
    def mean(self) -> Tensor:
        """Mean of the data (n_features,)."""
        return self.means[0]

    @property
    def variance(self) -> Tensor:
        """Variance of the data (n_features,)."""
        return 1 / self.precisions[0]


def _log_normal_interval(low: Tensor, high: Tensor) -> Tensor:
    """Return the logarithm of the normal probability of (low, high), without cancellation in either tail."""
    flip = low + high > 0
    near, far = torch.where(flip, -low, high), torch.where(flip, -high, low)
    log_near, log_far = torch.special.log_ndtr(near), torch.special.log_ndtr(far)
    gap = (log_far - log_near).clamp_max(-math.ulp(1.0))
    return log_near + torch.log1p(-gap.exp())
