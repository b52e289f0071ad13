"""`tps export`: trajectories for other programs, and scripts for three viewers."""

from __future__ import annotations

from pathlib import Path

import click

from tps.export import FORMATS, VIEWER_FORMATS, export_paths, write_viewer_scripts
from tps.pipeline import RunFolder


@click.command()
@click.argument("run", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder; RUN/export by default."
)
@click.option(
    "-f", "--format", "file_format", default="dcd", show_default=True, help=f"One of {', '.join(FORMATS)}."
)
@click.option("--atoms", help='MDTraj selection, such as "element != H".')
@click.option(
    "--reactive", is_flag=True, help="Only from the last frame in A to the first following one in B."
)
@click.option(
    "--path", "which", multiple=True, type=click.IntRange(min=0), help="Only this path; may be repeated."
)
@click.option("--source", default="paths", show_default=True, help="Or baselines/straight_line and its like.")
@click.option("--align/--no-align", default=True, show_default=True, help="Superpose on heavy atoms.")
@click.option("--force", is_flag=True, help="Replace an earlier export.")
def export(
    run: Path,
    output: Path | None,
    file_format: str,
    atoms: str | None,
    reactive: bool,
    which: tuple[int, ...],
    source: str,
    align: bool,
    force: bool,
) -> None:
    """Write the paths of RUN in any MDTraj format, with scripts for PyMOL, VMD and ChimeraX."""
    system = RunFolder.open(run).molecule
    folder = output or run / "export"
    record = export_paths(
        run,
        folder,
        format=file_format,
        atoms=atoms,
        reactive_only=reactive,
        which=which or None,
        align=align,
        end_states={system.state_a.name: system.positions_a, system.state_b.name: system.positions_b},
        source=source,
        force=force,
    )
    click.echo(f"{folder}: {record.sentence()}")
    if record.format in VIEWER_FORMATS and align:
        for script in write_viewer_scripts(folder):
            click.echo(str(script))
