"""A denoiser of features on circles that is conservative by construction: the gradient of a scalar."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from tps.diffusion.bessel import log_bessel_i0
from tps.diffusion.schedule import alpha_sigma

_SMOOTH = 1e-8  # keeps |η| differentiable at 0
_STIFFNESSES = (1.0, 3.0, 10.0, 30.0)  # at which an angle's tilt changes what the network sees


class DenoiserNetwork(nn.Module):
    """Posterior mean E[f | f_t, λ] of features f = (cos θ, sin θ), the gradient of a scalar potential in η.

        E[f | η] = ∇ [ Σ_i log I0(κ_i) + MLP(η) ],    η = e^λ f_t / α

    The first term is the exact answer for free angles; the MLP sees η_i / sqrt(c² + κ_i²) at several stiffnesses c, so
    that its gradient fades as 1/κ where tilts are strong, as it must. The Jacobian is a Hessian, hence symmetric; it is
    positive only as far as the fit is good.

    Parameters
    ----------
    n_circles, width, depth : int
    """

    def __init__(self, n_circles: int, width: int = 128, depth: int = 3) -> None:
        super().__init__()
        self.n_circles = n_circles
        sizes = [2 * n_circles * len(_STIFFNESSES), *[width] * depth]
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.SiLU()]
        self.correction = nn.Sequential(*layers, nn.Linear(width, 1, bias=False))

    def potential(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, 2 n_circles) to the scalar whose gradient the denoiser is (n,)."""
        pairs = eta.unflatten(-1, (-1, 2))
        kappa2 = pairs.square().sum(-1, keepdim=True)
        seen = torch.cat([(pairs / (c * c + kappa2).sqrt()).flatten(1) for c in _STIFFNESSES], dim=1)
        free = log_bessel_i0((kappa2[..., 0] + _SMOOTH).sqrt()).sum(-1)
        correction: Tensor = self.correction(seen)
        return free + correction[:, 0]

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
