"""A small network for the committor: what a straight line in the features misses.

p_B = expit(q), q = a linear fit plus a perceptron that starts at zero. Training goes on as long as flights held out
become likelier, so that without any structure to find the linear fit remains.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from torch.nn.functional import softplus

#: Units of each of the two hidden layers.
_WIDTH = 16
_LEARNING_RATE, _WEIGHT_DECAY = 3e-3, 0.1
_MAX_STEPS, _PATIENCE = 1000, 100
#: Stretches of time the flights are cut into; every fifth is held out.
_N_BLOCKS, _EVERY = 20, 5

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class NetworkCommittor:
    """p_B = expit(coefficients · (1, z) + network(z)), z standardised features.

    Attributes
    ----------
    mean, scale : tuple of float
        z = (features - mean)/scale.
    coefficients : tuple of float
        Of (1, z), the linear part.
    layers : tuple of (n_in + 1, n_out) tuples
        Weights of each layer, its bias as the last row; tanh between layers.
    log_likelihood : float
        Of the flights held out, per flight [nats].
    n_flights : int
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    coefficients: tuple[float, ...]
    layers: tuple[Matrix, ...]
    log_likelihood: float
    n_flights: int

    @cached_property
    def _arrays(self) -> list[NDArray[np.float64]]:
        return [np.array(layer) for layer in self.layers]

    def probability(self, features: ArrayLike) -> NDArray[np.float64]:
        """Map features (n, n_features) to p_B (n,)."""
        z = (np.asarray(features, dtype=np.float64) - np.array(self.mean)) / np.array(self.scale)
        *hidden, last = self._arrays
        h = z
        for layer in hidden:
            h = np.tanh(h @ layer[:-1] + layer[-1])
        q = self.coefficients[0] + z @ np.array(self.coefficients[1:]) + (h @ last[:-1] + last[-1])[:, 0]
        return np.asarray(expit(q), dtype=np.float64)


def held_out_rows(n: int) -> NDArray[np.bool_]:
    """Return which of `n` rows, in the order of time, are held out: whole stretches, about a fifth in all."""
    return np.arange(n) * _N_BLOCKS // n % _EVERY == _EVERY // 2


def fit_layers(
    z: NDArray[np.float64],
    offset: NDArray[np.float64],
    n_a: NDArray[np.float64],
    n_b: NDArray[np.float64],
    held_out: NDArray[np.bool_],
    seed: int,
) -> tuple[tuple[Matrix, ...], float]:
    """Fit a network to what a linear fit leaves over.

    Parameters
    ----------
    z : (n, n_features) array
        Standardised features.
    offset : (n,) array
        q of the linear fit.
    n_a, n_b : (n,) arrays
        Flights that ended in A, in B.
    held_out : (n,) bool array
        Rows that decide when to stop.
    seed : int

    Returns
    -------
    layers : tuple of matrices
        As `NetworkCommittor` takes them.
    log_likelihood : float
        Of the rows held out, per flight [nats].
    """
    with _one_thread():
        fitted = _first_layers(z.shape[1], seed)
        optimiser = torch.optim.AdamW(fitted, lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
        inputs, shift, a, b = (torch.as_tensor(v, dtype=torch.float64) for v in (z, offset, n_a, n_b))
        test = torch.as_tensor(held_out)
        best, kept, since = -np.inf, _matrices(fitted), 0
        for _ in range(_MAX_STEPS):
            q = shift + _output(fitted, inputs)
            terms = -b * softplus(-q) - a * softplus(q)
            likelihood = float(terms[test].sum().detach() / (a + b)[test].sum())
            since += 1
            if likelihood > best:
                best, kept, since = likelihood, _matrices(fitted), 0
            if since > _PATIENCE:
                break
            optimiser.zero_grad()
            (-terms[~test].sum() / (a + b)[~test].sum()).backward()
            optimiser.step()
    return kept, best


def _first_layers(n_features: int, seed: int) -> list[torch.Tensor]:
    """Return the layers of a network that is zero everywhere."""
    generator, layers = torch.Generator().manual_seed(seed), []
    for n_in in (n_features, _WIDTH):
        layer = torch.randn(n_in + 1, _WIDTH, generator=generator, dtype=torch.float64)
        layer[:-1] *= n_in**-0.5
        layer[-1] *= 0.5
        layers.append(layer.requires_grad_())
    return [*layers, torch.zeros(_WIDTH + 1, 1, dtype=torch.float64, requires_grad=True)]


def _output(layers: list[torch.Tensor], z: torch.Tensor) -> torch.Tensor:
    *hidden, last = layers
    for layer in hidden:
        z = torch.tanh(z @ layer[:-1] + layer[-1])
    return (z @ last[:-1] + last[-1])[:, 0]


def _matrices(layers: list[torch.Tensor]) -> tuple[Matrix, ...]:
    return tuple(tuple(map(tuple, layer.tolist())) for layer in layers)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums come out the same on any number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
