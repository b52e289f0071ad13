"""The report stage: figures of a run, and one page with everything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tps.analysis import spring_profile, surface_lower_bound
from tps.conformations import Conformations
from tps.paths import PathEnsemble, load_paths
from tps.pipeline.avoidance import avoidance_text
from tps.pipeline.candidates import path_folder
from tps.pipeline.channels import constraint_text
from tps.pipeline.constraints import avoided_regions
from tps.pipeline.folder import RunFolder
from tps.pipeline.friction import load_friction
from tps.pipeline.geodesic import MAIN, load_curve, load_solved
from tps.pipeline.growth import GROWTH
from tps.pipeline.report_channels import barrier_row, channel_curves, channel_pictures
from tps.pipeline.report_player import player_scene
from tps.pipeline.report_rows import cost_rows, ensemble_rows, free_energy_rows, rate_rows
from tps.pipeline.report_unbiased import (
    Picture,
    committor_pictures,
    ensemble_pictures,
    free_energy_pictures,
)
from tps.report import (
    ReportFigure,
    SurfaceScene,
    format_quantity,
    free_energy_map,
    friction_along_curve,
    growth_figure,
    learning_curve,
    log_snr_along_curve,
    potential_energy_along_paths,
    save_figure,
    surface_map,
    work_along_paths,
    write_report,
)
from tps.report.player import has_libraries
from tps.said import SaidAnalysis, SaidTraining
from tps.stored import read_json

#: Points per axis of a surface's picture, and the most paths drawn on it.
_GRID, _SHOWN_PATHS = 181, 60

#: Pictures that stay files where the page has a player, whose map shows the same.
_PLAYED = ("free_energy_map", "surface")

#: Metrics of the comparison of methods, in the order they are shown.
COMPARED = (
    "hit_rate",
    "hit_rate_closest_frame",
    "u_max",
    "u_max_minus_a",
    "u_max_minus_bound",
    "divergence_to_ensemble",
    "dissipated_work",
    "predicted_dissipation",
    "rmsd_end",
    "rmsd_last",
    "native_contacts",
    "native_rate",
    "path_length_over_chord",
    "deviation_from_straight",
    "spread",
    "diversity",
    "paths_out_of_regions",
)


def report_run(run: RunFolder, frames: Conformations, out: Path) -> None:
    """Write figures/*.png and report.html into `out`."""
    content = read_json(run.path / "analysis" / "metrics.json", SaidAnalysis)
    methods = {MAIN: content["metrics"], **content["baselines"]}
    ensembles = {name: load_paths(run.path / path_folder(name)) for name in methods}
    names = {name: spoken(name, content["method"]) for name in methods}
    pictures = _figures(run, frames, ensembles, content)
    folder = out / "figures"
    folder.mkdir(parents=True)
    shown = []
    for name, (figure, title, caption) in pictures.items():
        file = folder / f"{name}.png"
        save_figure(figure, file)
        if not (name in _PLAYED and has_libraries()):
            shown.append(ReportFigure(file, title, caption))
    manifest = run.manifest()["stages"]
    system = run.system
    write_report(
        out / "report.html",
        title=f"{system.name}: {system.state_a.name} → {system.state_b.name}",
        verdict=content["verdict"],
        run=str(run.path),
        summary=summary_groups(run),
        metrics=content["metrics"],
        methods={
            names[name]: {key: found[key] for key in COMPARED if key in found}
            for name, found in methods.items()
        },
        figures=shown,
        warnings=content["warnings"],
        provenance=_provenance(run, manifest),
        player=player_scene(run, frames, ensembles, names, content),
    )


def summary_groups(run: RunFolder) -> dict[str, list[tuple[str, str]]]:
    """Return the numbers a reader looks at first, as (label, text) by group: candidates, ensemble and so on."""
    content, solved = read_json(run.path / "analysis" / "metrics.json", SaidAnalysis), load_solved(run.path)
    metrics = content["metrics"]
    groups = {
        "candidates": _candidate_rows(run, content, solved),
        "ensemble": ensemble_rows(content),
        "free energy": [
            ("B - A, anchored, model", format_quantity(metrics["free_energy_difference"])),
            *free_energy_rows(content),
        ],
        "rate": rate_rows(metrics),
        "cost": cost_rows(metrics),
    }
    return {name: rows for name, rows in groups.items() if rows}


def summary_rows(run: RunFolder) -> list[tuple[str, str]]:
    """Return the rows of all groups, one after the other."""
    return [row for rows in summary_groups(run).values() for row in rows]


def _candidate_rows(
    run: RunFolder, content: Mapping[str, Any], solved: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Return what is said of the curve and of the paths along it."""
    metrics = content["metrics"]
    n_started, n_failed, n_reactive = (
        metrics[f"paths_{name}"]["value"] for name in ("started", "failed", "reactive")
    )
    rows = [
        (solved["method"], f"{solved['status']}, length {solved['length']:.3f}"),
        ("its barrier, smoothed", barrier_row(solved)),
        *(("its constraint", constraint_text(report)) for report in solved["constraints"]),
        ("support", f"at least {metrics['support']['value']:.0f} effective frames"),
        ("paths", f"{n_started:.0f} started, {n_failed:.0f} failed"),
        ("ending in state B", format_quantity(metrics["hit_rate"])),
    ]
    if "paths_out_of_regions" in metrics:
        rows += [
            ("staying out of the regions", format_quantity(metrics["paths_out_of_regions"])),
            ("as expected of them", avoidance_text(solved["avoidance"])),
        ]
    rows += _energy_rows(metrics, run.system.solvated)
    if "u_max_minus_bound" in metrics:
        rows.append(("maximum above lower bound", format_quantity(metrics["u_max_minus_bound"])))
    rows += [("dissipated work", format_quantity(metrics["dissipated_work"])), *_predicted_rows(metrics)]
    if "divergence_to_ensemble" in metrics:
        rows.append(("distance to the ensemble", format_quantity(metrics["divergence_to_ensemble"])))
    return rows + [
        (f"channel {number + 1}", f"{name}: {100 * share:.0f} % of {n_reactive:.0f} reactive paths")
        for number, (name, share) in enumerate(content["channels"][MAIN].items())
    ]


def _predicted_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = metrics.get("predicted_dissipation")
    return [] if found is None else [("the same, by friction", format_quantity(found))]


def _energy_rows(metrics: Mapping[str, Any], solvated: bool) -> list[tuple[str, str]]:
    """Return the maximum energies above A and B; of all atoms and of the solute where there is solvent."""
    rows = []
    for end in "AB":
        name = f"u_max_minus_{end.lower()}"
        label = f"maximum above {end}, all atoms" if solvated else f"maximum energy above {end}"
        rows.append((label, format_quantity(metrics[name])))
        if f"solute_{name}" in metrics:
            rows.append((f"maximum above {end}, solute", format_quantity(metrics[f"solute_{name}"])))
    return rows


def _figures(
    run: RunFolder, frames: Conformations, ensembles: Mapping[str, PathEnsemble], content: Mapping[str, Any]
) -> dict[str, Picture]:
    system, metrics, method = run.system, content["metrics"], content["method"]
    numbers = {MAIN: metrics, **content["baselines"]}
    curve, main = load_curve(run), ensembles[MAIN]
    time = np.arange(1, len(main.s) + 1) / len(main.s)
    energies = {spoken(name, method): e.potential_energy for name, e in ensembles.items()}
    works = {spoken(name, method): e.cumulative_work for name, e in ensembles.items()}
    believed = {
        name for name, found in numbers.items() if found["dissipated_work"]["value"] is not None
    }  # the model's curve is not drawn where its number is withheld
    free = {spoken(name, method): _model_free_energy(run, name, ensembles[name].s) for name in believed}
    pictures = _landscape(run, frames, main) | {
        "potential_energy": (
            potential_energy_along_paths(
                time,
                energies,
                mean_a=metrics["mean_energy_a"]["value"],
                mean_b=metrics["mean_energy_b"]["value"],
                unit=system.energy_unit,
            ),
            "Potential energy along the paths",
            f"The {system.energy_name}, without tilt and wall.",
        ),
        "log_snr": (
            log_snr_along_curve(curve.s, curve.eta, system.space, floor=run.config.geodesic.min_log_snr),
            "Strength of the tilt along the curve",
            "ln κ of each angle, the log-SNR of the other features, and the floor where one was asked for.",
        ),
        "work": (
            work_along_paths(time, works, free_energy=free),
            "Work along the protocol",
            "Work done by moving the tilt, and the free energy -ψ of the model along the same curve.",
        ),
        **channel_pictures(run),
        **_growth_picture(run),
        **_learning_picture(run),
        **_friction_picture(run),
    }
    if "ensemble" in content:
        pictures |= ensemble_pictures(run, main, content)
    if "committor" in metrics:
        pictures |= committor_pictures(run)
    if "free_energy" in content:
        curve = load_curve(run)
        springs = spring_profile(system.space, curve.eta)
        model = (curve.s, system.kt * (springs - curve.psi_from_a)) if MAIN in believed else None
        pictures |= free_energy_pictures(run, content, model)
    return pictures


def _landscape(run: RunFolder, frames: Conformations, main: PathEnsemble) -> dict[str, Picture]:
    """Return the picture of curve and paths, on the surface or on the free energy of the frames."""
    system, curve = run.system, load_curve(run)
    regions: dict[str, Any] = {
        "states": {s.name: s.region.ranges for s in (system.state_a, system.state_b)},
        "avoided": [region.ranges for region in avoided_regions(system, run.config.geodesic)],
    }
    paths = list(main.values[main.completed])
    if run.surface is None:
        figure = free_energy_map(
            system.space,
            frames.values,
            frames.log_weights,
            system.kt,
            unit=system.energy_unit,
            eta=curve.eta,
            paths=paths,
            channels=channel_curves(run),
            **regions,
        )
        caption = (
            "Free energy of the weighted frames; the curve's centres, larger where the tilt is stronger and hollow "
            "where it is too weak for the centre to mean a place; the paths run along it; the other channels, dashed, "
            "each with its barrier of free energy above A."
        )
        return {"free_energy_map": (figure, "Free energy, curve and paths", caption)}
    grid, energy = run.surface.energy_grid(_GRID)
    scene = SurfaceScene(
        space=system.space,
        grid=grid,
        energy=energy,
        unit=system.energy_unit,
        curve=system.space.center(curve.mu),
        paths=paths[:_SHOWN_PATHS],
        highest=np.array(surface_lower_bound(run.surface).point),
        channels=channel_curves(run),
        **regions,
    )
    caption = (
        "Energy of the surface; the mean of the tilted distribution along the curve; paths run along it; the other "
        "channels, dashed, each with its barrier of free energy above A."
    )
    return {"surface": (surface_map(scene), "Surface, curve and paths", caption)}


def _friction_picture(run: RunFolder) -> dict[str, Picture]:
    if run.config.paths.protocol != "friction":
        return {}
    measured, curve = load_friction(run.path), load_curve(run)
    figure = friction_along_curve(
        measured.s,
        measured.friction_along,
        measured.friction_error,
        measured.metric_along,
        clocks={"Fisher-Rao": (curve.s, curve.s), "friction": (curve.s, measured.curve.clock(curve.s))},
        time_unit=run.system.time_unit,
    )
    caption = (
        "Friction of moving the tilt along the curve, from runs under tilts that stand still, beside the Fisher-Rao "
        "metric, and their ratio, the time that T takes to relax; and where on the curve either clock is."
    )
    return {"friction": (figure, "Friction along the curve", caption)}


def _growth_picture(run: RunFolder) -> dict[str, Picture]:
    file = run.path / "conformations" / GROWTH
    if not file.is_file():
        return {}
    said, n_ladders = read_json(file), run.config.grow.n_ladders
    rounds = said["rounds"]

    def over_rounds(key: str) -> NDArray[np.float64]:
        return np.array([grown.get(key) for grown in rounds], dtype=np.float64)  # None is NaN

    ladders = [grown.get("by_ladder") or [None] * n_ladders for grown in rounds]
    figure = growth_figure(
        over_rounds("difference"),
        over_rounds("difference_error"),
        np.array(ladders, dtype=np.float64),
        np.arange(n_ladders) % 2 == 1,
        over_rounds("support"),
        over_rounds("moved"),
        over_rounds("curve_error"),
        needed=run.config.grow.min_support,
    )
    counted = ", ".join(f"{grown['counted']} of {grown['windows']}" for grown in rounds)
    caption = (
        f"F(B) - F(A) of the regions by all frames and by each ladder alone; {counted} windows counted. It ended "
        f"because {said['ended']}."
    )
    return {"growing": (figure, "How the frames grew", caption)}


def _learning_picture(run: RunFolder) -> dict[str, Picture]:
    file = run.path / "model" / "training.json"
    if not file.is_file():
        return {}
    training = read_json(file, SaidTraining)
    figure = learning_curve(
        np.array(training["steps"]),
        np.array(training["training_loss"]),
        np.array(training["held_out_loss"]),
        best_step=training["best_step"],
    )
    caption = "Loss on the frames trained on and on blocks of frames held out."
    return {"learning_curve": (figure, "Learning curve", caption)}


def _model_free_energy(run: RunFolder, method: str, s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return -psi of the model [kT], from A on, at some places s along a method's curve."""
    curve = load_curve(run, method)
    return -np.interp(s, curve.s, curve.psi_from_a)


def _provenance(run: RunFolder, stages: Mapping[str, Any]) -> dict[str, object]:
    return {
        "versions": next(iter(stages.values()))["versions"],
        "seed": run.config.run.seed,
        "platform": stages["paths"]["platform"] or "numpy",
        "notes on the system": list(run.system.notes) or "none",
        "force evaluations": {name: entry["force_evaluations"] for name, entry in stages.items()},
        "seconds": {name: entry["seconds"] for name, entry in stages.items()},
    }


def spoken(name: str, method: str) -> str:
    """Return what readers call a set of paths: the method of the main ones, or the straight line beside them."""
    return (method if name == MAIN else name).replace("_", " ").replace("-", " ")
