"""A network for the log-partition function ψ(η) of features on circles that is convex by construction."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

_SMOOTH = 1e-8  # keeps |η| differentiable at 0
_START_KAPPA = 20.0
_KAPPA_BOUNDS = (1.0, 60.0)  # a component narrower than 60 would stand for a single frame
_EMPTY_LOG_WEIGHT = -40.0  # of a component no frame belongs to
_EM_ITERATIONS = 15


class _LogBesselI0(torch.autograd.Function):
    """log I0(κ), with I1/I0 as its derivative."""

    @staticmethod
    def forward(ctx: Any, kappa: Tensor) -> Tensor:
        ctx.save_for_backward(kappa)
        return torch.log(torch.special.i0e(kappa)) + kappa

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (kappa,) = ctx.saved_tensors
        return grads[0] * bessel_ratio(kappa)


class _BesselRatio(torch.autograd.Function):
    """A(κ) = I1(κ)/I0(κ), with A' = 1 - A/κ - A²."""

    @staticmethod
    def forward(ctx: Any, kappa: Tensor) -> Tensor:
        ratio = torch.special.i1e(kappa) / torch.special.i0e(kappa)
        ctx.save_for_backward(kappa, ratio)
        return ratio

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        kappa, ratio = ctx.saved_tensors
        return grads[0] * (1 - ratio / kappa - ratio.square())


def log_bessel_i0(kappa: Tensor) -> Tensor:
    """Return log I0(κ), elementwise: ψ of one free angle (Mardia and Jupp, Directional Statistics, 3.5.17)."""
    value: Tensor = _LogBesselI0.apply(kappa)
    return value


def bessel_ratio(kappa: Tensor) -> Tensor:
    """Return I1(κ)/I0(κ), elementwise: the mean resultant length of one von Mises distribution."""
    value: Tensor = _BesselRatio.apply(kappa)
    return value


class LogPartitionNetwork(nn.Module):
    """ψ(η) as a smooth maximum of the log-partition functions of tilted von Mises distributions.

        ψ(η) = log Σ_j w_j Π_i I0(|η_i + ξ_ji|) / I0(|ξ_ji|),    Σ_j w_j = 1

    with centres ξ and weights w learned through ∇ψ. This is the exact ψ of *some* density (a mixture of products of
    von Mises distributions), whatever the parameters: so the metric is a covariance, no chord is negative, ψ(0) = 0
    makes KL divergences absolute, and far from the data nothing can run away.

    Parameters
    ----------
    n_circles, n_components : int
    """

    def __init__(self, n_circles: int, n_components: int = 256) -> None:
        super().__init__()
        self.n_circles, self.n_components = n_circles, n_components
        self.xi = nn.Parameter(torch.zeros(n_components, n_circles, 2))
        self.log_weights = nn.Parameter(torch.zeros(n_components))

    @classmethod
    def from_frames(cls, statistics: Tensor, log_weights: Tensor, n_components: int) -> Self:
        """Start from a mixture fitted to the frames by expectation maximisation.

        Each step treats every component by the frames around it alone, so a component in a region of weight e^-12 is
        placed as well as one in a basin. Centres start spread over the frames by farthest-point sampling.

        Parameters
        ----------
        statistics : (n_frames, 2 n_circles) tensor
        log_weights : (n_frames,) tensor
            Normalised.
        n_components : int
            At most n_frames are used.
        """
        n_components = min(n_components, len(statistics))
        network = cls(statistics.shape[1] // 2, n_components).to(statistics.device)
        centres = farthest_points(statistics, int(log_weights.argmax()), n_components)
        with torch.no_grad():
            network.xi.copy_(_START_KAPPA * centres.unflatten(1, (-1, 2)))
            for _ in range(_EM_ITERATIONS):
                network._maximise_expectation(statistics, log_weights)
        return network

    def _maximise_expectation(self, statistics: Tensor, log_weights: Tensor) -> None:
        """Do one step of expectation maximisation on weighted frames (Banerjee et al., JMLR 6, 1345 (2005))."""
        own = log_bessel_i0((self.xi.square().sum(-1) + _SMOOTH).sqrt()).sum(-1)
        density = statistics @ self.xi.flatten(1).T + torch.log_softmax(self.log_weights, 0) - own
        log_share = torch.log_softmax(density, dim=1) + log_weights[:, None]
        log_mass = torch.logsumexp(log_share, dim=0)
        share = torch.exp(
            log_share - log_mass
        )  # of each component's own mass, so no component is too light to see
        resultant = (share.T @ statistics).unflatten(1, (-1, 2))
        length = resultant.norm(dim=-1, keepdim=True).clamp(1e-6, 1 - 1e-6)
        kappa = (length * (2 - length.square()) / (1 - length.square())).clamp(*_KAPPA_BOUNDS)
        self.xi.copy_(kappa * resultant / length)
        self.log_weights.copy_(log_mass.clamp_min(_EMPTY_LOG_WEIGHT))

    def _components(self, eta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return η + ξ (n, J, d, 2), its norm κ (n, J, d), and the log-weight of each tilted component (n, J)."""
        tilted = eta.unflatten(-1, (-1, 2))[:, None] + self.xi
        kappa = (tilted.square().sum(-1) + _SMOOTH).sqrt()
        own = log_bessel_i0((self.xi.square().sum(-1) + _SMOOTH).sqrt()).sum(-1)
        log_weight = torch.log_softmax(self.log_weights, 0) - own + log_bessel_i0(kappa).sum(-1)
        return tilted, kappa, log_weight

    def forward(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, 2 n_circles) to ψ (n,)."""
        return torch.logsumexp(self._components(eta)[2], dim=1)

    def mu(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, 2 n_circles) to μ = ∇ψ of the same shape, differentiable."""
        tilted, kappa, log_weight = self._components(eta)
        share = torch.softmax(log_weight, dim=1)
        return torch.einsum("nj,njd,njdc->ndc", share, bessel_ratio(kappa) / kappa, tilted).flatten(1)


def farthest_points(points: Tensor, first: int, n: int) -> Tensor:
    """Return n of the points (n_points, D), each the farthest from those before it, beginning with index `first`."""
    chosen = [first]
    distance = (points - points[first]).square().sum(1)
    for _ in range(n - 1):
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (points - points[chosen[-1]]).square().sum(1))
    return points[chosen]
