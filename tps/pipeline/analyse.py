"""The analysis stage: every reported number of a run, for the geodesic and for the straight lines beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tps.analysis import (
    Metric,
    Metrics,
    avoidance_metric,
    channels,
    energy_metrics,
    hit_metrics,
    shape_metrics,
    work_metrics,
)
from tps.conformations import Conformations, read_dcd
from tps.paths import PathEnsemble
from tps.pipeline.folder import RunFolder
from tps.pipeline.geodesic import GEODESIC
from tps.systems import parse_region
from tps.units import thermal_energy


def analyse_run(
    run: RunFolder,
    frames: Conformations,
    ensembles: Mapping[str, PathEnsemble],
    path_folder: Callable[[str], str],
    out: Path,
    advance: Callable[[int], None],
) -> list[str]:
    """Write metrics.json and return the warnings in it."""
    system = run.system
    solved = json.loads((run.path / "geodesic" / "result.json").read_text())
    ends = end_energies(run, frames)
    regions = [parse_region(text, system.collective_variables) for text in run.config.geodesic.avoid]
    methods: dict[str, Metrics] = {}
    found_channels: dict[str, dict[str, float]] = {}
    for number, (method, ensemble) in enumerate(ensembles.items()):
        folder = run.path / path_folder(method)
        positions = [
            read_dcd(folder / f"{i:04d}.dcd") if done else None for i, done in enumerate(ensemble.completed)
        ]
        found: dict[str, Metric] = {
            **_counts(ensemble),
            **hit_metrics(system, ensemble, positions),
            **energy_metrics(ensemble, ends, system.temperature),
            **work_metrics(ensemble, -solved["curves"][method]["delta_psi_model"]),
            **shape_metrics(ensemble),
        }
        if regions:
            found["paths_out_of_regions"] = avoidance_metric(system, positions, regions)
        methods[method] = found
        found_channels[method] = channels(system, ensemble)
        advance(number + 1)
    content: dict[str, Any] = {
        "metrics": {
            name: metric.as_dict()
            for name, metric in {
                **methods[GEODESIC],
                **_geodesic_metrics(run, solved),
                **_evaluation_metrics(run),
                **_end_metrics(ends),
            }.items()
        },
        "baselines": {
            method: {name: metric.as_dict() for name, metric in found.items()}
            for method, found in methods.items()
            if method != GEODESIC
        },
        "channels": found_channels,
        "constraints": solved["constraints"],
        "warnings": _warnings(run),
    }
    out.mkdir(parents=True)
    (out / "metrics.json").write_text(json.dumps(content, indent=1) + "\n")
    return list(content["warnings"])


def end_energies(run: RunFolder, frames: Conformations) -> dict[str, tuple[float, float]]:
    """Return the Boltzmann mean potential energy of states "a" and "b" with its standard error [kJ/mol]."""
    system = run.system
    values = system.values(read_dcd(run.path / "conformations" / "frames.dcd"))
    return {
        label: frames.weighted_mean(frames.potential_energy, state.region.contains(values))
        for label, state in (("a", system.state_a), ("b", system.state_b))
    }


def _counts(ensemble: PathEnsemble) -> Metrics:
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


def _geodesic_metrics(run: RunFolder, solved: Mapping[str, Any]) -> Metrics:
    kt = thermal_energy(run.system.temperature)
    curve, health = solved["curves"][GEODESIC], solved["health"]
    frames, model = -curve["delta_psi_frames"], -curve["delta_psi_model"]
    return {
        "geodesic_length": Metric(
            solved["length"], None, "", "Fisher-Rao length Σ sqrt(Δη·Δμ) between the anchored states."
        ),
        "constant_speed": Metric(
            solved["constant_speed"], None, "", "2 E / length²; 1 for a curve of constant speed."
        ),
        "free_energy_difference": Metric(
            kt * model, None, "kJ/mol", "F(η_B) - F(η_A) of the two anchored states from ψ of the model."
        ),
        "psi_difference_to_frames": Metric(
            frames - model,
            None,
            "kT",
            "The same difference from the weighted frames (metadynamics) minus that of the model.",
        ),
        "max_psi_error_on_curve": Metric(
            curve.get("max_psi_error"),
            None,
            "kT",
            "Largest |ψ_model - ψ_frames| along the geodesic, both counted from its first point.",
        ),
        "mean_mu_error_on_curve": Metric(
            curve["mean_mu_error"], None, "", "Mean |μ_model - μ_frames| along the geodesic."
        ),
        "support": Metric(
            curve["min_effective_sample_size"],
            None,
            "count",
            "Smallest effective number of weighted frames (Kish) along the geodesic.",
        ),
        "negative_chords": Metric(
            100 * health["negative_chords"], None, "%", "Chords of the geodesic with Δη·Δμ < 0."
        ),
        "jacobian_asymmetry": Metric(
            health["jacobian_asymmetry"], None, "", "Largest |G - Gᵀ| / |G + Gᵀ| of ∂μ/∂η along the geodesic."
        ),
    }


def _evaluation_metrics(run: RunFolder) -> Metrics:
    stages = run.manifest()["stages"]
    counts = {
        name: stages[name]["force_evaluations"] for name in ("conformations", "paths") if name in stages
    }
    counts["total"] = sum(counts.values())
    return {
        f"evaluations_{name}": Metric(count, None, "count", f"Force evaluations: {name}.")
        for name, count in counts.items()
    }


def _end_metrics(ends: Mapping[str, tuple[float, float]]) -> Metrics:
    return {
        f"mean_energy_{label}": Metric(
            mean,
            error,
            "kJ/mol",
            f"Boltzmann mean potential energy in state {label.upper()} from the weighted frames; standard error.",
        )
        for label, (mean, error) in ends.items()
    }


def _warnings(run: RunFolder) -> list[str]:
    """Collect what the stages before had to note."""
    return [note for entry in run.manifest()["stages"].values() for note in entry["notes"]]
