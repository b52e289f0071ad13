"""A denoiser of features on circles that is a true gradient by construction: that of a convex scalar."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tps.diffusion.bessel import log_bessel_i0
from tps.diffusion.schedule import alpha_sigma

_SMOOTH = 1e-8  # keeps |η| differentiable at 0
_KAPPA_RANGE = (2.0, 60.0)  # of the units' own tilts at the start
_GOLDEN = (math.sqrt(5) - 1) / 2  # turns that spread points over a circle, however many
_START_LOGIT = 6.0  # a row of the first layer begins with most of its weight on one unit per angle


class DenoiserNetwork(nn.Module):
    """Posterior mean E[f | f_t, λ] of features f = (cos θ, sin θ), the gradient of a convex scalar in η.

        E[f | η] = ∇Ψ(η),    η = e^λ f_t / α

    Ψ is an input-convex network. Its units are ln I0(|η_i + ξ|), the answer for one angle that is tilted already, of
    `width` tilts ξ for each angle. Layers then take turns: averages h_j = Σ_k P_jk u_k, whose weights are positive and
    sum to 1 for each angle, and soft maxima u_m = ln Σ_j B_mj e^h_j; the last one is Ψ. So whatever the parameters, Ψ
    is convex, no chord (η - η')·(μ - μ') is negative, and every angle's mean (cos θ, sin θ) lies in the unit disc.

    Parameters
    ----------
    n_circles, width, depth : int
        `depth` soft maxima.

    References
    ----------
    Amos, Xu and Kolter, ICML 2017 (input-convex networks).
    """

    def __init__(self, n_circles: int, width: int = 128, depth: int = 3) -> None:
        super().__init__()
        self.n_circles = n_circles
        order = torch.stack([torch.randperm(width) for _ in range(n_circles)])
        angle = 2 * math.pi * _GOLDEN * torch.arange(width)
        low, high = (math.log(kappa) for kappa in _KAPPA_RANGE)
        kappa = (low + (high - low) * torch.rand(n_circles, width)).exp()
        self.xi = nn.Parameter(kappa[..., None] * torch.stack([angle.cos(), angle.sin()], dim=-1))
        self.first = nn.Parameter(_START_LOGIT * nn.functional.one_hot(order.T, width).float())
        sizes = [width] * depth + [1]
        self.maxima = nn.ParameterList(torch.randn(n, width) for n in sizes[1:])
        self.averages = nn.ParameterList(torch.randn(width, width) for _ in sizes[2:])

    def potential(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, 2 n_circles) to the scalar whose gradient the denoiser is (n,)."""
        tilted = eta.unflatten(-1, (-1, 1, 2)) + self.xi
        units = log_bessel_i0((tilted.square().sum(-1) + _SMOOTH).sqrt())
        units = units - log_bessel_i0((self.xi.square().sum(-1) + _SMOOTH).sqrt())
        value = torch.einsum("nik,jik->nj", units, torch.softmax(self.first, dim=-1))
        for number, logits in enumerate(self.maxima):
            if number:
                value = value @ torch.softmax(self.averages[number - 1], dim=-1).T
            value = _soft_maxima(value, logits)
        return value[:, 0]

    def mu(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, 2 n_circles) to E[f | η] of the same shape, differentiable."""
        learning = torch.is_grad_enabled()
        with torch.enable_grad():
            leaf = eta if eta.requires_grad else eta.detach().requires_grad_(True)
            (mean,) = torch.autograd.grad(self.potential(leaf).sum(), leaf, create_graph=learning)
        return mean

    def forward(self, x: Tensor, log_snr: Tensor) -> Tensor:
        """Map noisy features x (n, 2 n_circles) at log_snr (n,) to E[f | x], shaped like x."""
        alpha, _ = alpha_sigma(log_snr)
        return self.mu((log_snr.exp() / alpha)[:, None] * x)


def _soft_maxima(value: Tensor, logits: Tensor) -> Tensor:
    """Return ln Σ_j B_mj e^h_j (n, m) of h (n, j), B the softmax of logits (m, j) over j."""
    largest = value.detach().amax(dim=1, keepdim=True)
    return largest + ((value - largest).exp() @ torch.softmax(logits, dim=1).T).log()
