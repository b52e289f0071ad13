"""`tps compare`: runs side by side, as a table and a figure."""

from __future__ import annotations

from pathlib import Path

import click

from tps.cli.output import JSON, print_json
from tps.cli.place import Place
from tps.cli.results import side_by_side
from tps.pipeline.compare import SHOWN, compared_runs
from tps.report import comparison_figure, save_figure


@click.command()
@click.argument("runs", nargs=-1, required=True, type=Place(file_okay=False))
@click.option("-o", "--output", type=Place(dir_okay=False), help="Figure (PNG) to write.")
@click.option("--baselines", is_flag=True, help="The straight lines of each run too.")
@JSON
def compare(runs: tuple[Path, ...], output: Path | None, baselines: bool, as_json: bool) -> None:
    """Set RUNS of one system side by side.

    Methods, seeds, constraints; every number with its error.
    """
    found = compared_runs(runs, baselines=baselines)
    if output is not None:
        save_figure(comparison_figure(found, SHOWN), output)
    if as_json:
        numbers = {label: {n: metrics[n] for n in SHOWN if n in metrics} for label, metrics in found.items()}
        print_json(numbers)
        return
    click.echo(side_by_side(SHOWN, found, 24))
    if output is not None:
        click.echo(f"figure: {output}")
