"""A network for the log-partition function ψ(η) that is convex by construction: that of a mixture of products."""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor, nn

from tps.diffusion.bessel import bessel_ratio, log_bessel_i0, tabulated_bessel
from tps.diffusion.blocks import Blocks
from tps.diffusion.gaussians import tilted_gaussians
from tps.diffusion.model import Model
from tps.diffusion.posterior import TiltedMoments
from tps.diffusion.spread import farthest_points

SMOOTH = 1e-8  # keeps |η| differentiable at 0
_START_KAPPA = 20.0
_KAPPA_BOUNDS = (1.0, 60.0)  # a component narrower than 60 would stand for a single frame
_EMPTY_LOG_WEIGHT = -40.0  # of a component no frame belongs to
_EM_ITERATIONS = 15
_BLOCK = 128  # tilts at once in `moments`: what a processor's cache holds


class LogPartitionNetwork(Model):
    """ψ(η) as a smooth maximum of log-partition functions that are known: those of tilted components.

        ψ(η) = log Σ_j w_j Π_i I0(|η_i + ξ_ji|) / I0(|ξ_ji|) Π_k Z_jk(η),    Σ_j w_j = 1

    where component j is a von Mises distribution with parameter ξ_ji of every angle i and a Gaussian of mean m_jk and
    precision p_jk of every feature k on a line, whose tilted normaliser is Z_jk. This is the exact ψ of *some* density,
    whatever the parameters: so the metric is a covariance, no chord is negative, ψ(0) = 0 makes KL divergences
    absolute, and far from the data nothing can run away.

    Parameters
    ----------
    n_circles, n_lines, n_components : int
    """

    has_psi = True

    def __init__(self, n_circles: int, n_lines: int = 0, n_components: int = 256) -> None:
        super().__init__(n_circles, n_lines, n_components=n_components)
        self.xi = nn.Parameter(torch.zeros(n_components, n_circles, 2))
        self.log_weights = nn.Parameter(torch.zeros(n_components))
        if n_lines:
            self.centers = nn.Parameter(torch.zeros(n_components, n_lines))
            self.log_precisions = nn.Parameter(torch.zeros(n_components, n_lines))
            self.double()  # |x|² and its tilt may be thousands, of which ψ keeps the difference

    @classmethod
    def from_frames(cls, blocks: Blocks, statistics: Tensor, log_weights: Tensor, n_components: int) -> Self:
        """Return a mixture fitted to the frames by expectation maximisation.

        Each step treats every component by the frames around it alone, so a component in a region of weight e^-12 is
        placed as well as one in a basin. Centres start spread over the frames by farthest-point sampling.

        Parameters
        ----------
        blocks : Blocks
        statistics : (n_frames, K) tensor
        log_weights : (n_frames,) tensor
            Normalised.
        n_components : int
            At most n_frames are used.
        """
        n_components = min(n_components, len(statistics))
        network = cls(blocks.n_circles, blocks.n_lines, n_components).to(statistics.device)
        features = statistics[:, : blocks.n_means]
        chosen = farthest_points(features, int(log_weights.argmax()), n_components)
        spacing = 0.0
        with torch.no_grad():
            network.xi.copy_(_START_KAPPA * blocks.split(statistics).pairs[chosen])
            if blocks.n_lines:
                lines = blocks.split(statistics).lines
                spacing = _mean_square_gap(features, chosen) / blocks.n_means
                network.centers.copy_(lines[chosen])
                network.log_precisions.fill_(-math.log(spacing))
            for _ in range(_EM_ITERATIONS):
                network._maximise_expectation(statistics.to(network.xi.dtype), log_weights, spacing)
        return network

    def _maximise_expectation(self, statistics: Tensor, log_weights: Tensor, spacing: float) -> None:
        """Do one step of expectation maximisation on weighted frames (Banerjee et al., JMLR 6, 1345 (2005)).

        A component of few frames keeps part of the variance `spacing` on lines, as if it held one frame more.
        """
        density = self._log_density(statistics) + torch.log_softmax(self.log_weights, 0)
        log_share = torch.log_softmax(density, dim=1) + log_weights[:, None]
        log_mass = torch.logsumexp(log_share, dim=0)
        # of each component's own mass, so no component is too light to see
        share = torch.exp(log_share - log_mass)
        pairs, lines, _ = self.blocks.split(share.T.to(statistics.dtype) @ statistics)
        length = pairs.norm(dim=-1, keepdim=True).clamp(1e-6, 1 - 1e-6)
        kappa = (length * (2 - length.square()) / (1 - length.square())).clamp(*_KAPPA_BOUNDS)
        self.xi.copy_(kappa * pairs / length)
        self.log_weights.copy_(log_mass.clamp_min(_EMPTY_LOG_WEIGHT))
        if self.blocks.n_lines:
            frames = self.blocks.split(statistics).lines
            variance = (share.T @ frames.square() - lines.square()).clamp_min(0)
            held = 1 / share.square().sum(0)[:, None]
            self.centers.copy_(lines)
            self.log_precisions.copy_(-((held * variance + spacing) / (held + 1)).log())

    def _log_density(self, statistics: Tensor) -> Tensor:
        """Return the logarithm of each component's density (n, J) at T (n, K), up to a constant."""
        pairs, lines, _ = self.blocks.split(statistics)
        found = pairs.flatten(1) @ self.xi.flatten(1).T - self._own()
        if self.blocks.n_lines:
            gap = lines[:, None] - self.centers
            found = found + 0.5 * (self.log_precisions - gap.square() * self.log_precisions.exp()).sum(-1)
        return found

    def _own(self) -> Tensor:
        """Return log Π I0(|ξ|) of each component (J,)."""
        return log_bessel_i0((self.xi.square().sum(-1) + SMOOTH).sqrt()).sum(-1)

    def _components(self, eta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return η + ξ (n, J, d, 2), its norm κ (n, J, d), and the log-weight of each tilted component (n, J)."""
        tilted = self.blocks.split(eta).pairs[:, None] + self.xi
        kappa = (tilted.square().sum(-1) + SMOOTH).sqrt()
        log_weight = torch.log_softmax(self.log_weights, 0) - self._own() + log_bessel_i0(kappa).sum(-1)
        if self.blocks.n_lines:
            log_weight = log_weight + self._gaussians(eta)[2].sum(-1)
        return tilted, kappa, log_weight

    def _gaussians(self, eta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return means, variances and log-normalisers of every component's tilted Gaussians, (n, J, n_lines) each."""
        _, slope, last = self.blocks.split(eta)
        return tilted_gaussians(slope[:, None], last[:, None], self.centers, self.log_precisions.exp())

    def forward(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, K) to ψ (n,)."""
        return torch.logsumexp(self._components(eta)[2], dim=1)

    def mu(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, K) to ∇ψ = E[T | η] (n, K), differentiable."""
        tilted, kappa, log_weight = self._components(eta)
        share = torch.softmax(log_weight, dim=1)
        pairs = torch.einsum("nj,njd,njdc->ndc", share, bessel_ratio(kappa) / kappa, tilted).flatten(1)
        if not self.blocks.n_lines:
            return pairs
        mean, variance, _ = self._gaussians(eta)
        lines = torch.einsum("nj,njk->nk", share, mean)
        square = (share * (mean.square() + variance).sum(-1)).sum(1, keepdim=True)
        return torch.cat([pairs, lines, square], dim=1)

    def moments(self, eta: Tensor) -> TiltedMoments:
        """Map natural parameters (n, K) to ψ, μ and Cov[T] in closed form: one pass, without derivatives."""
        with torch.no_grad():
            parts = [self._moments(block) for block in eta.detach().double().split(_BLOCK)]
        return TiltedMoments(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _moments(self, eta: Tensor) -> TiltedMoments:
        """Of few tilts: sums over components, whose features are independent.

        Of one angle t = η_i + ξ_ji tilts T: E[T] = r t and E[T T'] = r + (1 - 2 r)/κ² t t' with κ = |t|, r = A(κ)/κ.
        All sums over j are of ξ and 1, since t = (1, η) (ξ, 1)'.
        """
        d = self.blocks.n_circles
        # (d, J or n, 2)
        xi, around = self.xi.double().movedim(1, 0), self.blocks.split(eta).pairs.movedim(1, 0)
        own_square = xi.square().sum(-1) + SMOOTH
        square = torch.baddbmm(own_square[:, None], around, 2 * xi.mT)
        square.add_(around.square().sum(-1, keepdim=True)).clamp_min_(SMOOTH)
        kappa = square.sqrt()
        log_i0, stretch = tabulated_bessel(kappa)
        stretch.div_(kappa)
        own = torch.log_softmax(self.log_weights.double(), 0) - log_bessel_i0(own_square.sqrt()).sum(0)
        log_weight = log_i0.sum(0).add_(own)
        gaussians = self._gaussians(eta) if self.blocks.n_lines else None
        if gaussians:
            log_weight.add_(gaussians[2].sum(-1))
        psi = torch.logsumexp(log_weight, dim=1)
        share = log_weight.sub_(psi[:, None]).exp_()
        basis = torch.cat([xi, torch.ones_like(xi[..., :1])], dim=-1)
        lift = torch.cat(
            [torch.eye(2, dtype=torch.float64).expand(*around.shape, 2), around[..., None]], dim=-1
        )
        first = share * stretch  # (d, n, J)
        mean = first @ basis
        mu = (lift @ mean[..., None])[..., 0].movedim(0, 1).flatten(1)
        second = eta.new_zeros(len(eta), eta.shape[1], eta.shape[1])
        at = [slice(2 * i, 2 * i + 2) for i in range(d)]
        for i in range(d):
            second[:, at[i], at[i]] += torch.diag_embed(mean[i, :, 2:].expand(-1, 2))
            for k in range(i, d):
                weight = first[i] * stretch[k] if k != i else share * (1 - 2 * stretch[i]) / square[i]
                pairs = (basis[i][:, :, None] * basis[k][:, None]).flatten(1)
                block = lift[i] @ (weight @ pairs).unflatten(1, (3, 3)) @ lift[k].mT
                second[:, at[i], at[k]] += block
                if k != i:
                    second[:, at[k], at[i]] += block.mT
        if gaussians:
            means, within = _line_moments(*gaussians[:2])
            weighted = share[..., None] * means
            mu = torch.cat([mu, weighted.sum(1)], dim=1)
            second[:, 2 * d :, 2 * d :] = weighted.mT @ means + torch.einsum("nj,njkl->nkl", share, within)
            for i in range(d):
                cross = lift[i] @ (basis[i].T @ (stretch[i][..., None] * weighted))
                second[:, at[i], 2 * d :], second[:, 2 * d :, at[i]] = cross, cross.mT
        return TiltedMoments(psi, mu, second - mu[:, :, None] * mu[:, None])


def _line_moments(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (n, J, D + 1) and covariance (n, J, D + 1, D + 1) of (x, |x|²) of independent Gaussians (n, J, D)."""
    means = torch.cat([mean, (mean.square() + variance).sum(-1, keepdim=True)], dim=-1)
    cross = 2 * mean * variance
    within = torch.diag_embed(torch.cat([variance, torch.zeros_like(cross[..., :1])], dim=-1))
    within[..., :-1, -1], within[..., -1, :-1] = cross, cross
    within[..., -1, -1] = (2 * variance.square() + 4 * mean.square() * variance).sum(-1)
    return means, within


def _mean_square_gap(points: Tensor, chosen: Tensor) -> float:
    """Return the mean square of the distance from points (n, D) to the nearest of those chosen."""
    gaps = [torch.cdist(part, points[chosen]).amin(1).square() for part in points.split(4096)]
    return max(float(torch.cat(gaps).mean()), 1e-12)
