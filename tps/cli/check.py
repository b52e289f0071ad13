"""`tps check`: what must hold before the first long step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from tps.cli.output import JSON, estimate_rows, print_json
from tps.config import load_config
from tps.engine import PlatformWish
from tps.prepare.check import CheckResult, check_run, check_system
from tps.systems import load_system


@click.command()
@click.argument("what", metavar="SYSTEM|CONFIG")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the short runs.")
@click.option("--platform", help="OpenMM platform; the fastest by default.")
@JSON
def check(what: str, seed: int, platform: str | None, as_json: bool) -> None:
    """Check a system or a run file before a long run.

    A system is a name or a folder.

    Energies and forces of both ends on a real context, every atom against the force field, the ends in their states
    and nowhere else, features that tell A from B in short runs; of a run file also whether the data it asks for can be
    enough, and the time and disk it will take here.
    """
    path = Path(what)
    if path.suffix == ".toml" and path.name != "system.toml":
        config = load_config(path)
        system = load_system(config.run.system)
        result = check_system(
            system, seed=seed, wish=replace(config.run.wish, name=platform) if platform else config.run.wish
        )
        result = check_run(config, system, Path.cwd(), result)
    else:
        system = load_system(what)
        result = check_system(system, seed=seed, wish=PlatformWish(platform))
    if as_json:
        print_json(
            {
                "checks": dict(result.lines),
                "notes": system.notes,
                "warnings": result.warnings,
                "estimate": estimate_rows(result.estimate),
            }
        )
        return
    for note in system.notes:
        click.echo(f"note: {note}")
    for line in spoken_lines(result):
        click.echo(line)


def spoken_lines(result: CheckResult) -> list[str]:
    """Return what a check has to say, a line each."""
    width = max(len(label) for label, _ in result.lines) + 2
    lines = [f"{label:{width}}{text}" for label, text in result.lines]
    return [*lines, *(f"warning: {text}" for text in result.warnings)]
