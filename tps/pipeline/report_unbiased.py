"""Figures of shooting, committors and free energies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tps.analysis import DIFFERENCES, N_BINS, frame_histogram, frame_ranges, path_channels
from tps.arrays import load_arrays
from tps.paths import PathEnsemble, load_transition_paths
from tps.pipeline.committor import TRANSITION_STATES, load_committors
from tps.pipeline.folder import RunFolder
from tps.pipeline.unbiased import Unbiased
from tps.report import (
    committor_histogram_figure,
    convergence_figure,
    ensemble_figure,
    profile_figure,
    reweighted_map_figure,
    roads_figure,
)

Picture = tuple[Figure, str, str]
#: What the files of windows hold: see `load_arrays`.
_PROFILE = {
    "s": "f n",
    "free_energy": "F n",
    "free_energy_error": "F n",
    "mean_energy": "F n",
    "mean_energy_error": "F n",
    "overlap": "F k k",
    "statistical_inefficiency": "F k",
}
_SURFACES = {
    1: {"axis_0": "f n", "free_energy": "F n", "error": "F n"},
    2: {"axis_0": "f n", "axis_1": "f m", "free_energy": "F n m", "error": "F n m"},
}
#: Paths and candidates drawn on the map of the ensemble.
_SHOWN = 40


def ensemble_pictures(
    run: RunFolder, candidates: PathEnsemble, content: Mapping[str, Any]
) -> dict[str, Picture]:
    """Return the map of the unbiased ensemble, and how the chains came to it."""
    unbiased, system, metrics = Unbiased.load(run), run.system, content["metrics"]
    paths, made = unbiased.paths, content["ensemble"]
    ranges = frame_ranges(system, paths)
    shown = paths.select(np.unique(np.linspace(0, len(paths) - 1, _SHOWN).astype(int)))
    picture = ensemble_figure(
        frame_histogram(system, paths, ranges=ranges),
        space=system.space,
        ranges=ranges,
        candidates=[
            candidates.values[i, candidates.segment(i), :2] for i in candidates.reactive_paths[:_SHOWN]
        ],
        paths=[values[:, :2] for values in shown.values or ()],
        channels=path_channels(system, shown),
        shares=made["channels"],
        states={s.name: s.region.ranges for s in (system.state_a, system.state_b)},
    )
    found = {
        "ensemble": (
            picture,
            "Unbiased ensemble",
            f"Frames of {len(paths)} transition paths from {metrics['shooting_moves']['value']:.0f} shooting moves "
            f"({N_BINS} bins), some of the paths by channel, and the candidates they started from.",
        )
    }
    if made["moves"]:
        found["convergence"] = (
            _convergence(unbiased, content),
            "From the candidates to the ensemble",
            "Jensen-Shannon divergence to the unbiased ensemble, of the candidates and of all that the chains have "
            "made after so many moves, each half of the chains against the other; and how long transitions take.",
        )
    return found


def _convergence(unbiased: Unbiased, content: Mapping[str, Any]) -> Figure:
    made, metrics = content["ensemble"], content["metrics"]
    divergence = {}
    rest = [np.nan] * len(made["moves"])
    for name, numbers in content["baselines"].items():
        divergence[name.replace("_", " ")] = np.array([_number(numbers["divergence_to_ensemble"]), *rest])
    along = [np.nan if value is None else value for value in made["divergence"]]
    divergence["paths, then chains from them"] = np.array(
        [_number(metrics["divergence_to_ensemble"]), *along]
    )
    return convergence_figure(
        np.array([0, *made["moves"]]),
        divergence,
        floor=metrics["divergence_between_halves"]["value"],
        durations=unbiased.paths.durations,
        weights=unbiased.paths.multiplicity.astype(np.float64),
        time_unit=metrics["mean_transition_time"]["unit"],
    )


def committor_pictures(run: RunFolder) -> dict[str, Picture]:
    """Return the histogram of the transition states' committors."""
    file = run.path / TRANSITION_STATES / "committor.npz"
    data = load_committors(file, load_transition_paths(run.path / "shooting").lengths)
    p_b, n_shots = data["p_b"], data["n_a"] + data["n_b"]
    caption = (
        "p_B of the states found by bisection, by shots of their own with fresh velocities, beside what the number of "
        "shots alone would scatter if every one had p_B = 1/2."
    )
    return {
        "committor": (committor_histogram_figure(p_b, n_shots), "Committors of transition states", caption)
    }


def free_energy_pictures(
    run: RunFolder, content: Mapping[str, Any], model: tuple[NDArray[np.float64], NDArray[np.float64]] | None
) -> dict[str, Picture]:
    """Return the roads to each difference, the profile along the curve, and the surface from the windows.

    `model` is s and the model's free energy along the curve [the system's unit of energy], where it is not withheld.
    """
    system, metrics, folder = run.system, content["metrics"], run.path / "free_energy"
    roads = {
        DIFFERENCES[name]: {road: metric for road, metric in found.items() if metric["value"] is not None}
        for name, found in content["free_energy"]["roads"].items()
    }
    profile = load_arrays(folder / "profile.npz", layout=_PROFILE)
    surface = load_arrays(folder / "surface.npz", layout=_SURFACES[min(system.space.n_features, 2)])
    axes = [surface[name] for name in sorted(surface) if name.startswith("axis_")]
    unit = system.energy_unit
    return {
        "free_energy_roads": (
            roads_figure({title: found for title, found in roads.items() if found}),
            "Free-energy differences",
            " ".join(content["free_energy"]["agreement"].values()),
        ),
        "free_energy_profile": (
            profile_figure(
                profile["s"],
                profile["free_energy"],
                profile["free_energy_error"],
                profile["mean_energy"],
                profile["mean_energy_error"],
                unit=unit,
                model=model,
                mean_a=metrics["mean_energy_a"]["value"],
                mean_b=metrics["mean_energy_b"]["value"],
            ),
            "Free energy along the curve",
            "From umbrella windows on the curve, and -kTψ of the model; below, the mean potential energy of each "
            "window without its tilt.",
        ),
        "free_energy_windows": (
            reweighted_map_figure(
                axes,
                surface["free_energy"],
                surface["error"],
                space=system.space,
                unit=unit,
                states={s.name: s.region.ranges for s in (system.state_a, system.state_b)},
            ),
            "Free energy from the windows",
            "All windows reweighted to no tilt, and the standard error.",
        ),
    }


def _number(metric: Mapping[str, Any]) -> float:
    return float("nan") if metric["value"] is None else float(metric["value"])
