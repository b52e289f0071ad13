"""Pictures of committors: over points that should be transition states, and along one path."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import binom

from tps.errors import ParameterError
from tps.report.style import FAINT, INK, METHOD_COLORS, ORANGE, VERMILLION, new_figure, styled

N_BINS = 10
_TRANSITION = (0.4, 0.6)


@styled
def committor_histogram_figure(
    p_b: NDArray[np.floating],
    n_shots: NDArray[np.integer],
    *,
    names: Sequence[str] | None = None,
) -> Figure:
    """Draw the histogram of estimated committors, beside what shots from points with p_B = 1/2 would give.

    Parameters
    ----------
    p_b : ndarray (n_points,)
        Fraction of the finished shots that ended in B; points with NaN are left out.
    n_shots : ndarray (n_points,)
        Finished shots from each point.
    names : sequence of str (n_points,), optional
        A group of each point, such as its channel: bars are stacked by it.

    Raises
    ------
    ParameterError
        If the shapes differ, or no point has a finished shot.
    """
    p, n = np.asarray(p_b, dtype=np.float64), np.asarray(n_shots)
    if p.ndim != 1 or n.shape != p.shape or (names is not None and len(names) != len(p)):
        raise ParameterError(
            "a histogram of committors needs as many numbers of shots (and names) as values of p_B, but got "
            f"{p.shape}, {n.shape} and {len(p) if names is None else len(names)} names"
        )
    known = np.isfinite(p) & (n > 0)
    if not known.any():
        raise ParameterError("there is nothing to draw: no point has a finished shot, so raise max_frames")
    groups = np.array(["points"] * len(p) if names is None else list(names))[known]
    p, n = p[known], n[known].astype(np.int64)
    bins = _bin_of(np.rint(p * n).astype(np.int64), n)
    figure = new_figure(6.4, 4.0)
    ax = figure.add_subplot()
    ax.axvspan(*_TRANSITION, color=FAINT, alpha=0.2, lw=0, label="transition states, 0.4 to 0.6")
    places, below = (np.arange(N_BINS) + 0.5) / N_BINS, np.zeros(N_BINS)
    for group, color in zip(dict.fromkeys(groups.tolist()), METHOD_COLORS[1:] * len(p), strict=False):
        counts = np.bincount(bins[groups == group], minlength=N_BINS)
        label = f"{group}, {counts.sum()}" if names is not None else f"{counts.sum()} points"
        ax.bar(places, counts, 0.92 / N_BINS, below, color=color, alpha=0.85, label=label)
        below += counts
    ax.stairs(
        _expected(n),
        np.linspace(0, 1, N_BINS + 1),
        color=VERMILLION,
        lw=1.6,
        label="expected if all were 1/2",
    )
    mean = float(p.mean())
    alone = float(np.sqrt(mean * (1 - mean) * np.mean(1 / n)))
    ax.set_title(f"$p_B$ = {mean:.2f} ± {p.std():.2f}; shots alone would scatter by {alone:.2f}", color=INK)
    ax.set(xlim=(0, 1), xticks=np.linspace(0, 1, 6), xlabel="Committor $p_B$ [-]", ylabel="Number of points")
    figure.legend(loc="outside lower center", ncols=3 if names is None else 2)
    return figure


@styled
def committor_path_figure(
    frames: NDArray[np.floating],
    p_b: NDArray[np.floating],
    error: NDArray[np.floating],
    *,
    unit: str,
) -> Figure:
    """Draw the committor along one path.

    Parameters
    ----------
    frames : ndarray (n,)
        Where on the path.
    p_b, error : ndarray (n,)
        Estimated committor and its standard error; NaN is left out.
    unit : str
        Of `frames`: "frame", "ps", or "-" for the fraction s.

    Raises
    ------
    ParameterError
        If the shapes differ.
    """
    if np.ndim(frames) != 1 or not np.shape(frames) == np.shape(p_b) == np.shape(error):
        raise ParameterError(
            "a committor along a path needs as many values and errors as frames, but got "
            f"{np.shape(frames)}, {np.shape(p_b)} and {np.shape(error)}"
        )
    figure = new_figure(6.4, 3.6)
    ax = figure.add_subplot()
    ax.axhspan(*_TRANSITION, color=FAINT, alpha=0.2, lw=0)
    ax.axhline(0.5, color=INK, lw=0.9, ls=(0, (4, 3)))
    known = np.isfinite(p_b)
    x, p, bar = (np.asarray(values, dtype=np.float64)[known] for values in (frames, p_b, error))
    ax.errorbar(
        x, p, bar, fmt="o-", color=METHOD_COLORS[1], ecolor=ORANGE, ms=4, lw=1.0, capsize=2, clip_on=False
    )
    ax.set(ylim=(0, 1), xlabel=f"Place along the path [{unit}]", ylabel="Committor $p_B$ [-]")
    return figure


def _bin_of(hits: NDArray[np.int64], n: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Return the bin of hits/n, in whole numbers: 0.3 itself lies in the bin that begins there."""
    return np.minimum(N_BINS * hits // n, N_BINS - 1)


def _expected(n_shots: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how many points each bin would hold if every p_B were 1/2."""
    expected = np.zeros(N_BINS)
    for n, n_points in zip(*np.unique(n_shots, return_counts=True), strict=True):
        hits = np.arange(n + 1)
        np.add.at(expected, _bin_of(hits, n), n_points * binom.pmf(hits, n, 0.5))
    return expected
