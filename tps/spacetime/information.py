"""Divergences of an exponential family."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tps.errors import CurveError
from tps.spacetime.family import Family, fisher_metric


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

    Raises
    ------
    ParameterError
        If the family does not know psi: see `kl_from_point`.
    """
    gap = ((eta_1 - eta_2) * family.mu(eta_1)).sum(-1)
    return gap - family.psi(eta_1) + family.psi(eta_2)


def symmetrised_kl(family: Family, eta_1: Tensor, eta_2: Tensor) -> Tensor:
    """Return KL(p_1 || p_2) + KL(p_2 || p_1) [nats], which needs no psi.

    Parameters
    ----------
    family : Family
    eta_1, eta_2 : Tensor (n, K)

    Returns
    -------
    Tensor (n,)
        (eta_1 - eta_2) . (mu_1 - mu_2).
    """
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


def integrated_psi(eta: Tensor, mu: Tensor, about: Tensor | float = 0.0) -> Tensor:
    """Return psi along a curve, less psi of its first point, by integrating mu . d eta (trapezoidal rule).

    Parameters
    ----------
    eta, mu : Tensor (n_points, K)
    about : Tensor (K,), optional
        Expectation parameters to take off mu; none unless given.

    Returns
    -------
    Tensor (n_points,)
        Zero at the first point, differentiable; second order in the steps.
    """
    steps = (eta.diff(dim=0) * ((mu[1:] + mu[:-1]) / 2 - about)).sum(-1)
    return torch.cat([steps.new_zeros(1), steps.cumsum(0)])


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
    return first + integrated_psi(eta, mu, about=mu_target)


def bregman_divergence(family: Family, mu_1: Tensor, mu_2: Tensor, eta_1: Tensor, eta_2: Tensor) -> Tensor:
    """Return the Bregman divergence of the negative entropy phi = eta . mu - psi, from mu_2 to mu_1.

    The other side of the duality: equal to KL(p(. | eta_1) || p(. | eta_2)).

    Parameters
    ----------
    family : Family
        One that knows psi.
    mu_1, mu_2, eta_1, eta_2 : Tensor (n, K)
        Expectation parameters, and the natural parameters that belong to them.

    Returns
    -------
    Tensor (n,)
        phi_1 - phi_2 - eta_2 . (mu_1 - mu_2) [nats].
    """
    phi_1 = (eta_1 * mu_1).sum(-1) - family.psi(eta_1)
    phi_2 = (eta_2 * mu_2).sum(-1) - family.psi(eta_2)
    return phi_1 - phi_2 - (eta_2 * (mu_1 - mu_2)).sum(-1)


def natural_from_expectation(
    family: Family, mu: Tensor, start: Tensor, *, rtol: float = 1e-10, max_iterations: int = 200
) -> Tensor:
    """Return the natural parameters whose expectation parameters are mu, by damped Newton steps.

    Parameters
    ----------
    family : Family
    mu : Tensor (n, K)
        Inside the convex hull of T.
    start : Tensor (n, K)
        Natural parameters to start from.
    rtol : float
        Largest remaining difference of mu, relative to the largest entry of mu.
    max_iterations : int

    Returns
    -------
    Tensor (n, K)

    Raises
    ------
    CurveError
        If the iteration does not get there, as when mu lies outside the hull.
    """
    eta = start.clone()
    scale = rtol * float(mu.abs().max())
    damping = torch.ones(len(eta), 1, dtype=eta.dtype)
    with torch.no_grad():
        residual = mu - family.mu(eta)
    for _ in range(max_iterations):
        open_ = residual.abs().amax(1) > scale
        if not bool(open_.any()):
            return eta
        metric = fisher_metric(family, eta[open_])
        metric = (metric + metric.mT) / 2
        ridge = 1e-12 * metric.diagonal(dim1=1, dim2=2).amax(1)[:, None, None]
        identity = torch.eye(metric.shape[1], dtype=metric.dtype)
        step = torch.linalg.solve(metric + ridge * identity, residual[open_][..., None])[..., 0]
        trial = eta[open_] + damping[open_] * step
        with torch.no_grad():
            fresh = mu[open_] - family.mu(trial)
        better = (fresh.norm(dim=1) < residual[open_].norm(dim=1)) & torch.isfinite(fresh).all(1)
        places = torch.nonzero(open_)[:, 0]
        eta[places[better]], residual[places[better]] = trial[better], fresh[better]
        damping[places[better]] = (2 * damping[places[better]]).clamp_max(1.0)
        damping[places[~better]] /= 4
    left = float(residual.abs().max())
    raise CurveError(
        f"no natural parameters have these expectations: a difference of {left:.3g} remains after {max_iterations} "
        "steps; take expectations inside the hull of the data, or end points closer together"
    )
