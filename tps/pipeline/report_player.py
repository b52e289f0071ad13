"""What the player of a run's report shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tps.conformations import Conformations
from tps.paths import PathEnsemble
from tps.pipeline.constraints import avoided_regions
from tps.pipeline.folder import RunFolder
from tps.pipeline.geodesic import load_curve
from tps.pipeline.player_tracks import TrackMaker
from tps.pipeline.player_windows import KeptWindows
from tps.pipeline.report_channels import channel_curves
from tps.pipeline.unbiased import Unbiased
from tps.report.player import PROGRESS, MapAxes, PlayerScene, Share, Trace, TrackSet, energy_map, line, shares

#: Bytes of frames that a page holds, before base64 makes them four thirds of that.
_PAGE_BYTES = 3e6
#: Points per axis of a surface's map, and the share of a surface that its colours tell apart.
_GRID, _SHOWN = 121, 0.75


def player_scene(
    run: RunFolder,
    frames: Conformations,
    ensembles: Mapping[str, PathEnsemble],
    names: Mapping[str, str],
    content: Mapping[str, Any],
) -> PlayerScene | None:
    """Return what the player of a run shows; None where no path was finished.

    `names` is what readers call the methods of the candidates.
    """
    system, unbiased = run.system, Unbiased.load(run) if "ensemble" in content else None
    maker = TrackMaker.of(run, frames, unbiased)
    sets = _sets(maker, ensembles, names, unbiased)
    if not sets:
        return None
    marks: list[tuple[str, int, int]] = []
    if unbiased is not None and "committor" in content["metrics"]:
        states, labels = maker.transition_states(unbiased)
        marks = [(label, len(sets), k) for k, label in enumerate(labels)]
        sets.append(states)
    return PlayerScene(
        name=system.name,
        axes=maker.axes.axes,
        sets=sets,
        traces=_traces(run, sets),
        maps=_maps(run, maker.axes, frames),
        lines=_lines(run, maker.axes),
        states={s.name: maker.axes.pieces(s.region.ranges) for s in (system.state_a, system.state_b)},
        avoided=[maker.axes.pieces(region.ranges) for region in avoided_regions(system, run.config.geodesic)],
        marks=marks,
        topology=maker.place.topology,
        box=run.box,
        first=next((k for k, found in enumerate(sets) if found.dynamical), 0),
    )


def _sets(
    maker: TrackMaker,
    ensembles: Mapping[str, PathEnsemble],
    names: Mapping[str, str],
    unbiased: Unbiased | None,
) -> list[TrackSet]:
    """Return the candidates by method, the unbiased paths by channel, and windows, which share the page's frames."""
    planned: list[tuple[tuple[int, int], Callable[[Share], TrackSet]]] = []
    for method, ensemble in ensembles.items():
        if n_done := int(ensemble.completed.sum()):
            make = partial(maker.candidates, method, names[method], ensemble)
            planned.append(((n_done, len(ensemble.s)), make))
    if unbiased is not None:
        for name, rows in unbiased.rows_by_channel().items():
            size = len(rows), int(unbiased.paths.lengths[rows].max())
            planned.append((size, partial(maker.unbiased, unbiased, name, rows)))
    planned += [(windows.size, partial(windows.tracks, maker)) for windows in KeptWindows.of(maker.run)]
    parts = shares([size for size, _ in planned], int(_PAGE_BYTES / maker.bytes_per_frame))
    return [make(part) for (_, make), part in zip(planned, parts, strict=True)]


def _traces(run: RunFolder, sets: Sequence[TrackSet]) -> list[Trace]:
    """Return the plots over time that some set has numbers for."""
    traces = [
        Trace("energy", f"Potential energy [{run.system.energy_unit}]"),
        Trace(PROGRESS, "Progress s of the nearest point of the curve, committor p_B [-]"),
        Trace("work", "Work done by the tilt [kT]"),
    ]
    return [trace for trace in traces if any(trace.column in found.tracks[0].columns for found in sets)]


def _maps(run: RunFolder, axes: MapAxes, frames: Conformations) -> list[dict[str, object]]:
    """Return the energy of a surface of two axes, or the free energies of a molecule's frames."""
    unit = run.system.energy_unit
    if run.surface is None:
        return axes.free_energies(frames.values, frames.log_weights, run.system.kt, unit)
    if run.system.space.n_features == 1:
        return []
    _, energy = run.surface.energy_grid(_GRID)
    return [energy_map("x0", "x1", energy, "Energy", unit, quantile=_SHOWN)]


def _lines(run: RunFolder, axes: MapAxes) -> list[dict[str, object]]:
    """Return the means along the curve and along the channels that are not taken."""
    curve, space, unit = load_curve(run), run.system.space, run.system.energy_unit
    middle = space.center(curve.mu)
    found = []
    for channel in channel_curves(run):
        barrier = f", barrier {channel.barrier} {unit}" if channel.barrier else ""
        columns = {**axes.columns(channel.values), PROGRESS: channel.s}
        if not channel.taken:
            label = f"channel {channel.number}{barrier}"
            found.append(line(label, "channel", columns, color=channel.number, at=channel.at))
    columns = {**axes.columns(middle), PROGRESS: curve.s}
    return [*found, line("curve of the candidates", "curve", columns, color=4, at=len(curve.s) // 2)]
