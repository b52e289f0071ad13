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
from tps.report.free_energy import MAP_COLORS
from tps.report.style import HALO, INK, NO_DATA, ORANGE, PURPLE, VERMILLION, new_figure, styled
from tps.report.torus import Ranges, range_pieces, wrapped_lines

#: Highest energy drawn: this fraction of the surface lies below it.
_SHOWN = 0.75


@dataclass(frozen=True, eq=False)
class SurfaceScene:
    """What is drawn; angles in rad, everything else in the axes' own unit.

    Attributes
    ----------
    names : tuple of str
    grid : tuple of (n_i,) arrays
        One or two axes.
    energy : (n_1,) or (n_1, n_2) array
        NaN where there is none.
    unit : str
        Of the energy.
    periodic : bool
        Whether the axes are angles.
    curve : (n_points, d) array
        Mean of the tilted distribution along the curve.
    paths : sequence of (n_frames, d) arrays
    states : mapping of str to ranges
    avoided : sequence of ranges
    highest : (d,) array or None
        Where the lower bound of the maximum energy lies.
    """

    names: tuple[str, ...]
    grid: tuple[NDArray[np.floating], ...]
    energy: NDArray[np.floating]
    unit: str
    periodic: bool
    curve: NDArray[np.floating]
    paths: Sequence[NDArray[np.floating]] = ()
    states: Mapping[str, Ranges] | None = None
    avoided: Sequence[Ranges] = ()
    highest: NDArray[np.floating] | None = None

    def __post_init__(self) -> None:
        if self.energy.shape != tuple(len(axis) for axis in self.grid) or len(self.grid) not in (1, 2):
            raise ParameterError(
                f"a surface's picture needs one or two axes and an energy of their shape, but got "
                f"{[len(axis) for axis in self.grid]} and {self.energy.shape}"
            )

    @property
    def scale(self) -> float:
        """Degrees per radian for angles, 1 otherwise."""
        return 180 / np.pi if self.periodic else 1.0

    def limits(self, axis: int) -> tuple[float, float]:
        """Where the picture ends, in its own unit."""
        if self.periodic:
            return -180.0, 180.0
        return float(self.grid[axis][0]), float(self.grid[axis][-1])

    def label(self, axis: int) -> str:
        """Name and unit of an axis."""
        return f"{self.names[axis]} [degree]" if self.periodic else self.names[axis]

    def lines(self, points: NDArray[np.floating]) -> list[NDArray[np.float64]]:
        """Return polylines of a curve (n, d) that do not jump across the picture."""
        if self.periodic:
            return [piece * self.scale for piece in wrapped_lines(points)]
        return [np.asarray(points, dtype=np.float64)]


@styled
def surface_map(scene: SurfaceScene) -> Figure:
    """Draw the energy of a surface (in one dimension: its profile) with the curve and the paths on it."""
    return _draw_map(scene) if len(scene.grid) == 2 else _draw_profile(scene)


def _draw_map(scene: SurfaceScene) -> Figure:
    figure = new_figure(6.4, 5.4)
    ax = figure.add_subplot()
    ax.set_facecolor(NO_DATA)
    x, y = (axis * scene.scale for axis in scene.grid)
    energy = scene.energy - np.nanmin(scene.energy)
    top = float(np.nanquantile(energy, _SHOWN))
    mesh = ax.pcolormesh(
        x, y, energy.T, cmap=MAP_COLORS, vmin=0, vmax=top, rasterized=True, shading="nearest"
    )
    ax.contour(x, y, energy.T, levels=np.linspace(0, top, 9)[1:-1], colors="white", linewidths=0.5, alpha=0.7)
    bar = figure.colorbar(mesh, ax=ax, shrink=0.85, extend="max", pad=0.02)
    bar.set_label(f"energy [{scene.unit}]")
    for ranges in scene.avoided:
        for box in _boxes(scene, ranges):
            ax.add_patch(_rectangle(box, edgecolor=PURPLE, facecolor="#cc79a733", hatch="xx"))
    for label, ranges in (scene.states or {}).items():
        for (left, right), (low, high) in _boxes(scene, ranges):
            ax.add_patch(_rectangle(((left, right), (low, high)), edgecolor="black", facecolor="none"))
            ax.text(left, high, f" {label}", ha="left", va="top", weight="bold", zorder=7, path_effects=HALO)
    opacity = float(np.clip(6 / max(len(scene.paths), 1), 0.04, 0.7))
    pieces = [piece for path in scene.paths for piece in scene.lines(path)]
    ax.add_collection(LineCollection(pieces, colors="black", linewidths=0.4, alpha=opacity, zorder=3))
    lines = scene.lines(scene.curve)
    ax.add_collection(LineCollection(lines, colors="white", linewidths=3.0, zorder=4))
    ax.add_collection(LineCollection(lines, colors=ORANGE, linewidths=1.8, zorder=5))
    if scene.highest is not None:
        ax.plot(*(scene.highest * scene.scale), "x", color=VERMILLION, ms=9, mew=2.2, zorder=6)
    ax.set(xlim=scene.limits(0), ylim=scene.limits(1), xlabel=scene.label(0), ylabel=scene.label(1))
    ax.set_aspect("equal")
    _legend(figure, scene)
    return figure


def _draw_profile(scene: SurfaceScene) -> Figure:
    figure = new_figure(6.4, 6.0)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.3])
    energy = scene.energy - np.nanmin(scene.energy)
    top.plot(scene.grid[0] * scene.scale, energy, color="#1f4e79")
    ceiling = float(np.nanquantile(energy, _SHOWN)) * 1.3
    top.set(ylabel=f"energy [{scene.unit}]", ylim=(0, ceiling))
    for label, ranges in [*(scene.states or {}).items(), *(("avoid", r) for r in scene.avoided)]:
        for ((low, high),) in _boxes(scene, ranges):
            for ax in (top, bottom):
                ax.axvspan(low, high, color=PURPLE if label == "avoid" else INK, alpha=0.1, lw=0)
            middle = (max(low, scene.limits(0)[0]) + min(high, scene.limits(0)[1])) / 2
            top.text(middle, ceiling * 0.97, label, ha="center", va="top", weight="bold")
    if scene.highest is not None:
        top.plot(
            scene.highest * scene.scale,
            np.interp(scene.highest, scene.grid[0], energy),
            "x",
            color=VERMILLION,
            ms=9,
            mew=2.2,
        )
    opacity = float(np.clip(6 / max(len(scene.paths), 1), 0.04, 0.7))
    for path in scene.paths:
        for piece in scene.lines(path):
            bottom.plot(piece[:, 0], np.linspace(0, 1, len(path)), color="black", lw=0.5, alpha=opacity)
    for piece in scene.lines(scene.curve):
        bottom.plot(piece[:, 0], np.linspace(0, 1, len(piece)), color=ORANGE, lw=1.8)
    bottom.set(xlim=scene.limits(0), ylim=(-0.02, 1.02), xlabel=scene.label(0), ylabel="s along the path [-]")
    _legend(figure, scene)
    return figure


def _boxes(scene: SurfaceScene, ranges: Ranges) -> list[tuple[tuple[float, float], ...]]:
    """Return a region as boxes in the picture's unit; an axis it does not limit is covered."""
    pieces: list[list[tuple[float, float]]] = []
    for axis, name in enumerate(scene.names):
        if scene.periodic:
            pieces.append([(a * scene.scale, b * scene.scale) for a, b in range_pieces(ranges.get(name))])
        else:
            pieces.append([ranges.get(name, scene.limits(axis))])
    if len(pieces) == 1:
        return [(piece,) for piece in pieces[0]]
    return [(x, y) for x in pieces[0] for y in pieces[1]]


def _rectangle(box: tuple[tuple[float, float], ...], **look: object) -> Rectangle:
    (left, right), (low, high) = box
    return Rectangle((left, low), right - left, high - low, linewidth=1.3, zorder=2, **look)  # type: ignore[arg-type]


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
