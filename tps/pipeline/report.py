"""The report stage: figures of a run, and one page with everything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tps.analysis import surface_lower_bound
from tps.conformations import Conformations
from tps.paths import PathEnsemble, load_paths
from tps.pipeline.candidates import path_folder
from tps.pipeline.folder import RunFolder
from tps.pipeline.geodesic import MAIN, curve_file
from tps.pipeline.report_unbiased import (
    committor_pictures,
    ensemble_pictures,
    free_energy_pictures,
    unbiased_rows,
)
from tps.report import (
    ReportFigure,
    SurfaceScene,
    format_quantity,
    free_energy_map,
    learning_curve,
    log_snr_along_curve,
    potential_energy_along_paths,
    save_figure,
    surface_map,
    work_along_paths,
    write_report,
)
from tps.systems import MolecularSystem, SurfaceSystem, parse_region

#: Points per axis of a surface's picture, and the most paths drawn on it.
_GRID, _SHOWN_PATHS = 181, 60

#: Metrics of the comparison of methods, in the order they are shown.
COMPARED = (
    "hit_rate",
    "hit_rate_closest_frame",
    "u_max",
    "u_max_minus_a",
    "u_max_minus_bound",
    "divergence_to_ensemble",
    "dissipated_work",
    "rmsd_end",
    "path_length_over_chord",
    "deviation_from_straight",
    "spread",
    "diversity",
    "paths_out_of_regions",
)


def report_run(run: RunFolder, frames: Conformations, out: Path) -> None:
    """Write figures/*.png and report.html into `out`."""
    content = json.loads((run.path / "analysis" / "metrics.json").read_text())
    methods = {MAIN: content["metrics"], **content["baselines"]}
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
            spoken(name, content["method"]): {key: found[key] for key in COMPARED if key in found}
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
        (solved["method"], f"{solved['status']}, length {solved['length']:.3f}"),
        ("support", f"at least {metrics['support']['value']:.0f} effective frames"),
        ("force evaluations", f"{metrics['evaluations_total']['value']:,.0f}"),
    ]
    if "u_max_minus_bound" in metrics:
        rows.insert(4, ("maximum above lower bound", format_quantity(metrics["u_max_minus_bound"])))
    if "paths_out_of_regions" in metrics:
        rows.insert(2, ("staying out of the regions", format_quantity(metrics["paths_out_of_regions"])))
    rows += [
        (f"channel {number + 1}", f"{name}: {100 * share:.0f} % of reactive paths")
        for number, (name, share) in enumerate(content["channels"][MAIN].items())
    ]
    return rows + unbiased_rows(content)


def _figures(
    run: RunFolder, frames: Conformations, ensembles: Mapping[str, PathEnsemble], content: Mapping[str, Any]
) -> dict[str, tuple[Figure, str, str]]:
    system, metrics, method = run.system, content["metrics"], content["method"]
    with np.load(run.path / "geodesic" / "curve.npz") as data:
        curve = {name: data[name] for name in data.files}
    main = ensembles[MAIN]
    energies = {spoken(name, method): e.potential_energy for name, e in ensembles.items()}
    works = {spoken(name, method): e.cumulative_work for name, e in ensembles.items()}
    free = {spoken(name, method): _model_free_energy(run, name, e.s) for name, e in ensembles.items()}
    torus = system.spacetime_kind == "torus"
    pictures = {
        "surface": _surface_picture(run, system, curve, main) if isinstance(system, SurfaceSystem) else None,
        "free_energy_map": _molecule_picture(run, system, frames, curve, main)
        if isinstance(system, MolecularSystem)
        else None,
        "potential_energy": (
            potential_energy_along_paths(
                main.s,
                energies,
                mean_a=metrics["mean_energy_a"]["value"],
                mean_b=metrics["mean_energy_b"]["value"],
                unit=system.energy_unit,
            ),
            "Potential energy along the paths",
            "Energy of the system alone, without tilt and wall.",
        ),
        "log_snr": (
            log_snr_along_curve(
                curve["s"],
                _log_kappa(curve["eta"])[0] if torus else curve["log_snr"][:, None],
                feature_names=system.feature_names if torus else ("log-SNR",),
                floor=run.config.geodesic.min_log_snr,
                **({} if torus else {"weak": None}),
            ),
            "Strength of the tilt along the curve",
            "ln κ of each torsion, or the log-SNR, and the floor where one was asked for.",
        ),
        "work": (
            work_along_paths(main.s, works, free_energy=free),
            "Work along the protocol",
            "Work done by moving the tilt, and the free energy -ψ of the model along the same curve.",
        ),
        "learning_curve": _learning_picture(run),
    }
    if "ensemble" in content:
        pictures |= ensemble_pictures(run, main, content)
    if "committor" in metrics:
        pictures |= committor_pictures(run)
    if "free_energy" in content:
        profile = system.kt * _model_free_energy(run, MAIN, main.s)
        pictures |= free_energy_pictures(run, content, (main.s, profile))
    return {name: picture for name, picture in pictures.items() if picture is not None}


def _molecule_picture(
    run: RunFolder,
    system: MolecularSystem,
    frames: Conformations,
    curve: Mapping[str, NDArray[np.float64]],
    main: PathEnsemble,
) -> tuple[Figure, str, str]:
    log_kappa, center = _log_kappa(curve["eta"])
    return (
        free_energy_map(
            frames.torsions,
            frames.log_weights,
            system.temperature,
            feature_names=system.feature_names,
            center=center,
            log_snr=log_kappa,
            paths=[main.torsions[i] for i in np.flatnonzero(main.completed)],
            states={s.name: s.region.ranges for s in (system.state_a, system.state_b)},
            avoided=_avoided(run),
        ),
        "Free energy, curve and paths",
        "Free energy of the weighted frames; the curve's centres, larger where the tilt is stronger and hollow "
        "where it is too weak for the centre to mean a place; the paths run along it.",
    )


def _surface_picture(
    run: RunFolder, system: SurfaceSystem, curve: Mapping[str, NDArray[np.float64]], main: PathEnsemble
) -> tuple[Figure, str, str]:
    grid, energy = system.energy_grid(_GRID)
    mu, d = curve["mu"], system.n_axes
    mean = np.arctan2(mu[:, 1::2], mu[:, 0::2]) if system.spacetime_kind == "torus" else mu[:, :d]
    scene = SurfaceScene(
        names=system.axis_names,
        grid=grid,
        energy=energy,
        unit=system.energy_unit,
        periodic=system.spacetime_kind == "torus",
        curve=mean,
        paths=[main.torsions[i] for i in np.flatnonzero(main.completed)[:_SHOWN_PATHS]],
        states={s.name: s.region.ranges for s in (system.state_a, system.state_b)},
        avoided=_avoided(run),
        highest=np.array(surface_lower_bound(system).point),
    )
    caption = (
        "Energy of the surface; the mean of the tilted distribution along the curve; paths run along it."
    )
    return surface_map(scene), "Surface, curve and paths", caption


def _learning_picture(run: RunFolder) -> tuple[Figure, str, str] | None:
    file = run.path / "model" / "training.json"
    if not file.is_file():
        return None
    training = json.loads(file.read_text())
    return (
        learning_curve(
            np.array(training["steps"]),
            np.array(training["training_loss"]),
            np.array(training["held_out_loss"]),
            best_step=training["best_step"],
        ),
        "Learning curve",
        "Loss on the frames trained on and on blocks of frames held out.",
    )


def _log_kappa(eta: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ln κ and the centre [rad] of each torsion (n_points, d) from natural parameters (n_points, 2 d)."""
    pairs = eta.reshape(len(eta), -1, 2)
    return 0.5 * np.log(np.sum(pairs**2, axis=-1)), np.arctan2(pairs[..., 1], pairs[..., 0])


def _avoided(run: RunFolder) -> list[Mapping[str, tuple[float, float]]]:
    variables = run.system.collective_variables
    return [parse_region(text, variables).ranges for text in run.config.geodesic.avoid]


def _model_free_energy(run: RunFolder, method: str, s: np.ndarray) -> np.ndarray:
    with np.load(run.path / "geodesic" / curve_file(method)) as data:
        steps = 0.5 * (data["mu"][1:] + data["mu"][:-1]) * np.diff(data["eta"], axis=0)
        profile = -np.concatenate([[0.0], np.cumsum(steps.sum(axis=1))])
        return np.interp(s, data["s"], profile)


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
