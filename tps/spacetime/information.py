"""Divergences of an exponential family."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tps.spacetime.family import Family


def kl_divergence(family: Family, eta_1: Tensor, eta_2: Tensor) -> Tensor:
    """Return KL(p(. | eta_1) || p(. | eta_2)) [nats], the Bregman divergence of psi from eta_2 to eta_1.

    Parameters
    ----------
    family : Family
        One that knows psi.
    eta_1, eta_2 : Tensor (n, K)

    Returns
    -------
    Tensor (n,)
        (eta_1 - eta_2) . mu_1 - psi_1 + psi_2.
    """
    gap = ((eta_1 - eta_2) * family.mu(eta_1)).sum(-1)
    return gap - family.psi(eta_1) + family.psi(eta_2)


def symmetrised_kl(family: Family, eta_1: Tensor, eta_2: Tensor) -> Tensor:
    """Return KL(1 || 2) + KL(2 || 1) = (eta_1 - eta_2) . (mu_1 - mu_2) (n,) [nats]; needs no psi."""
    return ((eta_1 - eta_2) * (family.mu(eta_1) - family.mu(eta_2))).sum(-1)


def kl_from_point(family: Family, target: Tensor, eta: Tensor, n_nodes: int = 16) -> Tensor:
    """Return KL(p(. | target) || p(. | eta)) [nats] from mu alone, integrated along straight lines in eta.

    Parameters
    ----------
    family : Family
    target : Tensor (K,)
    eta : Tensor (n, K)
    n_nodes : int
        Gauss-Legendre nodes per line.

    Returns
    -------
    Tensor (n,)
        The integral of (eta - target) . (mu(target + t (eta - target)) - mu(target)) dt over [0, 1].

    References
    ----------
    Karczewski et al., ICLR 2026, Eq. 62, from z* itself.
    """
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    step = eta - target
    start = family.mu(target[None])
    total = torch.zeros(len(eta), dtype=eta.dtype)
    for t, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        total = total + float(weight) * (step * (family.mu(target + float(t) * step) - start)).sum(-1)
    return total


def kl_along_curve(family: Family, target: Tensor, eta: Tensor, mu: Tensor) -> Tensor:
    """Return KL(p(. | target) || p(. | eta_k)) [nats] at every point of a curve, differentiable.

    Exact where psi is known. Elsewhere Eq. 62 is integrated from the target to the first point along a
    straight line, and from there along the curve by the trapezoidal rule.

    Parameters
    ----------
    family : Family
    target : Tensor (K,)
    eta, mu : Tensor (n_points, K)

    Returns
    -------
    Tensor (n_points,)
    """
    mu_target = family.mu(target[None])[0].detach()
    if family.has_psi:
        psi_target = family.psi(target[None])[0].detach()
        return ((target - eta) * mu_target).sum(-1) - psi_target + family.psi(eta)
    first = kl_from_point(family, target, eta[:1], n_nodes=32).detach()
    steps = (eta.diff(dim=0) * ((mu[1:] + mu[:-1]) / 2 - mu_target)).sum(-1)
    return torch.cat([first, first + steps.cumsum(0)])
