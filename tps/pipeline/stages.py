"""The stages of a run: each takes the files of the stages before it and writes its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch

from tps.config import WHERE, GeodesicSection
from tps.conformations import Conformations
from tps.diffusion import (
    ModelSettings,
    TrainingSettings,
    check_device,
    held_out_error,
    load_model,
    save_model,
    train_model,
)
from tps.errors import RunFolderError
from tps.paths import load_paths
from tps.pipeline.analyse import analyse_run
from tps.pipeline.candidates import make_paths, path_folder
from tps.pipeline.committor import transition_states
from tps.pipeline.dynamics import run_dynamics
from tps.pipeline.folder import Chance, RunFolder, digest, file_digest, write_json
from tps.pipeline.free_energy import free_energies
from tps.pipeline.geodesic import BASELINES, MAIN, solve_geodesic
from tps.pipeline.growth import GROWTH, grow_conformations
from tps.pipeline.progress import Progress
from tps.pipeline.rate import transition_rates
from tps.pipeline.report import report_run
from tps.pipeline.sample import frames_verdict
from tps.pipeline.shooting import shoot_paths
from tps.pipeline.stage import Stage, StageResult
from tps.pipeline.third_basin import THIRD, third_basin
from tps.pipeline.withheld import few_carry, grown_doubt, one_end
from tps.report.player import NO_PLAYER, has_libraries
from tps.spacetime import empirical_family, model_family, tightest_anchor
from tps.stored import read_json, remedy

StageState = Literal["missing", "up to date", "out of date", "damaged"]


def conformations(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Sample or import weighted frames."""
    with run_dynamics(run, progress) as dynamics:
        section = run.sampling
        if section.method == "grow":
            sampled = grow_conformations(run, dynamics, out, progress)
        else:
            sampled = dynamics.conformations(section)
    sampled.save(out / "conformations")
    frames = sampled.frames
    places = frames.values if sampled.positions is None else sampled.positions
    verdict = frames_verdict(run.system, section, frames, places, grown_doubt(out / "conformations"))
    details: dict[str, Any] = {
        "n_frames": frames.n_frames,
        "effective_sample_size": round(frames.effective_sample_size, 1),
        "verdict": verdict.as_dict(),
    }
    if dynamics.platform is not None:
        details["platform"] = dynamics.platform.describe()
    thin, third = few_carry(frames, grid=run.on_grid), ""
    if not run.on_grid:
        third, details[THIRD] = third_basin(run, out / "conformations", sampled)
    notes = (*sampled.notes, *verdict.notes, *(said for said in (thin, third) if said))
    return StageResult(sampled.n_evaluations, dynamics.platform_name, notes, details)


def train(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Train the diffusion model; where the frames themselves take its place, say so in its folder."""
    torch.set_num_threads(1)
    frames, section = run.load_frames(), run.config.train
    folder = out / "model"
    folder.mkdir()
    if run.model_kind == "frames":
        write_json(folder / "frames.json", {"model": "frames", "frames": frames.n_frames})
        return StageResult(details={"model": "frames"})
    check_device(section.device)
    settings = TrainingSettings(
        n_steps=section.n_steps,
        batch_size=section.batch_size,
        learning_rate=section.learning_rate,
        patience=section.patience,
        evaluate_every=section.evaluate_every_steps,
        target=section.target,
    )
    data, trained = (run.system.space, frames.values, frames.log_weights), {}
    for kind in run.model_kinds:
        with progress.task("training", settings.n_steps) as advance:
            chance = torch.Generator().manual_seed(run.seeds(Chance.TRAINING, 1)[0])
            trained[kind] = train_model(
                section.of(kind), *data, settings, chance, device=section.device, progress=advance
            )
    errors = {kind: held_out_error(model, *data, section.device) for kind, (model, _) in trained.items()}
    kind = min(errors, key=lambda name: errors[name])
    network, record = trained[kind]
    save_model(folder / "model.safetensors", network, ModelSettings(kind, run.system.space))
    training = {
        "steps": record.steps,
        "training_loss": record.training_loss,
        "held_out_loss": record.held_out_loss,
        "best_step": record.best_step,
        "stopped_early": record.stopped_early,
        "target": record.target,
        "kind": kind,
        "held_out_windows": errors,
    }
    write_json(folder / "training.json", training)
    details = {key: training[key] for key in ("kind", "best_step", "stopped_early", "target")} | {
        "held_out_loss": record.best_held_out_loss
    }
    if len(errors) == 1:
        return StageResult(details=details)
    said = ", ".join(f"{error:.3g} of {name}" for name, error in errors.items())
    note = f"auto keeps the {kind} model: the error of E[T] in windows of the frames held out is {said}"
    return StageResult(notes=(note,), details=details)


def geodesic(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Solve for the geodesics, lay out the curve that the paths follow, and the straight lines beside it."""
    torch.set_num_threads(1)
    frames, family = run.load_frames(), None
    if run.model_kind != "frames":
        family = model_family(run.system.space, *load_model(run.path / "model" / "model.safetensors"))
    solved = solve_geodesic(
        run.system,
        _anchored(run, frames),
        frames,
        run.frame_positions(frames) if run.config.geodesic.avoid else None,
        family,
        run.seeds(Chance.GEODESIC, 1)[0],
        progress,
        grid=run.on_grid,
        kept=run.path if _another_choice(run) else None,
        n_steps=run.config.paths.n_steps,
    )
    solved.save(out / "geodesic")
    status = solved.result["status"]
    details = {key: solved.result[key] for key in ("method", "status", "length", "n_gradient_evaluations")}
    details["channels"] = len(solved.channels)
    failure = "" if status == "converged" else f"the curve is not what was asked for: {status}"
    failure = one_end(run, solved.result) or failure
    return StageResult(details=details, notes=solved.warnings, failure=failure)


def _anchored(run: RunFolder, frames: Conformations) -> GeodesicSection:
    """Return [geodesic] with anchors in numbers: as asked, where frames grew, or as tight as can be."""
    section, system = run.config.geodesic, run.system
    if section.anchor_log_snr != "auto":
        return section
    growth = run.path / "conformations" / GROWTH
    if growth.is_file():
        level = float(read_json(growth)["anchor_log_snr"])
    else:
        family = empirical_family(system.space, frames.values, frames.log_weights)
        highest = GeodesicSection().anchor_level
        level = tightest_anchor(system.space, system.feature_values(system.ends), [family], highest=highest)
    return section.model_copy(update={"anchor_log_snr": level})


def _another_choice(run: RunFolder) -> bool:
    """Return whether the channels that are there were solved with the same inputs, and another choice is asked for."""
    stage = find_stage("geodesic")
    return stage_state(run, stage) == "out of date" and can_go_on(run, stage)


def analyse(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Compute every reported number."""
    ensembles = {
        method: load_paths(run.path / path_folder(method))
        for method in (MAIN, *BASELINES)
        if (run.path / path_folder(method)).is_dir()
    }
    entries = run.manifest()["stages"]
    done = [
        name
        for name in SIDE_STAGES
        if stage_state(run, find_stage(name)) == "up to date" and not entries[name]["failure"]
    ]
    with progress.task("analysis", len(ensembles)) as advance:
        analysed = analyse_run(run, run.load_frames(), ensembles, done, advance)
    analysed.save(out / "analysis")
    lost = [
        f"the result of `tps {name}` is damaged and left out"
        for name in SIDE_STAGES
        if run.damaged_files(name)
    ]
    return StageResult(analysed.n_evaluations, notes=(*analysed.notes, *lost))


def report(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Draw the figures and write the page."""
    with progress.task("report", 1) as advance:
        report_run(run, run.load_frames(), out)
        advance(1)
    return StageResult(notes=() if has_libraries() else (NO_PLAYER,))


#: Stages that the analysis takes in where they are there.
SIDE_STAGES = ("shoot", "committor", "free-energy", "rate")

STAGES: tuple[Stage, ...] = (
    Stage("conformations", ("conformations",), None, ("run", "conformations", "grow"), conformations),
    Stage("train", ("model",), "conformations", ("train",), train),
    Stage(
        "geodesic",
        ("geodesic",),
        "train",
        ("geodesic",),
        geodesic,
        chooses=("geodesic.channel", "geodesic.rank", "geodesic.method", "geodesic.method_log_snr"),
    ),
    Stage("paths", ("paths", "baselines"), "geodesic", ("paths",), make_paths),
    Stage(
        "shoot",
        ("shooting",),
        "paths",
        ("shooting",),
        shoot_paths,
        wanted=lambda config: config.shooting.n_moves > 0,
        side=True,
        grows="shooting.n_moves",
        edition=1,
    ),
    Stage(
        "committor",
        ("committor/ts",),
        "shoot",
        ("committor",),
        transition_states,
        wanted=lambda config: config.committor.n_paths > 0 < config.shooting.n_moves,
        side=True,
    ),
    Stage(
        "free-energy",
        ("free_energy",),
        "paths",
        ("free_energy",),
        free_energies,
        wanted=lambda config: config.free_energy.n_windows > 0,
        side=True,
    ),
    Stage(
        "rate",
        ("rate",),
        "conformations",
        ("rate", "shooting.n_frame_shots", "shooting.frame_interval_steps", "shooting.max_frames"),
        transition_rates,
        wanted=lambda config: config.n_rate_shots > 0 or config.rate.n_walkers > 0,
        side=True,
        grows="rate.n_frame_shots",
    ),
    Stage(
        "analyse",
        ("analysis",),
        "paths",
        (),
        analyse,
        uses=SIDE_STAGES,
        derived=True,
        edition=1,
    ),
    Stage("report", ("report.html", "figures"), "analyse", (), report, derived=True),
)


def stage_state(run: RunFolder, stage: Stage) -> StageState:
    """Return whether a stage's result is there and belongs to the present configuration."""
    entry = run.manifest()["stages"].get(stage.name)
    if entry is None or not (run.path / stage.outputs[0]).exists():
        return "missing"
    if run.damaged_files(stage.name):
        return "damaged"
    if _rests_on_damage(run, stage):
        return "out of date"
    return "up to date" if entry["key"] == stage_key(run, stage) else "out of date"


def _rests_on_damage(run: RunFolder, stage: Stage) -> bool:
    """Return whether a stage that this one needs, directly or not, is damaged."""
    while stage.needs is not None:
        stage = find_stage(stage.needs)
        if run.damaged_files(stage.name):
            return True
    return False


def stage_key(run: RunFolder, stage: Stage, *, grown: bool = True) -> str:
    """Return what a stage's result depends on, as a digest: molecule, seed, its sections, and the stages before.

    Without `grown`, what may rise or be chosen anew while the stage goes on from its result is left out.
    """
    content: dict[str, Any] = {}
    for name in stage.sections:
        section_name, _, key = name.partition(".")
        section_said = getattr(run.config, section_name).model_dump(mode="json")
        content[name] = section_said[key] if key else section_said
    if "run" in content:
        content["run"] = {
            key: value for key, value in content["run"].items() if key not in (*WHERE, "system")
        }
        content["system"] = run.system_digest
        section = run.config.conformations
        files = [*section.trajectories, *([section.weights_file] if section.weights_file else [])]
        content["files"] = [file_digest(Path(file)) for file in files]
    if content.get("geodesic", {}).get("avoid"):  # how long paths are to stay out
        content["n_steps"] = run.config.paths.n_steps
    if stage.edition:
        content["edition"] = stage.edition
    for open_key in () if grown else stage.open_keys:
        name, key = open_key.split(".")
        del content[name][key]
    if stage.needs is not None:
        content["needs"] = stage_key(run, find_stage(stage.needs))
    for name in stage.uses:
        used = find_stage(name)
        if stage_state(run, used) == "up to date":
            content[name] = stage_key(run, used)
    return digest(json.dumps(content, sort_keys=True).encode())


def can_go_on(run: RunFolder, stage: Stage) -> bool:
    """Return whether a stage's result is that of the same inputs, but for what may rise or be chosen anew."""
    entry = run.manifest()["stages"].get(stage.name)
    return (
        bool(stage.open_keys)
        and entry is not None
        and not run.damaged_files(stage.name)
        and entry["growth_key"] == stage_key(run, stage, grown=False)
        and all((run.path / name).exists() for name in stage.outputs)
    )


def check_whole(run: RunFolder, name: str) -> None:
    """Check that the files of a stage are what it left.

    Raises
    ------
    RunFolderError
        Naming the first that is not.
    """
    wrong = run.damaged_files(name)
    if wrong:
        raise RunFolderError(f"{run.path / wrong[0]} is damaged: {remedy(run.path / wrong[0])}")


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
