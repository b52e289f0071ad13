"""The paths stage: dynamics under a tilt that moves along the curve, and what is run beside it to compare."""

from __future__ import annotations

from pathlib import Path

from tps.paths import save_paths
from tps.pipeline.dynamics import run_dynamics
from tps.pipeline.folder import Chance, RunFolder
from tps.pipeline.friction import measure_friction
from tps.pipeline.geodesic import FISHER_CLOCK, MAIN, STRAIGHT, WITH_PROFILE, load_curve
from tps.pipeline.progress import Progress
from tps.pipeline.stage import StageResult

#: Curves that paths run along, the main one first, and where each set's chance comes from.
CHANCE = {
    MAIN: Chance.PATHS,
    STRAIGHT: Chance.STRAIGHT_LINE,
    WITH_PROFILE: Chance.STRAIGHT_LINE_WITH_PROFILE,
    FISHER_CLOCK: Chance.FISHER_CLOCK,
}


def make_paths(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Run the paths of the main curve, by the clock asked for, and of what stands beside it, and write them."""
    section = run.config.paths
    notes: list[str] = []
    evaluations, details, clock = 0, {}, None
    with run_dynamics(run, progress) as dynamics:
        if section.protocol == "friction":
            curve = load_curve(run)
            measured, evaluations, notes = measure_friction(run, out, dynamics, curve, progress)
            clock = measured.curve.clock(curve.s)
        for method, chance in CHANCE.items():
            n_paths = section.n_paths if method == MAIN else section.n_baseline_paths
            if n_paths == 0 or (method == FISHER_CLOCK and clock is None):
                continue
            spoken = method.replace("_", " ")
            with progress.task(spoken, n_paths) as advance:
                ensemble, positions = dynamics.annealed(
                    load_curve(run, method),
                    run.seeds(chance, n_paths),
                    advance,
                    clock=clock if method == MAIN else None,
                    walled=section.enforce and method == MAIN,
                )
            save_paths(out / path_folder(method), ensemble, positions, run.box)
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
