"""Free energies for readers: several roads to one difference, and the profile along the curve."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tps.errors import ParameterError
from tps.report.quantities import format_value
from tps.report.style import BLUE, FAINT, GREEN, INK, METHOD_COLORS, VERMILLION, new_figure, styled

Series = tuple[NDArray[np.floating], NDArray[np.floating]]


@styled
def roads_figure(
    panels: Mapping[str, Mapping[str, Mapping[str, object]]], *, tolerance: float = 1.0
) -> Figure:
    """Draw each difference as several roads give it, with errors and numbers.

    Parameters
    ----------
    panels : mapping of str to mapping of str to quantity
        By the name of the difference, then of the road: {"value", "error", "unit", "definition"}, all of a difference
        in one unit; a value that is None or not finite has no point.
    tolerance : float
        Half width of the band about the first road, in the unit of the panel.

    Raises
    ------
    ParameterError
        If there is nothing to draw, or a difference comes in several units.
    """
    if not panels or not all(panels.values()):
        raise ParameterError("roads to a free energy need at least one difference and one road to each")
    heights = [0.32 * len(roads) + 0.75 for roads in panels.values()]
    figure = new_figure(7.2, sum(heights), gap=0.08)
    rows = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (title, roads) in zip(rows, panels.items(), strict=True):
        units = {str(quantity.get("unit")) for quantity in roads.values()}
        if len(units) > 1:
            raise ParameterError(f"{title} comes in several units, {', '.join(sorted(units))}: give one")
        _draw_roads(ax, roads, tolerance)
        ax.set_title(title, loc="left", weight="bold", color=INK)
        ax.set_xlabel(f"Difference B − A [{units.pop()}]")
    return figure


@styled
def profile_figure(
    s: NDArray[np.floating],
    free_energy: NDArray[np.floating],
    free_energy_error: NDArray[np.floating],
    mean_energy: NDArray[np.floating],
    mean_energy_error: NDArray[np.floating],
    *,
    unit: str,
    model: Series | None = None,
    work: Series | None = None,
    mean_a: float | None = None,
    mean_b: float | None = None,
) -> Figure:
    """Draw the free energy along the curve, and below it the mean potential energy of each window.

    Parameters
    ----------
    s : ndarray (n_windows,)
        Place along the curve.
    free_energy, free_energy_error : ndarray (n_windows,)
        Of the tilted ensembles, with its standard error; the band is twice that wide on either side.
    mean_energy, mean_energy_error : ndarray (n_windows,)
        Mean potential energy of the windows.
    unit : str
        Of all of these.
    model : pair of ndarray (n,), optional
        s and -kT psi of the model along the same curve.
    work : pair of ndarray (n,), optional
        s and the mean work of moving the tilt, which lies above the free energy.
    mean_a, mean_b : float, optional
        Mean potential energy of the end states.

    Raises
    ------
    ParameterError
        If a shape does not fit.
    """
    windows = [np.asarray(v) for v in (s, free_energy, free_energy_error, mean_energy, mean_energy_error)]
    series = [(np.asarray(x), np.asarray(y)) for x, y in (pair for pair in (model, work) if pair is not None)]
    shapes = [values.shape for values in windows]
    if len(set(shapes)) > 1 or len(shapes[0]) != 1 or any(x.shape != y.shape for x, y in series):
        raise ParameterError(
            f"a profile needs s, free energy, mean energy and errors of one shape, but got {shapes}, and lines "
            f"{[(x.shape, y.shape) for x, y in series]}"
        )
    s, f, f_error, u, u_error = windows
    figure = new_figure(6.4, 5.8)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.3, 1])
    top.fill_between(s, f - 2 * f_error, f + 2 * f_error, color=BLUE, alpha=0.25, lw=0, label="± 2 s.e.")
    top.plot(s, f, "o-", color=BLUE, ms=3, label="windows")
    for pair, color, dashes, label in (
        (model, VERMILLION, (0, (4, 2)), "model, −kTψ"),
        (work, GREEN, (0, (1, 1.2)), "mean work"),
    ):
        if pair is not None:
            top.plot(*pair, color=color, ls=dashes, label=label)
    top.set_ylabel(f"Free energy [{unit}]")
    bottom.errorbar(s, u, u_error, fmt="o", color=INK, ms=3, lw=1.0, capsize=2)
    for level, name, dashes in ((mean_a, "A", (0, (4, 2))), (mean_b, "B", (0, (1, 1.2)))):
        if level is not None:
            bottom.axhline(level, color=FAINT, lw=1.4, ls=dashes, zorder=1, label=f"mean of {name}")
    bottom.set(xlim=(0, 1), xlabel="s along the curve [-]", ylabel=f"Mean potential energy [{unit}]")
    figure.align_ylabels()
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _draw_roads(ax: Axes, roads: Mapping[str, Mapping[str, object]], tolerance: float) -> None:
    """Draw one row for each road, its number to the right of it."""
    places = np.arange(len(roads))[::-1]
    for order, (place, color, quantity) in enumerate(
        zip(places, METHOD_COLORS * len(roads), roads.values(), strict=False)
    ):
        value, error = (_number(quantity.get(key)) for key in ("value", "error"))
        text = "no value" if value is None else format_value(value, error)
        ax.annotate(
            text, (1.02, place), xycoords=("axes fraction", "data"), va="center", annotation_clip=False
        )
        if value is None:
            continue
        if order == 0:
            ax.axvspan(value - tolerance, value + tolerance, color=FAINT, alpha=0.2, lw=0)
        ax.errorbar(value, place, xerr=error, fmt="o", color=color, ms=5, capsize=2.5, lw=1.2)
    ax.set_yticks(places, list(roads))
    ax.set_ylim(-0.6, len(roads) - 0.4)
    ax.margins(x=0.1)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None
