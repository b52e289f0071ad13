"""What the windows say: free energies of tilted states and of regions, the profile along the curve, and barriers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from tps.analysis.free_energy.mbar import WindowAnalysis, jackknife_error
from tps.analysis.metrics import Metric, Metrics
from tps.features import FeatureSpace

#: What the two differences are, for every road to them.
ANCHORED = "F(η_B) - F(η_A) = -kT (ψ(η_B) - ψ(η_A)) of the two anchored states"
REGIONS = "F(B) - F(A) = -kT ln(p(B)/p(A)) of the states as regions, without a tilt"
_ERROR = (
    "standard error: the larger of MBAR's own over independent frames and a jackknife over stretches of time"
)


@dataclass(frozen=True, eq=False)
class WindowProfile:
    """Along the curve, one entry per window on it.

    Attributes
    ----------
    s : (n,) array
    free_energy, free_energy_error : (n,) arrays
        F(η_k) - F(η_A) = -kT (ψ(η_k) - ψ(η_A)), and the springs' own where they were asked for.
    mean_energy, mean_energy_error : (n,) arrays
        Mean potential energy, the tilt left out.
    unit : str
    """

    s: NDArray[np.float64]
    free_energy: NDArray[np.float64]
    free_energy_error: NDArray[np.float64]
    mean_energy: NDArray[np.float64]
    mean_energy_error: NDArray[np.float64]
    unit: str


def window_profile(analysis: WindowAnalysis, space: FeatureSpace | None = None) -> WindowProfile:
    """Return the free energy and the mean potential energy along the curve.

    Parameters
    ----------
    analysis : WindowAnalysis
    space : FeatureSpace, optional
        Adds the free energy of the tilts' own springs, which -kT psi leaves out where features lie on lines.
    """
    n = analysis.windows.on_curve
    springs = 0.0 if space is None else analysis.kt * spring_profile(space, analysis.windows.eta[:n])
    relative = -analysis.kt * (analysis.block_psi[:, :n] - analysis.block_psi[:, :1])
    error = np.fmax(analysis.kt * analysis.sampling_error[0, :n], jackknife_error(relative))
    mean, mean_error = _window_energies(analysis)
    return WindowProfile(
        s=analysis.windows.s[:n],
        free_energy=-analysis.kt * (analysis.psi[:n] - analysis.psi[0]) + springs,
        free_energy_error=error,
        mean_energy=mean,
        mean_energy_error=mean_error,
        unit=analysis.unit,
    )


def spring_profile(space: FeatureSpace, eta: ArrayLike) -> NDArray[np.float64]:
    """Return what the springs of tilts eta (n, K) add to their free energy, from the first on (n,) [kT]."""
    found = space.spring(eta)
    return np.asarray(found - found[0])


def anchored_difference(analysis: WindowAnalysis) -> Metric:
    """Return F(η_B) - F(η_A) between the ends of the curve."""
    profile = window_profile(analysis)
    return Metric(
        profile.free_energy[-1],
        profile.free_energy_error[-1],
        analysis.unit,
        f"{ANCHORED}, by MBAR over {analysis.windows.n_windows} tilted windows; {_ERROR}.",
    )


def region_difference(analysis: WindowAnalysis) -> Metric:
    """Return F(B) - F(A) of the states as regions, by reweighting all windows to η = 0."""
    definition = (
        f"{REGIONS}, by MBAR over {analysis.windows.n_windows} tilted windows, reweighted to η = 0; {_ERROR}."
    )
    if not (analysis.in_a.any() and analysis.in_b.any()):
        return Metric(None, None, analysis.unit, definition)
    blocks = np.array([_log_ratio(w, analysis) for w in analysis.block_log_weights])
    sampling = analysis.kt * analysis.sampling_error[-1, -2]
    return Metric(
        -analysis.kt * _log_ratio(analysis.log_weights, analysis),
        np.fmax(sampling, analysis.kt * jackknife_error(blocks)),
        analysis.unit,
        definition,
    )


def region_energies(analysis: WindowAnalysis) -> dict[str, tuple[float, float]]:
    """Return the Boltzmann mean potential energy in states "a" and "b", each with its standard error."""
    return {
        label: _mean_inside(analysis, inside)
        for label, inside in (("a", analysis.in_a), ("b", analysis.in_b))
    }


def barrier_metrics(analysis: WindowAnalysis) -> Metrics:
    """Return the effective energy barrier against both end states, by regions."""
    profile = window_profile(analysis)
    top = int(np.argmax(profile.mean_energy))
    return {
        f"effective_barrier_{label}": Metric(
            profile.mean_energy[top] - mean,
            np.hypot(profile.mean_energy_error[top], error),
            analysis.unit,
            "Largest mean potential energy (no tilt) of a window on the curve, here at "
            f"s = {profile.s[top]:.2f}, minus the Boltzmann mean of U in state {label.upper()}; standard error.",
        )
        for label, (mean, error) in region_energies(analysis).items()
    }


def sampling_metrics(analysis: WindowAnalysis) -> Metrics:
    """Return overlap, statistical inefficiency and effective samples of the windows."""
    return {
        "window_overlap": Metric(
            analysis.neighbour_overlap.min(),
            None,
            "",
            "Smallest overlap (MBAR's matrix) of neighbouring windows on the curve; below 0.03 is too little.",
        ),
        "window_inefficiency": Metric(
            max(analysis.statistical_inefficiency.max(), analysis.ladder_inefficiency),
            None,
            "",
            "Largest statistical inefficiency of a window: stored frames per independent frame, of its slowest "
            "statistic or that of the sum over its ladder, about the mean of all ladders.",
        ),
        "window_effective_samples": Metric(
            analysis.effective_samples.min(), None, "count", "Fewest independent frames of a window."
        ),
        "window_start": Metric(
            analysis.start_share,
            None,
            "",
            "Share of the windows' time, its first, that is left out because ladders remember where they started: "
            "the longest that leaves about as many independent frames as any; a third at most.",
        ),
    }


def _log_ratio(log_weights: NDArray[np.float64], analysis: WindowAnalysis) -> float:
    """Return ln p(B)/p(A)."""
    with np.errstate(invalid="ignore"):  # neither state in what a block leaves over: no number
        return float(logsumexp(log_weights[analysis.in_b]) - logsumexp(log_weights[analysis.in_a]))


def _mean_inside(analysis: WindowAnalysis, inside: NDArray[np.bool_]) -> tuple[float, float]:
    if not inside.any():
        return float("nan"), float("nan")

    def mean(log_weights: NDArray[np.float64]) -> float:
        with np.errstate(invalid="ignore"):
            weight = np.exp(log_weights[inside] - log_weights[inside].max())
        return float(weight @ analysis.potential_energy[inside] / weight.sum())

    blocks = np.array([mean(w) for w in analysis.block_log_weights])
    return mean(analysis.log_weights), float(jackknife_error(blocks))


def _window_energies(analysis: WindowAnalysis) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean potential energy of the windows on the curve and its error, from the jackknife or from g."""
    n, k = analysis.windows.on_curve, analysis.windows.n_windows
    energy = analysis.potential_energy
    cell = analysis.window * analysis.n_blocks + analysis.block
    shape = (k, analysis.n_blocks)
    sums = np.bincount(cell, energy, minlength=k * analysis.n_blocks).reshape(shape)
    counts = np.bincount(cell, minlength=k * analysis.n_blocks).reshape(shape)
    mean = sums.sum(1) / counts.sum(1)
    left_out = (sums.sum(1, keepdims=True) - sums) / (counts.sum(1, keepdims=True) - counts)
    variance = np.bincount(analysis.window, (energy - mean[analysis.window]) ** 2) / counts.sum(1)
    sampling = np.sqrt(variance * analysis.statistical_inefficiency / counts.sum(1))
    return mean[:n], np.fmax(sampling, jackknife_error(left_out.T))[:n]
