"""`tps export`: trajectories for other programs, scripts for three viewers, and initial paths for OpenPathSampling."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from tps.cli.output import JSON, print_json
from tps.cli.place import Place
from tps.engine import choose_platform
from tps.errors import ParameterError
from tps.export import FORMATS, VIEWER_FORMATS, export_ops, export_paths, write_viewer_scripts
from tps.pipeline import RunFolder
from tps.pipeline.dynamics import langevin
from tps.pipeline.stages import check_whole


@click.command()
@click.argument("run", type=Place(file_okay=False))
@click.option(
    "-o",
    "--output",
    type=Place(file_okay=False),
    help="RUN/export or export-ops by default.",
)
@click.option(
    "-f",
    "--format",
    "file_format",
    default="dcd",
    show_default=True,
    help=f"One of ops, {', '.join(FORMATS)}.",
)
@click.option("--atoms", help='MDTraj selection, such as "element != H".')
@click.option(
    "--reactive", is_flag=True, help="Only from the last frame in A to the first following one in B."
)
@click.option(
    "--path", "which", multiple=True, type=click.IntRange(min=0), help="Only this path; may be repeated."
)
@click.option("--source", help="Folder in RUN: paths, shooting (first choice for ops), baselines/...")
@click.option("--align/--no-align", default=True, show_default=True, help="Superpose on heavy atoms.")
@click.option("--force", is_flag=True, help="Replace an earlier export.")
@JSON
def export(
    run: Path,
    output: Path | None,
    file_format: str,
    atoms: str | None,
    reactive: bool,
    which: tuple[int, ...],
    source: str | None,
    align: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write the paths of RUN for other programs.

    In any MDTraj format, with scripts for PyMOL, VMD and ChimeraX. As ops: whole reactive trajectories with
    velocities, and a script that samples on with OpenPathSampling.
    """
    for stage in ("paths", "shoot"):
        check_whole(RunFolder.open(run), stage)
    if file_format == "ops":
        if atoms is not None:
            raise ParameterError("OpenPathSampling needs all atoms of the molecule: leave --atoms out")
        _for_ops(run, output or run / "export-ops", source, which or None, force, as_json)
        return
    folder = output or run / "export"
    record = export_paths(
        run,
        folder,
        RunFolder.open(run).molecule,
        format=file_format,
        atoms=atoms,
        reactive_only=reactive,
        which=which or None,
        align=align,
        source=source or "paths",
        force=force,
    )
    scripts = write_viewer_scripts(folder) if record.format in VIEWER_FORMATS and align else []
    if as_json:
        print_json({"folder": folder, "scripts": scripts, "note": record.note, **asdict(record)})
        return
    click.echo(f"{folder}: {record.sentence()}")
    for script in scripts:
        click.echo(str(script))


def _for_ops(
    run: Path, folder: Path, source: str | None, which: tuple[int, ...] | None, force: bool, as_json: bool
) -> None:
    """Write initial trajectories for OpenPathSampling and say so."""
    opened = RunFolder.open(run)
    system, settings = opened.molecule, opened.config.run
    platform = choose_platform(system.system_xml, system.positions_a, settings.wish)
    written = export_ops(
        run,
        folder,
        system,
        langevin(opened),
        platform,
        source=source,
        which=which,
        seed=settings.seed,
        force=force,
    )
    script = folder / "setup_ops.py"
    if as_json:
        print_json({"folder": folder, "script": script, **asdict(written)})
        return
    click.echo(f"{folder}: {written.sentence()}\nsample there with: python {script} -n 1000")
