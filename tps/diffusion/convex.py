"""A denoiser that is a true gradient by construction: that of a convex scalar."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tps.diffusion.bessel import log_bessel_i0
from tps.diffusion.blocks import Blocks
from tps.diffusion.gaussians import tilted_gaussians
from tps.diffusion.model import Model

_SMOOTH = 1e-8  # keeps |η| differentiable at 0
_KAPPA_RANGE = (2.0, 60.0)  # of the units' own tilts at the start
_GOLDEN = (math.sqrt(5) - 1) / 2  # turns that spread points over a circle, however many
_START_LOGIT = 6.0  # a row of the first layer begins with most of its weight on one unit per feature


class ConvexNetwork(Model):
    """E[T | η] as the gradient of a convex scalar ψ(η), so that E[f | f_t, λ] is that at η = (e^λ f_t / α; -e^λ / 2).

    ψ is an input-convex network of units that are the answers for one feature each: see `Units`. Layers then take
    turns: averages h_j = Σ_k P_jk u_k, whose weights are positive and sum to 1 for each feature, and soft maxima
    u_m = ln Σ_j B_mj e^h_j; the last one is ψ. So whatever the parameters, ψ is convex, no chord (η - η')·(μ - μ') is
    negative, and every angle's mean (cos θ, sin θ) lies in the unit disc.

    Parameters
    ----------
    n_circles, n_lines, width, depth : int
        `width` units of each feature, and `depth` soft maxima.

    References
    ----------
    Amos, Xu and Kolter, ICML 2017 (input-convex networks).
    """

    has_psi = True

    def __init__(self, n_circles: int, n_lines: int = 0, width: int = 128, depth: int = 3) -> None:
        super().__init__(n_circles, n_lines, width=width, depth=depth)
        n_features = n_circles + n_lines
        order = torch.stack([torch.randperm(width) for _ in range(n_features)])
        self.units = Units(self.blocks, width)
        self.first = nn.Parameter(_START_LOGIT * nn.functional.one_hot(order.T, width).float())
        sizes = [width] * depth + [1]
        self.maxima = nn.ParameterList(torch.randn(n, width) for n in sizes[1:])
        self.averages = nn.ParameterList(torch.randn(width, width) for _ in sizes[2:])
        if n_lines:
            self.double()  # |x|² and its tilt may be thousands, of which ψ keeps the difference

    def potential(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, K) to the scalar (n,), whatever it is at η = 0."""
        value = torch.einsum("nik,jik->nj", self.units(eta), torch.softmax(self.first, dim=-1))
        for number, logits in enumerate(self.maxima):
            if number:
                value = value @ torch.softmax(self.averages[number - 1], dim=-1).T
            value = _soft_maxima(value, logits)
        return value[:, 0]

    def forward(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, K) to ψ (n,), zero at η = 0."""
        return self.potential(eta) - self.potential(torch.zeros_like(eta[:1]))

    def mu(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, K) to E[T | η] of the same shape, differentiable."""
        learning = torch.is_grad_enabled()
        with torch.enable_grad():
            leaf = eta if eta.requires_grad else eta.detach().requires_grad_(True)
            (mean,) = torch.autograd.grad(self.potential(leaf).sum(), leaf, create_graph=learning)
        return mean


class Units(nn.Module):
    """Log-partition functions of one feature each: ln I0(|η_i + ξ|) / I0(|ξ|), and ln E[e^(a x + b x²)] of Gaussians.

    Parameters
    ----------
    blocks : Blocks
    width : int
        Units of each feature.
    """

    def __init__(self, blocks: Blocks, width: int) -> None:
        super().__init__()
        self.blocks = blocks
        angle = 2 * math.pi * _GOLDEN * torch.arange(width)
        low, high = (math.log(kappa) for kappa in _KAPPA_RANGE)
        kappa = (low + (high - low) * torch.rand(blocks.n_circles, width)).exp()
        self.xi = nn.Parameter(kappa[..., None] * torch.stack([angle.cos(), angle.sin()], dim=-1))
        if blocks.n_lines:
            place = torch.special.ndtri((torch.arange(width) + 0.5) / width)
            self.centers = nn.Parameter(place.repeat(blocks.n_lines, 1))
            spread = low + (high - low) * torch.rand(blocks.n_lines, width)
            self.log_precisions = nn.Parameter(spread)

    def fit(self, lines: Tensor) -> float:
        """Move the units on lines to where frames (n, n_lines) are; return the mean standard deviation of these."""
        spread, mean = torch.std_mean(lines, dim=0, keepdim=True)
        with torch.no_grad():
            self.centers.mul_(spread.T).add_(mean.T)
            self.log_precisions.sub_(2 * spread.T.log())
        return float(spread.mean())

    def forward(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, K) to the units (n, n_circles + n_lines, width)."""
        pairs, lines, last = self.blocks.split(eta)
        found = log_bessel_i0(((pairs[:, :, None] + self.xi).square().sum(-1) + _SMOOTH).sqrt())
        found = found - log_bessel_i0((self.xi.square().sum(-1) + _SMOOTH).sqrt())
        if not self.blocks.n_lines:
            return found
        precisions = self.log_precisions.exp()
        gaussians = tilted_gaussians(lines[..., None], last[..., None], self.centers, precisions)[2]
        return torch.cat([found, gaussians], dim=1)


def _soft_maxima(value: Tensor, logits: Tensor) -> Tensor:
    """Return ln Σ_j B_mj e^h_j (n, m) of h (n, j), B the softmax of logits (m, j) over j."""
    largest = value.detach().amax(dim=1, keepdim=True)
    return largest + ((value - largest).exp() @ torch.softmax(logits, dim=1).T).log()
