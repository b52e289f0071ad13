"""The free-energy stage: umbrella windows along the curve, and the same differences by every other road."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tps.analysis import (
    WINDOWS,
    WINDOWS_BY_MEANS,
    Metric,
    WindowAnalysis,
    agreement,
    analyse_windows,
    anchored_difference,
    anchored_frames_road,
    barrier_metrics,
    free_energy_surface,
    independent,
    integrated_difference,
    joined_cells,
    model_road,
    region_difference,
    region_frames_road,
    sampling_metrics,
    spring_difference,
    surface_barriers,
    surface_lower_bound,
    together,
    window_profile,
    with_springs,
    work_roads,
)
from tps.arrays import save_arrays
from tps.conformations import Conformations, write_dcd
from tps.errors import ParameterError, RunFolderError
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
from tps.pipeline.dynamics import Positions, RunDynamics, run_dynamics
from tps.pipeline.folder import Chance, RunFolder, write_json
from tps.pipeline.friction import load_friction
from tps.pipeline.geodesic import MAIN, STRAIGHT, StoredCurve, load_curve, load_solved
from tps.pipeline.progress import Progress
from tps.pipeline.stage import StageResult
from tps.pipeline.withheld import as_sure_as_grown, model_free_energy, one_end, weightless
from tps.report import withheld_sentences

#: Features over which a histogram of frames can be filled, to find the saddle.
_MAX_MAP = 2
_N_CELLS = 36
#: Frames of each window and ladder whose positions stay, to look at.
_N_POSITIONS = 32


def free_energies(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Sample the windows and the backward paths, and write the table, the profile and the surface."""
    section, system = run.config.free_energy, run.system
    frames, curve, solved = run.load_frames(), load_curve(run), load_solved(run.path)
    if same := one_end(run, solved):
        raise RunFolderError(same)
    doubt = weightless(run, frames)
    windows, notes = _windows(run, curve, frames, solved["anchor_log_snr"])
    n_positions = min(section.n_frames, _N_POSITIONS)
    settings = WindowSettings(section.n_frames, section.frame_interval_steps, n_positions=n_positions)
    with run_dynamics(run, progress) as dynamics:
        starts, n_evaluations = _starts(run, dynamics, curve, windows)
        samples = dynamics.windows(windows, starts, settings, run.seeds(Chance.WINDOWS, section.n_ladders))
        pulled, n_backward = _pulls(run, dynamics, curve, progress)
    analysis = analyse_windows(samples, system.kt, unit=system.energy_unit)
    by_windows = {
        WINDOWS: anchored_difference(analysis),
        WINDOWS_BY_MEANS: integrated_difference(analysis),
    }
    spring = system.kt * spring_difference(system.space, curve.eta[0], curve.eta[-1])
    anchored = with_springs(
        {**by_windows, **pulled, **_other_roads(run, frames, curve, solved, doubt)}, spring
    )
    by_frames = region_frames_road(
        system,
        frames,
        system.values(run.frame_positions(frames)),
        made_by=_made_by(run),
        on_grid=run.on_grid,
    )
    regions = {WINDOWS: region_difference(analysis), **_believed(run, doubt, by_frames)}
    folder = out / "free_energy"
    folder.mkdir()
    samples.save(folder / "samples.npz")
    if run.surface is None and samples.positions is not None:
        write_dcd(folder / "frames.dcd", samples.positions.reshape(-1, *samples.positions.shape[3:]), run.box)
    roads = {"anchored": anchored, "regions": regions}
    _save(run, folder, analysis, roads)
    notes += [f"free energy: {text}" for found in roads.values() for text in _withheld(found)]
    notes += [f"free energy: {text}" for text in analysis.warnings()]
    if samples.n_failed:
        first = samples.status[samples.status != COMPLETED][0]
        notes.append(f"{samples.n_failed} windows failed; the first: {first}")
    details = {"windows": windows.n_windows, "traversals": samples.n_traversals}
    failure = (
        ""
        if regions[WINDOWS].value is not None
        else "no frame of the windows lies in one of the states: sample longer"
    )
    n_evaluations += samples.n_evaluations + n_backward
    return StageResult(n_evaluations, dynamics.platform_name, tuple(notes), details, failure)


def _windows(
    run: RunFolder, curve: StoredCurve, frames: Conformations, anchor_log_snr: float
) -> tuple[Windows, list[str]]:
    """Return the windows on the curve, η = 0, and the bridge about the barrier."""
    section = run.config.free_energy
    windows = Windows.along(curve.s, curve.eta, section.n_windows)
    if not section.n_bridge_windows:
        return windows, []
    try:
        place = _barrier(run, frames)
    except ParameterError as error:
        return windows, [f"windows have no bridge over the barrier, whose place is not known: {error}"]
    about = run.system.space.eta(place, 0.0)
    bridge = tightening(about, anchor_log_snr, section.n_bridge_windows)
    return windows.with_bridge(bridge), []


def _barrier(run: RunFolder, frames: Conformations) -> NDArray[np.float64]:
    """Return the feature values of the barrier between A and B."""
    system = run.system
    if run.surface is not None:
        return np.array(surface_lower_bound(run.surface).point)
    if system.space.n_features <= _MAX_MAP:
        a, b = system.feature_values(system.ends)
        return joined_cells(system.space, frames.values, frames.log_weights, a, b)
    folder = run.path / path_folder(STRAIGHT)
    if not folder.is_dir():
        raise ParameterError("there are no straight-line paths to find it with (paths.n_baseline_paths = 0)")
    return barrier_place(load_paths(folder), system.space)


def _starts(
    run: RunFolder, dynamics: RunDynamics, curve: StoredCurve, windows: Windows
) -> tuple[NDArray[np.float64], int]:
    """Return starts (n_ladders, n_windows, ...) and what they cost: every other ladder starts from a path from B."""
    n_ladders, system = run.config.free_energy.n_ladders, run.system
    ahead = load_paths(run.path / path_folder(MAIN))
    found: list[list[NDArray[np.float64]]] = [[], []]
    forward, n_evaluations = run.path_positions(path_folder(MAIN), ahead), 0
    directions: list[tuple[PathEnsemble, list[Positions | None]]] = [(ahead, forward)]
    if n_ladders > 1:
        seeds = run.seeds(Chance.WINDOW_STARTS, n_ladders // 2)
        directions.append(dynamics.annealed(curve, seeds, lambda n: None, backward=True))
        n_evaluations = directions[1][0].n_evaluations
    for starts, (paths, positions) in zip(found, directions, strict=False):
        for frames in positions:
            if frames is not None and len(starts) < -(-n_ladders // 2):
                statistics = system.space.statistic(system.feature_values(frames))
                starts.append(starts_along(windows, paths.s, frames, statistics))
    mixed = [one for pair in itertools.zip_longest(*found) for one in pair if one is not None]
    if not mixed:
        raise ParameterError("the windows start from finished paths, and there are none")
    return np.stack([mixed[i % len(mixed)] for i in range(n_ladders)]), n_evaluations


def _pulls(
    run: RunFolder, dynamics: RunDynamics, curve: StoredCurve, progress: Progress
) -> tuple[dict[str, Metric], int]:
    """Return the roads from the work both ways and what they cost: along the straight line, and along the curve.

    The curve joins only where its paths dissipate least and no wall is in their way.
    """
    n_backward, n_evaluations = run.config.free_energy.n_backward_paths, 0
    found: dict[str, Metric] = {}
    pulls: dict[str, tuple[str, Chance, NDArray[np.float64] | None]] = {
        STRAIGHT: ("straight pulls", Chance.BACKWARD_PATHS, None)
    }
    if run.config.paths.protocol == "friction" and not run.config.paths.enforce:
        clock = load_friction(run.path).curve.clock(curve.s)
        pulls[MAIN] = ("paths along the curve", Chance.BACKWARD_CURVE_PATHS, clock)
    for method, (named, chance, by_clock) in pulls.items():
        folder = run.path / path_folder(method)
        if not n_backward or not folder.is_dir():
            continue
        along = load_curve(run, method)
        with progress.task(f"{named}, backward", n_backward) as advance:
            backward, _ = dynamics.annealed(
                along, run.seeds(chance, n_backward), advance, clock=by_clock, backward=True
            )
        found |= work_roads(run.system, load_paths(folder), backward, named)
        n_evaluations += backward.n_evaluations
    return found, n_evaluations


def _other_roads(
    run: RunFolder, frames: Conformations, curve: StoredCurve, solved: Mapping[str, Any], doubt: str
) -> dict[str, Metric]:
    """Return what the model and the weighted frames say of the anchored states."""
    by_model = {}
    if run.model_kind != "frames":
        by_model = model_road(run.system, model_free_energy(run, frames, solved, doubt))
    by_frames = anchored_frames_road(
        run.system, frames, curve.eta[0], curve.eta[-1], made_by=_made_by(run), on_grid=run.on_grid
    )
    return by_model | _believed(run, doubt, by_frames)


def _believed(run: RunFolder, doubt: str, roads: Mapping[str, Metric]) -> dict[str, Metric]:
    kt = run.system.kt
    return {name: as_sure_as_grown(run, metric, kt).unless(doubt) for name, metric in roads.items()}


def _made_by(run: RunFolder) -> str:
    method = run.sampling.method
    spoken = {"grow": "grown frames", "import": "imported frames", "md": "plain dynamics"}
    return spoken.get(method, method)


def _save(
    run: RunFolder,
    folder: Path,
    analysis: WindowAnalysis,
    roads: Mapping[str, Mapping[str, Metric]],
) -> None:
    """Write profile.npz, surface.npz and result.json."""
    profile = window_profile(analysis, run.system.space)
    save_arrays(
        folder / "profile.npz",
        s=profile.s,
        free_energy=profile.free_energy,
        free_energy_error=profile.free_energy_error,
        mean_energy=profile.mean_energy,
        mean_energy_error=profile.mean_energy_error,
        overlap=analysis.overlap,
        statistical_inefficiency=analysis.statistical_inefficiency,
    )
    surface = free_energy_surface(analysis, run.system.space, _N_CELLS)
    axes: dict[str, Any] = {f"axis_{i}": axis for i, axis in enumerate(surface.axes)}
    save_arrays(folder / "surface.npz", free_energy=surface.free_energy, error=surface.error, **axes)
    metrics = {
        **{f"free_energy_{name}": together(independent(found)) for name, found in roads.items()},
        **barrier_metrics(analysis),
        **surface_barriers(surface),
        **sampling_metrics(analysis),
    }
    content: dict[str, Any] = {
        "metrics": {name: metric.as_dict() for name, metric in metrics.items()},
        "roads": {
            name: {road: metric.as_dict() for road, metric in found.items()} for name, found in roads.items()
        },
        "agreement": {name: agreement(found).sentence() for name, found in roads.items()},
    }
    write_json(folder / "result.json", content)


def _withheld(roads: Mapping[str, Metric]) -> list[str]:
    return withheld_sentences({name: metric.as_dict() for name, metric in roads.items()})
