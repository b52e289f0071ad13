"""A protocol: the tilts at equal Fisher-Rao steps of a curve, along which paths move and windows stand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def equal_steps(s: NDArray[np.float64], eta: NDArray[np.float64], n_updates: int) -> NDArray[np.float64]:
    """Return η at n_updates + 1 equally spaced Fisher-Rao positions of a curve.

    Parameters
    ----------
    s : (n_points,) array
        Fraction of the curve's Fisher-Rao length at its points, from 0 to 1.
    eta : (n_points, K) array
    n_updates : int
    """
    at = np.linspace(0.0, 1.0, n_updates + 1)
    return np.stack([np.interp(at, s, column) for column in eta.T], axis=1)
