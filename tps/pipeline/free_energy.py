"""The free-energy stage: umbrella windows along the curve, and the same differences by every other road."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tps.analysis import (
    Agreement,
    Metric,
    WindowAnalysis,
    agreement,
    analyse_windows,
    anchored_difference,
    barrier_metrics,
    frames_lower_bound,
    free_energy_surface,
    integrated_difference,
    region_difference,
    sampling_metrics,
    surface_barriers,
    surface_lower_bound,
    window_profile,
)
from tps.conformations import Conformations
from tps.errors import ParameterError
from tps.features import TorsionFeatures
from tps.paths import (
    PathEnsemble,
    Windows,
    WindowSettings,
    barrier_place,
    load_paths,
    starts_along,
    tightening,
)
from tps.paths.ensemble import COMPLETED
from tps.pipeline.candidates import path_folder
from tps.pipeline.dynamics import Positions, RunDynamics, load_curve, run_dynamics
from tps.pipeline.folder import RunFolder
from tps.pipeline.free_energy_roads import other_roads, region_roads, value_statistics, with_springs, works
from tps.pipeline.geodesic import MAIN, STRAIGHT, curve_file
from tps.pipeline.progress import Progress
from tps.pipeline.stage import StageResult
from tps.systems import SurfaceSystem, System

#: Seeds of the windows, and of the backward paths they start from.
_SEED, _STARTS_SEED = 12, 14
#: The tightest bridge window is as strong as the anchors, the weakest weaker by this factor.
_BRIDGE_RANGE = 14.0
#: Features over which a histogram of frames can be filled, to find the saddle.
_MAX_MAP = 2
_N_CELLS = 36


def free_energies(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Sample the windows and the backward paths, and write the table, the profile and the surface."""
    section, system = run.config.free_energy, run.system
    frames = Conformations.load(run.path / "conformations" / "data.npz")
    ladder_seeds = run.seeds(_SEED, section.n_ladders)
    windows, notes = _windows(run, frames)
    settings = WindowSettings(section.n_frames, section.frame_interval_steps)
    rounds = section.n_ladders
    if isinstance(system, SurfaceSystem):
        rounds = section.n_frames + settings.n_equilibration_frames
    with run_dynamics(run, progress) as dynamics:
        with progress.task("windows", rounds) as advance:
            starts, n_evaluations = _starts(run, dynamics, windows)
            samples = dynamics.windows(windows, starts, settings, ladder_seeds, advance)
        with progress.task("backward paths", section.n_backward_paths) as advance:
            pulled, n_backward = works(run, dynamics, advance)
    analysis = analyse_windows(samples, system.kt, unit=system.energy_unit)
    anchored = with_springs(
        run,
        {
            "windows (MBAR)": anchored_difference(analysis),
            "windows, integration of μ": integrated_difference(analysis),
            **pulled,
            **other_roads(run, frames),
        },
    )
    regions = {"windows (MBAR)": region_difference(analysis), **region_roads(run, frames)}
    folder = out / "free_energy"
    folder.mkdir()
    samples.save(folder / "samples.npz")
    stated = {"anchored": agreement(anchored), "regions": agreement(regions)}
    metrics = _save(run, folder, analysis, stated, anchored["windows (MBAR)"])
    notes += [f"free energy: {text}" for text in analysis.warnings()]
    if samples.n_failed:
        first = samples.status[samples.status != COMPLETED][0]
        notes.append(f"{samples.n_failed} windows failed; the first: {first}")
    details = {"windows": windows.n_windows, "traversals": samples.n_traversals}
    known = metrics["free_energy_regions"]["value"] is not None
    failure = "" if known else "no frame of the windows lies in one of the states: sample longer"
    n_evaluations += samples.n_evaluations + n_backward
    return StageResult(n_evaluations, dynamics.platform_name, tuple(notes), details, failure)


def _windows(run: RunFolder, frames: Conformations) -> tuple[Windows, list[str]]:
    """Return the windows on the curve, η = 0, and the bridge about the barrier."""
    section, curve = run.config.free_energy, load_curve(run, curve_file(MAIN))
    windows = Windows.along(curve.s, curve.eta, section.n_windows)
    if not section.n_bridge_windows:
        return windows, []
    try:
        place = _barrier(run, frames)
    except ParameterError as error:
        return windows, [f"windows have no bridge over the barrier, whose place is not known: {error}"]
    strongest = float(np.exp(run.config.geodesic.anchor_log_snr))
    unit_eta = _unit_eta(run.system, place)
    return windows.with_bridge(
        tightening(unit_eta, strongest / _BRIDGE_RANGE, strongest, section.n_bridge_windows)
    ), []


def _unit_eta(system: System, place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return η of unit strength about feature values (d,): T of an angle, (x, -1/2) in a plane."""
    if isinstance(system, SurfaceSystem):
        return (
            system.statistics(place[None])[0] if system.spacetime_kind == "torus" else np.append(place, -0.5)
        )
    return TorsionFeatures.from_system(system).values(place)


def _barrier(run: RunFolder, frames: Conformations) -> NDArray[np.float64]:
    """Return the feature values of the barrier between A and B."""
    system = run.system
    if isinstance(system, SurfaceSystem):
        return np.array(surface_lower_bound(system).point)
    if frames.torsions.shape[1] <= _MAX_MAP:
        a, b = system.feature_values(system.ends)
        return np.array(frames_lower_bound(frames.torsions, frames.log_weights, a, b).point)
    folder = run.path / path_folder(STRAIGHT)
    if not folder.is_dir():
        raise ParameterError("there are no straight-line paths to find it with (paths.n_baseline_paths = 0)")
    return barrier_place(load_paths(folder))


def _starts(run: RunFolder, dynamics: RunDynamics, windows: Windows) -> tuple[NDArray[np.float64], int]:
    """Return starts (n_ladders, n_windows, ...) and what they cost: every other ladder starts from a path from B."""
    n_ladders, system = run.config.free_energy.n_ladders, run.system
    ahead = load_paths(run.path / path_folder(MAIN))
    found: list[list[NDArray[np.float64]]] = [[], []]
    forward, n_evaluations = run.path_positions(path_folder(MAIN), ahead), 0
    directions: list[tuple[PathEnsemble, list[Positions | None]]] = [(ahead, forward)]
    if n_ladders > 1:
        seeds = run.seeds(_STARTS_SEED, n_ladders // 2)
        directions.append(
            dynamics.annealed(load_curve(run, curve_file(MAIN)), seeds, lambda n: None, backward=True)
        )
        n_evaluations = directions[1][0].n_evaluations
    for starts, (paths, positions) in zip(found, directions, strict=False):
        for frames in positions:
            if frames is not None and len(starts) < -(-n_ladders // 2):
                starts.append(
                    starts_along(
                        windows, paths.s, frames, value_statistics(system, system.feature_values(frames))
                    )
                )
    mixed = [one for pair in itertools.zip_longest(*found) for one in pair if one is not None]
    if not mixed:
        raise ParameterError("the windows start from finished paths, and there are none")
    return np.stack([mixed[i % len(mixed)] for i in range(n_ladders)]), n_evaluations


def _save(
    run: RunFolder, folder: Path, analysis: WindowAnalysis, stated: Mapping[str, Agreement], anchored: Metric
) -> dict[str, Any]:
    """Write profile.npz, surface.npz and result.json; return the metrics."""
    profile = window_profile(analysis)
    np.savez(
        folder / "profile.npz",
        s=profile.s,
        free_energy=profile.free_energy,
        free_energy_error=profile.free_energy_error,
        mean_energy=profile.mean_energy,
        mean_energy_error=profile.mean_energy_error,
        overlap=analysis.overlap,
        statistical_inefficiency=analysis.statistical_inefficiency,
    )
    system = run.system
    bounds = None if system.spacetime_kind == "torus" else system.bounds[:_MAX_MAP]
    surface = free_energy_surface(
        analysis, _N_CELLS, columns=range(min(_MAX_MAP, analysis.values.shape[1])), bounds=bounds
    )
    axes: dict[str, Any] = {f"axis_{i}": axis for i, axis in enumerate(surface.axes)}
    np.savez(folder / "surface.npz", free_energy=surface.free_energy, error=surface.error, **axes)
    metrics = {
        "free_energy_anchored": anchored,
        "free_energy_regions": region_difference(analysis),
        **barrier_metrics(analysis),
        **surface_barriers(surface),
        **sampling_metrics(analysis),
    }
    content: dict[str, Any] = {
        "metrics": {name: metric.as_dict() for name, metric in metrics.items()},
        "roads": {
            name: {road: metric.as_dict() for road, metric in found.roads.items()}
            | dict.fromkeys(found.missing)
            for name, found in stated.items()
        },
        "agreement": {name: found.sentence() for name, found in stated.items()},
    }
    (folder / "result.json").write_text(json.dumps(content, indent=1) + "\n")
    return dict(content["metrics"])
