"""Where the windows' replicas start, and where pulls meet their barrier: what annealed paths know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.errors import ParameterError
from tps.features import FeatureSpace
from tps.paths.ensemble import PathEnsemble
from tps.paths.windows.windows import Windows


def barrier_place(pulls: PathEnsemble, space: FeatureSpace) -> NDArray[np.float64]:
    """Return where a stiff pull from A to B meets its barrier: the mean features at its highest mean work (d,).

    Where a surface over the features is known, its saddle point (`tps.analysis.flood_fill`) is lower and better.

    Parameters
    ----------
    pulls : PathEnsemble
        Paths along a straight line of constant κ, whose work is close to the free energy along it.
    space : FeatureSpace
        Of the features, whose angles are averaged by their directions.
    """
    if not pulls.completed.any():
        raise ParameterError("no pull was finished, so where its barrier lies cannot be told")
    top = int(np.argmax(pulls.cumulative_work[pulls.completed].mean(axis=0)))
    return space.mean(pulls.values[pulls.completed, top])


def starts_along(
    windows: Windows,
    frame_s: ArrayLike,
    frames: Sequence[NDArray[np.floating]] | NDArray[np.floating],
    frame_statistics: ArrayLike,
) -> NDArray[np.float64]:
    """Return a start for every window from one annealed path: the frame nearest in s, or the likeliest off the curve.

    Paths that run from A to B lag in A, those that run back lag in B: starting one ladder from each puts replicas into
    both humps of windows that have two.

    Parameters
    ----------
    windows : Windows
    frame_s : (n_frames,) array
        Where on the curve each frame is.
    frames : (n_frames, ...) array
        Positions, [nm] for a molecule.
    frame_statistics : (n_frames, n_statistics) array
        T of the frames.

    Returns
    -------
    (K, ...) array
    """
    at, statistics = np.asarray(frame_s, dtype=np.float64), np.asarray(frame_statistics, dtype=np.float64)
    if not len(at) == len(frames) == len(statistics) > 0:
        raise ParameterError(
            f"starts need one s and one statistic per frame, but got {len(at)} and {len(statistics)} for {len(frames)}"
        )
    nearest = [
        int(np.argmin(np.abs(at - s)))
        if np.isfinite(s)
        else int(np.argmax(statistics @ eta))
        if eta.any()
        else 0
        for s, eta in zip(windows.s, windows.eta, strict=True)
    ]
    return np.asarray([frames[i] for i in nearest], dtype=np.float64)
