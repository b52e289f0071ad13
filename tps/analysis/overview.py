"""Numbers about what paths are compared with: the curve they follow, the states, the lower bound; and their counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tps.analysis.flood_fill import LowerBound
from tps.analysis.free_energy.roads import in_unit, with_springs
from tps.analysis.metrics import Metric, Metrics, mean_and_deviation
from tps.errors import ParameterError
from tps.paths import PathEnsemble, TransitionPaths
from tps.systems import System


def curve_metrics(solved: Mapping[str, Any], method: str, difference: Metric, system: System) -> Metrics:
    """Return what is said of the curve that paths follow.

    Parameters
    ----------
    solved : mapping
        The geodesic's result: length, geodesic_length, constant_speed, curves by method, health.
    method : str
        Which of the curves.
    difference : Metric
        F(η_B) - F(η_A) by the model [kT], without springs.
    system : System
        For its kT and unit of energy.
    """
    kt, unit = system.kt, system.energy_unit
    curve, health = solved["curves"][method], solved["health"]
    by_model = in_unit(difference, kt, unit)
    by_model = with_springs({"model": by_model}, kt * curve["delta_spring"])["model"]
    return {
        "curve_length": Metric(
            solved["length"], None, "", "Fisher-Rao length Σ sqrt(Δη·Δμ) of the curve that the paths follow."
        ),
        "geodesic_length": Metric(
            solved["geodesic_length"],
            None,
            "",
            "Fisher-Rao length Σ sqrt(Δη·Δμ) of the geodesic between the anchored states.",
        ),
        "constant_speed": Metric(
            solved["constant_speed"], None, "", "2 E / length²; 1 for a curve of constant speed."
        ),
        "free_energy_difference": replace(
            by_model,
            definition="Free energy of B minus that of A, each held by its anchor's tilt: "
            + by_model.definition,
        ),
        "psi_difference_to_frames": Metric(
            curve["delta_psi_model"] - curve["delta_psi_frames"],
            None,
            "kT",
            "The same difference from the weighted frames (metadynamics) minus that of the model.",
        ),
        "max_psi_error_on_curve": Metric(
            curve.get("max_psi_error"),
            None,
            "kT",
            "Largest |ψ_model - ψ_frames| along the curve, both counted from its first point.",
        ),
        "mean_mu_error_on_curve": Metric(
            curve["mean_mu_error"], None, "", "Mean |μ_model - μ_frames| along the curve."
        ),
        "support": Metric(
            curve["min_effective_sample_size"],
            None,
            "count",
            "Smallest effective number of weighted frames (Kish) along the curve.",
        ),
        "negative_chords": Metric(
            100 * health["negative_chords"], None, "%", "Chords of the curve with Δη·Δμ < 0."
        ),
        "jacobian_asymmetry": Metric(
            health["jacobian_asymmetry"], None, "", "Largest |G - Gᵀ| / |G + Gᵀ| of ∂μ/∂η along the curve."
        ),
    }


def count_metrics(ensemble: PathEnsemble) -> Metrics:
    """Return how many paths started, failed, and went over."""
    return {
        "paths_started": Metric(ensemble.n_paths, None, "count", "Paths started."),
        "paths_failed": Metric(
            int((~ensemble.completed).sum()), None, "count", "Paths whose dynamics left the numbers."
        ),
        "paths_reactive": Metric(
            int(ensemble.reactive.sum()),
            None,
            "count",
            "Paths with a reactive segment: from the last frame in A to the first frame in B that follows it.",
        ),
    }


def mean_energy_metrics(system: System, ends: Mapping[str, tuple[float, float]]) -> Metrics:
    """Return the Boltzmann mean energies (value, standard error) of the states by their labels, "a" and "b"."""
    return {
        f"mean_energy_{label}": Metric(
            mean,
            error,
            system.energy_unit,
            f"Boltzmann mean {system.energy_name} in state {label.upper()} from the weighted frames; standard error.",
        )
        for label, (mean, error) in ends.items()
    }


def bound_metrics(unit: str, bound: LowerBound | None) -> Metrics:
    """Return the flood-fill lower bound; nothing where there is none."""
    if bound is None:
        return {}
    return {
        "lower_bound": Metric(
            bound.energy,
            bound.error,
            unit,
            "Least maximum energy that any path between the two ends can have, by flood fill on a grid; the error is "
            "what the grid can miss.",
        )
    }


def ensemble_energy_metrics(
    system: System, paths: TransitionPaths, ends: Mapping[str, tuple[float, float]]
) -> Metrics:
    """Return the mean maximum energy of an unbiased ensemble, and how far above each state's mean energy it lies.

    Parameters
    ----------
    system : System
    paths : TransitionPaths
        With the energies of their frames.
    ends : mapping of str to (value, error)
        Mean energies of the states by their labels, "a" and "b".
    """
    unit = system.energy_unit
    if paths.potential_energy is None:
        raise ParameterError("the highest energies of paths need the energies of their frames")
    highest = np.repeat([np.max(energy) for energy in paths.potential_energy], paths.multiplicity)
    mean, deviation = mean_and_deviation(highest)
    over = f"maximum of the {system.energy_name} over a path of the unbiased ensemble, every path counted for each move"
    found = {
        "ensemble_u_max": Metric(
            mean, deviation, unit, f"Mean {over}; the error is the standard deviation over paths."
        )
    }
    for label, (reference, _) in ends.items():
        found[f"ensemble_u_max_minus_{label}"] = Metric(
            None if mean is None else mean - reference,
            deviation,
            unit,
            f"ensemble_u_max minus the Boltzmann mean of U in state {label.upper()} ({reference:.2f} {unit}).",
        )
    return found
