"""One self-contained page about a run: numbers with errors and definitions, figures, provenance."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from tps.errors import RunFolderError
from tps.files import whole
from tps.report.page import page
from tps.report.player import NO_PLAYER, PlayerParts, PlayerScene, player_parts
from tps.report.quantities import format_quantity, format_value, grouped
from tps.report.verdicts import VERDICT_STYLE, Finding, Rows, groups_section, verdict_section

#: A number as metrics.json holds it: value, error, unit, definition.
Quantity = Mapping[str, object]

CANDIDATE_NOTE = (
    "A generated path is a candidate: it was driven along a protocol, and its frame index is not physical "
    "time. Only unbiased dynamics started from it (shooting) tells about rates and mechanisms."
)


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """A picture of the report: a PNG file, what it is called, and how to read it."""

    path: Path
    title: str
    caption: str = ""


def write_report(
    path: Path,
    *,
    title: str,
    verdict: Sequence[Finding] = (),
    run: str = "RUN",
    summary: Mapping[str, Rows] | None = None,
    metrics: Mapping[str, Quantity] | None = None,
    methods: Mapping[str, Mapping[str, Quantity]] | None = None,
    figures: Sequence[ReportFigure] = (),
    warnings: Sequence[str] = (),
    provenance: Mapping[str, object] | None = None,
    player: PlayerScene | None = None,
) -> Path:
    """Write the report of a run as one HTML file that loads nothing from elsewhere, and return its path.

    Parameters
    ----------
    path : Path
        File to write; an older one is replaced at once when the new one is complete.
    title : str
        Heading, for instance the system and the transition.
    verdict : sequence of mapping
        What can be trusted, as in analysis/metrics.json; it comes first.
    run : str
        The run folder, as the commands of the verdict name it.
    summary : mapping of str to sequence of (str, str)
        Label and text of the numbers at the top, by group.
    metrics : mapping
        Every number by name: {"value", "error", "unit", "definition"}, as in analysis/metrics.json.
    methods : mapping
        For each method (geodesic, baselines) its numbers by name; shown side by side.
    figures : sequence of ReportFigure
        PNG files, embedded.
    warnings : sequence of str
        What the reader must know before trusting a number.
    provenance : mapping
        Versions, seed, platform, evaluations, seconds...; a value that is itself a mapping becomes a table.
    player : PlayerScene, optional
        Paths to watch; where the libraries of the player are not installed, the page says how to get them.

    Raises
    ------
    RunFolderError
        If a figure is missing or no PNG.
    """
    parts = None if player is None else player_parts(player)
    sections = [
        verdict_section(verdict, run),
        f'<p class="note">{escape(CANDIDATE_NOTE)}</p>',
        _warnings(warnings),
        "" if player is None else _player(parts),
        groups_section(summary or {}),
        _methods(methods or {}),
        "".join(_figure(figure) for figure in figures),
        _metrics(metrics or {}),
        _provenance(provenance or {}),
    ]
    body = "\n".join(filter(None, sections))
    scripts, styles = ((), ()) if parts is None else (parts.scripts, parts.styles)
    content = page(escape(title), body, scripts, (VERDICT_STYLE, *styles))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        partial.write_text(content, encoding="utf-8")
    return path


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in warnings)
    return f'<section class="warnings" role="note"><h2>Warnings</h2><ul>{items}</ul></section>'


def _player(parts: PlayerParts | None) -> str:
    if parts is not None:
        return parts.markup
    return f'<section><h2>Paths to watch</h2><p class="note">Here {escape(NO_PLAYER)}.</p></section>'


def _methods(methods: Mapping[str, Mapping[str, Quantity]]) -> str:
    """Return a table with one column for each method and one row for each number any of them has."""
    if not methods:
        return ""
    names = dict.fromkeys(name for numbers in methods.values() for name in numbers)
    head = "".join(f'<th scope="col">{escape(method)}</th>' for method in methods)
    rows = "".join(
        f'<tr><th scope="row">{_name(name)}</th>'
        + "".join(f'<td class="number">{_number(numbers.get(name))}</td>' for numbers in methods.values())
        + "</tr>"
        for name in names
    )
    return (
        '<section><h2>Methods side by side</h2><div class="wide"><table>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _figure(figure: ReportFigure) -> str:
    try:
        content = Path(figure.path).read_bytes()
    except OSError as error:
        raise RunFolderError(f"figure {figure.path} cannot be read ({error}): draw it first") from error
    if not content.startswith(b"\x89PNG"):
        raise RunFolderError(f"figure {figure.path} should be a PNG file: save it with save_figure")
    data = base64.b64encode(content).decode("ascii")
    caption = f"<figcaption>{escape(figure.caption)}</figcaption>" if figure.caption else ""
    return (
        f"<section><h2>{escape(figure.title)}</h2><figure>"
        f'<img alt="{escape(figure.title)}" src="data:image/png;base64,{data}">{caption}</figure></section>'
    )


def _metrics(metrics: Mapping[str, Quantity]) -> str:
    if not metrics:
        return ""
    tables = "".join(_group(name, numbers) for name, numbers in grouped(metrics).items())
    return f"<section><h2>All numbers</h2>{tables}</section>"


def _group(name: str, numbers: Mapping[str, Quantity]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_name(number)}</th><td class="number">{_number(quantity)}</td>'
        f"<td>{escape(_definition(quantity))}</td></tr>"
        for number, quantity in numbers.items()
    )
    return (
        f'<h3 class="group">{escape(name.capitalize())}</h3><table class="stack">'
        '<thead><tr><th scope="col">name</th><th scope="col">value</th><th scope="col">definition</th>'
        f"</tr></thead><tbody>{rows}</tbody></table>"
    )


def _provenance(provenance: Mapping[str, object]) -> str:
    if not provenance:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{_name(name)}</th><td>{_provenance_value(value)}</td></tr>'
        for name, value in provenance.items()
    )
    return (
        '<section><h2>Where the numbers come from</h2><table class="where">'
        f"<tbody>{rows}</tbody></table></section>"
    )


def _provenance_value(value: object) -> str:
    if not isinstance(value, Mapping):
        return escape(format_value(value))
    rows = "".join(
        f'<tr><th scope="row">{_name(str(name))}</th>'
        f'<td class="number">{escape(format_value(entry))}</td></tr>'
        for name, entry in value.items()
    )
    return f'<table class="inner"><tbody>{rows}</tbody></table>'


def _number(quantity: Quantity | None) -> str:
    return "" if quantity is None else escape(format_quantity(quantity))


def _definition(quantity: Quantity) -> str:
    """Return the definition of a number, and before it why the number is withheld, if it is."""
    text, reason = str(quantity.get("definition") or ""), quantity.get("withheld")
    return f"Withheld: {reason}. {text}" if reason else text


def _name(name: str) -> str:
    """Return the name of a number as in metrics.json, with places to break the line."""
    return f"<code>{escape(name).replace('_', '_<wbr>')}</code>"
