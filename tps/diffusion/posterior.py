"""Exact moments of the tilted distribution of weighted frames: what the networks learn, and what checks them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_CHUNK_ELEMENTS = 1_000_000  # tilts × frames held at once, 8 MB in float64


class PosteriorMoments(NamedTuple):
    """At each η: μ (n, K), ψ (n,), and Kish's effective number of frames (n,)."""

    mu: Tensor
    psi: Tensor
    effective_sample_size: Tensor


def posterior_moments(eta: Tensor, statistics: Tensor, log_weights: Tensor) -> PosteriorMoments:
    """Return the self-normalised moments of frames tilted by exp(η·T).

    μ̄(η) = Σ w_i e^{η·T_i} T_i / Σ w_i e^{η·T_i},  ψ(η) = log Σ w_i e^{η·T_i}  (DESIGN: the weighted posterior mean).

    Parameters
    ----------
    eta : (n, K) tensor
    statistics : (n_frames, K) tensor
        T(x_i).
    log_weights : (n_frames,) tensor
        Normalised: logsumexp is 0.
    """
    mu, psi, size = torch.empty_like(eta), eta.new_empty(len(eta)), eta.new_empty(len(eta))
    step = max(1, _CHUNK_ELEMENTS // len(statistics))
    buffer = eta.new_empty(
        min(step, len(eta)), len(statistics)
    )  # one for all chunks: fresh ones fragment the heap
    for start in range(0, len(eta), step):
        rows = slice(start, min(start + step, len(eta)))
        weight = buffer[: rows.stop - rows.start]
        torch.addmm(log_weights, eta[rows], statistics.T, out=weight)
        psi[rows] = torch.logsumexp(weight, dim=1)
        weight.sub_(psi[rows, None]).exp_()
        mu[rows] = weight @ statistics
        size[rows] = 1.0 / weight.square_().sum(1)
    return PosteriorMoments(mu, psi, size)
