"""Runs side by side: one panel for each number, one row for each run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from tps.errors import ParameterError
from tps.report.quantities import format_value
from tps.report.style import INK, METHOD_COLORS, new_figure, styled


@styled
def comparison_figure(
    runs: Mapping[str, Mapping[str, Mapping[str, object]]], names: Mapping[str, str]
) -> Figure:
    """Draw numbers of several runs with their errors.

    Parameters
    ----------
    runs : mapping of str to mapping of str to quantity
        For each run its numbers by name: {"value", "error", "unit", "definition"}; a missing one is left out.
    names : mapping of str to str
        Which numbers to draw, and what to call them.

    Raises
    ------
    ParameterError
        If no run has any of the numbers.
    """
    shown = [
        name for name in names if any(run.get(name, {}).get("value") is not None for run in runs.values())
    ]
    if not shown:
        raise ParameterError("there is nothing to draw: no run has any of the numbers asked for")
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(2.3 * columns + 1.6, (0.3 * len(runs) + 0.9) * rows, gap=0.08)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    places = np.arange(len(runs))[::-1]
    for ax, name in zip(panels.flat, shown, strict=False):
        unit = next((str(run[name]["unit"]) for run in runs.values() if name in run), "")
        for place, color, run in zip(places, METHOD_COLORS * 4, runs.values(), strict=False):
            value, error = (run.get(name, {}).get(key) for key in ("value", "error"))
            if not isinstance(value, int | float):
                continue
            bar = float(error) if isinstance(error, int | float) else None
            ax.errorbar(value, place, xerr=bar, fmt="o", color=color, ms=5, capsize=2.5, lw=1.2)
            ax.annotate(
                format_value(value, bar),
                (value, place),
                (0, 5),
                textcoords="offset points",
                ha="center",
                size=7,
            )
        ax.set_title(names[name] + (f" [{unit}]" if unit not in ("", "count") else ""), size=9, color=INK)
        ax.set_yticks(places, list(runs))
        ax.set_ylim(-0.6, len(runs) - 0.3)
        ax.margins(x=0.25)
        ax.tick_params(axis="both", labelsize=8)
    for ax in list(panels.flat)[len(shown) :]:
        ax.set_visible(False)
    return figure
