"""`tps systems`, `tps contents`, `tps doctor`: what is there."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tps.cli.console import ConsoleProgress
from tps.cli.results import WIDTH
from tps.engine import available_platforms, choose_platform, default_workers
from tps.pipeline import STAGES, RunFolder, stage_state
from tps.pipeline.folder import versions
from tps.report import format_value
from tps.systems import MolecularSystem, available_systems, data_directory, format_region, load_system


@click.command()
@click.argument("name", required=False)
def systems(name: str | None) -> None:
    """List the built-in systems, or show one.

    A name, or a folder of your own.
    """
    if name is None:
        for summary in available_systems():
            click.echo(f"{summary.name:24} {summary.kind:10} {summary.description}")
        return
    system = load_system(name)
    click.echo(f"{system.name}: {system.description}")
    click.echo(f"folder         {system.directory}")
    if isinstance(system, MolecularSystem):
        click.echo(f"atoms          {system.n_atoms}")
        click.echo(f"temperature    {system.temperature:g} K")
    else:
        click.echo(f"surface        kT = {system.kt:g} {system.energy_unit}".rstrip())
    click.echo(f"features       {', '.join(system.feature_names)}")
    for label, state in (("A", system.state_a), ("B", system.state_b)):
        click.echo(
            f"state {label}        {state.name}: {format_region(state.region, system.collective_variables)}"
        )
    for note in system.notes:
        click.echo(f"note           {note}")


@click.command()
@click.argument("run", type=click.Path(file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def contents(run: Path, as_json: bool) -> None:
    """Show what a run folder holds, misses or has outdated."""
    folder = RunFolder.open(run)
    entries = folder.manifest()["stages"]
    rows = {
        stage.name: {"state": stage_state(folder, stage), **entries.get(stage.name, {})} for stage in STAGES
    }
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    click.echo(f"{'stage':16}{'state':14}{'seconds':>9}{'evaluations':>14}  details")
    for name, row in rows.items():
        click.echo("\n".join(_stage_lines(name, row)))


def _stage_lines(name: str, row: Mapping[str, Any]) -> list[str]:
    """Return what is said of a stage; its details go on below one another."""
    if row["state"] == "missing":
        return [f"{name:16}missing"]
    head = f"{name:16}{row['state']:14}{row['seconds']:9.1f}{row['force_evaluations']:14,}  "
    told = row["failure"] or "; ".join(
        f"{key} {_told(value)}" for key, value in row["details"].items() if value
    )
    lines = textwrap.wrap(told, WIDTH - len(head)) or [""]
    return [((" " * len(head) if n else head) + line).rstrip() for n, line in enumerate(lines)]


def _told(value: object) -> str:
    """Return a detail as text: of several together, the sentence that sums them up, or each."""
    if isinstance(value, Mapping):
        return str(value.get("sentence") or ", ".join(f"{_told(v)} {k}" for k, v in value.items()))
    return format_value(value)


@click.command()
@click.option(
    "-s", "--system", "name", default="alanine-dipeptide", show_default=True, help="System to measure on."
)
def doctor(name: str) -> None:
    """Check this installation.

    Versions, platforms and their speed on a system, built-in data.
    """
    for package, version in versions().items():
        click.echo(f"{package:14} {version}")
    click.echo(f"cores          {default_workers()}")
    click.echo(f"platforms      {', '.join(available_platforms())}")
    click.echo(f"systems        {data_directory('systems')}")
    click.echo(
        f"run files      {', '.join(sorted(p.stem for p in data_directory('configs').glob('*.toml')))}"
    )
    system = load_system(name)
    if not isinstance(system, MolecularSystem):
        return
    ConsoleProgress().say(f"measuring platforms on {system.name} ...")
    click.echo(f"{system.name:14} {choose_platform(system.system_xml, system.positions_a).describe()}")
