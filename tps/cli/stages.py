"""One verb per stage, on a run folder; options change the run file of the folder before the stage runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from tps.analysis import RATES
from tps.cli.console import ConsoleProgress
from tps.cli.output import JSON, print_json
from tps.cli.place import Place
from tps.cli.results import free_energy_text, metrics_text, shooting_found, shooting_text
from tps.cli.time_limit import TIME_LIMIT
from tps.cli.view import open_page
from tps.config import CONSTRAINT_KEYS, GeodesicSection
from tps.diffusion import KINDS
from tps.errors import ConfigError, RunFolderError
from tps.pipeline import MAIN, RunFolder, barrier_text, constraint_text, run_stage
from tps.pipeline.avoidance import avoidance_text
from tps.pipeline.constraints import in_force
from tps.said import Said, SaidFreeEnergies, SaidGeodesic, SaidNumbers
from tps.spacetime import CURVE_METHODS
from tps.stored import read_json

RUN = click.argument("run", type=Place(file_okay=False))
#: Shots of `tps rate` where the run file names none.
_N_FRAME_SHOTS = 3000
#: Of stages whose result.json a command shows: what it holds.
_SAID: dict[str, type[Said]] = {
    "geodesic": SaidGeodesic,
    "free_energy": SaidFreeEnergies,
    "rate": SaidNumbers,
}
FORCE = click.option("--force", is_flag=True, help="Replace a result of other settings.")


def execute(
    run: Path,
    stage: str,
    section: str | None,
    changes: dict[str, Any],
    force: bool,
    as_json: bool,
    folder: RunFolder | None = None,
    text: Callable[[], str] | None = None,
    found: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """Run one stage with changed settings and say how it went; `folder` where its settings are changed already.

    `text` tells what the stage has left, also where that is not what was asked for; `found` is that beside the
    manifest's entry in JSON.
    """
    folder = RunFolder.open(run) if folder is None else folder
    if section is not None:
        folder = _given(folder, section, changes)
    entry = run_stage(folder, stage, ConsoleProgress(), force=force)
    if as_json:
        print_json({**entry, **found()})
    else:
        state = "up to date" if entry["reused"] else f"done in {entry['seconds']:.1f} s"
        shown = {k: v for k, v in entry["details"].items() if isinstance(v, str | int | float)}
        details = ", ".join(f"{key} {value}" for key, value in shown.items())
        click.echo(f"{stage}: {state}" + (f" ({details})" if details else ""))
        if text is not None:
            click.echo(text())
    if entry["failure"]:
        raise ConfigError(entry["failure"])


def _given(folder: RunFolder, section: str, changes: Mapping[str, Any]) -> RunFolder:
    """Return the folder with the settings that were given on the command line."""
    given = {key: value for key, value in changes.items() if value not in (None, ())}
    return folder.with_config(folder.config.updated(section, given)) if given else folder


def _without(folder: RunFolder, off: Sequence[str], changes: Mapping[str, Any]) -> RunFolder:
    """Return the folder with constraints taken off, and with the last region the wall round it."""
    for key in off:
        if changes.get(key) not in (None, ()):
            name = _option_of(key)
            raise ConfigError(f"--{name} and --no-{name} exclude each other: give one of them")
    config = folder.config
    if "avoid" in off and config.paths.enforce:
        config = config.updated("paths", {"enforce": False})
        click.echo("note: paths.enforce goes with the last region to avoid", err=True)
    empty = {key: GeodesicSection.model_fields[key].default for key in off}
    return folder.with_config(config.updated("geodesic", empty)) if off else folder


def _option_of(key: str) -> str:
    return {"avoid_points": "avoid-point"}.get(key, key.replace("_", "-"))


def _taking_off(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each constraint that takes it off."""
    for key in reversed(CONSTRAINT_KEYS):
        name = _option_of(key)
        text = f"Take {key} of the run file off."
        command = click.option(f"--no-{name}", f"no_{key}", is_flag=True, help=text)(command)
    return command


@click.command()
@RUN
@click.option("--n-walkers", type=click.IntRange(min=1), help="Independent simulations.")
@click.option("--n-build-steps", type=click.IntRange(min=1), help="MD steps per walker that build the bias.")
@click.option("--n-sample-steps", type=click.IntRange(min=1), help="MD steps per walker that are sampled.")
@click.option(
    "--max-steps", type=click.IntRange(min=1), help="Frames that grow: MD steps of all simulations together."
)
@TIME_LIMIT
@FORCE
@JSON
def conformations(run: Path, force: bool, as_json: bool, max_steps: int | None, **changes: Any) -> None:
    """Sample or import the weighted frames.

    On a surface, take its grid.
    """
    folder = _given(RunFolder.open(run), "grow", {"max_steps": max_steps})
    execute(run, "conformations", "conformations", changes, force, as_json, folder)


@click.command()
@RUN
@click.option(
    "--model",
    type=click.Choice(["auto", *KINDS, "frames"]),
    help="What to train; frames: nothing, the weighted frames themselves are the model.",
)
@click.option("--n-steps", type=click.IntRange(min=1), help="Training steps.")
@click.option("--device", help="Torch device, such as cpu or cuda.")
@TIME_LIMIT
@FORCE
@JSON
def train(run: Path, force: bool, as_json: bool, **changes: Any) -> None:
    """Train the diffusion model on the frames."""
    execute(run, "train", "train", changes, force, as_json)


@click.command()
@RUN
@click.option("--n-points", type=click.IntRange(min=4), help="Points of the curve.")
@click.option("--anchor-log-snr", type=float, help="Log-SNR at which the end structures are anchored.")
@click.option("--min-log-snr", type=float, help="Low variance: floor on ln kappa of every torsion.")
@click.option(
    "--max-std", type=float, help="Low variance: ceiling on the posterior standard deviation [rad]."
)
@click.option(
    "--min-support", type=float, help="Least effective number of weighted frames at every point of the curve."
)
@click.option(
    "--avoid", multiple=True, help='Region to avoid, such as "phi=-60..60,psi=-120..0" [degrees, nm].'
)
@click.option(
    "--avoid-p-max", type=float, help="Largest probability of a region to avoid, anywhere on the curve."
)
@click.option(
    "--avoid-point",
    "avoid_points",
    multiple=True,
    help='Point to keep away from, such as "phi=0,psi=-70,log_snr=3,kl=2" [degrees, nm, nats].',
)
@click.option("--windings", help="Extra turns of the starting curve per feature, such as 0,-1.")
@click.option(
    "--via",
    multiple=True,
    help='Points that a starting curve passes, such as "phi=0,psi=-70; phi=40,psi=-40".',
)
@click.option(
    "--channel",
    type=click.IntRange(min=0),
    help="Which of the geodesics found, 0 the first by rank; those there are not solved again.",
)
@click.option(
    "--rank",
    type=click.Choice(["barrier", "length"]),
    help="What orders the geodesics; the barrier by default, where the tilt is tight enough for one.",
)
@click.option(
    "--method",
    type=click.Choice(list(CURVE_METHODS)),
    help="Curve that the paths follow: the geodesic, or a neighbour to compare it with.",
)
@click.option(
    "--free-energy-weight",
    metavar="W",
    help="w of the metric e^(2wF/kT) G: 0 the geodesic, 1 the path of maximum flux, auto 1 where nothing constrains.",
)
@click.option(
    "--method-log-snr", type=float, help="Level of methods that know one level only; the anchors' by default."
)
@_taking_off
@TIME_LIMIT
@FORCE
@JSON
def geodesic(
    run: Path, force: bool, as_json: bool, windings: str | None, avoid_points: tuple[str, ...], **changes: Any
) -> None:
    """Find the geodesics between the ends, under constraints.

    Shows their channels, with length and barrier, and their health.
    """
    changes["windings"] = None if windings is None else _whole_numbers(windings)
    changes["avoid_points"] = tuple(_avoid_point(text) for text in avoid_points)
    off = [key for key in CONSTRAINT_KEYS if changes.pop(f"no_{key}")]
    folder = _given(_without(RunFolder.open(run), off, changes), "geodesic", changes)
    if not as_json:
        click.echo(f"constraints in force: {in_force(folder.config.geodesic)}")
    execute(
        run,
        "geodesic",
        None,
        {},
        force,
        as_json,
        folder,
        lambda: geodesic_text(_result(run, "geodesic")),
        lambda: {"geodesic": _result(run, "geodesic")},
    )


def geodesic_text(solved: Mapping[str, Any]) -> str:
    """Return the channels, the constraints and the health of a solved geodesic as a text."""
    lines = [
        f"{'channel':8}{'length':>9}{'barrier above A':>18}{'above B':>14}{'min log-SNR':>13}{'support':>9}  starts"
    ]
    for number, channel in enumerate(solved["channels"]):
        lines.append(
            f"{number:<8}{channel['length']:9.3f}{_height(channel, 'a'):>18}{_height(channel, 'b'):>14}"
            f"{channel['min_log_snr']:13.2f}{channel['min_effective_sample_size']:9.0f}  "
            f"{'; '.join(channel['starts'])}"
            + ("" if channel["status"] == "converged" else f" ({channel['status']})")
        )
    lines.append(_ranking(solved))
    lines += [constraint_text(report) for report in solved["constraints"]]
    if "avoidance" in solved:
        lines.append(avoidance_text(solved["avoidance"]))
    health, support = solved["health"], solved["curves"][MAIN]
    slope = health["anchor_sensitivity"]
    lines.append(
        f"health of the {solved['method']}: negative chords {health['negative_chords']:.0%}, doubtful length "
        f"{health['doubtful']:.0%}, asymmetry of the Jacobian {health['jacobian_asymmetry']:.1e}, "
        f"2 E / length² {solved['constant_speed']:.4f}, support at least "
        f"{support['min_effective_sample_size']:.0f}"
        + ("" if slope is None else f", d length / d anchor log-SNR {slope:.2f}")
    )
    return "\n".join(lines)


def _height(channel: Mapping[str, Any], end: str) -> str:
    return "-" if channel["barrier"] is None else barrier_text(channel["barrier"], end)


def _ranking(solved: Mapping[str, Any]) -> str:
    """Return what the channels are ranked by, the unit of barriers, and why there are none."""
    said = f"ranked by {solved['rank']}; the curve is that of channel {solved['channel']}"
    if solved["free_energy_weight"]:
        said = f"shortest in e^(2wF/kT) G, w = {solved['free_energy_weight']:g}, G the Fisher metric; {said}"
    for number, channel in enumerate(solved["channels"]):
        if channel["barrier"] is None:
            return f"{said}; no barrier of channel {number}: {channel['no_barrier']}"
    return f"{said}; barriers of free energy in {solved['channels'][0]['barrier']['unit']}"


@click.command()
@RUN
@click.option("-n", "--n-paths", type=click.IntRange(min=1), help="Paths along the geodesic.")
@click.option("--n-baseline-paths", type=click.IntRange(min=0), help="Paths along each straight line.")
@click.option("--n-steps", type=click.IntRange(min=1), help="MD steps of one path.")
@click.option(
    "--protocol",
    type=click.Choice(["fisher", "friction"]),
    help="Clock: equal Fisher-Rao steps, or equal steps of the friction length, which is then measured.",
)
@click.option(
    "--enforce/--no-enforce", default=None, help="Wall the regions to avoid off during the dynamics."
)
@TIME_LIMIT
@FORCE
@JSON
def paths(run: Path, force: bool, as_json: bool, **changes: Any) -> None:
    """Run dynamics under a tilt that moves along the curve.

    And along the straight lines beside it.
    """
    execute(run, "paths", "paths", changes, force, as_json)


@click.command()
@RUN
@click.option("-n", "--n-moves", type=click.IntRange(min=1), help="Moves of all chains together.")
@click.option("--n-chains", type=click.IntRange(min=1), help="Independent chains.")
@click.option(
    "--kind", type=click.Choice(["two-way", "one-way"]), help="Which part of a path a move makes anew."
)
@click.option(
    "--frame-selection",
    type=click.Choice(["uniform", "committor"]),
    help="Shoot from any frame, or near p_B = 1/2 of a learned committor.",
)
@click.option("--max-frames", type=click.IntRange(min=3), help="Longest path.")
@TIME_LIMIT
@FORCE
@JSON
def shoot(run: Path, force: bool, as_json: bool, **changes: Any) -> None:
    """Sample the unbiased transition paths by shooting.

    Chains start from the paths; more moves go on from those made.
    """
    found, text = (lambda: shooting_found(run)), (lambda: shooting_text(run))
    execute(run, "shoot", "shooting", changes, force, as_json, text=text, found=found)


@click.command(name="free-energy")
@RUN
@click.option("--n-windows", type=click.IntRange(min=2), help="Windows along the curve.")
@click.option("--n-frames", type=click.IntRange(min=1), help="Frames of each window and ladder.")
@click.option("--n-ladders", type=click.IntRange(min=1), help="Independent ladders of windows.")
@TIME_LIMIT
@FORCE
@JSON
def free_energy(run: Path, force: bool, as_json: bool, **changes: Any) -> None:
    """Give the free energies by every road, with errors.

    Samples umbrella windows along the curve for one of them.
    """
    execute(
        run,
        "free-energy",
        "free_energy",
        changes,
        force,
        as_json,
        text=lambda: free_energy_text(_result(run, "free_energy")),
        found=lambda: _result(run, "free_energy"),
    )


@click.command()
@RUN
@click.option(
    "-n",
    "--n-frame-shots",
    type=click.IntRange(min=1),
    help="Shots from the weighted frames, those there are included.",
)
@click.option("--n-walkers", type=click.IntRange(min=1), help="Walkers that start in A, for the flux.")
@click.option("--n-frames", type=click.IntRange(min=1), help="Frames of each walker.")
@click.option("--shots", "n_shots", type=click.IntRange(min=1), help="Shots from each crossing.")
@TIME_LIMIT
@FORCE
@JSON
def rate(run: Path, force: bool, as_json: bool, **changes: Any) -> None:
    """Estimate the rates from A to B and back.

    By shots from the weighted frames; more shots go on from those made.
    """
    config = RunFolder.open(run).config
    if changes["n_frame_shots"] is None and config.rate.n_frame_shots is None:
        changes["n_frame_shots"] = max(_N_FRAME_SHOTS, config.n_rate_shots)
    execute(
        run,
        "rate",
        "rate",
        changes,
        force,
        as_json,
        text=lambda: metrics_text(_result(run, "rate")),
        found=lambda: {"metrics": _result(run, "rate")},
    )
    found = _result(run, "rate")
    reasons = {found[name].get("withheld", "") for name in RATES if name in found}
    if reason := " ".join(sorted(reasons - {""})):
        raise RunFolderError(f"the rates are withheld: {reason}")


@click.command()
@RUN
@FORCE
@JSON
def analyse(run: Path, force: bool, as_json: bool) -> None:
    """Compute every reported number: analysis/metrics.json."""
    file = run / "analysis" / "metrics.json"
    execute(run, "analyse", None, {}, force, as_json, found=lambda: read_json(file))


@click.command()
@RUN
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser, as `tps view` does.")
@FORCE
@JSON
def report(run: Path, opens: bool, force: bool, as_json: bool) -> None:
    """Draw the figures and write report.html."""
    execute(run, "report", None, {}, force, as_json, found=lambda: {"page": run / "report.html"})
    if opens:
        click.echo(open_page(run), err=as_json)


def _result(run: Path, folder: str) -> dict[str, Any]:
    return read_json(run / folder / "result.json", _SAID[folder])


def _whole_numbers(text: str) -> list[int]:
    return _parse(
        "--windings", text, lambda: [int(part) for part in text.split(",")], "whole numbers such as 0,-1"
    )


def _avoid_point(text: str) -> dict[str, Any]:
    def read() -> dict[str, Any]:
        values = {name.strip(): float(value) for name, value in (part.split("=") for part in text.split(","))}
        point: dict[str, Any] = {"log_snr": values.pop("log_snr"), "min_kl_nats": values.pop("kl")}
        return {**point, "center": values}

    return _parse("--avoid-point", text, read, "name=value,...,log_snr=number,kl=nats")


def _parse(option: str, text: str, read: Callable[[], Any], form: str) -> Any:
    try:
        return read()
    except (ValueError, KeyError) as error:
        raise ConfigError(f"{option} takes {form}, but got {text!r}") from error
