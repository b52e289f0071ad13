"""Angles on pictures: lines that leave at one edge and come back at the other, regions, free energies."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tps.units import thermal_energy

#: A region: (low, high) [rad] of some torsions by name; one with low > high goes through 180 degrees.
Ranges = Mapping[str, tuple[float, float]]

TURN = 2 * np.pi

#: A tilt that alone would spread an angle by more than this is weak: its centre says little.
WEAK_SPREAD_DEGREE = 30.0
#: The same as ln kappa (spread 1/sqrt(kappa)).
WEAK_TILT = float(-2 * np.log(np.deg2rad(WEAK_SPREAD_DEGREE)))


def wrap(angles: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return angles [rad] in [-pi, pi)."""
    return (angles + np.pi) % TURN - np.pi


def wrapped_lines(angles: NDArray[np.floating]) -> list[NDArray[np.float64]]:
    """Return polylines that draw a closed-torus curve on the square (-pi, pi]^d without jumps.

    The curve is unwrapped, each step taken the short way round, and repeated by whole turns wherever a part
    of it falls into the square; the caller clips at the edges.

    Parameters
    ----------
    angles : ndarray (n_points, d)
        Points of the curve [rad].

    Returns
    -------
    list of ndarray (n_points, d)
    """
    smooth = np.unwrap(np.asarray(angles, dtype=np.float64), axis=0)
    turns = [
        range(int(np.ceil((-np.pi - high) / TURN)), int(np.floor((np.pi - low) / TURN)) + 1)
        for low, high in zip(smooth.min(axis=0), smooth.max(axis=0), strict=True)
    ]
    return [smooth + TURN * np.array(shift) for shift in itertools.product(*turns)]


def range_pieces(limits: tuple[float, float] | None) -> list[tuple[float, float]]:
    """Return the intervals of (-pi, pi] that a periodic range covers; None covers all of it."""
    if limits is None:
        return [(-np.pi, np.pi)]
    low, high = limits
    return [(low, high)] if low <= high else [(-np.pi, high), (low, np.pi)]


def region_boxes(ranges: Ranges, names: tuple[str, ...]) -> list[tuple[tuple[float, float], ...]]:
    """Return a region's projection on the torsions `names` as boxes, one (low, high) [rad] for each axis.

    A region that limits none of them has no boxes.
    """
    if not any(name in ranges for name in names):
        return []
    return list(itertools.product(*(range_pieces(ranges.get(name)) for name in names)))


def free_energy_on_grid(
    torsions: NDArray[np.floating],
    log_weights: NDArray[np.floating],
    temperature: float,
    *,
    n_bins: int = 90,
    smoothing_degree: float = 3.5,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the free energy of torsions from weighted frames, for a picture.

    F = -kT ln(density), the density smoothed on the torus with a Gaussian. Smoothing lowers a slope of g kT
    per degree by (g smoothing_degree)^2 / 2 kT.

    Parameters
    ----------
    torsions : ndarray (n_frames, d)
        One or two torsions [rad].
    log_weights : ndarray (n_frames,)
    temperature : float
        [K].
    n_bins : int
        Bins along each axis.
    smoothing_degree : float
        Standard deviation of the Gaussian [degree].

    Returns
    -------
    centers : ndarray (n_bins,)
        Bin centres [rad].
    free_energy : ndarray (n_bins,) * d
        [kJ/mol], lowest value 0, NaN where no frame is near.
    """
    n_axes = torsions.shape[1]
    edges = [np.linspace(-np.pi, np.pi, n_bins + 1)] * n_axes
    wrapped = wrap(np.asarray(torsions, dtype=np.float64))
    weights = np.exp(log_weights - np.max(log_weights))
    weighted, _ = np.histogramdd(wrapped, bins=edges, weights=weights)
    counts, _ = np.histogramdd(wrapped, bins=edges)
    width = smoothing_degree / 360 * n_bins
    density, frames = _smooth(weighted, width), _smooth(counts, width)
    # a bin counts as seen when a frame lies within two and a half widths
    single = np.exp(-(2.5**2) / 2) / (np.sqrt(TURN) * width) ** n_axes
    seen = (frames >= single) & (density > 0)
    free_energy = np.full(density.shape, np.nan)
    free_energy[seen] = -thermal_energy(temperature) * np.log(density[seen])
    centers = (edges[0][1:] + edges[0][:-1]) / 2
    return centers, free_energy - np.nanmin(free_energy)


def _smooth(histogram: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Convolve periodically with a Gaussian of `width` bins, exactly (no Fourier round-off in empty bins)."""
    n_bins = len(histogram)
    offset = np.arange(n_bins)
    offset = np.minimum(offset, n_bins - offset)
    kernel = np.where(offset <= np.ceil(6 * width), np.exp(-0.5 * (offset / width) ** 2), 0.0)
    kernel /= kernel.sum()
    matrix = kernel[(np.arange(n_bins)[:, None] - np.arange(n_bins)[None, :]) % n_bins]
    smooth = matrix @ histogram
    return smooth @ matrix.T if histogram.ndim == 2 else smooth
