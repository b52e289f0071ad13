"""The verdict on a run, and its first numbers in groups: for the page, for a notebook and for a terminal."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from tps.report.quantities import format_quantity

#: A finding as metrics.json holds it: rule, state, sentence, evidence, remedy.
Finding = Mapping[str, Any]
#: Numbers of one kind, as (label, text).
Rows = Sequence[tuple[str, str]]

#: What marks a state beside its word: a sign that needs no colour.
MARKS = {"good": "✓", "doubtful": "~", "bad": "✗", "unknown": "?"}
#: What a run folder is called in remedies.
_RUN = "RUN"
_REFRESH = "tps run RUN/run.toml -o RUN --force"
_WIDTH, _INDENT = 100, 12
_UNBROKEN = "\N{NO-BREAK SPACE}"

#: The style of verdict and groups; colours that hold on light and on dark.
VERDICT_STYLE = """
section.verdict ul { list-style: none; margin: 0.8rem 0; padding: 0; }
section.verdict li { margin: 0.5rem 0; padding: 0.15rem 0 0.15rem 0.9rem; border-left: 4px solid #777; }
section.verdict li.good { border-color: #009e73; }
section.verdict li.doubtful { border-color: #e69f00; border-left-style: dashed; }
section.verdict li.bad { border-color: #d55e00; border-left-style: double; border-left-width: 6px; }
section.verdict li.unknown { border-left-style: dotted; }
section.verdict li p { margin: 0; }
section.verdict .state { display: inline-block; min-width: 6.2rem; font-weight: 600; }
section.verdict .evidence, section.verdict .remedy { font-size: 0.9rem; opacity: 0.85; }
h3.group { font-size: 1rem; margin: 1.2rem 0 0; }
"""
#: The frame that a notebook shows a page in.
_FRAME_STYLE = "width: 100%; height: 50rem; border: 1px solid #777; border-radius: 6px"


def evidence_text(finding: Finding) -> str:
    """Return the numbers that a finding rests on, with units and errors, none of them to be broken over two lines."""
    numbers = {item["label"]: format_quantity(item).replace(" ", _UNBROKEN) for item in finding["evidence"]}
    return "; ".join(f"{label}: {number}" for label, number in numbers.items())


def remedy_of(finding: Finding, run: str) -> str:
    """Return the command that improves what a finding is about, for the run folder at a path; "" if there is none."""
    words = finding["remedy"].split()
    return " ".join(shlex.quote(run + word[len(_RUN) :]) if _of_run(word) else word for word in words)


def refresh_of(verdict: Sequence[Finding], run: str) -> str:
    """Return the command that brings what follows from a remedy up to date; "" where there is none to follow."""
    remedies = any(finding["remedy"] for finding in verdict)
    return remedy_of({"remedy": _REFRESH}, run) if remedies else ""


def verdict_text(verdict: Sequence[Finding], run: str) -> str:
    """Return a verdict as lines of at most 100 columns, but for its commands, which stand whole."""
    lines = []
    for finding in verdict:
        lines += _wrapped(f"{MARKS[finding['state']]} {finding['state']}", finding["sentence"])
        lines += _wrapped("", evidence_text(finding))
        if finding["remedy"]:
            lines.append(f"{'':{_INDENT}}try: {remedy_of(finding, run)}")
    if again := refresh_of(verdict, run):
        lines.append(f"{'':{_INDENT}}then, for all that follows from it: {again}")
    return "\n".join(lines)


def groups_text(groups: Mapping[str, Rows]) -> str:
    """Return numbers in groups as lines, each group under its name."""
    lines = []
    for name, rows in groups.items():
        lines += [name.capitalize(), *(f"  {label:28} {text}" for label, text in rows)]
    return "\n".join(lines)


def verdict_section(verdict: Sequence[Finding], run: str) -> str:
    """Return a verdict as HTML; "" where there is none."""
    if not verdict:
        return ""
    items, again = "".join(_item(finding, run) for finding in verdict), refresh_of(verdict, run)
    after = (
        f'<p class="remedy">Then, for all that follows from it: <code>{escape(again)}</code></p>'
        if again
        else ""
    )
    return f'<section class="verdict"><h2>Verdict</h2><ul>{items}</ul>{after}</section>'


def notebook_section(verdict: Sequence[Finding], run: str, page: str = "") -> str:
    """Return a verdict with its style as a notebook shows it, under the run's name, and the run's page in a frame.

    `page` is the page's path from the notebook's folder; "" where there is none yet. The frame loads it from there:
    Jupyter's servers drop an output of more than 3 MB, which a page is.
    """
    head = f"<style>{VERDICT_STYLE}</style><h2>{escape(run)}</h2>"
    shown = verdict_section(verdict, run) or _missing("verdict", "analyse", run)
    address = escape(quote(page))
    frame = f'<iframe src="{address}" title="Page of {escape(run)}" style="{_FRAME_STYLE}"></iframe>'
    link = f'<p>The same as a page of its own: <a href="{address}" target="_blank">{escape(page)}</a></p>'
    return head + shown + (frame + link if page else _missing("page", "report", run))


def _missing(what: str, command: str, run: str) -> str:
    return f"<p>No {what} yet: <code>tps {command} {escape(shlex.quote(run))}</code> makes one.</p>"


def groups_section(groups: Mapping[str, Rows]) -> str:
    """Return numbers in groups as HTML; "" where there are none."""
    return "".join(
        f'<h3 class="group">{escape(name.capitalize())}</h3><dl class="summary">'
        + "".join(f"<div><dt>{escape(label)}</dt><dd>{escape(text)}</dd></div>" for label, text in rows)
        + "</dl>"
        for name, rows in groups.items()
        if rows
    )


def _item(finding: Finding, run: str) -> str:
    state, command = finding["state"], remedy_of(finding, run)
    parts = [
        f'<p><span class="state">{MARKS[state]} {escape(state)}</span> {escape(finding["sentence"])}</p>',
        f'<p class="evidence">{escape(evidence_text(finding))}</p>' if finding["evidence"] else "",
        f'<p class="remedy">try: <code>{escape(command)}</code></p>' if command else "",
    ]
    return f'<li class="{escape(state)}">{"".join(parts)}</li>'


def _of_run(word: str) -> bool:
    return word == _RUN or word.startswith(f"{_RUN}/")


def _wrapped(head: str, text: str) -> list[str]:
    if not text:
        return []
    wide = textwrap.wrap(text, _WIDTH - _INDENT, break_long_words=False, break_on_hyphens=False)
    return [f"{head if not n else '':{_INDENT}}{line}".replace(_UNBROKEN, " ") for n, line in enumerate(wide)]
