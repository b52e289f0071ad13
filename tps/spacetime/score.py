"""The score and the denoiser of a family at a fixed noise level, in the features' own unit.

Centers c = x / alpha carry noise of variance e^-l: p_l is the density of the data blurred by that much.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tps.spacetime.denoiser import MAX_EXACT_DIVERGENCE
from tps.spacetime.family import Family

_PROBES = 8


def posterior_mean(family: Family, center: Tensor, log_snr: Tensor) -> Tensor:
    """Return what a denoiser returns: the mean of the clean features, given noisy ones.

    Parameters
    ----------
    family : Family
    center : Tensor (n, n_features)
        Noisy features over alpha, in the features' unit.
    log_snr : Tensor (n,)

    Returns
    -------
    Tensor (n, n_features)
        E[f | center], the first n_features entries of mu; differentiable.
    """
    return family.mu(family.spacetime.eta(center, log_snr))[:, : family.spacetime.n_features]


def score(family: Family, center: Tensor, log_snr: float) -> Tensor:
    """Return the score of the blurred density.

    Parameters
    ----------
    family : Family
    center : Tensor (n, n_features)
        In the features' unit.
    log_snr : float
        l; the blur has the variance e^-l.

    Returns
    -------
    Tensor (n, n_features)
        grad ln p_l = e^l (E[f | c] - c), in one over the features' unit; differentiable.

    References
    ----------
    Tweedie's formula: Efron, J. Am. Stat. Assoc. 106, 1602 (2011).
    """
    levels = torch.full((len(center),), log_snr, dtype=center.dtype)
    return levels.exp()[:, None] * (posterior_mean(family, center, levels) - center)


def divergence(field: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the divergence (n,) of a vector field at x (n, D), differentiable; probes (fixed) above 32 dimensions."""
    d = x.shape[1]
    if d <= MAX_EXACT_DIVERGENCE:
        probes = torch.eye(d, dtype=x.dtype)
    else:
        signs = torch.randint(0, 2, (_PROBES, d), generator=torch.Generator().manual_seed(0))
        probes = (2 * signs.to(x.dtype) - 1) / _PROBES**0.5
    with torch.enable_grad():
        leaf = x if x.requires_grad else x.detach().requires_grad_(True)
        copies = leaf.repeat(len(probes), 1)
        tests = probes.repeat_interleave(len(x), dim=0)
        (products,) = torch.autograd.grad((field(copies) * tests).sum(), copies, create_graph=True)
        total = (products * tests).sum(1).view(len(probes), len(x)).sum(0)
    return total if x.requires_grad else total.detach()
