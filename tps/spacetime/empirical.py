"""The family of a weighted set of frames: exact for the frames, so as good as they cover the molecule."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tps.diffusion.posterior import TiltedMoments, posterior_moments, tilted_weights
from tps.errors import ParameterError
from tps.spacetime.one_pass import OnePass
from tps.spacetime.points import Spacetime
from tps.spacetime.product_grid import ProductGrid

#: Up to this many statistics the covariance comes with the mean; above, its product with a vector where it is needed.
_MAX_ONE_PASS = 8


class _LogPartition(torch.autograd.Function):
    """psi with mu as its gradient, in chunks of points."""

    @staticmethod
    def forward(ctx: Any, eta: Tensor, statistics: Tensor, log_weights: Tensor) -> Tensor:
        """Return psi (n,)."""
        moments = posterior_moments(eta, statistics, log_weights)
        ctx.save_for_backward(eta, moments.mu, statistics, log_weights)
        return moments.psi

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient (n, K)."""
        eta, mu, statistics, log_weights = ctx.saved_tensors
        if torch.is_grad_enabled():
            # somebody wants to differentiate again: mu must know where it comes from
            mu = _Mean.apply(eta, statistics, log_weights)
        return grads[0][:, None] * mu, None, None


class _Mean(torch.autograd.Function):
    """mu with the covariance of T as its derivative, recomputed in chunks of points rather than stored."""

    @staticmethod
    def forward(ctx: Any, eta: Tensor, statistics: Tensor, log_weights: Tensor) -> Tensor:
        """Return mu (n, K)."""
        ctx.save_for_backward(eta, statistics, log_weights)
        return posterior_moments(eta, statistics, log_weights).mu

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Return Cov[T] times the incoming gradient (n, K)."""
        return _CovarianceProduct.apply(grads[0], *ctx.saved_tensors), None, None


class _CovarianceProduct(torch.autograd.Function):
    """Cov[T | eta] v, with the third cumulant as its derivative in eta."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, eta: Tensor, statistics: Tensor, log_weights: Tensor) -> Tensor:
        """Return Cov[T] v (n, K)."""
        ctx.save_for_backward(v, eta, statistics, log_weights)
        out = torch.empty_like(eta)
        for part, weights, _ in tilted_weights(eta, statistics, log_weights):
            total = weights.sum(1, keepdim=True)
            mu = (weights @ statistics) / total
            projected = weights.mul_(v[part] @ statistics.T)
            out[part] = (projected @ statistics - projected.sum(1, keepdim=True) * mu) / total
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Return Cov[T] w and E[(w . dT) (v . dT) dT], dT = T - mu, for the incoming gradient w (n, K)."""
        v, eta, statistics, log_weights = ctx.saved_tensors
        first, second = torch.empty_like(eta), torch.empty_like(eta)
        for part, weights, _ in tilted_weights(eta, statistics, log_weights):
            weights /= weights.sum(1, keepdim=True)
            mu = weights @ statistics
            along_w, along_v = (
                x @ statistics.T - (x * mu).sum(1, keepdim=True) for x in (grads[0][part], v[part])
            )
            both = weights * along_w
            first[part] = both @ statistics - both.sum(1, keepdim=True) * mu
            both *= along_v
            second[part] = both @ statistics - both.sum(1, keepdim=True) * mu
        return first, second, None, None


class EmpiricalFamily:
    """Frames with log-weights, tilted: p(i | eta) = w_i exp(eta . T_i - psi(eta)).

    Parameters
    ----------
    statistics : Tensor (n_frames, K)
        T of every frame.
    log_weights : Tensor (n_frames,)
        ln w_i, in any normalisation; the sum of w_i delta(x - x_i) represents the Boltzmann distribution.
    spacetime : Spacetime

    Raises
    ------
    ParameterError
        If the shapes do not match or a number is not finite.
    """

    has_psi = True

    def __init__(self, statistics: Tensor, log_weights: Tensor, spacetime: Spacetime) -> None:
        self.statistics = torch.as_tensor(statistics, dtype=torch.float64).detach().contiguous()
        raw = torch.as_tensor(log_weights, dtype=torch.float64).detach()
        self.spacetime = spacetime
        shape = tuple(self.statistics.shape)
        width = spacetime.n_statistics
        if len(shape) != 2 or shape[0] < 1 or shape[1] != width or tuple(raw.shape) != shape[:1]:
            raise ParameterError(
                f"an empirical family needs statistics (n_frames, {width}) and log_weights (n_frames,), but got "
                f"{shape} and {tuple(raw.shape)}; give one row per frame"
            )
        if not bool(torch.isfinite(self.statistics).all()) or not bool(torch.isfinite(raw).all()):
            raise ParameterError(
                f"statistics and log_weights of all {shape[0]} frames must be finite; drop the frames that are not"
            )
        self.log_weights = raw - raw.logsumexp(0)
        self._one_pass = OnePass(self._moments, self._mean) if width <= _MAX_ONE_PASS else None

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.statistics)

    def mu(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to the weighted mean of T (n, K)."""
        return self._mean(eta) if self._one_pass is None else self._one_pass.mu(eta)

    def psi(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to ln sum_i w_i exp(eta . T_i) (n,), zero at eta = 0."""
        if self._one_pass is not None:
            return self._one_pass.psi(eta)
        result: Tensor = _LogPartition.apply(eta, self.statistics, self.log_weights)
        return result

    def metric(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to the weighted covariance of T (n, K, K)."""
        return (
            self._moments(eta.detach()).covariance
            if self._one_pass is None
            else self._one_pass(eta).covariance
        )

    def _mean(self, eta: Tensor) -> Tensor:
        result: Tensor = _Mean.apply(eta, self.statistics, self.log_weights)
        return result

    @cached_property
    def _grid(self) -> ProductGrid | None:
        """The product grid that the frames are, if they are one."""
        return ProductGrid.of(self.statistics, self.log_weights)

    @cached_property
    def _products(self) -> Tensor:
        """T and T_i T_j, i <= j, of every frame (K + K (K + 1) / 2, n_frames): sums over rows are faster."""
        i, j = torch.triu_indices(self.statistics.shape[1], self.statistics.shape[1])
        return torch.cat([self.statistics.T, (self.statistics[:, i] * self.statistics[:, j]).T])

    def _moments(self, eta: Tensor) -> TiltedMoments:
        """All at once: psi, mu and Cov[T]."""
        if self._grid is not None:
            return self._grid.moments(eta)
        n, k = eta.shape
        psi, means = eta.new_empty(n), eta.new_empty(n, len(self._products))
        for rows, weights, shift in tilted_weights(eta, self.statistics, self.log_weights):
            total = weights.sum(1)
            psi[rows] = total.log() + shift
            means[rows] = (self._products @ weights.T).T / total[:, None]
        mu, covariance = means[:, :k], eta.new_empty(n, k, k)
        i, j = torch.triu_indices(k, k)
        covariance[:, i, j] = means[:, k:] - mu[:, i] * mu[:, j]
        covariance[:, j, i] = covariance[:, i, j]
        return TiltedMoments(psi, mu, covariance)

    def effective_sample_size(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to (sum_i p_i)**2 / sum_i p_i**2 (n,): how many frames carry the posterior (Kish)."""
        return posterior_moments(eta.detach(), self.statistics, self.log_weights).effective_sample_size

    def log_effective_sample_size(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to the logarithm of `effective_sample_size` (n,), differentiable: 2 psi(eta) - psi_2(2 eta).

        psi_2 is that of the squared weights: its sum of w^2 e^(2 eta . T) is what Kish's number divides by.
        """
        squared: Tensor = _LogPartition.apply(2 * eta, self.statistics, 2 * self.log_weights)
        return 2 * self.psi(eta) - squared

    def log_probability(self, eta: Tensor, indicator: Tensor) -> Tensor:
        """Return ln p(region | eta), differentiable in eta.

        Parameters
        ----------
        eta : Tensor (n, K)
        indicator : Tensor (n_frames,) of bool
            Which frames lie in the region.

        Returns
        -------
        Tensor (n,)
            psi of the frames in the region minus psi of all.

        Raises
        ------
        ParameterError
            If the indicator is not one bool per frame, or no frame lies in the region.
        """
        inside = torch.as_tensor(indicator)
        if inside.dtype != torch.bool or tuple(inside.shape) != (self.n_frames,):
            raise ParameterError(
                f"the indicator needs one bool for each of {self.n_frames} frames, but got {inside.dtype} "
                f"{tuple(inside.shape)}"
            )
        if not bool(inside.any()):
            raise ParameterError(
                f"none of {self.n_frames} frames lies in the region, so its probability cannot be estimated; "
                "enlarge the region or sample it"
            )
        part: Tensor = _LogPartition.apply(eta, self.statistics[inside], self.log_weights[inside])
        return part - self.psi(eta)

    def probability(self, eta: Tensor, indicator: Tensor) -> Tensor:
        """Return p(region | eta) (n,); see `log_probability`."""
        return self.log_probability(eta, indicator).exp()
