"""Thermodynamic integration: ψ(η_B) - ψ(η_A) = ∫ μ·dη along a curve, μ measured in windows on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tps.analysis.free_energy.mbar import WindowAnalysis, jackknife_error
from tps.analysis.free_energy.windows import ANCHORED
from tps.analysis.metrics import Metric


def corrected_integral(
    eta: NDArray[np.float64], frames: Sequence[NDArray[np.float64]]
) -> tuple[float, float]:
    """Return ∫ μ·dη of fourth order in the distance of the points, and what it can be wrong by for their distance.

    Along a chord Δη the integrand g = μ·Δη has the derivative Var(Δη·T), which the frames at its ends know: the
    trapezoidal rule is corrected by (g0' - g1')/12, as the integral of a cubic. As ψ is convex, g rises along a chord.
    So where two humps make a variance too large for that, the slopes are limited to 3 (g1 - g0), with which the cubic
    rises too. The error is the root of the sum of the squared corrections.

    Parameters
    ----------
    eta : (n, n_statistics) array
    frames : sequence of (n_frames, n_statistics) arrays
        T of the frames sampled at each point.

    References
    ----------
    Karczewski et al., ICLR 2026, Eq. 16: μ = ∇ψ. Fritsch, Carlson, SIAM J. Numer. Anal. 17, 238 (1980): slopes of
    monotone cubics.
    """
    plain, corrections = 0.0, []
    for step, first, second in zip(np.diff(eta, axis=0), frames[:-1], frames[1:], strict=True):
        ends = [rows @ step for rows in (first, second)]
        (low, high), slopes = (g.mean() for g in ends), [g.var() for g in ends]
        steepest = 3 * max(high - low, 0.0)
        plain += float(low + high) / 2
        corrections.append((min(slopes[0], steepest) - min(slopes[1], steepest)) / 12)
    return plain + float(np.sum(corrections)), float(np.linalg.norm(corrections))


def integrated_difference(analysis: WindowAnalysis) -> Metric:
    """Return F(η_B) - F(η_A) by integrating the windows' own means, each window by itself: no reweighting.

    The error holds the sampling of the means (the larger of that of independent frames and a jackknife over stretches
    of time), and what the windows' distance can do.
    """
    n = analysis.windows.on_curve
    eta = analysis.windows.eta[:n]
    everything = np.ones(len(analysis.window), dtype=np.bool_)
    frames = _frames(analysis, everything)
    value, discretisation = corrected_integral(eta, frames)
    blocks = np.array(
        [corrected_integral(eta, _frames(analysis, analysis.block != b))[0] for b in range(analysis.n_blocks)]
    )
    lever = np.zeros_like(eta)  # of each window's mean in the sum
    lever[:-1] += np.diff(eta, axis=0) / 2
    lever[1:] += np.diff(eta, axis=0) / 2
    variances = np.array([np.var(rows @ row) for rows, row in zip(frames, lever, strict=True)])
    sampling = np.sqrt(np.sum(variances * analysis.statistical_inefficiency[:n] / analysis.n_frames[:n]))
    return Metric(
        -analysis.kt * value,
        analysis.kt * float(np.hypot(np.fmax(sampling, jackknife_error(blocks)), discretisation)),
        analysis.unit,
        f"{ANCHORED}, by thermodynamic integration of μ over {n} windows, corrected by the variance of T; "
        "standard error of the means, and of the distance between windows.",
    )


def _frames(analysis: WindowAnalysis, kept: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    return [analysis.statistics[kept & (analysis.window == k)] for k in range(analysis.windows.on_curve)]
