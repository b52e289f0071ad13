"""The free energy over features as the windows give it, reweighted, and its error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from tps.errors import ParameterError
from tps.features import FeatureSpace
from tps.report.feature_axes import FeatureAxes, Ranges
from tps.report.free_energy import MAP_COLORS
from tps.report.style import BLUE, NO_DATA, new_figure, styled


@styled
def reweighted_map_figure(
    axes: Sequence[NDArray[np.floating]],
    free_energy: NDArray[np.floating],
    error: NDArray[np.floating],
    *,
    space: FeatureSpace,
    unit: str,
    states: Mapping[str, Ranges] | None = None,
) -> Figure:
    """Draw the free energy over two features and its error side by side; over one, a line with a band.

    Parameters
    ----------
    axes : sequence of ndarray (n_i,)
        Middles of evenly spaced cells, of one or two features.
    free_energy, error : ndarray (n_1,) or (n_1, n_2)
        NaN where there is no frame.
    space : FeatureSpace
        Of these features, and of more behind them or not.
    unit : str
        Of the free energy.
    states : mapping of str to ranges, optional

    Raises
    ------
    ParameterError
        If a shape does not fit, or no cell has a value.
    """
    f, f_error = np.asarray(free_energy), np.asarray(error)
    shape = tuple(len(axis) for axis in axes)
    if not f.shape == f_error.shape == shape or min(shape, default=0) < 2 or not np.isfinite(f).any():
        raise ParameterError(
            f"a map needs a free energy and an error of shape {shape} like the axes, with a value in some cell, "
            f"but got {f.shape} and {f_error.shape} with {np.isfinite(f).sum()} values"
        )
    shown = FeatureAxes(space.select(space.names[: len(shape)]), [_ends(axis) for axis in axes])
    middles = [np.asarray(axis) / scale for axis, scale in zip(axes, shown.space.user_scale, strict=True)]
    if len(shape) == 1:
        figure = new_figure(6.4, 3.8)
        ax = figure.add_subplot()
        ax.fill_between(
            middles[0], f - 2 * f_error, f + 2 * f_error, color=BLUE, alpha=0.25, lw=0, label="± 2 s.e."
        )
        ax.plot(middles[0], f, color=BLUE, label="reweighted from the windows")
        ax.set_ylabel(f"Free energy [{unit}]")
        figure.legend(loc="outside lower center", ncols=2)
        panels = [ax]
    else:
        figure = new_figure(9.6, 4.2, gap=0.1)
        panels = list(figure.subplots(1, 2, sharex=True, sharey=True))
        for ax, values, colors, label in (
            (panels[0], f, MAP_COLORS, "Free energy"),
            (panels[1], f_error, MAP_COLORS.reversed(), "Standard error"),
        ):
            ax.set_facecolor(NO_DATA)
            top = float(np.nanquantile(values, 0.98)) if np.isfinite(values).any() else 1.0
            mesh = ax.pcolormesh(
                *middles, values.T, cmap=colors, vmin=0, vmax=top, shading="nearest", rasterized=True
            )
            bar = figure.colorbar(mesh, ax=ax, extend="max", pad=0.02)
            bar.set_label(f"{label} [{unit}]")
    for ax in panels:
        shown.dress(ax)
        shown.draw_states(ax, states or {})
    for ax in panels[1:]:
        ax.set_ylabel("")
    return figure


def _ends(axis: ArrayLike) -> tuple[float, float]:
    """Return where evenly spaced cells begin and end, given their middles."""
    middles = np.asarray(axis, dtype=np.float64)
    half = (middles[-1] - middles[0]) / (len(middles) - 1) / 2
    return float(middles[0] - half), float(middles[-1] + half)
