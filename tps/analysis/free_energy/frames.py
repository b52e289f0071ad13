"""Free energies from weighted frames, such as those of metadynamics: sums of weights, with errors from blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from tps.analysis.free_energy.mbar import jackknife_error
from tps.analysis.free_energy.windows import ANCHORED, REGIONS
from tps.analysis.metrics import Metric
from tps.conformations import Conformations
from tps.errors import ParameterError

#: Stretches of time, all walkers together.
_N_BLOCKS = 10
_ERROR = "standard error from a jackknife over stretches of time of its walkers"


def frames_anchored_difference(
    frames: Conformations,
    statistics: NDArray[np.float64],
    eta_a: ArrayLike,
    eta_b: ArrayLike,
    kt: float,
    *,
    unit: str = "kJ/mol",
) -> Metric:
    """Return F(η_B) - F(η_A), ψ(η) = ln Σ w_i exp(η·T_i).

    Parameters
    ----------
    frames : Conformations
    statistics : (n_frames, n_statistics) array
        T of the frames.
    eta_a, eta_b : (n_statistics,) arrays
    kt : float
        [kJ/mol, or the surface's unit].
    unit : str
        Its unit.
    """
    tilts = statistics @ np.stack([np.asarray(eta_a), np.asarray(eta_b)], axis=1)
    return _difference(
        frames,
        frames.log_weights + tilts[:, 0],
        frames.log_weights + tilts[:, 1],
        kt,
        unit,
        f"{ANCHORED}, by summing {frames.n_frames} weighted frames; {_ERROR}.",
    )


def frames_region_difference(
    frames: Conformations,
    in_a: NDArray[np.bool_],
    in_b: NDArray[np.bool_],
    kt: float,
    *,
    unit: str = "kJ/mol",
) -> Metric:
    """Return F(B) - F(A) from the weights of the frames in A and in B.

    Parameters
    ----------
    frames : Conformations
    in_a, in_b : (n_frames,) bool arrays
    kt : float
        [kJ/mol, or the surface's unit].
    unit : str
        Its unit.
    """
    return _difference(
        frames,
        np.where(in_a, frames.log_weights, -np.inf),
        np.where(in_b, frames.log_weights, -np.inf),
        kt,
        unit,
        f"{REGIONS}, by summing {frames.n_frames} weighted frames; {_ERROR}.",
    )


def _difference(
    frames: Conformations,
    log_a: NDArray[np.float64],
    log_b: NDArray[np.float64],
    kt: float,
    unit: str,
    definition: str,
) -> Metric:
    """Return -kT ln(Σ e^log_b / Σ e^log_a); no error where a single block holds all of one side."""
    if log_a.shape != (frames.n_frames,) or log_b.shape != (frames.n_frames,):
        raise ParameterError(f"{frames.n_frames} frames need as many numbers, but got {log_a.shape}")
    n = min(_N_BLOCKS, frames.n_frames)
    blocks = [np.arange(frames.n_frames) * n // frames.n_frames != b for b in range(n)]
    if not (np.isfinite(log_a).any() and np.isfinite(log_b).any()):
        return Metric(None, None, unit, definition)
    left_out = np.array([logsumexp(log_b[kept]) - logsumexp(log_a[kept]) for kept in blocks])
    error = jackknife_error(left_out) if np.isfinite(left_out).all() else None
    return Metric(
        -kt * float(logsumexp(log_b) - logsumexp(log_a)),
        None if error is None else kt * float(error),
        unit,
        definition,
    )
