"""The rate stage: rates in both directions by shots from the weighted frames, and by the flux out of A beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tps.analysis import (
    RATES,
    Metric,
    flux_from_a,
    flux_metrics,
    rate_from_flux,
    rates_from_shots,
    shot_rate_metrics,
    without_contradiction,
)
from tps.dynamics import TransitionDynamics
from tps.errors import RunFolderError
from tps.pipeline.dynamics import RunDynamics, run_dynamics
from tps.pipeline.folder import Chance, RunFolder, write_json
from tps.pipeline.frame_shots import FRAME_SHOTS, UNKNOWN_SELECTION, frame_shots, shots_key, stored_shots
from tps.pipeline.progress import Progress
from tps.pipeline.stage import StageResult
from tps.pipeline.withheld import few_carry, weightless


@dataclass(frozen=True)
class _Part:
    """What one road to the rates gives."""

    metrics: dict[str, Metric] = field(default_factory=dict)
    n_steps: int = 0
    notes: tuple[str, ...] = ()
    details: dict[str, int] = field(default_factory=dict)
    failure: str = ""


def transition_rates(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Estimate the rates from A to B and back by the roads that the configuration asks for."""
    folder = out / "rate"
    folder.mkdir(exist_ok=True)
    with run_dynamics(run, progress) as dynamics:
        flights = dynamics.transition(run.config.shooting.frame_interval_steps)
        shots = _by_shots(run, dynamics, flights, folder, progress) if run.config.n_rate_shots else _Part()
        flux = _by_flux(run, dynamics, flights, progress) if run.config.rate.n_walkers else _Part()
        platform = dynamics.platform_name
    metrics = without_contradiction({**shots.metrics, **flux.metrics})
    known = any(name in metrics and metrics[name].value is not None for name in RATES)
    write_json(folder / "result.json", {name: metric.as_dict() for name, metric in metrics.items()})
    return StageResult(
        shots.n_steps + flux.n_steps,
        platform,
        (*shots.notes, *flux.notes),
        {**shots.details, **flux.details},
        "" if known else flux.failure,
    )


def _by_shots(
    run: RunFolder, dynamics: RunDynamics, flights: TransitionDynamics, folder: Path, progress: Progress
) -> _Part:
    """Take the shots that are there, make those that are missing, and keep all of them."""
    time, wanted = run.system.time_unit, run.config.n_rate_shots
    own = folder / FRAME_SHOTS
    shots, n_steps = stored_shots(run, own, run.path / "shooting" / FRAME_SHOTS), 0
    n_there = 0 if shots is None else shots.n_shots
    if n_there < wanted:
        more = frame_shots(run, dynamics, wanted - n_there, progress, earlier=shots)
        if more is None:
            return _Part(shot_rate_metrics(None, time, UNKNOWN_SELECTION))
        n_steps = more.shots.n_steps
        shots = more.shots if shots is None else shots.joined(more.shots)
    assert shots is not None
    shots.save(own, key=shots_key(run))
    rates = rates_from_shots(shots, flights.frame_time, exact_frames=run.on_grid)
    frames = run.load_frames()
    doubt = weightless(run, frames) or few_carry(frames, grid=run.on_grid)
    metrics = shot_rate_metrics(rates, time, doubt)
    notes: tuple[str, ...] = ()
    if rates.n_unfinished:
        notes = (
            f"{rates.n_unfinished} of {rates.n_shots} shots from the weighted frames had a side that reached neither "
            "state: slower transitions are missing from the rates (shooting.max_frames)",
        )
    details = {"frame_shots": rates.n_shots, "transitions": rates.n_paths}
    return _Part(metrics, n_steps, notes, details)


def _by_flux(run: RunFolder, dynamics: RunDynamics, flights: TransitionDynamics, progress: Progress) -> _Part:
    """Let walkers that start in equilibrium in A cross its border, and shoot from the crossings."""
    section, seeds = run.config.rate, run.seeds(Chance.RATE, 3)
    starts = _starts_in_a(run, section.n_walkers, seeds[0])
    with progress.task("flux", 2) as advance:
        flux = flux_from_a(flights, starts, section.n_frames, seed=seeds[1], executor=dynamics.executor)
        advance(1)
        rate = rate_from_flux(
            flights,
            flux,
            section.n_shots,
            seed=seeds[2],
            max_frames=run.config.shooting.max_frames,
            executor=dynamics.executor,
        )
        advance(2)
    metrics = flux_metrics(rate, run.system.time_unit)
    notes: tuple[str, ...] = ()
    if rate.n_unfinished:
        notes = (
            f"{rate.n_unfinished} of {rate.n_shots} shots from crossings reached neither state and are left out",
        )
    reason = metrics["rate_by_flux"].withheld
    details = {"crossings": len(flux.points), "shots_in_b": rate.n_in_b}
    return _Part(metrics, rate.n_steps, notes, details, reason)


def _starts_in_a(run: RunFolder, n: int, seed: int) -> np.ndarray:
    """Return positions of frames in A, drawn by their weights."""
    system, frames = run.system, run.load_frames()
    positions = run.frame_positions(frames)
    inside = np.flatnonzero(system.state_a.region.contains(system.values(positions)))
    if not len(inside):
        raise RunFolderError(
            f"none of the weighted frames lies in state {system.state_a.name}: sample longer"
        )
    return np.asarray(positions[frames.draw(inside, n, np.random.default_rng(seed))])
