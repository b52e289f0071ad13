"""Exact moments of the tilted distribution of weighted frames: what the networks learn, and what checks them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

#: Tilts times frames held at once, 8 MB in float64: what a processor's cache may hold.
_CHUNK_ELEMENTS = 1_000_000
#: What lies farther below the largest logarithm counts as this: a billion such frames are lost in round-off, and the
#: exponentials of numbers that leave the normal range take six times as long.
_LEAST_LOGARITHM = -60.0


class PosteriorMoments(NamedTuple):
    """At each η: μ (n, K), ψ (n,), and Kish's effective number of frames (n,)."""

    mu: Tensor
    psi: Tensor
    effective_sample_size: Tensor


class TiltedMoments(NamedTuple):
    """At each η: ψ (n,), μ (n, K) and Cov[T] (n, K, K)."""

    psi: Tensor
    mu: Tensor
    covariance: Tensor


def tilted_weights(
    eta: Tensor, statistics: Tensor, log_weights: Tensor
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield the weights w_i e^{η·T_i} of frames, a few tilts at a time.

    Parameters
    ----------
    eta : (n, K) tensor
    statistics : (n_frames, K) tensor
        T(x_i).
    log_weights : (n_frames,) tensor
        ln w_i.

    Yields
    ------
    rows : slice
        Which tilts.
    weights : (n_rows, n_frames) tensor
        w_i e^{η·T_i - shift}, at least e^-60; yours to change until the next ones come, which use the same memory.
    shift : (n_rows,) tensor
        The largest logarithm, taken out so that nothing overflows.
    """
    step = max(1, _CHUNK_ELEMENTS // len(statistics))
    # one for all chunks: fresh ones fragment the heap
    buffer = eta.new_empty(min(step, len(eta)), len(statistics))
    for start in range(0, len(eta), step):
        rows = slice(start, min(start + step, len(eta)))
        weights = buffer[: rows.stop - rows.start]
        torch.addmm(log_weights, eta[rows], statistics.T, out=weights)
        shift = weights.amax(dim=1)
        yield rows, weights.sub_(shift[:, None]).clamp_min_(_LEAST_LOGARITHM).exp_(), shift


def posterior_moments(eta: Tensor, statistics: Tensor, log_weights: Tensor) -> PosteriorMoments:
    """Return the self-normalised moments of frames tilted by exp(η·T).

    μ̄(η) = Σ w_i e^{η·T_i} T_i / Σ w_i e^{η·T_i},  ψ(η) = log Σ w_i e^{η·T_i}  (DESIGN: the weighted posterior mean).

    Parameters
    ----------
    eta : (n, K) tensor
    statistics : (n_frames, K) tensor
        T(x_i).
    log_weights : (n_frames,) tensor
        ln w_i; ψ is zero at η = 0 where they are normalised, logsumexp 0.

    Returns
    -------
    PosteriorMoments
    """
    mu, psi, size = torch.empty_like(eta), eta.new_empty(len(eta)), eta.new_empty(len(eta))
    for rows, weights, shift in tilted_weights(eta, statistics, log_weights):
        total = weights.sum(1)
        psi[rows] = total.log() + shift
        mu[rows] = (weights @ statistics) / total[:, None]
        size[rows] = (total / torch.linalg.vector_norm(weights, dim=1)).square()
    return PosteriorMoments(mu, psi, size)
