"""Replica exchange: configurations change windows or temperatures by exact Monte Carlo moves without evaluations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def exchanged(log_weight: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return which configuration each window holds after n² attempts to swap two windows chosen at random.

    A swap of windows i and j is accepted with probability min(1, exp((η_i - η_j)·(T_j - T_i))), so the product of all
    windows' distributions stays as it is; of temperatures with -U/kT_k in place of η_k·T. So many attempts nearly draw
    the permutation from its own distribution.

    Parameters
    ----------
    log_weight : (n, n) array
        η_k·T_l of configuration l in window k, or -U_l/kT_k.
    rng : numpy.random.Generator

    Returns
    -------
    (n,) int array
        A permutation: entry k is the configuration l in window k.

    References
    ----------
    Sugita, Kitao, Okamoto, J. Chem. Phys. 113, 6042 (2000); Chodera, Shirts, J. Chem. Phys. 135, 194110 (2011).
    """
    n = len(log_weight)
    table: list[list[float]] = log_weight.tolist()
    held = list(range(n))
    pairs: list[tuple[int, int]] = rng.integers(n, size=(n * n, 2)).tolist()
    thresholds: list[float] = (-rng.standard_exponential(n * n)).tolist()  # logarithms of uniform numbers
    for (i, j), threshold in zip(pairs, thresholds, strict=True):
        a, b = held[i], held[j]
        if table[i][b] + table[j][a] - table[i][a] - table[j][b] >= threshold:
            held[i], held[j] = b, a
    return np.array(held, dtype=np.int64)
