"""Channels: the free energy along each, and where each leads on a map, with its barrier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tps.errors import ParameterError
from tps.report.feature_axes import FeatureAxes
from tps.report.style import HALO, INK, METHOD_COLORS, new_figure, styled

_DASHES = (0, (4, 1.6))


@dataclass(frozen=True, eq=False)
class ChannelCurve:
    """One channel; free energies above A, in the unit of the picture.

    Attributes
    ----------
    number : int
    s : (n_points,) array
    values : (n_points, d) array
        Where it leads, in internal units.
    free_energy, error : (n_points,) arrays
        NaN where the tilt is too weak to mean a place, or nothing is known.
    barrier : str
        Its height as text; empty where it has none.
    at : int
        Point where it is highest.
    taken : bool
        Whether the paths follow it.
    """

    number: int
    s: NDArray[np.floating]
    values: NDArray[np.floating]
    free_energy: NDArray[np.floating]
    error: NDArray[np.floating]
    barrier: str
    at: int
    taken: bool

    def __post_init__(self) -> None:
        n = len(self.s)
        if not len(self.values) == len(self.free_energy) == len(self.error) == n:
            raise ParameterError(
                f"a channel of {n} points needs as many values, free energies and errors, but got "
                f"{len(self.values)}, {len(self.free_energy)} and {len(self.error)}"
            )

    @property
    def color(self) -> str:
        """By its number."""
        return METHOD_COLORS[self.number % len(METHOD_COLORS)]

    @property
    def label(self) -> str:
        """Its number, its barrier, and whether it is taken."""
        return f"channel {self.number}: {self.barrier or 'no barrier'}" + (", taken" if self.taken else "")


@styled
def free_energy_along_channels(channels: Sequence[ChannelCurve], unit: str) -> Figure:
    """Draw the free energy along every channel, with its error.

    Parameters
    ----------
    channels : sequence of ChannelCurve
    unit : str

    Raises
    ------
    ParameterError
        If no channel has a free energy to draw.
    """
    if not any(np.isfinite(channel.free_energy).any() for channel in channels):
        raise ParameterError("a figure of free energies needs a channel with tilts that mean places")
    figure = new_figure(6.4, 4.0)
    ax = figure.add_subplot()
    for channel in channels:
        f, error = channel.free_energy, np.nan_to_num(channel.error)
        ax.fill_between(channel.s, f - error, f + error, color=channel.color, alpha=0.2, lw=0)
        ax.plot(channel.s, f, color=channel.color, lw=2.2 if channel.taken else 1.3, label=channel.label)
    ax.axhline(0, color=INK, lw=0.6)
    ax.set(xlim=(0, 1), xlabel="s along the curve [-]", ylabel=f"Free energy above A [{unit}]")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def draw_channels(
    ax: Axes, axes: FeatureAxes, channels: Sequence[ChannelCurve], columns: Sequence[int]
) -> None:
    """Draw the channels that are not taken on a map, and write each one's barrier where it is highest."""
    for channel in channels:
        points = channel.values[:, list(columns)]
        if not channel.taken:
            lines = axes.lines(points)
            look: dict[str, Any] = {
                "colors": channel.color,
                "linestyles": [_DASHES],
                "linewidths": 1.3,
                "zorder": 4,
            }
            ax.add_collection(LineCollection(lines, **look))
        place = axes.shown(axes.space.wrap(points[channel.at]))
        ax.annotate(
            f"{channel.number}: {channel.barrier}" if channel.barrier else str(channel.number),
            (float(place[0]), float(place[1])),
            (5, 4),
            textcoords="offset points",
            color=channel.color,
            size=8,
            weight="bold" if channel.taken else "normal",
            path_effects=HALO,
            zorder=8,
            annotation_clip=True,
        )
