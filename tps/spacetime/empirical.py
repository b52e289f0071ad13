"""The family of a weighted set of frames: exact for the frames, so as good as they cover the molecule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from tps.errors import ParameterError
from tps.spacetime.coordinates import Spacetime

#: Largest number of (point, frame) pairs held in memory at once.
_CHUNK = 4_000_000


def _chunks(n_points: int, n_frames: int) -> Iterator[slice]:
    step = max(1, _CHUNK // n_frames)
    return (slice(i, i + step) for i in range(0, n_points, step))


def _posterior(eta: Tensor, statistics: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights of the frames given eta (n, n_frames), unnormalised, and the logarithm taken out (n,)."""
    logits = torch.addmm(log_weights, eta, statistics.T)
    shift = logits.amax(dim=1)
    return logits.sub_(shift[:, None]).exp_(), shift


class _LogPartition(torch.autograd.Function):
    """psi with mu as its gradient, in chunks of points."""

    @staticmethod
    def forward(ctx: Any, eta: Tensor, statistics: Tensor, log_weights: Tensor) -> Tensor:
        """Return psi (n,)."""
        psi, mu = torch.empty(len(eta), dtype=eta.dtype), torch.empty_like(eta)
        for part in _chunks(len(eta), len(statistics)):
            weights, shift = _posterior(eta[part], statistics, log_weights)
            total = weights.sum(1)
            psi[part] = total.log() + shift
            mu[part] = (weights @ statistics) / total[:, None]
        ctx.save_for_backward(mu)
        return psi

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient (n, K)."""
        (mu,) = ctx.saved_tensors
        return grads[0][:, None] * mu, None, None


class _Mean(torch.autograd.Function):
    """mu with the covariance of T as its derivative, recomputed in chunks of points rather than stored."""

    @staticmethod
    def forward(ctx: Any, eta: Tensor, statistics: Tensor, log_weights: Tensor) -> Tensor:
        """Return mu (n, K)."""
        mu = torch.empty_like(eta)
        for part in _chunks(len(eta), len(statistics)):
            weights, _ = _posterior(eta[part], statistics, log_weights)
            mu[part] = (weights @ statistics) / weights.sum(1, keepdim=True)
        ctx.save_for_backward(eta, mu, statistics, log_weights)
        return mu

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Return Cov[T] times the incoming gradient (n, K)."""
        eta, mu, statistics, log_weights = ctx.saved_tensors
        out = torch.empty_like(eta)
        for part in _chunks(len(eta), len(statistics)):
            weights, _ = _posterior(eta[part], statistics, log_weights)
            total = weights.sum(1, keepdim=True)
            projected = weights.mul_(grads[0][part] @ statistics.T)
            mean = projected.sum(1, keepdim=True) / total
            out[part] = (projected @ statistics) / total - mean * mu[part]
        return out, None, None


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

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.statistics)

    def mu(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to the weighted mean of T (n, K)."""
        result: Tensor = _Mean.apply(eta, self.statistics, self.log_weights)
        return result

    def psi(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to ln sum_i w_i exp(eta . T_i) (n,), zero at eta = 0."""
        result: Tensor = _LogPartition.apply(eta, self.statistics, self.log_weights)
        return result

    def metric(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to the weighted covariance of T (n, K, K)."""
        metric = torch.empty(len(eta), eta.shape[1], eta.shape[1], dtype=torch.float64)
        for part in _chunks(len(eta), self.n_frames):
            weights, _ = _posterior(eta[part].detach(), self.statistics, self.log_weights)
            weights /= weights.sum(1, keepdim=True)
            mu = weights @ self.statistics
            for i in range(eta.shape[1]):
                second = weights @ (self.statistics[:, i : i + 1] * self.statistics)
                metric[part, i] = second - mu[:, i : i + 1] * mu
        return metric

    def effective_sample_size(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to (sum_i p_i)**2 / sum_i p_i**2 (n,): how many frames carry the posterior (Kish)."""
        size = torch.empty(len(eta), dtype=torch.float64)
        for part in _chunks(len(eta), self.n_frames):
            weights, _ = _posterior(eta[part].detach(), self.statistics, self.log_weights)
            size[part] = weights.sum(1).square() / weights.square().sum(1)
        return size

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
