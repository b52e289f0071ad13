"""The picture of a surface: its energy with the curve and the paths on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from tps.errors import ParameterError
from tps.features import FeatureSpace
from tps.report.channels import ChannelCurve, draw_channels
from tps.report.feature_axes import FeatureAxes, Ranges
from tps.report.free_energy import MAP_COLORS
from tps.report.style import NO_DATA, ORANGE, VERMILLION, new_figure, styled

#: Highest energy drawn: this fraction of the surface lies below it.
_SHOWN = 0.75


@dataclass(frozen=True, eq=False)
class SurfaceScene:
    """What is drawn; angles in rad, everything else in the axes' own unit.

    Attributes
    ----------
    space : FeatureSpace
        Of the axes.
    grid : tuple of (n_i,) arrays
        One or two axes.
    energy : (n_1,) or (n_1, n_2) array
        NaN where there is none.
    unit : str
        Of the energy.
    curve : (n_points, d) array
        Mean of the tilted distribution along the curve.
    paths : sequence of (n_frames, d) arrays
    states : mapping of str to ranges
    avoided : sequence of ranges
    highest : (d,) array or None
        Where the lower bound of the maximum energy lies.
    channels : sequence of ChannelCurve
        Drawn over two axes, each with its barrier.
    """

    space: FeatureSpace
    grid: tuple[NDArray[np.floating], ...]
    energy: NDArray[np.floating]
    unit: str
    curve: NDArray[np.floating]
    paths: Sequence[NDArray[np.floating]] = ()
    states: Mapping[str, Ranges] | None = None
    avoided: Sequence[Ranges] = ()
    highest: NDArray[np.floating] | None = None
    channels: Sequence[ChannelCurve] = ()

    def __post_init__(self) -> None:
        if self.energy.shape != tuple(len(axis) for axis in self.grid) or len(self.grid) not in (1, 2):
            raise ParameterError(
                f"a surface's picture needs one or two axes and an energy of their shape, but got "
                f"{[len(axis) for axis in self.grid]} and {self.energy.shape}"
            )

    @property
    def axes(self) -> FeatureAxes:
        """What the picture is drawn over."""
        limits = [
            (-np.pi, np.pi) if turns else (axis[0], axis[-1])
            for axis, turns in zip(self.grid, self.space.periodic, strict=True)
        ]
        return FeatureAxes(self.space, limits)

    @property
    def shown_grid(self) -> list[NDArray[np.float64]]:
        """The grid in user units."""
        return [np.asarray(x / scale) for x, scale in zip(self.grid, self.space.user_scale, strict=True)]


@styled
def surface_map(scene: SurfaceScene) -> Figure:
    """Draw the energy of a surface (in one dimension: its profile) with the curve and the paths on it."""
    return _draw_map(scene) if len(scene.grid) == 2 else _draw_profile(scene)


def _draw_map(scene: SurfaceScene) -> Figure:
    figure, axes = new_figure(6.4, 5.4), scene.axes
    ax = figure.add_subplot()
    ax.set_facecolor(NO_DATA)
    x, y = scene.shown_grid
    energy = scene.energy - np.nanmin(scene.energy)
    top = float(np.nanquantile(energy, _SHOWN))
    mesh = ax.pcolormesh(
        x, y, energy.T, cmap=MAP_COLORS, vmin=0, vmax=top, rasterized=True, shading="nearest"
    )
    ax.contour(x, y, energy.T, levels=np.linspace(0, top, 9)[1:-1], colors="white", linewidths=0.5, alpha=0.7)
    bar = figure.colorbar(mesh, ax=ax, shrink=0.85, extend="max", pad=0.02)
    bar.set_label(f"Energy [{scene.unit}]")
    axes.draw_avoided(ax, scene.avoided)
    axes.draw_states(ax, scene.states or {})
    opacity = float(np.clip(6 / max(len(scene.paths), 1), 0.04, 0.7))
    pieces = [piece for path in scene.paths for piece in axes.lines(path)]
    ax.add_collection(LineCollection(pieces, colors="black", linewidths=0.4, alpha=opacity, zorder=3))
    lines = axes.lines(scene.curve)
    ax.add_collection(LineCollection(lines, colors="white", linewidths=3.0, zorder=4))
    ax.add_collection(LineCollection(lines, colors=ORANGE, linewidths=1.8, zorder=5))
    if scene.highest is not None:
        ax.plot(*axes.shown(scene.highest), "x", color=VERMILLION, ms=9, mew=2.2, zorder=6)
    draw_channels(ax, axes, scene.channels, range(2))
    axes.dress(ax)
    ax.set_aspect("equal")
    _legend(figure, scene)
    return figure


def _draw_profile(scene: SurfaceScene) -> Figure:
    figure, axes = new_figure(6.4, 6.0), scene.axes
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.3])
    energy = scene.energy - np.nanmin(scene.energy)
    top.plot(scene.shown_grid[0], energy, color="#1f4e79")
    ceiling = float(np.nanquantile(energy, _SHOWN)) * 1.3
    top.set(ylabel=f"Energy [{scene.unit}]", ylim=(0, ceiling))
    for ax in (top, bottom):
        axes.draw_states(ax, scene.states or {}, named=ax is top)
        axes.draw_avoided(ax, scene.avoided, named=ax is top)
    if scene.highest is not None:
        top.plot(
            axes.shown(scene.highest),
            np.interp(scene.highest, scene.grid[0], energy),
            "x",
            color=VERMILLION,
            ms=9,
            mew=2.2,
        )
    opacity = float(np.clip(6 / max(len(scene.paths), 1), 0.04, 0.7))
    for path in scene.paths:
        for piece in axes.lines(path):
            bottom.plot(piece[:, 0], np.linspace(0, 1, len(path)), color="black", lw=0.5, alpha=opacity)
    for piece in axes.lines(scene.curve):
        bottom.plot(piece[:, 0], np.linspace(0, 1, len(piece)), color=ORANGE, lw=1.8)
    axes.dress(bottom)
    bottom.set(ylim=(-0.02, 1.02), ylabel="s along the path [-]")
    _legend(figure, scene)
    return figure


def _legend(figure: Figure, scene: SurfaceScene) -> None:
    handles: list[Line2D | Rectangle] = [
        Line2D([], [], color=ORANGE, lw=1.8, label="mean along the curve"),
    ]
    if scene.paths:
        handles.append(Line2D([], [], color="black", lw=0.8, label=f"{len(scene.paths)} paths (candidates)"))
    if scene.highest is not None:
        mark = Line2D([], [], color=VERMILLION, marker="x", mew=2.2, ls="none", label="lower bound lies here")
        handles.append(mark)
    if np.isnan(scene.energy).any() and len(scene.grid) == 2:
        handles.append(Rectangle((0, 0), 1, 1, edgecolor="none", facecolor=NO_DATA, label="no data"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
