"""The stages of a run: each takes the files of the stages before it and writes its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tps.config import PathsSection
from tps.conformations import Conformations, read_dcd
from tps.diffusion import (
    LogPartitionNetwork,
    ModelSettings,
    TrainingSettings,
    load_model,
    save_model,
    train_denoiser,
    train_log_partition,
)
from tps.engine import (
    LangevinSettings,
    PlatformChoice,
    choose_platform,
    default_workers,
    executor_kind,
    local_executor,
)
from tps.errors import RunFolderError
from tps.paths import AnnealingSettings, annealed_paths, load_paths, save_paths
from tps.pipeline.analyse import analyse_run
from tps.pipeline.folder import RunFolder, digest, file_digest
from tps.pipeline.geodesic import BASELINES, GEODESIC, solve_geodesic
from tps.pipeline.progress import Progress, counted
from tps.pipeline.report import report_run
from tps.pipeline.sample import sample_conformations
from tps.systems import parse_region


@dataclass(frozen=True)
class StageResult:
    """What a stage says of itself for the manifest.

    Attributes
    ----------
    force_evaluations : int
        Evaluations of the molecule's forces, of energies alone included.
    platform : str or None
        OpenMM platform, where one was used.
    notes : tuple of str
        What a reader must know: frames or paths lost, a geodesic that did not converge.
    details : dict
        More for the manifest, JSON.
    failure : str
        Why what was asked for does not exist, although the stage left its files to look at.
    """

    force_evaluations: int = 0
    platform: str | None = None
    notes: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True)
class Stage:
    """One stage: its verb, the folders it writes, the stage it needs, and the sections of the run file it reads."""

    name: str
    outputs: tuple[str, ...]
    needs: str | None
    sections: tuple[str, ...]
    function: Callable[[RunFolder, Path, Progress], StageResult]


def conformations(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Sample or import weighted frames."""
    platform = run_platform(run, progress)
    sampled = sample_conformations(run, platform, langevin(run), n_workers(run), progress)
    sampled.save(out / "conformations")
    frames = sampled.frames
    return StageResult(
        sampled.n_evaluations,
        platform.name,
        sampled.notes,
        {
            "n_frames": frames.n_frames,
            "effective_sample_size": round(frames.effective_sample_size, 1),
            "platform": platform.describe(),
        },
    )


def train(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Train the diffusion model on the weighted frames."""
    frames, section = load_frames(run), run.config.train
    settings = TrainingSettings(
        n_steps=section.n_steps,
        batch_size=section.batch_size,
        learning_rate=section.learning_rate,
        patience=section.patience,
        evaluate_every=section.evaluate_every_steps,
        n_components=section.n_components,
        width=section.width,
        depth=section.depth,
        target=section.target,
    )
    torch.set_num_threads(
        1
    )  # faster than two for tensors this small, and the same result on any number of cores
    trainer = train_log_partition if section.model == "log-partition" else train_denoiser
    with progress.task("training", settings.n_steps) as advance:
        network, record = trainer(
            torch.as_tensor(frames.torsions),
            torch.as_tensor(frames.log_weights),
            settings,
            torch.Generator().manual_seed(run.seeds(1, 1)[0]),
            device=section.device,
            progress=advance,
        )
    folder = out / "model"
    folder.mkdir()
    size = {"width": section.width, "depth": section.depth}
    if isinstance(network, LogPartitionNetwork):
        size = {"n_components": network.n_components}
    save_model(
        folder / "model.safetensors", network, ModelSettings(section.model, run.system.feature_names, size)
    )
    training = {
        "steps": record.steps,
        "training_loss": record.training_loss,
        "held_out_loss": record.held_out_loss,
        "best_step": record.best_step,
        "stopped_early": record.stopped_early,
        "target": record.target,
    }
    (folder / "training.json").write_text(json.dumps(training, indent=1))
    details = {key: training[key] for key in ("best_step", "stopped_early", "target")} | {
        "held_out_loss": record.best_held_out_loss
    }
    return StageResult(details=details)


def geodesic(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Solve for the geodesic, and lay the straight lines beside it."""
    torch.set_num_threads(1)
    frames = load_frames(run)
    network, settings = load_model(run.path / "model" / "model.safetensors")
    positions = read_dcd(run.path / "conformations" / "frames.dcd") if run.config.geodesic.avoid else None
    with progress.task("geodesic", 1) as advance:
        solved = solve_geodesic(
            run.system, run.config.geodesic, frames, positions, network, settings, run.seeds(2, 1)[0]
        )
        advance(1)
    solved.save(out / "geodesic")
    status = solved.result["status"]
    details = {key: solved.result[key] for key in ("status", "length", "n_gradient_evaluations")}
    failure = "" if status == "converged" else f"the geodesic is not what was asked for: {status}"
    return StageResult(details=details, notes=solved.warnings, failure=failure)


def paths(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Run annealed Langevin dynamics along the geodesic and along the straight lines."""
    section, system = run.config.paths, run.system
    platform = run_platform(run, progress)
    walls = tuple(
        parse_region(text, system.collective_variables)
        for text in run.config.geodesic.avoid
        if section.enforce
    )
    notes: list[str] = []
    evaluations, details = 0, {}
    with local_executor(executor_kind(platform), n_workers(run)) as executor:
        for number, method in enumerate((GEODESIC, *BASELINES)):
            n_paths = section.n_paths if method == GEODESIC else section.n_baseline_paths
            if n_paths == 0:
                continue
            with np.load(run.path / "geodesic" / curve_file(method)) as curve:
                s, eta = curve["s"], curve["eta"]
            with progress.task(f"paths, {method}", n_paths) as advance:
                ensemble, positions = annealed_paths(
                    system,
                    s,
                    eta,
                    annealing_settings(section, n_paths),
                    langevin(run),
                    platform,
                    run.seeds(3 + number, n_paths),
                    executor,
                    walls=walls if method == GEODESIC else (),
                    done=counted(advance),
                )
            save_paths(out / path_folder(method), ensemble, positions)
            evaluations += ensemble.n_evaluations
            n_failed = int((~ensemble.completed).sum())
            details[method] = {
                "started": n_paths,
                "completed": n_paths - n_failed,
                "reactive": int(ensemble.reactive.sum()),
            }
            if n_failed:
                first = ensemble.status[~ensemble.completed][0]
                notes.append(f"{n_failed} of {n_paths} paths along the {method} failed; the first: {first}")
    main = details[GEODESIC]
    failure = f"all {main['started']} paths failed: {notes[0]}" if main["completed"] == 0 else ""
    return StageResult(evaluations, platform.name, tuple(notes), details, failure)


def analyse(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Compute every reported number."""
    ensembles = {
        method: load_paths(run.path / path_folder(method))
        for method in (GEODESIC, *BASELINES)
        if (run.path / path_folder(method)).is_dir()
    }
    with progress.task("analysis", len(ensembles)) as advance:
        warnings = analyse_run(run, load_frames(run), ensembles, path_folder, out / "analysis", advance)
    return StageResult(notes=tuple(warnings))


def report(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Draw the figures and write the page."""
    with progress.task("report", 1) as advance:
        report_run(run, load_frames(run), path_folder, out)
        advance(1)
    return StageResult()


STAGES: tuple[Stage, ...] = (
    Stage("conformations", ("conformations",), None, ("run", "conformations"), conformations),
    Stage("train", ("model",), "conformations", ("train",), train),
    Stage("geodesic", ("geodesic",), "train", ("geodesic",), geodesic),
    Stage("paths", ("paths", "baselines"), "geodesic", ("paths",), paths),
    Stage("analyse", ("analysis",), "paths", (), analyse),
    Stage("report", ("report.html", "figures"), "analyse", (), report),
)


def annealing_settings(section: PathsSection, n_paths: int) -> AnnealingSettings:
    """Translate the section into the settings of annealed Langevin dynamics."""
    return AnnealingSettings(
        n_paths=n_paths,
        n_steps=section.n_steps,
        n_updates=section.n_updates,
        n_frames=section.n_frames,
        n_equilibration_steps=section.n_equilibration_steps,
        wall_stiffness=section.wall_stiffness_kj_per_mol,
    )


def load_frames(run: RunFolder) -> Conformations:
    """Return the weighted frames, without their positions."""
    return Conformations.load(run.path / "conformations" / "data.npz")


def langevin(run: RunFolder) -> LangevinSettings:
    """Return the dynamics of this run."""
    section = run.config.run
    return LangevinSettings(run.system.temperature, section.timestep_ps, section.friction_per_ps)


def n_workers(run: RunFolder) -> int:
    """Return the number of workers to use."""
    return run.config.run.n_workers or default_workers()


def run_platform(run: RunFolder, progress: Progress) -> PlatformChoice:
    """Choose the platform and say so."""
    choice = choose_platform(run.system.system_xml, run.system.positions_a, forced=run.config.run.platform)
    progress.say(f"platform: {choice.describe()}")
    return choice


def path_folder(method: str) -> str:
    """Return where the paths of a method lie in the run folder."""
    return "paths" if method == GEODESIC else f"baselines/{method}"


def curve_file(method: str) -> str:
    """Return the name of a method's curve in geodesic/."""
    return "curve.npz" if method == GEODESIC else f"{method}.npz"


def stage_key(run: RunFolder, stage: Stage) -> str:
    """Return what a stage's result depends on, as a digest: molecule, seed, its sections, and the stages before."""
    content: dict[str, Any] = {
        name: getattr(run.config, name).model_dump(mode="json") for name in stage.sections
    }
    if "run" in content:
        content["run"] = {
            key: value for key, value in content["run"].items() if key not in ("n_workers", "system")
        }
        content["system"] = run.system_digest
        section = run.config.conformations
        files = [*section.trajectories, *([section.weights_file] if section.weights_file else [])]
        content["files"] = [file_digest(Path(file)) for file in files]
    if stage.needs is not None:
        content["needs"] = stage_key(run, find_stage(stage.needs))
    return digest(json.dumps(content, sort_keys=True).encode())


def find_stage(name: str) -> Stage:
    """Return a stage by its name.

    Raises
    ------
    RunFolderError
        If there is none of that name.
    """
    for stage in STAGES:
        if stage.name == name:
            return stage
    raise RunFolderError(f"there is no stage {name!r}: it is one of {', '.join(s.name for s in STAGES)}")
