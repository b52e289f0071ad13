"""Exact moments of the tilted distribution of weighted frames: what the networks learn, and what checks them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_CHUNK_ELEMENTS = 4_000_000  # tilts × frames held at once, 32 MB in float64


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
    mus, psis, sizes = [], [], []
    for chunk in eta.split(max(1, _CHUNK_ELEMENTS // len(statistics))):
        exponent = chunk @ statistics.T + log_weights
        psi = torch.logsumexp(exponent, dim=1)
        weight = torch.exp(exponent - psi[:, None])
        mus.append(weight @ statistics)
        psis.append(psi)
        sizes.append(1.0 / weight.square().sum(1))
    return PosteriorMoments(torch.cat(mus), torch.cat(psis), torch.cat(sizes))
