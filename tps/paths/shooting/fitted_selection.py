"""ln S of frames that someone else has weighed: a smooth function of the features, fitted, and held against frames."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tps.features import FeatureSpace
from tps.paths.shooting.frames import LogSelection

#: Weights known to this root mean square [kT] are a function of the features.
LARGEST_MISFIT = 0.2
#: Neighbours of a local fit for each of its unknowns, frames left out to judge it, and places fitted at a time.
_PER_UNKNOWN, _N_JUDGED, _CHUNK = 6, 1000, 20_000


def fitted_selection(
    space: FeatureSpace,
    features: Callable[[NDArray[np.floating]], NDArray[np.float64]],
    values: NDArray[np.float64],
    log_weights: NDArray[np.float64],
) -> tuple[LogSelection, float]:
    """Return ln S = -ln w of weighted frames at any positions, and how well it tells frames left out.

    A bias that acts on the features makes the weights a function of them alone, which local linear fits to the nearest
    frames follow to second order. A bias on something else does not, and the misfit says so.

    Parameters
    ----------
    space : FeatureSpace
    features : callable
        Maps positions (n, *position) to feature values (n, d), in internal units.
    values : (n_frames, d) array
    log_weights : (n_frames,) array

    Returns
    -------
    LogSelection
    float
        Root mean square of ln w at frames left out minus the fit to the others; compare `LARGEST_MISFIT`.
    """
    kept = np.isfinite(log_weights)
    values, log_weights = values[kept], log_weights[kept]
    places = _embedded(space, values)
    tree = cKDTree(places)
    n_neighbours = min(len(places) - 1, _PER_UNKNOWN * (space.n_features + 1))

    def fitted(at: NDArray[np.float64], *, leave_out: bool = False) -> NDArray[np.float64]:
        first = int(leave_out)
        found = np.empty(len(at))
        for start in range(0, len(at), _CHUNK):
            part = at[start : start + _CHUNK]
            distance, near = tree.query(_embedded(space, part), k=n_neighbours + first)
            distance, near = distance[:, first:], near[:, first:]
            step = space.difference(part[:, None], values[near])
            found[start : start + _CHUNK] = _local(step / np.array(space.scale), distance, log_weights[near])
        return found

    judged = np.linspace(0, len(values) - 1, min(_N_JUDGED, len(values))).astype(np.intp)
    off = fitted(values[judged], leave_out=True) - log_weights[judged]
    return lambda positions: -fitted(features(positions)), float(np.sqrt(np.mean(off**2)))


def _embedded(space: FeatureSpace, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points whose distances tell neighbours: angles on circles, the others over their scales."""
    statistic = space.statistic(values)
    return statistic[:, :-1] if space.n_lines else statistic


def _local(
    step: NDArray[np.float64], distance: NDArray[np.float64], height: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the value (m,) at 0 of planes through heights (m, k) at steps (m, k, d), nearer ones counting more.

    It stays between the lowest and the highest of them: beyond the frames nothing is extrapolated.
    """
    farthest = np.maximum(distance[:, -1:], 1e-12)
    weight = (1 - np.minimum(distance / farthest, 1.0) ** 3) ** 3 + 1e-6
    design = np.concatenate([np.ones((*step.shape[:2], 1)), step / farthest[..., None]], axis=2)
    normal = np.einsum("mk,mki,mkj->mij", weight, design, design)
    normal += 1e-9 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(design.shape[2])
    right = np.einsum("mk,mki,mk->mi", weight, design, height)
    found = np.linalg.solve(normal, right[..., None])[:, 0, 0]
    return np.clip(found, height.min(axis=1), height.max(axis=1))
