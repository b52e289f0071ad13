"""The report stage: figures of a run, and one page with everything."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tps.conformations import Conformations
from tps.paths import PathEnsemble, load_paths
from tps.pipeline.folder import RunFolder
from tps.pipeline.geodesic import GEODESIC
from tps.report import (
    ReportFigure,
    format_quantity,
    free_energy_map,
    learning_curve,
    log_snr_along_curve,
    potential_energy_along_paths,
    save_figure,
    work_along_paths,
    write_report,
)
from tps.systems import parse_region

#: Metrics of the comparison of methods, in the order they are shown.
COMPARED = (
    "hit_rate",
    "hit_rate_closest_frame",
    "u_max",
    "u_max_minus_a",
    "dissipated_work",
    "rmsd_end",
    "path_length_over_chord",
    "deviation_from_straight",
    "spread",
    "diversity",
    "paths_out_of_regions",
)


def report_run(run: RunFolder, frames: Conformations, path_folder: Callable[[str], str], out: Path) -> None:
    """Write figures/*.png and report.html into `out`."""
    content = json.loads((run.path / "analysis" / "metrics.json").read_text())
    methods = {GEODESIC: content["metrics"], **content["baselines"]}
    ensembles = {name: load_paths(run.path / path_folder(name)) for name in methods}
    pictures = _figures(run, frames, ensembles, content)
    folder = out / "figures"
    folder.mkdir(parents=True)
    shown = []
    for name, (figure, title, caption) in pictures.items():
        file = folder / f"{name}.png"
        save_figure(figure, file)
        shown.append(ReportFigure(file, title, caption))
    manifest = run.manifest()["stages"]
    system = run.system
    write_report(
        out / "report.html",
        title=f"{system.name}: {system.state_a.name} → {system.state_b.name}",
        summary=summary_rows(run),
        metrics=content["metrics"],
        methods={
            _spoken(name): {key: found[key] for key in COMPARED if key in found}
            for name, found in methods.items()
        },
        figures=shown,
        warnings=content["warnings"],
        provenance=_provenance(run, manifest),
    )


def summary_rows(run: RunFolder) -> list[tuple[str, str]]:
    """Return the lines a reader looks at first, as (label, text)."""
    content = json.loads((run.path / "analysis" / "metrics.json").read_text())
    metrics, solved = content["metrics"], json.loads((run.path / "geodesic" / "result.json").read_text())
    rows = [
        (
            "paths",
            f"{metrics['paths_started']['value']:.0f} started, {metrics['paths_failed']['value']:.0f} failed",
        ),
        ("ending in state B", format_quantity(metrics["hit_rate"])),
        ("maximum energy above A", format_quantity(metrics["u_max_minus_a"])),
        ("maximum energy above B", format_quantity(metrics["u_max_minus_b"])),
        ("free energy B - A", format_quantity(metrics["free_energy_difference"])),
        ("dissipated work", format_quantity(metrics["dissipated_work"])),
        ("geodesic", f"{solved['status']}, length {solved['length']:.3f}"),
        ("support", f"at least {metrics['support']['value']:.0f} effective frames"),
        ("force evaluations", f"{metrics['evaluations_total']['value']:,.0f}"),
    ]
    if "paths_out_of_regions" in metrics:
        rows.insert(2, ("staying out of the regions", format_quantity(metrics["paths_out_of_regions"])))
    rows += [
        (f"channel {number + 1}", f"{name}: {100 * share:.0f} % of reactive paths")
        for number, (name, share) in enumerate(content["channels"][GEODESIC].items())
    ]
    return rows


def _figures(
    run: RunFolder, frames: Conformations, ensembles: Mapping[str, PathEnsemble], content: Mapping[str, Any]
) -> dict[str, tuple[Figure, str, str]]:
    system, metrics = run.system, content["metrics"]
    with np.load(run.path / "geodesic" / "curve.npz") as data:
        curve = {name: data[name] for name in data.files}
    pairs = curve["eta"].reshape(len(curve["eta"]), -1, 2)
    log_kappa = 0.5 * np.log(np.sum(pairs**2, axis=-1))
    center = np.arctan2(pairs[..., 1], pairs[..., 0])
    main = ensembles[GEODESIC]
    training = json.loads((run.path / "model" / "training.json").read_text())
    energies = {_spoken(name): e.potential_energy for name, e in ensembles.items()}
    works = {_spoken(name): e.cumulative_work for name, e in ensembles.items()}
    free = {_spoken(name): _model_free_energy(run, name, e.s) for name, e in ensembles.items()}
    return {
        "free_energy_map": (
            free_energy_map(
                frames.torsions,
                frames.log_weights,
                system.temperature,
                feature_names=system.feature_names,
                center=center,
                log_snr=log_kappa,
                paths=[main.torsions[i] for i in np.flatnonzero(main.completed)],
                states={s.name: s.region.ranges for s in (system.state_a, system.state_b)},
                avoided=[
                    parse_region(text, system.collective_variables).ranges
                    for text in run.config.geodesic.avoid
                ],
            ),
            "Free energy, geodesic and paths",
            "Free energy of the weighted frames; the geodesic's centres, larger where the tilt is stronger and hollow "
            "where it is too weak for the centre to mean a place; the paths run along it.",
        ),
        "potential_energy": (
            potential_energy_along_paths(
                main.s,
                energies,
                mean_a=metrics["mean_energy_a"]["value"],
                mean_b=metrics["mean_energy_b"]["value"],
            ),
            "Potential energy along the paths",
            "Energy of the molecule alone, without tilt and wall.",
        ),
        "log_snr": (
            log_snr_along_curve(
                curve["s"],
                log_kappa,
                feature_names=system.feature_names,
                floor=run.config.geodesic.min_log_snr,
            ),
            "Strength of the tilt along the geodesic",
            "ln κ of each torsion, and the floor where one was asked for.",
        ),
        "work": (
            work_along_paths(main.s, works, free_energy=free),
            "Work along the protocol",
            "Work done by moving the tilt, and the free energy -ψ of the model along the same curve.",
        ),
        "learning_curve": (
            learning_curve(
                np.array(training["steps"]),
                np.array(training["training_loss"]),
                np.array(training["held_out_loss"]),
                best_step=training["best_step"],
            ),
            "Learning curve",
            "Loss on the frames trained on and on blocks of frames held out.",
        ),
    }


def _model_free_energy(run: RunFolder, method: str, s: np.ndarray) -> np.ndarray:
    name = "curve" if method == GEODESIC else method
    with np.load(run.path / "geodesic" / f"{name}.npz") as data:
        steps = 0.5 * (data["mu"][1:] + data["mu"][:-1]) * np.diff(data["eta"], axis=0)
        profile = -np.concatenate([[0.0], np.cumsum(steps.sum(axis=1))])
        return np.interp(s, data["s"], profile)


def _provenance(run: RunFolder, stages: Mapping[str, Any]) -> dict[str, object]:
    return {
        "versions": next(iter(stages.values()))["versions"],
        "seed": run.config.run.seed,
        "platform": stages["paths"]["platform"],
        "force field notes": list(run.system.notes) or "none",
        "force evaluations": {name: entry["force_evaluations"] for name, entry in stages.items()},
        "seconds": {name: entry["seconds"] for name, entry in stages.items()},
    }


def _spoken(method: str) -> str:
    return method.replace("_", " ")
