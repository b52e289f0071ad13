"""Running stages: only what is not up to date, in order, with a record of each in the manifest."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from tps.errors import RunFolderError, SideStageError, TpsError
from tps.pipeline.folder import RunFolder, versions
from tps.pipeline.progress import Progress
from tps.pipeline.stages import (
    STAGES,
    Stage,
    StageResult,
    can_go_on,
    check_whole,
    find_stage,
    stage_key,
    stage_state,
)


def run_stage(run: RunFolder, name: str, progress: Progress, *, force: bool = False) -> dict[str, Any]:
    """Run one stage on a run folder, unless its result is there and its inputs have not changed.

    Returns
    -------
    dict
        The stage's entry in the manifest; "reused" says whether it was there already.

    Raises
    ------
    RunFolderError
        If the stage before it is missing or out of date, the result of other inputs would be overwritten, or another
        program works in the folder.
    """
    stage = find_stage(name)
    _check_needed(run, stage)
    if not force and stage_state(run, stage) == "up to date":
        return {**run.manifest()["stages"][name], "reused": True}
    with run.lock():
        return _run_stage(run, stage, progress, force)


def _run_stage(run: RunFolder, stage: Stage, progress: Progress, force: bool) -> dict[str, Any]:
    """Run one stage on a run folder that nobody else writes in."""
    _check_needed(run, stage)
    state = stage_state(run, stage)
    if state == "up to date" and not force:
        return {**run.manifest()["stages"][stage.name], "reused": True}
    if not (force or stage.derived or state == "missing" or can_go_on(run, stage)):
        check_whole(run, stage.name)
        raise RunFolderError(
            f"{run.path} holds a {stage.name} result of other settings or inputs: replace it with --force, or start "
            "another run folder"
        )
    start = time.perf_counter()
    writing = (
        run.growing(stage.name, stage.outputs, anew=force)
        if stage.grows
        else run.writing(stage.name, stage.outputs)
    )
    with writing as out:
        result = stage.function(run, out, progress)
        run.write_config()
    entry = _entry(run, stage, result, time.perf_counter() - start)
    run.record(stage.name, entry)
    for note in result.notes:
        progress.say(f"note: {note}")
    return {**entry, "reused": False}


def _check_needed(run: RunFolder, stage: Stage) -> None:
    if stage.needs is not None:
        state = stage_state(run, find_stage(stage.needs))
        if state != "up to date":
            raise RunFolderError(
                f"`tps {stage.name}` needs the result of `tps {stage.needs}`, which is {state} in {run.path}: "
                f"run `tps {stage.needs} {run.path}` first"
            )


def run_all(run: RunFolder, progress: Progress, *, force: bool = False, until: str | None = None) -> None:
    """Run every stage that is asked for and not up to date, up to `until`.

    A stage that cannot give what was asked for ends the run; but after shooting, committors, free energies or rates
    the run still goes on to its report, and fails then.

    Raises
    ------
    RunFolderError
        As `run_stage`; or if a stage's result is not what was asked for, or another program works in the folder.
    SideStageError
        After the last stage, if shooting, committors, free energies or rates are not what was asked for.
    """
    failures: list[str] = []
    with run.lock():
        for stage in asked_stages(run, until):
            failures += _step(run, stage, progress, force)
    if failures:
        raise SideStageError("; ".join(failures))


def asked_stages(run: RunFolder, until: str | None = None) -> list[Stage]:
    """Return the stages that a run's configuration asks for, in order, up to `until`."""
    last = len(STAGES) if until is None else STAGES.index(find_stage(until)) + 1
    return [stage for stage in STAGES[:last] if stage.wanted(run.config)]


def _step(run: RunFolder, stage: Stage, progress: Progress, force: bool) -> list[str]:
    """Run one stage of all; return why a side stage has failed, raise where another has."""
    stale = stage_state(run, stage) in ("out of date", "damaged") and not can_go_on(run, stage)
    with progress.stage(stage.name) as ended:
        try:
            entry = _run_stage(run, stage, progress, force and stale)
        except TpsError as error:
            ended("failed")
            if not stage.side:
                raise
            return [f"{stage.name}: {error}"]
        ended(_outcome(entry))
    if entry["failure"] and not stage.side:
        raise RunFolderError(entry["failure"])
    return [f"{stage.name}: {entry['failure']}"] if entry["failure"] else []


def _outcome(entry: dict[str, Any]) -> str:
    lacking = ", without what was asked for" if entry["failure"] else ""
    return ("up to date" if entry["reused"] else f"{entry['seconds']:.1f} s") + lacking


def _entry(run: RunFolder, stage: Stage, result: StageResult, seconds: float) -> dict[str, Any]:
    return {
        "status": "failed" if result.failure else "done",
        "failure": result.failure,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "force_evaluations": result.force_evaluations,
        "seed": run.config.run.seed,
        "platform": result.platform,
        "notes": list(result.notes),
        "details": result.details,
        "versions": versions(),
        "key": stage_key(run, stage),
        "growth_key": stage_key(run, stage, grown=False),
    }
