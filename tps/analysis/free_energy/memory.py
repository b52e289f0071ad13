"""What frames of windows remember: of the frames before them, and of where the ladders started."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tps.paths import Windows, WindowSamples

#: At most this share of the time is left out as a start, and so many starts up to it are tried.
_LONGEST_START, _N_STARTS = 1 / 3, 20
#: The latest start is taken that leaves this share of the most independent frames that any leaves: 5 % of the error at
#: most is the price, and what ladders still remember where the frames are most falls further.
_ENOUGH = 0.9


def load_pymbar() -> Any:
    """Import pymbar, which is slow and talks about jax, and keep its logger to errors."""
    logging.getLogger("pymbar").setLevel(logging.ERROR)
    import pymbar

    return pymbar


def relaxed_from(samples: WindowSamples, n_least: int = 1) -> int:
    """Return the frame from which on ladders have forgotten their starts: what comes before is to be left out.

    As long as ladders from A have more walkers on A's side than those from B, frames count as correlated about the mean
    of all ladders, so that without them more are independent. The latest frame is taken that leaves about as many as
    any, within the first third of the time and so that `n_least` moments of all ladders stay. What is looked at is the
    sum over the windows of a ladder, see `inefficiencies`.

    References
    ----------
    Chodera, J. Chem. Theory Comput. 12, 1799 (2016), Eq. 11, of several chains.
    """
    latest = min(_LONGEST_START * samples.n_frames, samples.n_frames - math.ceil(n_least / samples.n_ladders))
    starts = np.linspace(0, max(latest, 0), _N_STARTS + 1).astype(np.int64)
    total, there = _sums(samples, samples.valid)
    independent = np.array(
        [
            there[:, t:].sum() / inefficiency(total[:, t:], there[:, t:], _chord(samples.windows))
            for t in starts
        ]
    )
    return int(starts[independent >= _ENOUGH * independent.max()][-1])


def inefficiencies(samples: WindowSamples, valid: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Return frames per independent one of each window by itself (K,), and of the sum over a ladder's windows.

    Exchange hands walkers from window to window, so a window's frames soon differ while the ladder has the same
    walkers on A's side as before: then the frames of one window are correlated with later ones of the others, and of
    the sum alone it shows. It is of those that are valid (L, n_frames, K).
    """
    alone = [
        inefficiency(samples.statistics[:, :, k], valid[:, :, k], _tangent(samples.windows, k))
        for k in range(samples.windows.n_windows)
    ]
    return np.array(alone), inefficiency(*_sums(samples, valid), _chord(samples.windows))


def slowest(alone: NDArray[np.float64], together: float, n_frames: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the larger of each window's inefficiency (K,) and its ladder's, which one frame at least is left of."""
    return np.minimum(np.maximum(alone, together), n_frames)


def inefficiency(
    statistics: NDArray[np.float64], valid: NDArray[np.bool_], direction: NDArray[np.float64]
) -> float:
    """Return frames per independent one of the slowest statistic (L, n_frames, n_statistics), or along a direction.

    Correlations are taken about the mean of all ladders, so ladders that disagree count as correlated.
    """
    timeseries = load_pymbar().timeseries
    observed = np.concatenate([statistics, (statistics @ direction)[..., None]], axis=-1)
    n_valid, slowest = int(valid.sum()), 1.0
    for column in np.moveaxis(observed, -1, 0):
        ladders = [row[ok] for row, ok in zip(column, valid, strict=True) if ok.any()]
        if np.ptp(np.concatenate(ladders)) > 0:
            slowest = max(slowest, float(timeseries.statistical_inefficiency_multiple(ladders)))
    return min(slowest, float(n_valid))


def _sums(samples: WindowSamples, valid: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the sum of T over each ladder's windows (L, n_frames, S), each about its mean, and where there is any.

    No exchange changes it: what moves it is walkers that move.
    """
    there = valid[..., None]
    frames = np.where(there, samples.statistics, 0.0)
    mean = frames.sum(axis=(0, 1)) / np.maximum(there.sum(axis=(0, 1)), 1)
    return np.where(there, frames - mean, 0.0).sum(axis=2), np.asarray(valid.any(axis=2))


def _chord(windows: Windows) -> NDArray[np.float64]:
    """Return the direction from one end of the curve to the other."""
    return np.asarray(windows.eta[windows.on_curve - 1] - windows.eta[0])


def _tangent(windows: Windows, k: int) -> NDArray[np.float64]:
    """Return the direction in which window k's neighbours lie: its own η where it is off the curve."""
    if k >= windows.on_curve:
        return windows.eta[k]
    return windows.eta[min(k + 1, windows.on_curve - 1)] - windows.eta[max(k - 1, 0)]
