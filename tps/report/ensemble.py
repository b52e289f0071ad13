"""The picture of the transition-path ensemble: where its frames are, and through which channels paths go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from tps.errors import ParameterError
from tps.features import FeatureSpace
from tps.report.feature_axes import FeatureAxes, Ranges
from tps.report.free_energy import MAP_COLORS
from tps.report.quantities import format_value
from tps.report.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    VERMILLION,
    new_figure,
    styled,
)

#: Apart from one another and from the blue of the density.
_CHANNEL_COLORS = (VERMILLION, GREEN, ORANGE, PURPLE, INK)
_PATHS_DRAWN = 12
_CANDIDATES_DRAWN = 10
_CANDIDATE = {"colors": "#6e6e6e", "linewidths": 0.7, "linestyles": [(0, (4, 2))], "zorder": 3}
Paths = Sequence[NDArray[np.floating]]


@styled
def ensemble_figure(
    histogram: NDArray[np.floating],
    *,
    space: FeatureSpace,
    ranges: ArrayLike,
    candidates: Paths = (),
    paths: Paths = (),
    channels: Sequence[str] | None = None,
    shares: Mapping[str, Mapping[str, object]] | None = None,
    states: Mapping[str, Ranges] | None = None,
) -> Figure:
    """Draw where the frames of transition paths are, with a few of the paths and of the candidates they came from.

    Parameters
    ----------
    histogram : ndarray (n,) or (n, n)
        Share of the frames in each cell of the first one or two features.
    space : FeatureSpace
        Of the histogram's features, and of more behind them or not.
    ranges : (1 or 2, 2) array
        Low and high of the histogram's axes.
    candidates : sequence of ndarray (n_frames_i, >= d)
        Features along the paths that chains started from.
    paths : sequence of ndarray (n_frames_i, >= d)
        Features along transition paths; a dozen of each channel are drawn, spread over those given.
    channels : sequence of str (n_paths,), optional
        The channel of each of `paths`.
    shares : mapping of str to quantity, optional
        Each channel's share of the ensemble, {"value", "error", ...}, for the legend.
    states : mapping of str to ranges, optional

    Raises
    ------
    ParameterError
        If a shape does not fit, or the histogram is empty.
    """
    density = np.asarray(histogram, dtype=np.float64)
    if density.ndim != np.shape(ranges)[0] or not density.sum() > 0:
        raise ParameterError(
            f"an ensemble over {np.shape(ranges)[0]} features needs a histogram of as many axes that is not empty, but "
            f"got shape {density.shape} with the sum {density.sum():g}"
        )
    axes = FeatureAxes(space.select(space.names[: density.ndim]), ranges)
    if channels is not None and len(channels) != len(paths):
        raise ParameterError(f"{len(paths)} paths need as many channels, but got {len(channels)}")
    drawn = _drawn(paths, ["transition paths"] * len(paths) if channels is None else list(channels))
    figure = new_figure(6.4, 5.8)
    if density.ndim == 2:
        ax = figure.add_subplot()
        edges = [np.linspace(*axes.ends(axis), n + 1) for axis, n in enumerate(density.shape)]
        shown = np.where(density > 0, density, np.nan)
        mesh = ax.pcolormesh(*edges, shown.T, cmap=MAP_COLORS.reversed(), norm=LogNorm(), rasterized=True)
        bar = figure.colorbar(mesh, ax=ax, shrink=0.85, pad=0.02)
        bar.set_label("Share of the frames of transition paths [-]")
    else:
        top, ax = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.2])
        top.stairs(density, np.linspace(*axes.ends(0), len(density) + 1), color=BLUE, fill=True, alpha=0.6)
        top.set_ylabel("Share of the frames [-]")
        axes.draw_states(top, states or {})
    _draw_paths(ax, axes, _spread(candidates, _CANDIDATES_DRAWN), **_CANDIDATE)
    for (_, some), color in zip(drawn.items(), _CHANNEL_COLORS * len(drawn), strict=False):
        _draw_paths(ax, axes, some, colors=color, linewidths=0.8, alpha=0.8, zorder=4)
    axes.dress(ax)
    axes.draw_states(ax, states or {}, named=density.ndim == 2)
    if density.ndim == 1:
        ax.set(ylim=(-0.02, 1.02), ylabel="Fraction of the path [-]")
    handles = [
        Line2D([], [], color=color, lw=1.4, label=_channel_label(name, shares or {}))
        for name, color in zip(drawn, _CHANNEL_COLORS * len(drawn), strict=False)
    ]
    if candidates:
        handles.append(Line2D([], [], color="#6e6e6e", lw=0.9, ls=(0, (4, 2)), label="candidates"))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _spread(paths: Paths, n: int) -> Paths:
    """Return at most `n` of the paths, evenly spread over them."""
    return [
        paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, min(n, len(paths))).round().astype(int))
    ]


def _drawn(paths: Paths, channels: Sequence[str]) -> dict[str, Paths]:
    """Return a few paths of each channel, the channel with most paths first."""
    kinds = sorted(set(channels), key=lambda name: (-channels.count(name), name))
    return {
        kind: _spread([p for p, c in zip(paths, channels, strict=True) if c == kind], _PATHS_DRAWN)
        for kind in kinds
    }


def _draw_paths(ax: Axes, axes: FeatureAxes, paths: Paths, **look: Any) -> None:
    """Draw paths over two features, or over one against how far along they are."""
    pieces = [piece for path in paths for piece in axes.lines(path)]
    if axes.n == 1:
        pieces = [np.column_stack([piece, np.linspace(0, 1, len(piece))]) for piece in pieces]
    ax.add_collection(LineCollection(pieces, **look), autolim=False)


def _channel_label(name: str, shares: Mapping[str, Mapping[str, object]]) -> str:
    value, error = (shares.get(name, {}).get(key) for key in ("value", "error"))
    if not isinstance(value, int | float):
        return name
    return (
        f"{name}: {format_value(100 * value, 100 * error if isinstance(error, int | float) else None, '%')}"
    )
