"""The verdict on a run, and its first numbers in groups: for the page, for a notebook and for a terminal."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tps.report.quantities import format_quantity

#: A finding as metrics.json holds it: rule, state, sentence, evidence, remedy.
Finding = Mapping[str, Any]
#: Numbers of one kind, as (label, text).
Rows = Sequence[tuple[str, str]]

#: What marks a state beside its word: a sign that needs no colour.
MARKS = {"good": "✓", "doubtful": "~", "bad": "✗", "unknown": "?"}
#: What a run folder is called in remedies.
_RUN = "RUN"
_WIDTH, _INDENT = 100, 12

#: The style of verdict and groups; colours that hold on light and on dark.
VERDICT_STYLE = """
ul.verdict { list-style: none; margin: 0.8rem 0; padding: 0; }
ul.verdict li { margin: 0.5rem 0; padding: 0.15rem 0 0.15rem 0.9rem; border-left: 4px solid #777; }
ul.verdict li.good { border-color: #009e73; }
ul.verdict li.doubtful { border-color: #e69f00; border-left-style: dashed; }
ul.verdict li.bad { border-color: #d55e00; border-left-style: double; border-left-width: 6px; }
ul.verdict li.unknown { border-left-style: dotted; }
ul.verdict p { margin: 0; }
ul.verdict .state { display: inline-block; min-width: 6.2rem; font-weight: 600; }
ul.verdict .evidence, ul.verdict .remedy { font-size: 0.9rem; opacity: 0.85; }
h3.group { font-size: 1rem; margin: 1.2rem 0 0; }
"""


def evidence_text(finding: Finding) -> str:
    """Return the numbers that a finding rests on, with units and errors."""
    return "; ".join(f"{item['label']} {format_quantity(item)}" for item in finding["evidence"])


def remedy_of(finding: Finding, run: str) -> str:
    """Return the command that improves what a finding is about, for the run folder at a path; "" if there is none."""
    words = finding["remedy"].split()
    return " ".join(shlex.quote(run + word[len(_RUN) :]) if _of_run(word) else word for word in words)


def verdict_text(verdict: Sequence[Finding], run: str) -> str:
    """Return a verdict as lines of at most 100 columns, but for its commands, which stand whole."""
    lines = []
    for finding in verdict:
        lines += _wrapped(f"{MARKS[finding['state']]} {finding['state']}", finding["sentence"])
        lines += _wrapped("", evidence_text(finding))
        if finding["remedy"]:
            lines.append(f"{'':{_INDENT}}try: {remedy_of(finding, run)}")
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
    items = "".join(_item(finding, run) for finding in verdict)
    return f'<section><h2>Verdict</h2><ul class="verdict">{items}</ul></section>'


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
    return [f"{head if not number else '':{_INDENT}}{line}" for number, line in enumerate(wide)]
