"""Friction of tilted states, what moving a tilt dissipates, from time series of T under tilts that stand still.

The work that a slow protocol dissipates is ∫ η̇ᵀ ζ(η) η̇ dt [kT] with the friction ζ = ∫_0^∞ <δT(t) δTᵀ(0)> dt. A tilt
that moves once in every interval Δ dissipates the same with the integral as a sum by the trapezoidal rule,
ζ = Δ (C(0)/2 + Σ_k C(kΔ)): what the jumps themselves cost, Δη·C(0)·Δη/2 each, stands in it. So frames are taken once an
interval, and ζ is exact for that protocol, as far as linear response goes; it tends to the integral as Δ falls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tps.errors import ParameterError

#: The sum ends after so many autocorrelation times: e^-5 of an exponential is left out.
_WINDOW = 5.0
#: The series are cut into at least so many stretches of time, whose scatter gives the error.
_STRETCHES = 16
#: Variances below this part of the largest one are rounding: a statistic that does not fluctuate.
_RANK = 1e-10


@dataclass(frozen=True, eq=False)
class Friction:
    """Friction under one tilt.

    Attributes
    ----------
    zeta : (K, K) array
        ζ, symmetric [time unit of the interval].
    stretches : (n, K, K) array
        ζ from stretches of time, of which it is the mean.
    covariance : (K, K) array
        C(0) = Cov[T], the Fisher-Rao metric.
    interval : float
        Time Δ between frames.
    window : int
        Frames that the sum over C(kΔ) takes in.
    n_frames : int
        All frames together.
    resolved : bool
        Whether the series are long enough for the window to close.
    """

    zeta: NDArray[np.float64]
    stretches: NDArray[np.float64]
    covariance: NDArray[np.float64]
    interval: float
    window: int
    n_frames: int
    resolved: bool

    def along(self, direction: NDArray[np.float64]) -> float:
        """Return vᵀ ζ v of a direction v (K,) [time unit]."""
        return float(direction @ self.zeta @ direction)

    def error_along(self, direction: NDArray[np.float64]) -> float:
        """Return the standard error of vᵀ ζ v: the larger of stretches' scatter and Gaussian noise.

        The latter is sqrt(2 (2 window + 1) / n_frames) of the value; stretches shorter than the window would miss it.
        """
        parts = np.einsum("a,nab,b->n", direction, self.stretches, direction)
        scatter = float(parts.std(ddof=1)) / np.sqrt(len(parts))
        gaussian = abs(self.along(direction)) * np.sqrt(2 * (2 * self.window + 1) / self.n_frames)
        return float(max(scatter, gaussian))

    def metric_along(self, direction: NDArray[np.float64]) -> float:
        """Return vᵀ Cov[T] v of a direction v (K,)."""
        return float(direction @ self.covariance @ direction)


def friction_from_series(series: NDArray[np.float64], interval: float) -> Friction:
    """Return the friction under a tilt from stationary time series of T.

    T is even under reversal of time, so C(t) is symmetric, and what sampling leaves of asymmetry is averaged away.
    The sum over lags ends at the first window of five autocorrelation times of T's slowest principal component (Sokal);
    where one oscillates, and its autocorrelation time is small by cancellation, that of its envelope, 4 ∫ρ², takes its
    place. All series share one mean, so that runs which disagree count as slow. Where the series are
    too short for that the sum ends where the slowest component is no longer correlated, and is a lower bound.

    Parameters
    ----------
    series : (n_series, n_frames, K) array
        T under the same tilt, one frame in every interval.
    interval : float
        Time between frames, and between the moves of the tilt that the friction is for.

    Raises
    ------
    ParameterError
        If there are too few frames, some are not finite, or T does not fluctuate.

    References
    ----------
    Sivak, Crooks, Phys. Rev. Lett. 108, 190602 (2012), Eq. 12; Sokal in Functional Integration (1997); Madras, Sokal,
    J. Stat. Phys. 50, 109 (1988) for the Gaussian error; Wolff, Comput. Phys. Commun. 156, 143 (2004), Eq. 49 for
    what the estimated mean takes away.
    """
    x = np.asarray(series, dtype=np.float64)
    if x.ndim != 3 or x.shape[1] < 8 or not np.isfinite(x).all() or not interval > 0:
        raise ParameterError(
            "friction needs finite series (n_series, n_frames, K) of 8 frames or more and a positive interval, but got "
            f"{x.shape} and {interval:g}"
        )
    n_series, n_frames, _ = x.shape
    x = x - x.mean(axis=(0, 1))
    covariance = np.einsum("lta,ltb->ab", x, x) / (n_series * n_frames)
    variances, axes = np.linalg.eigh(covariance)
    moving = variances > _RANK * max(float(variances[-1]), np.finfo(np.float64).tiny)
    if not moving.any():
        raise ParameterError("friction needs a statistic T that fluctuates, but the series are constant")
    longest = n_frames // 2
    correlation = _autocorrelation(x @ axes[:, moving], longest)
    window, resolved = _window(correlation)
    n = n_series * n_frames
    parts, sizes = _stretches(x, window)
    parts *= interval * (1 + (2 * window + 1) / n)
    return Friction(
        zeta=np.average(parts, axis=0, weights=sizes),
        stretches=parts,
        covariance=covariance,
        interval=interval,
        window=window,
        n_frames=n,
        resolved=resolved,
    )


def _stretches(x: NDArray[np.float64], window: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return C(0)/2 + Σ_k C(k) up to the window (n, K, K) of stretches of x (n_series, n_frames, K), and their lengths.

    x(t) meets y(t) = x(t)/2 + Σ_k w_k x(t + k), with w_k for the k pairs that the end of a series lacks.
    """
    n_series, n_frames, _ = x.shape
    weights = n_frames / (n_frames - np.arange(window + 1.0))
    weights[0] = 0.5
    size = n_frames + window
    spectrum = np.fft.rfft(x, size, axis=1) * np.fft.rfft(weights, size).conj()[:, None]
    y = np.fft.irfft(spectrum, size, axis=1)[:, :n_frames]
    per_series = min(-(-_STRETCHES // n_series), n_frames)
    parts, sizes = [], []
    for rows in np.array_split(np.arange(n_frames), per_series):
        product = np.einsum("lta,ltb->lab", x[:, rows], y[:, rows]) / len(rows)
        parts.append((product + product.swapaxes(1, 2)) / 2)
        sizes += [len(rows)] * n_series
    return np.concatenate(parts), np.array(sizes)


def _autocorrelation(x: NDArray[np.float64], longest: int) -> NDArray[np.float64]:
    """Return ρ of lags 0 to `longest` of components x (n_series, n_frames, m) without mean (longest + 1, m)."""
    n = x.shape[1]
    spectrum = np.abs(np.fft.rfft(x, 2 * n, axis=1)) ** 2
    products = np.fft.irfft(spectrum.sum(axis=0), axis=0)[: longest + 1]
    covariance = products / (n - np.arange(longest + 1))[:, None]
    return np.asarray(covariance / covariance[0])


def _window(correlation: NDArray[np.float64]) -> tuple[int, bool]:
    """Return the first window of five autocorrelation times of all components, and whether there is one.

    For ρ = e^(-t/τ) ∫ρ is τ and ∫ρ² is τ/2. A component that oscillates as e^(-t/τ) cos ωt with ωτ >> 1 has ∫ρ near
    0, by cancellation, and ∫ρ² = τ/4. Where no window closes it ends before the slowest correlation vanishes.
    """
    times, squares = (np.cumsum(c, axis=0) - 0.5 for c in (correlation, correlation**2))
    slowest = np.where(times < squares, 4 * squares, times).max(axis=1)
    closed = np.arange(len(slowest)) >= _WINDOW * slowest
    if closed.any():
        return int(np.argmax(closed)), True
    slow = correlation[:, int(np.argmax(times.max(axis=0)))]
    return max(1, int(np.argmax(slow <= 0)) - 1 if (slow <= 0).any() else len(slow) - 1), False
