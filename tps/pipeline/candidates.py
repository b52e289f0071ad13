"""The paths stage: dynamics under a tilt that moves along the curve, and along the straight lines beside it."""

from __future__ import annotations

from pathlib import Path

from tps.paths import save_paths
from tps.pipeline.dynamics import load_curve, run_dynamics
from tps.pipeline.folder import RunFolder
from tps.pipeline.geodesic import BASELINES, MAIN, curve_file
from tps.pipeline.progress import Progress
from tps.pipeline.stage import StageResult


def make_paths(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Run the paths of the main curve and of the straight lines, and write them."""
    section = run.config.paths
    notes: list[str] = []
    evaluations, details = 0, {}
    with run_dynamics(run, progress) as dynamics:
        for number, method in enumerate((MAIN, *BASELINES)):
            n_paths = section.n_paths if method == MAIN else section.n_baseline_paths
            if n_paths == 0:
                continue
            spoken = method.replace("_", " ")
            with progress.task(spoken, n_paths) as advance:
                ensemble, positions = dynamics.annealed(
                    load_curve(run, curve_file(method)),
                    run.seeds(3 + number, n_paths),
                    advance,
                    walled=section.enforce and method == MAIN,
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
                notes.append(f"{n_failed} of {n_paths} {spoken} failed; the first: {first}")
    main = details[MAIN]
    failure = f"all {main['started']} paths failed: {notes[0]}" if main["completed"] == 0 else ""
    return StageResult(evaluations, dynamics.platform_name, tuple(notes), details, failure)


def path_folder(method: str) -> str:
    """Return where the paths of a method lie in the run folder."""
    return "paths" if method == MAIN else f"baselines/{method}"
