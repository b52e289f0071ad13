"""A network for the log-partition function ψ(η) of features on circles that is convex by construction."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from tps.diffusion.bessel import bessel_ratio, log_bessel_i0, tabulated_bessel
from tps.diffusion.posterior import TiltedMoments

_SMOOTH = 1e-8  # keeps |η| differentiable at 0
_START_KAPPA = 20.0
_KAPPA_BOUNDS = (1.0, 60.0)  # a component narrower than 60 would stand for a single frame
_EMPTY_LOG_WEIGHT = -40.0  # of a component no frame belongs to
_EM_ITERATIONS = 15
_BLOCK = 128  # tilts at once in `moments`: what a processor's cache holds


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

    def moments(self, eta: Tensor) -> TiltedMoments:
        """Map natural parameters (n, 2 n_circles) to ψ, μ and Cov[T] in closed form: one pass, without derivatives."""
        with torch.no_grad():
            parts = [self._moments(block) for block in eta.detach().double().split(_BLOCK)]
        return TiltedMoments(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _moments(self, eta: Tensor) -> TiltedMoments:
        """Of few tilts: sums over components, whose angles are independent.

        Of one angle t = η_i + ξ_ji tilts T: E[T] = r t and E[T T'] = r + (1 - 2 r)/κ² t t' with κ = |t|, r = A(κ)/κ.
        All sums over j are of ξ and 1, since t = (1, η) (ξ, 1)'.
        """
        xi, around = (
            self.xi.double().movedim(1, 0),
            eta.unflatten(-1, (-1, 2)).movedim(1, 0),
        )  # (d, J or n, 2)
        own_square = xi.square().sum(-1) + _SMOOTH
        square = torch.baddbmm(own_square[:, None], around, 2 * xi.mT)
        square.add_(around.square().sum(-1, keepdim=True)).clamp_min_(_SMOOTH)
        kappa = square.sqrt()
        log_i0, stretch = tabulated_bessel(kappa)
        stretch.div_(kappa)
        own = torch.log_softmax(self.log_weights.double(), 0) - log_bessel_i0(own_square.sqrt()).sum(0)
        log_weight = log_i0.sum(0).add_(own)
        psi = torch.logsumexp(log_weight, dim=1)
        share = log_weight.sub_(psi[:, None]).exp_()
        basis = torch.cat([xi, torch.ones_like(xi[..., :1])], dim=-1)
        lift = torch.cat(
            [torch.eye(2, dtype=torch.float64).expand(*around.shape, 2), around[..., None]], dim=-1
        )
        first = share * stretch  # (d, n, J)
        mean = first @ basis
        mu = (lift @ mean[..., None])[..., 0].movedim(0, 1)
        second = -mu[:, :, :, None, None] * mu[:, None, None]  # (n, d, 2, d, 2)
        for i in range(self.n_circles):
            second[:, i, :, i] += torch.diag_embed(mean[i, :, 2:].expand(-1, 2))
            for k in range(i, self.n_circles):
                weight = first[i] * stretch[k] if k != i else share * (1 - 2 * stretch[i]) / square[i]
                pairs = (basis[i][:, :, None] * basis[k][:, None]).flatten(1)
                block = lift[i] @ (weight @ pairs).unflatten(1, (3, 3)) @ lift[k].mT
                second[:, i, :, k] += block
                if k != i:
                    second[:, k, :, i] += block.mT
        return TiltedMoments(psi, mu.flatten(1), second.flatten(3).flatten(1, 2))


def farthest_points(points: Tensor, first: int, n: int) -> Tensor:
    """Return n of the points (n_points, D), each the farthest from those before it, beginning with index `first`."""
    chosen = [first]
    distance = (points - points[first]).square().sum(1)
    for _ in range(n - 1):
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (points - points[chosen[-1]]).square().sum(1))
    return points[chosen]
