"""The analysis stage: every reported number of a run, for the geodesic and for the straight lines beside it."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tps.analysis import (
    LowerBound,
    Metric,
    Metrics,
    avoidance_metric,
    bound_metrics,
    channels,
    closest_frame_metrics,
    count_metrics,
    curve_metrics,
    energy_metrics,
    hit_metrics,
    last_frame_metrics,
    mean_energy_metrics,
    shape_metrics,
    solute_energies,
    solute_metrics,
    surface_lower_bound,
    work_metrics,
)
from tps.analysis.metrics import Positions
from tps.conformations import Conformations
from tps.errors import SystemDefinitionError
from tps.paths import PathEnsemble
from tps.pipeline.avoidance import expected_metrics
from tps.pipeline.candidates import path_folder
from tps.pipeline.committor import TRANSITION_STATES
from tps.pipeline.constraints import avoided_regions
from tps.pipeline.folder import RunFolder, write_json
from tps.pipeline.friction import predicted_dissipation
from tps.pipeline.geodesic import FISHER_CLOCK, MAIN, load_solved
from tps.pipeline.unbiased import Unbiased, stored_metrics
from tps.pipeline.verdict import run_verdict
from tps.pipeline.withheld import model_free_energy, one_end, weightless
from tps.report import withheld_sentences
from tps.said import Said, SaidFreeEnergies, SaidNumbers
from tps.stored import read_json

#: Where stages that are no paths write their metrics, and what the file holds.
STAGE_METRICS: dict[str, tuple[str, type[Said]]] = {
    "committor": (f"{TRANSITION_STATES}/result.json", SaidNumbers),
    "free-energy": ("free_energy/result.json", SaidFreeEnergies),
    "rate": ("rate/result.json", SaidNumbers),
}


@dataclass(frozen=True)
class Analysis:
    """What metrics.json holds, and what it took."""

    content: dict[str, Any]
    n_evaluations: int
    notes: tuple[str, ...]

    def save(self, folder: Path) -> None:
        """Write metrics.json."""
        folder.mkdir(parents=True)
        write_json(folder / "metrics.json", self.content)


def analyse_run(
    run: RunFolder,
    frames: Conformations,
    ensembles: Mapping[str, PathEnsemble],
    done: Container[str],
    advance: Callable[[int], None],
) -> Analysis:
    """Return every reported number of the paths, of the straight lines, and of the further stages that are done."""
    system = run.system
    solved = load_solved(run.path)
    ends = end_energies(run, frames)
    bound = None if run.surface is None else surface_lower_bound(run.surface)
    references = {
        label: (*energy, f"the Boltzmann mean of U in state {label.upper()}")
        for label, energy in ends.items()
    }
    if bound is not None:
        references["bound"] = (
            bound.energy,
            bound.error,
            "the flood-fill lower bound of every path's maximum",
        )
    own_energy, no_own_energy = _solute_ends(run, frames)
    regions = avoided_regions(system, run.config.geodesic)
    unbiased = Unbiased.load(run) if "shoot" in done else None
    same = one_end(run, solved)
    unweighed = weightless(run, frames)
    doubt = same or unweighed
    methods: dict[str, Metrics] = {}
    found_channels: dict[str, dict[str, float]] = {}
    for number, (method, ensemble) in enumerate(ensembles.items()):
        positions = run.path_positions(path_folder(method), ensemble)
        found: dict[str, Metric] = {
            **count_metrics(ensemble),
            **_hits(run, ensemble, positions, same),
            **energy_metrics(system, ensemble, references),
            **work_metrics(ensemble, model_free_energy(run, frames, solved, doubt, method)),
            **_predicted(run, method),
            **shape_metrics(system, ensemble),
        }
        if own_energy:
            found |= solute_metrics(run.molecule, ensemble.segments(positions), own_energy)
        if regions:
            found["paths_out_of_regions"] = avoidance_metric(system, positions, regions)
        if unbiased is not None:
            found["divergence_to_ensemble"] = unbiased.divergence_of(method, ensemble)
        methods[method] = found
        found_channels[method] = channels(system, ensemble)
        advance(number + 1)
    main = {
        **methods[MAIN],
        **curve_metrics(solved, MAIN, model_free_energy(run, frames, solved, doubt), system),
        **expected_metrics(solved),
        **_evaluation_metrics(run, ensembles[MAIN], bound, done),
        **mean_energy_metrics(system, ends),
        **bound_metrics(system.energy_unit, bound),
    }
    if unbiased is not None:
        main |= unbiased.metrics(ends)
    for stage, (file, said) in STAGE_METRICS.items():
        if stage in done:
            main |= stored_metrics(run, file, said)
    content: dict[str, Any] = {
        "method": solved["method"],
        "verdict": [],
        "metrics": {name: metric.as_dict() for name, metric in main.items()},
        "baselines": {
            method: {name: metric.as_dict() for name, metric in found.items()}
            for method, found in methods.items()
            if method != MAIN
        },
        "channels": found_channels,
        "constraints": solved["constraints"],
        "warnings": [],
    }
    if unbiased is not None:
        content["ensemble"] = {
            "channels": unbiased.channels(),
            "channels_of_chains": unbiased.channels_of_chains(),
            "switches": unbiased.n_switches(),
            **unbiased.convergence(),
        }
    if "free-energy" in done:
        result = read_json(run.path / STAGE_METRICS["free-energy"][0])
        content["free_energy"] = {key: result[key] for key in ("roads", "agreement")}
    content["verdict"] = run_verdict(run, main, content, unweighed)
    content["warnings"] = _warnings(run, content) + no_own_energy
    return Analysis(content, 0 if bound is None else bound.n_evaluations, tuple(content["warnings"]))


def end_energies(run: RunFolder, frames: Conformations) -> dict[str, tuple[float, float]]:
    """Return the Boltzmann mean potential energy of states "a" and "b" with its standard error; NaN on a grid."""
    system = run.system
    values = system.values(run.frame_positions(frames))
    found = {
        label: frames.weighted_mean(frames.potential_energy, state.region.contains(values))
        for label, state in (("a", system.state_a), ("b", system.state_b))
    }
    return {label: (mean, np.nan) for label, (mean, _) in found.items()} if run.on_grid else found


def _solute_ends(run: RunFolder, frames: Conformations) -> tuple[dict[str, tuple[float, float]], list[str]]:
    """Return the Boltzmann means of the solute's own energy in "a" and "b"; or none, and why they are not known."""
    if not run.system.solvated:
        return {}, []
    system, positions = run.molecule, run.frame_positions(frames)
    values, found = system.values(positions), {}
    try:
        for label, state in (("a", system.state_a), ("b", system.state_b)):
            inside = state.region.contains(values)
            energy = np.zeros(frames.n_frames)
            energy[inside] = solute_energies(system, positions[inside])
            found[label] = frames.weighted_mean(energy, inside)
    except SystemDefinitionError as error:
        return {}, [str(error)]
    return found, []


def _predicted(run: RunFolder, method: str) -> Metrics:
    """Return the dissipation that friction predicts, where it was measured: along the main curve, by either clock."""
    if run.config.paths.protocol != "friction" or method not in (MAIN, FISHER_CLOCK):
        return {}
    return {"predicted_dissipation": predicted_dissipation(run, fisher=method == FISHER_CLOCK)}


def _hits(run: RunFolder, ensemble: PathEnsemble, positions: Positions, same: str) -> Metrics:
    """Return the hit rates; withheld where the ends are the same."""
    found = dict(hit_metrics(run.system, positions))
    if run.surface is None:
        found |= closest_frame_metrics(run.molecule, ensemble, positions)
        found |= last_frame_metrics(run.molecule, positions)
    return {name: m.unless(same if name.startswith("hit_rate") else "") for name, m in found.items()}


def _evaluation_metrics(
    run: RunFolder, main: PathEnsemble, bound: LowerBound | None, done: Container[str]
) -> Metrics:
    stages = run.manifest()["stages"]
    conformations, all_paths = (stages[name]["force_evaluations"] for name in ("conformations", "paths"))
    counts = {
        "conformations": (conformations, "weighted frames"),
        "paths": (main.n_evaluations, "paths, without the straight lines beside them"),
        "baselines": (all_paths - main.n_evaluations, "straight lines"),
    }
    if bound is not None:
        counts["bound"] = (bound.n_evaluations, "grid of the lower bound")
    needed = sum(counts[name][0] for name in counts if name != "baselines")
    for name, spoken in {
        "shoot": "shooting",
        "committor": "committors",
        "free-energy": "windows and backward paths",
        "rate": "rate",
    }.items():
        if name in done:
            counts[name.replace("-", "_")] = (stages[name]["force_evaluations"], spoken)
    counts["total"] = (sum(count for count, _ in counts.values()), "everything")
    counts["for_paths"] = (needed, "all that the paths took, bound included")
    return {
        f"evaluations_{name}": Metric(count, None, "count", f"Force evaluations: {what}.")
        for name, (count, what) in counts.items()
    }


def _warnings(run: RunFolder, content: Mapping[str, Any]) -> list[str]:
    """Collect what the stages before had to note, and what is withheld of all numbers, each once."""
    notes = [
        note
        for stage, entry in run.manifest()["stages"].items()
        if stage not in ("analyse", "report")
        for note in entry["notes"]
    ]
    ensemble = content.get("ensemble", {})
    shares = {f"share of {name}": share for name, share in ensemble.get("channels", {}).items()}
    notes += withheld_sentences(content["metrics"] | shares)
    for method, found in content["baselines"].items():
        notes += [f"{method}: {text}" for text in withheld_sentences(found)]
    return list(dict.fromkeys(notes))
