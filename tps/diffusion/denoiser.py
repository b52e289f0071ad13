"""A plain denoiser of features on circles, the model of the paper."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from tps.diffusion.schedule import alpha_sigma

_FEATURE_VARIANCE = 0.5  # of cos θ and of sin θ of a free angle


class DenoiserNetwork(nn.Module):
    """Posterior mean E[f | f_t, λ] of features f = (cos θ, sin θ).

    Output = c_skip x + c_out MLP(x, λ), with c_skip and c_out the exact answer for independent Gaussian features of
    the variance of a free angle (Karras et al. 2022, Table 1, for the variance-preserving process).

    Parameters
    ----------
    n_circles, width, depth : int
    """

    def __init__(self, n_circles: int, width: int = 128, depth: int = 3) -> None:
        super().__init__()
        self.n_circles = n_circles
        sizes = [2 * n_circles + 3, *[width] * depth]
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.SiLU()]
        self.residual = nn.Sequential(*layers, nn.Linear(width, 2 * n_circles))

    def forward(self, x: Tensor, log_snr: Tensor) -> Tensor:
        """Map noisy features x (n, 2 n_circles) at log_snr (n,) to E[f | x], shaped like x."""
        alpha, sigma = alpha_sigma(log_snr)
        total = alpha.square() * _FEATURE_VARIANCE + sigma.square()
        skip = alpha * _FEATURE_VARIANCE / total
        noise = torch.stack([log_snr / 4, torch.sin(log_snr / 2), torch.cos(log_snr / 2)], dim=-1)
        inputs = torch.cat([x / total.sqrt()[:, None], noise], dim=-1)
        return skip[:, None] * x + linear_denoising_error(log_snr)[:, None] * self.residual(inputs)


def linear_denoising_error(log_snr: Tensor) -> Tensor:
    """Return the r.m.s. error of the best linear denoiser: the natural scale of a denoising loss."""
    alpha, sigma = alpha_sigma(log_snr)
    return sigma * _FEATURE_VARIANCE**0.5 / (alpha.square() * _FEATURE_VARIANCE + sigma.square()).sqrt()
