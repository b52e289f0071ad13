"""`tps committor`: p_B of transition states, of a path, or of any frames."""

from __future__ import annotations

from pathlib import Path

import click

from tps.cli.console import ConsoleProgress
from tps.cli.output import JSON, print_json
from tps.cli.results import committor_text, metrics_text
from tps.cli.stages import FORCE, RUN, execute
from tps.cli.time_limit import TIME_LIMIT
from tps.pipeline import TRANSITION_STATES, RunFolder, committor_of_file, committor_of_path, save_committors
from tps.stored import read_json

_PATH_FRAMES = 12


@click.command()
@RUN
@click.option(
    "--frames",
    default="ts",
    show_default=True,
    help="ts: transition states of the ensemble; path: along one path of it; or a trajectory file.",
)
@click.option("--shots", "n_shots", type=click.IntRange(min=1), help="Shots from each frame.")
@click.option("--n-paths", type=click.IntRange(min=1), help="ts: paths to look for a transition state on.")
@click.option("--path", type=click.IntRange(min=0), default=0, show_default=True, help="path: which one.")
@click.option("--n-frames", type=click.IntRange(min=1), help="path, file: frames, evenly spread.")
@TIME_LIMIT
@FORCE
@JSON
def committor(
    run: Path,
    frames: str,
    n_shots: int | None,
    n_paths: int | None,
    path: int,
    n_frames: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Count the shots from frames that reach B before A.

    With fresh velocities each, and binomial errors.
    """
    if frames == "ts":
        place = run / TRANSITION_STATES
        execute(
            run,
            "committor",
            "committor",
            {"n_shots": n_shots, "n_paths": n_paths},
            force,
            as_json,
            text=lambda: f"{metrics_text(read_json(place / 'result.json'))}\ntrajectories  {place}",
            found=lambda: {"metrics": read_json(place / "result.json")},
        )
        return
    folder, progress = RunFolder.open(run), ConsoleProgress()
    shots = n_shots or folder.config.committor.n_shots
    if frames == "path":
        name = f"path-{path:04d}"
        found = committor_of_path(folder, path, n_frames or _PATH_FRAMES, shots, progress)
    else:
        name = Path(frames).stem
        found = committor_of_file(folder, Path(frames), n_frames, shots, progress)
    file = save_committors(folder, name, found)
    if as_json:
        estimate = found.estimate
        rows = zip(found.frames, estimate.p_b, estimate.error, strict=True)
        print_json({"file": file, "frames": [{"frame": f, "p_b": p, "error": e} for f, p, e in rows]})
        return
    click.echo(committor_text(found))
    click.echo(f"numbers  {file}")
