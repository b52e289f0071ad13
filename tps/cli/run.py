"""`tps run`: everything, from a run file to the report."""

from __future__ import annotations

from pathlib import Path

import click

from tps.cli.check import spoken_lines
from tps.cli.console import ConsoleProgress
from tps.cli.info import stage_rows
from tps.cli.output import JSON, print_json
from tps.cli.place import Place
from tps.cli.results import side_by_side
from tps.cli.stage_list import StageList
from tps.cli.time_limit import TIME_LIMIT
from tps.config import load_config
from tps.errors import SideStageError
from tps.pipeline import (
    MAIN,
    STAGES,
    Progress,
    RunFolder,
    asked_stages,
    find_stage,
    run_all,
    spoken,
    stage_state,
    summary_groups,
)
from tps.prepare.check import check_run, check_system, estimate_run
from tps.report import groups_text, verdict_text
from tps.said import SaidAnalysis
from tps.stored import read_json

#: Numbers of the paths that the run ends with, beside those of the straight lines.
_COMPARED = (
    "hit_rate",
    "u_max",
    "u_max_minus_a",
    "u_max_minus_bound",
    "divergence_to_ensemble",
    "dissipated_work",
    "spread",
)


@click.command()
@click.argument("config", type=Place())
@click.option("-o", "--output", required=True, type=Place(file_okay=False), help="Run folder.")
@click.option("-s", "--system", help="Another system than the run file names: a built-in name or a folder.")
@click.option("--seed", type=click.IntRange(min=0), help="Another seed than the run file names.")
@click.option("-n", "--n-paths", type=click.IntRange(min=1), help="Another number of paths.")
@click.option("--until", type=click.Choice([stage.name for stage in STAGES]), help="Stop after this stage.")
@TIME_LIMIT
@click.option("--force", is_flag=True, help="Replace results of other settings.")
@JSON
def run(
    config: Path,
    output: Path,
    system: str | None,
    seed: int | None,
    n_paths: int | None,
    until: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Run every stage of CONFIG into a run folder.

    CONFIG is a TOML file or the name of one that ships with tps (`tps doctor` lists them), such as demo. Stages that
    are there and whose inputs have not changed are not run again, so an interrupted run goes on with the same command.
    """
    settings = load_config(config)
    if system is not None:
        settings = settings.updated("run", {"system": system})
    if seed is not None:
        settings = settings.updated("run", {"seed": seed})
    if n_paths is not None:
        settings = settings.updated("paths", {"n_paths": n_paths})
    folder = RunFolder.planned(output, settings, force=force)
    speaker = ConsoleProgress()
    for note in folder.system.notes:
        speaker.say(note)
    check_first(folder, speaker)
    folder.start()
    failed: SideStageError | None = None
    try:
        with listed(folder, until) as progress:
            run_all(folder, progress, force=force, until=until)
    except SideStageError as error:
        failed = error
    if until in (None, STAGES[-1].name):
        show(folder, as_json)
    elif as_json:
        print_json(stage_rows(folder))
    else:
        click.echo(f"stopped after {until}; go on with: tps run {config} -o {output}")
    if failed is not None:
        raise failed


def check_first(folder: RunFolder, progress: Progress) -> None:
    """Check the system and the run before the first long step; nothing where its frames are there already."""
    if folder.started and stage_state(folder, find_stage("conformations")) == "up to date":
        return
    config, system = folder.config, folder.system
    result = check_system(system, seed=config.run.seed, wish=config.run.wish)
    for line in spoken_lines(check_run(config, system, folder.path, result)):
        progress.say(line)


def listed(folder: RunFolder, until: str | None) -> StageList:
    """Return the list of the stages asked for, with what those to come will take here."""
    stages, entries = asked_stages(folder, until), folder.manifest()["stages"]
    taken = {s.name: entries[s.name]["seconds"] for s in stages if stage_state(folder, s) == "up to date"}
    _, estimates = estimate_run(folder.config, folder.system) if len(taken) < len(stages) else (0.0, ())
    return StageList([stage.name for stage in stages], estimates, taken)


def show(folder: RunFolder, as_json: bool) -> None:
    """Print the summary of a run that has its report."""
    content = read_json(folder.path / "analysis" / "metrics.json", SaidAnalysis)
    if as_json:
        print_json(content)
        return
    click.echo(groups_text(summary_groups(folder)))
    click.echo()
    click.echo(comparison(content))
    click.echo()
    for warning in content["warnings"]:
        click.echo(f"warning: {warning}")
    click.echo(f"{verdict_text(content['verdict'], str(folder.path))}\n")
    if folder.surface is None:
        click.echo(f"trajectories   {folder.path / 'paths'}  (topology: {folder.path / 'topology.pdb'})")
    else:
        click.echo(f"paths          {folder.path / 'paths' / 'paths.npz'}")
    click.echo(f"figures        {folder.path / 'figures'}")
    click.echo(f"report         {folder.path / 'report.html'}")


def comparison(content: dict) -> str:
    """Return the table of the main paths beside the straight lines."""
    methods = {
        spoken(name, content["method"]).replace("straight line with", "line with its"): found
        for name, found in {MAIN: content["metrics"], **content["baselines"]}.items()
    }
    shown = {name: name for name in _COMPARED if name in content["metrics"]}
    return side_by_side(shown, methods, 18)
