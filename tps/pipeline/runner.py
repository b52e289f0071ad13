"""Running stages: only what is not up to date, in order, with a record of each in the manifest."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Literal

from tps.errors import RunFolderError
from tps.pipeline.folder import RunFolder, versions
from tps.pipeline.progress import Progress
from tps.pipeline.stages import STAGES, Stage, StageResult, find_stage, stage_key

StageState = Literal["missing", "up to date", "out of date"]


def stage_state(run: RunFolder, stage: Stage) -> StageState:
    """Return whether a stage's result is there and belongs to the present configuration."""
    entry = run.manifest()["stages"].get(stage.name)
    if entry is None or not (run.path / stage.outputs[0]).exists():
        return "missing"
    return "up to date" if entry["key"] == stage_key(run, stage) else "out of date"


def run_stage(run: RunFolder, name: str, progress: Progress, *, force: bool = False) -> dict[str, Any]:
    """Run one stage on a run folder, unless its result is there and its inputs have not changed.

    Returns
    -------
    dict
        The stage's entry in the manifest; "reused" says whether it was there already.

    Raises
    ------
    RunFolderError
        If the stage before it is missing or out of date, or the result of other inputs would be overwritten.
    """
    stage = find_stage(name)
    if stage.needs is not None:
        state = stage_state(run, find_stage(stage.needs))
        if state != "up to date":
            raise RunFolderError(
                f"`tps {stage.name}` needs the result of `tps {stage.needs}`, which is {state} in {run.path}: "
                f"run `tps {stage.needs} {run.path}` first"
            )
    state = stage_state(run, stage)
    if state == "up to date" and not force:
        return {**run.manifest()["stages"][name], "reused": True}
    if state == "out of date" and not force:
        raise RunFolderError(
            f"{run.path} holds a {stage.name} result of other settings or inputs: replace it with --force, or start "
            "another run folder"
        )
    with run.lock():
        start = time.perf_counter()
        with run.writing(stage.name, stage.outputs) as partial:
            result = stage.function(run, partial, progress)
            run.write_config()
        entry = _entry(run, stage, result, time.perf_counter() - start)
        run.record(stage.name, entry)
    for note in result.notes:
        progress.say(f"note: {note}")
    return {**entry, "reused": False}


def run_all(run: RunFolder, progress: Progress, *, force: bool = False, until: str | None = None) -> None:
    """Run every stage that is not up to date, stopping after `until` or where a stage cannot give what was asked for.

    Raises
    ------
    RunFolderError
        As `run_stage`; or if a stage's result is not what was asked for.
    """
    last = find_stage(until).name if until is not None else STAGES[-1].name
    for stage in STAGES:
        stale = stage_state(run, stage) == "out of date"
        entry = run_stage(run, stage.name, progress, force=force and stale)
        progress.say(
            f"{stage.name}: up to date" if entry["reused"] else f"{stage.name}: {entry['seconds']:.1f} s"
        )
        if entry["failure"]:
            raise RunFolderError(entry["failure"])
        if stage.name == last:
            return


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
    }
