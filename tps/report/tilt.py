"""How strong a tilt is in each feature."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.features import FeatureSpace
from tps.spacetime import WEAK_SPREAD_DEGREE

#: The same in rad, or in scales of a feature on a line; and as ln kappa or log-SNR (spread exp(-strength / 2)).
WEAK_SPREAD = float(np.deg2rad(WEAK_SPREAD_DEGREE))
WEAK_TILT = float(-2 * np.log(WEAK_SPREAD))


def tilt_strength(space: FeatureSpace, eta: ArrayLike) -> NDArray[np.float64]:
    """Return ln kappa of each angle and the log-SNR of each feature on a line (n_points, d) from eta (n_points, K).

    Such a tilt alone would spread a feature by exp(-strength / 2), in rad or in units of its scale.
    """
    vector = np.asarray(eta, dtype=np.float64)
    found = np.empty((len(vector), space.n_features))
    pairs = vector[:, : 2 * space.n_circles].reshape(len(vector), -1, 2)
    with np.errstate(divide="ignore"):
        found[:, space.circles] = 0.5 * np.log(np.sum(pairs**2, axis=-1))
        if space.n_lines:
            found[:, space.lines] = np.log(-2 * vector[:, -1:])
    return found
