"""The verdict on a run: what of its numbers and settings the rules of `tps.analysis` read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tps.analysis import DIFFERENCES, Intermediate, Judged, Metric, Metrics, Spent, judge_run
from tps.config import CONSTRAINT_KEYS
from tps.pipeline.folder import RunFolder
from tps.pipeline.third_basin import THIRD
from tps.spacetime import needed_support


def run_verdict(
    run: RunFolder, metrics: Metrics, content: Mapping[str, Any], weightless: str
) -> list[dict[str, Any]]:
    """Return what can be trusted of a run, as JSON objects: rule, state, sentence, evidence and remedy.

    Parameters
    ----------
    run : RunFolder
    metrics : mapping of str to Metric
        Of the main paths, of the curve, and of the stages that are done.
    content : mapping
        What metrics.json holds of the ensemble and of the roads to free energies, where these stages are done.
    weightless : str
        Why the frames do not tell how likely A is against B; "" if they do.
    """
    system, frames = run.system, run.manifest()["stages"]["conformations"]["details"]
    roads = content["free_energy"]["roads"] if "free_energy" in content else {}
    third = frames.get(THIRD)
    judged = Judged(
        metrics,
        kt=system.kt,
        needed_support=needed_support(system.space.n_features, run.on_grid),
        spent=spent(run),
        weightless=weightless,
        roads={DIFFERENCES[name]: _metrics(found) for name, found in roads.items()},
        shares=_shares(content.get("ensemble", {})),
        looked_for_third=THIRD in frames,
        third=None if third is None else Intermediate(**third),
    )
    return [finding.as_dict() for finding in judge_run(judged)]


def spent(run: RunFolder) -> Spent:
    """Return the settings of a run that remedies start from."""
    config = run.config
    section = config.geodesic
    held = (key for key in CONSTRAINT_KEYS if key != "min_support")
    return Spent(
        sampling=run.sampling.method,
        n_sample_steps=config.conformations.n_sample_steps,
        max_grow_steps=config.grow.max_steps,
        n_path_steps=config.paths.n_steps,
        n_window_frames=config.free_energy.n_frames,
        n_chains=config.shooting.n_chains,
        max_frames=config.shooting.max_frames,
        n_frame_shots=config.n_rate_shots,
        method=section.method,
        free_energy_weight=section.metric_weight,
        constraints=tuple(key for key in held if getattr(section, key) not in (None, ())),
    )


def _shares(ensemble: Mapping[str, Any]) -> tuple[tuple[Metric, Metric], ...]:
    """Return the shares of each channel by the chains and by shots from the frames."""
    by_chains = _metrics(ensemble.get("channels_of_chains", {}))
    by_shots = _metrics(ensemble.get("channels", {}))
    return tuple((by_chains[name], share) for name, share in by_shots.items() if name in by_chains)


def _metrics(found: Mapping[str, Mapping[str, Any]]) -> Metrics:
    return {name: Metric(**metric) for name, metric in found.items()}
