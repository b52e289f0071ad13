"""`tps systems`, `tps contents`, `tps doctor`: what is there."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tps.cli.console import ConsoleProgress
from tps.cli.output import JSON, print_json
from tps.cli.place import Place
from tps.cli.results import WIDTH
from tps.engine import available_platforms, choose_platform, default_workers
from tps.pipeline import STAGES, RunFolder, stage_state
from tps.pipeline.folder import versions
from tps.report import format_value
from tps.systems import (
    MolecularSystem,
    System,
    available_systems,
    data_directory,
    format_region,
    load_system,
)


@click.command()
@click.argument("name", required=False)
@JSON
def systems(name: str | None, as_json: bool) -> None:
    """List the built-in systems, or show one.

    A name, or a folder of your own.
    """
    if name is None:
        _list_systems(as_json)
        return
    system = load_system(name)
    if as_json:
        print_json(_system_row(system))
        return
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


def _list_systems(as_json: bool) -> None:
    rows = [asdict(summary) for summary in available_systems()]
    if as_json:
        print_json({"systems": rows})
        return
    for row in rows:
        click.echo(f"{row['name']:24} {row['kind']:10} {row['description']}")


def _system_row(system: System) -> dict[str, Any]:
    """Return what is said of a system, for a program."""
    molecule = isinstance(system, MolecularSystem)
    row: dict[str, Any] = {
        "name": system.name,
        "kind": "molecule" if molecule else "surface",
        "description": system.description,
        "folder": system.directory,
        "features": system.feature_names,
        "states": {
            label: {"name": state.name, "region": format_region(state.region, system.collective_variables)}
            for label, state in (("A", system.state_a), ("B", system.state_b))
        },
        "notes": system.notes,
    }
    if isinstance(system, MolecularSystem):
        return row | {"n_atoms": system.n_atoms, "temperature_kelvin": system.temperature}
    return row | {"kt": system.kt, "energy_unit": system.energy_unit}


@click.command()
@click.argument("run", type=Place(file_okay=False))
@JSON
def contents(run: Path, as_json: bool) -> None:
    """Show what a run folder holds, misses or has outdated."""
    rows = stage_rows(RunFolder.open(run))
    if as_json:
        print_json(rows)
        return
    click.echo(f"{'stage':16}{'state':14}{'seconds':>9}{'evaluations':>14}  details")
    for name, row in rows.items():
        click.echo("\n".join(_stage_lines(name, row)))


def stage_rows(folder: RunFolder) -> dict[str, dict[str, Any]]:
    """Return each stage's state, with its entry in the manifest where there is one."""
    entries = folder.manifest()["stages"]
    return {
        stage.name: {"state": stage_state(folder, stage), **entries.get(stage.name, {})} for stage in STAGES
    }


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
@JSON
def doctor(name: str, as_json: bool) -> None:
    """Check this installation.

    Versions, platforms and their speed on a system, built-in data.
    """
    system = load_system(name)
    found: dict[str, Any] = {
        "versions": versions(),
        "cores": default_workers(),
        "platforms": available_platforms(),
        "systems": data_directory("systems"),
        "run_files": sorted(file.stem for file in data_directory("configs").glob("*.toml")),
    }
    if not as_json:
        for package, version in found["versions"].items():
            click.echo(f"{package:14} {version}")
        for label in ("cores", "platforms", "systems", "run_files"):
            said = found[label]
            text = ", ".join(said) if isinstance(said, list | tuple) else said
            click.echo(f"{label.replace('_', ' '):14} {text}")
    if isinstance(system, MolecularSystem):
        ConsoleProgress().say(f"measuring platforms on {system.name} ...")
        choice = choose_platform(system.system_xml, system.positions_a)
        found["platform"] = {"system": name, "name": choice.name, "steps_per_second": choice.steps_per_second}
        if not as_json:
            click.echo(f"{system.name:14} {choice.describe()}")
    if as_json:
        print_json(found)
