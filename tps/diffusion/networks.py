"""Two networks for a molecule's torsions: the log-partition function ψ(η), and a plain denoiser."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tps.diffusion.schedule import alpha_sigma

_SCALES = (1.0, 4.0, 16.0)
_FEATURE_VARIANCE = 0.5  # of cos θ and of sin θ for a free torsion


def _mlp(n_in: int, width: int, depth: int, n_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(n_in, width), nn.SiLU()]
        n_in = width
    return nn.Sequential(*layers, nn.Linear(n_in, n_out))


def free_torsion_log_partition(eta: Tensor) -> Tensor:
    """Return Σ_i log I0(κ_i): ψ of torsions that turn freely, eta (..., 2 d) -> (...)."""
    kappa = (eta.unflatten(-1, (-1, 2)).square().sum(-1) + 1e-12).sqrt()
    return (torch.log(torch.special.i0e(kappa)) + kappa).sum(-1)


class LogPartitionNetwork(nn.Module):
    """ψ(η) of a molecule's torsions; its gradient is the denoiser.

    ψ = Σ_i log I0(κ_i) + MLP(η / sqrt(c² + κ²) for c in 1, 4, 16): the free torsions exactly, and what the molecule
    adds to them as a function that stays bounded however strong the tilt.

    Parameters
    ----------
    n_torsions, width, depth : int
    """

    def __init__(self, n_torsions: int, width: int = 128, depth: int = 3) -> None:
        super().__init__()
        self.n_torsions = n_torsions
        self.correction = _mlp(2 * n_torsions * len(_SCALES), width, depth, 1)

    def forward(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, 2 n_torsions) to ψ (n,), up to one constant for all η."""
        return free_torsion_log_partition(eta) + self.correction(bounded_inputs(eta)).squeeze(-1)


def bounded_inputs(eta: Tensor) -> Tensor:
    """Return η / sqrt(c² + κ²) at three scales c: (n, 2 d) -> (n, 6 d), each pair inside the unit disc."""
    pairs = eta.unflatten(-1, (-1, 2))
    kappa2 = pairs.square().sum(-1, keepdim=True)
    return torch.cat([(pairs / (c * c + kappa2).sqrt()).flatten(-2) for c in _SCALES], dim=-1)


def expectation(psi: nn.Module, eta: Tensor, *, create_graph: bool) -> Tensor:
    """Return μ = ∇ψ, shaped like eta (n, K)."""
    with torch.enable_grad():
        if not eta.requires_grad:
            eta = eta.detach().requires_grad_(True)
        (mu,) = torch.autograd.grad(psi(eta).sum(), eta, create_graph=create_graph)
    return mu


class DenoiserNetwork(nn.Module):
    """Posterior mean E[f | f_t, λ] of features (cos θ, sin θ), the model of the paper.

    Output = c_skip x + c_out MLP(x, λ), with c_skip and c_out the exact answer for independent Gaussian features of
    the variance of a free torsion (Karras et al. 2022, Table 1, for the variance-preserving process).

    Parameters
    ----------
    n_torsions, width, depth : int
    """

    def __init__(self, n_torsions: int, width: int = 128, depth: int = 3) -> None:
        super().__init__()
        self.n_torsions = n_torsions
        self.residual = _mlp(2 * n_torsions + 3, width, depth, 2 * n_torsions)

    def forward(self, x: Tensor, log_snr: Tensor) -> Tensor:
        """Map noisy features x (n, 2 n_torsions) at log_snr (n,) to E[f | x], shaped like x."""
        alpha, sigma = alpha_sigma(log_snr)
        total = alpha.square() * _FEATURE_VARIANCE + sigma.square()
        skip = alpha * _FEATURE_VARIANCE / total
        noise = torch.stack([log_snr / 4, torch.sin(log_snr / 2), torch.cos(log_snr / 2)], dim=-1)
        inputs = torch.cat([x / total.sqrt()[:, None], noise], dim=-1)
        return skip[:, None] * x + denoising_scale(log_snr)[:, None] * self.residual(inputs)


def denoising_scale(log_snr: Tensor) -> Tensor:
    """Return the error of the best linear denoiser [units of a feature], the natural scale of a denoising loss."""
    alpha, sigma = alpha_sigma(log_snr)
    return sigma * _FEATURE_VARIANCE**0.5 / (alpha.square() * _FEATURE_VARIANCE + sigma.square()).sqrt()
