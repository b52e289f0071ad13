"""The free energy of weighted frames on a grid, for a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tps.features import FeatureSpace

#: Standard deviation of the smoothing Gaussian, as a fraction of an axis: 3.5 degrees of a turn.
SMOOTHING = 3.5 / 360


def free_energy_on_grid(
    space: FeatureSpace,
    values: NDArray[np.floating],
    log_weights: NDArray[np.floating],
    kt: float,
    *,
    n_bins: int = 90,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the free energy of features from weighted frames.

    F = -kT ln(density), the density smoothed with a Gaussian: around on an angle's axis, and reflected at the ends of
    any other. Smoothing lowers a slope of g kT per standard deviation by g^2 / 2 kT.

    Parameters
    ----------
    space : FeatureSpace
        Of one or two features.
    values : ndarray (n_frames, d)
        Those outside the space's bounds are left out.
    log_weights : ndarray (n_frames,)
    kt : float
        Thermal energy, in the unit of the free energy.
    n_bins : int
        Bins along each axis.

    Returns
    -------
    edges : ndarray (d, n_bins + 1)
        Of the bins.
    free_energy : ndarray (n_bins,) * d
        Lowest value 0, NaN where no frame is near.
    """
    wrapped = space.wrap(values)
    edges = np.array([np.linspace(low, high, n_bins + 1) for low, high in space.ranges(wrapped)])
    weights = np.exp(log_weights - np.max(log_weights))
    weighted, _ = np.histogramdd(wrapped, bins=list(edges), weights=weights)
    counts, _ = np.histogramdd(wrapped, bins=list(edges))
    width = SMOOTHING * n_bins
    density, frames = (_smooth(histogram, space.periodic, width) for histogram in (weighted, counts))
    # a bin counts as seen when a frame lies within two and a half widths
    single = np.exp(-(2.5**2) / 2) / (np.sqrt(2 * np.pi) * width) ** space.n_features
    seen = (frames >= single) & (density > 0)
    free_energy = np.full(density.shape, np.nan)
    free_energy[seen] = -kt * np.log(density[seen])
    return edges, free_energy - np.nanmin(free_energy)


def _smooth(histogram: NDArray[np.float64], periodic: tuple[bool, ...], width: float) -> NDArray[np.float64]:
    """Convolve with a Gaussian of `width` bins, exactly (no Fourier round-off in empty bins)."""
    matrices = [_gaussian(n, turns, width) for n, turns in zip(histogram.shape, periodic, strict=True)]
    smooth = matrices[0] @ histogram
    return smooth @ matrices[1].T if histogram.ndim == 2 else smooth


def _gaussian(n: int, periodic: bool, width: float) -> NDArray[np.float64]:
    """Return the smoothing matrix (n, n) of an axis, whose rows and columns sum to 1."""
    reach = np.ceil(6 * width)

    def weight(offset: NDArray[np.int_]) -> NDArray[np.float64]:
        return np.where(offset <= reach, np.exp(-0.5 * (offset / width) ** 2), 0.0)

    i, j = np.arange(n)[:, None], np.arange(n)[None, :]
    if periodic:
        offset = np.arange(n)
        kernel = weight(np.minimum(offset, n - offset))
        return np.asarray((kernel / kernel.sum())[(i - j) % n])
    total = 2 * weight(np.arange(int(reach) + 1)).sum() - 1
    return np.asarray((weight(np.abs(i - j)) + weight(i + j + 1) + weight(2 * n - 1 - i - j)) / total)
