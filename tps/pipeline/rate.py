"""The rate stage: flux out of A by free walkers, and the committor of their crossings."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tps.analysis import Metric, Rate, flux_from_a, proportion_error, rate_from_flux
from tps.errors import RunFolderError
from tps.pipeline.dynamics import run_dynamics
from tps.pipeline.folder import Chance, RunFolder, write_json
from tps.pipeline.progress import Progress
from tps.pipeline.stage import StageResult

#: Fewest shots in B that a rate is taken from.
_FEWEST = 10


def rate_from_a(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Estimate the rate from A to B, from walkers that start in equilibrium in A."""
    section, system = run.config.rate, run.system
    seeds = run.seeds(Chance.RATE, 3)
    frames = run.load_frames()
    positions = run.frame_positions(frames)
    inside = np.flatnonzero(system.state_a.region.contains(system.values(positions)))
    if not len(inside):
        raise RunFolderError(
            f"none of the weighted frames lies in state {system.state_a.name}: sample longer"
        )
    weights = np.exp(frames.log_weights[inside] - frames.log_weights[inside].max())
    rng = np.random.default_rng(seeds[0])
    starts = positions[rng.choice(inside, size=section.n_walkers, p=weights / weights.sum())]
    with run_dynamics(run, progress) as dynamics, progress.task("rate", 2) as advance:
        flights = dynamics.transition(run.config.shooting.frame_interval_steps)
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
    n_shots = len(flux.points) * section.n_shots
    n_in_b = round(rate.p_b * (n_shots - rate.n_unfinished)) if np.isfinite(rate.p_b) else 0
    metrics = _metrics(rate, n_in_b, n_shots, system.time_unit)
    (out / "rate").mkdir()
    write_json(out / "rate" / "result.json", {name: metric.as_dict() for name, metric in metrics.items()})
    notes = []
    if rate.n_unfinished:
        notes.append(
            f"{rate.n_unfinished} of {n_shots} shots of the rate reached neither state and are left out"
        )
    failure = ""
    if n_in_b < _FEWEST:
        failure = (
            f"only {n_in_b} of {n_shots} shots from the border of A reached B, too few for a rate: the barrier is too "
            "high for direct flux, so give more walkers, frames and shots, or take wider states"
        )
    details = {"crossings": len(flux.points), "shots_in_b": n_in_b}
    return StageResult(rate.n_steps, dynamics.platform_name, tuple(notes), details, failure)


def _metrics(rate: Rate, n_in_b: int, n_shots: int, time: str) -> dict[str, Metric]:
    believed = n_in_b >= _FEWEST
    return {
        "rate": Metric(
            rate.value if believed else None,
            rate.error if believed else None,
            f"1/{time}",
            "Transitions A → B per time during which A was the last state visited: flux out of A times the committor "
            f"of its crossings; {n_in_b} of {n_shots} shots reached B; standard error over walkers.",
        ),
        "flux_from_a": Metric(
            *rate.flux,
            f"1/{time}",
            "Crossings of the border of A, coming from A, per time during which A was the last state visited; standard "
            "error over walkers.",
        ),
        "crossing_committor": Metric(
            rate.p_b,
            proportion_error(rate.p_b, n_shots - rate.n_unfinished),
            "",
            "Mean p_B of the crossings, velocities kept; binomial standard error, as if every shot were independent.",
        ),
    }
