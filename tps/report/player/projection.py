"""Two directions that many features are looked at along: the slowest on unbiased paths, or those of largest spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.features import FeatureSpace

#: Lag of the slowest directions, as a share of the shortest path they are found on.
_LAG = 0.1
#: Shortest path that shows what is slow [frames].
_LEAST_FRAMES = 20


@dataclass(frozen=True, eq=False)
class Projection:
    """A projection of features on two directions, angles by cosine and sine, the others over their scale.

    Attributes
    ----------
    space : FeatureSpace
    mean : (k,) array
    directions : (k, 2) array
    name : str
        What one of the directions is called, such as "PC".
    said : str
        How they were found.
    """

    space: FeatureSpace
    mean: NDArray[np.float64]
    directions: NDArray[np.float64]
    name: str
    said: str

    @classmethod
    def principal(
        cls, space: FeatureSpace, values: NDArray[np.floating], log_weights: ArrayLike
    ) -> Projection:
        """Return the directions in which weighted frames (n, d) spread most."""
        weights = np.exp(np.asarray(log_weights) - np.max(log_weights))
        places = _places(space, values)
        mean = np.average(places, axis=0, weights=weights)
        apart = places - mean
        _, vectors = np.linalg.eigh((weights[:, None] * apart).T @ apart)
        return cls(space, mean, _signed(vectors[:, [-1, -2]]), "PC", "weighted frames")

    @classmethod
    def slowest(cls, space: FeatureSpace, paths: Sequence[NDArray[np.floating]]) -> Projection | None:
        """Return the two slowest directions (TICA, by deeptime) of paths (n_frames, d) with equal intervals.

        Returns
        -------
        Projection or None
            None where deeptime is not installed, or no path is long enough.

        References
        ----------
        Pérez-Hernández et al., J. Chem. Phys. 139, 015102 (2013).
        """
        long = [_places(space, path) for path in paths if len(path) >= _LEAST_FRAMES]
        if not long or find_spec("deeptime") is None:
            return None
        from deeptime.decomposition import TICA

        lag = max(1, round(_LAG * min(map(len, long))))
        model = TICA(lagtime=lag, dim=2).fit_from_timeseries(long).fetch_model()
        directions = model.instantaneous_coefficients[:, :2]
        return cls(space, model.mean_0, _signed(directions), "TIC", f"unbiased paths, lag of {lag} frames")

    def __call__(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the components (n, 2) of values (n, d)."""
        return np.asarray((_places(self.space, values) - self.mean) @ self.directions)

    @property
    def components(self) -> FeatureSpace:
        """The two components as features."""
        names = (f"{self.name} 1", f"{self.name} 2")
        return FeatureSpace(names, (False, False), ("", ""), (1.0, 1.0), np.array([[-np.inf, np.inf]] * 2))


def _places(space: FeatureSpace, values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the sufficient statistic of values (n, d) without its square."""
    return space.statistic(values)[:, : 2 * space.n_circles + space.n_lines]


def _signed(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return directions (k, 2) with the sign that makes the largest coefficient of each positive."""
    largest = np.abs(directions).argmax(axis=0)
    return np.asarray(directions * np.sign(directions[largest, [0, 1]]))
