"""The picture of the molecule: free energy over torsions with the geodesic and the paths on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from tps.errors import ParameterError
from tps.report.style import HALO, INK, ORANGE, PURPLE, new_figure, styled
from tps.report.torus import Ranges, free_energy_on_grid, region_boxes, wrapped_lines

#: Below this ln kappa a tilt is about as wide as the circle, and its centre says little.
WEAK_TILT = 0.0

_DEGREE = 180 / np.pi
_MAX_DOTS = 33
_VEIL = "#cc79a733"
_MAP_COLORS = LinearSegmentedColormap.from_list("free_energy", ["#1f4e79", "#5b8fbf", "#a9c9e4", "#e9f1f8"])
_TICKS = range(-180, 181, 60)


@styled
def free_energy_map(
    torsions: NDArray[np.floating],
    log_weights: NDArray[np.floating],
    temperature: float,
    *,
    feature_names: Sequence[str],
    center: NDArray[np.floating] | None = None,
    log_snr: NDArray[np.floating] | None = None,
    paths: Sequence[NDArray[np.floating]] = (),
    states: Mapping[str, Ranges] | None = None,
    avoided: Sequence[Ranges] = (),
    features: Sequence[str] | None = None,
) -> Figure:
    """Draw the free energy over two torsions (one: a profile), with the geodesic and the paths.

    Parameters
    ----------
    torsions : ndarray (n_frames, d)
        Weighted frames [rad].
    log_weights : ndarray (n_frames,)
    temperature : float
        [K].
    feature_names : sequence of str
        Names of the d torsions.
    center : ndarray (n_points, d), optional
        The geodesic's centres c_i [rad].
    log_snr : ndarray (n_points,) or (n_points, d), optional
        ln kappa of the curve, for all torsions or for each: larger dots are stronger tilts, and hollow ones
        are too weak for the centre to mean a place.
    paths : sequence of ndarray (n_frames_i, d), optional
        Torsions along each path [rad].
    states : mapping of str to ranges, optional
        Ranges (low, high) [rad] by torsion name, for each state.
    avoided : sequence of ranges, optional
    features : sequence of str, optional
        The one or two torsions to show; the first two by default.

    Raises
    ------
    ParameterError
        If the arrays do not fit one another or a name is unknown.
    """
    names = tuple(features) if features is not None else tuple(feature_names[:2])
    torsions = np.asarray(torsions)
    if torsions.ndim != 2 or torsions.shape[1] != len(feature_names) or len(log_weights) != len(torsions):
        raise ParameterError(
            f"a map needs torsions (n_frames, {len(feature_names)}) and as many log_weights, but got "
            f"{torsions.shape} and {np.shape(log_weights)}"
        )
    unknown = [name for name in names if name not in feature_names]
    if unknown or len(names) not in (1, 2):
        raise ParameterError(
            f"a map shows one or two of {', '.join(feature_names)}, but got {', '.join(names)}"
        )
    columns = [list(feature_names).index(name) for name in names]
    shown = torsions[:, columns]
    grid = free_energy_on_grid(shown, np.asarray(log_weights), temperature)
    curve = None if center is None else np.asarray(center)[:, columns]
    strength = (
        None if log_snr is None or curve is None else _strength(np.asarray(log_snr), columns, len(curve))
    )
    lines = [np.asarray(path)[:, columns] for path in paths]
    draw = _draw_map if len(names) == 2 else _draw_profile
    return draw(grid, names, curve, strength, lines, states or {}, avoided, len(feature_names))


def _strength(log_snr: NDArray[np.floating], columns: list[int], n_points: int) -> NDArray[np.floating]:
    """Return ln kappa of each curve point: the weakest of the torsions shown."""
    if len(log_snr) != n_points:
        raise ParameterError(
            f"log_snr needs one entry for each of {n_points} centres, but has {len(log_snr)}"
        )
    return log_snr[:, columns].min(axis=1) if log_snr.ndim == 2 else log_snr


def _draw_map(
    grid: tuple[NDArray[np.float64], NDArray[np.float64]],
    names: tuple[str, ...],
    curve: NDArray[np.floating] | None,
    strength: NDArray[np.floating] | None,
    lines: list[NDArray[np.floating]],
    states: Mapping[str, Ranges],
    avoided: Sequence[Ranges],
    n_features: int,
) -> Figure:
    figure = new_figure(6.4, 5.6)
    ax = figure.add_subplot()
    centers, free_energy = grid
    edges = np.linspace(-180, 180, len(centers) + 1)
    ceiling = _ceiling(free_energy)
    mesh = ax.pcolormesh(edges, edges, free_energy.T, cmap=_MAP_COLORS, vmin=0, vmax=ceiling, rasterized=True)
    step = 5 if ceiling <= 40 else 10
    ax.contour(
        centers * _DEGREE,
        centers * _DEGREE,
        free_energy.T,
        levels=np.arange(step, ceiling, step),
        colors="white",
        linewidths=0.5,
        alpha=0.7,
    )
    bar = figure.colorbar(mesh, ax=ax, shrink=0.85, extend="max", pad=0.02)
    bar.set_label("free energy [kJ/mol]")
    _draw_regions(ax, names, states, avoided)
    pieces = [piece * _DEGREE for line in lines for piece in wrapped_lines(line)]
    ax.add_collection(LineCollection(pieces, colors="black", linewidths=0.4, alpha=_path_alpha(len(lines))))
    if curve is not None:
        _draw_curve(ax, curve, strength)
    _square(ax, names)
    if n_features > 2:
        ax.set_title(f"2 of {n_features} torsions")
    _legend(ax, lines, curve, strength, avoided)
    return figure


def _draw_profile(
    grid: tuple[NDArray[np.float64], NDArray[np.float64]],
    names: tuple[str, ...],
    curve: NDArray[np.floating] | None,
    strength: NDArray[np.floating] | None,
    lines: list[NDArray[np.floating]],
    states: Mapping[str, Ranges],
    avoided: Sequence[Ranges],
    n_features: int,
) -> Figure:
    """Draw the profile of one torsion above, and below it how curve and paths move along s."""
    figure = new_figure(6.4, 6.0)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.4])
    centers, free_energy = grid
    top.plot(centers * _DEGREE, free_energy, color="#1f4e79")
    top.set_ylabel("free energy [kJ/mol]")
    top.set_ylim(0, None)
    for label, ranges, color in [
        *((label, ranges, INK) for label, ranges in states.items()),
        *(("avoid", ranges, PURPLE) for ranges in avoided),
    ]:
        for ((low, high),) in region_boxes(ranges, names):
            for ax in (top, bottom):
                ax.axvspan(low * _DEGREE, high * _DEGREE, color=color, alpha=0.1, lw=0)
            place = ((low + high) / 2 * _DEGREE, 0.97)
            top.text(*place, label, transform=top.get_xaxis_transform(), ha="center", va="top", weight="bold")
    for line in lines:
        s = np.linspace(0, 1, len(line))
        for piece in wrapped_lines(line):
            bottom.plot(piece[:, 0] * _DEGREE, s, color="black", lw=0.5, alpha=_path_alpha(len(lines)))
    if curve is not None:
        s = np.linspace(0, 1, len(curve))
        for piece in wrapped_lines(curve):
            bottom.plot(piece[:, 0] * _DEGREE, s, color=ORANGE, lw=1.2)
        _dots(bottom, np.column_stack([_wrap(curve[:, 0]) * _DEGREE, s]), strength)
    bottom.set(xlim=(-180, 180), ylim=(-0.02, 1.02), xticks=_TICKS, ylabel="s along the path [-]")
    bottom.set_xlabel(f"{names[0]} [degree]")
    if n_features > 1:
        top.set_title(f"1 of {n_features} torsions")
    _legend(bottom, lines, curve, strength, ())
    return figure


def _draw_regions(
    ax: Axes, names: tuple[str, ...], states: Mapping[str, Ranges], avoided: Sequence[Ranges]
) -> None:
    for label, ranges in states.items():
        boxes = region_boxes(ranges, names)
        for box in boxes:
            ax.add_patch(_rectangle(box, edgecolor="black", facecolor="none", linewidth=1.3))
        if boxes:
            (low, _), (_, high) = max(boxes, key=lambda box: np.prod([b - a for a, b in box]))
            ax.text(
                low * _DEGREE + 4,
                high * _DEGREE - 4,
                label,
                ha="left",
                va="top",
                weight="bold",
                size=13,
                zorder=7,
                path_effects=HALO,
            )
    for ranges in avoided:
        for box in region_boxes(ranges, names):
            ax.add_patch(
                _rectangle(box, edgecolor=PURPLE, facecolor=_VEIL, linewidth=1.3, hatch="xx", zorder=1.5)
            )


def _rectangle(box: tuple[tuple[float, float], ...], **kwargs: Any) -> Rectangle:
    (left, right), (low, high) = ((a * _DEGREE, b * _DEGREE) for a, b in box)
    return Rectangle((left, low), right - left, high - low, **{"zorder": 3, **kwargs})


def _draw_curve(ax: Axes, curve: NDArray[np.floating], strength: NDArray[np.floating] | None) -> None:
    pieces = [piece * _DEGREE for piece in wrapped_lines(curve)]
    ax.add_collection(LineCollection(pieces, colors="white", linewidths=2.6, alpha=0.9, zorder=4))
    ax.add_collection(LineCollection(pieces, colors=ORANGE, linewidths=1.2, zorder=4))
    _dots(ax, _wrap(curve) * _DEGREE, strength)


def _dots(ax: Axes, points: NDArray[np.floating], strength: NDArray[np.floating] | None) -> None:
    """Draw curve points: area grows with ln kappa, weak ones are hollow."""
    level = np.full(len(points), 2.0) if strength is None else strength
    spread = np.linspace(0, len(points) - 1, min(len(points), _MAX_DOTS)).round().astype(int)
    points, level = points[spread], level[spread]
    weak = level < WEAK_TILT
    area = np.clip(14 + 9 * level, 8, 60)
    x, y = points.T
    ax.scatter(
        x[weak], y[weak], s=area[weak], facecolors="white", edgecolors=ORANGE, linewidths=1.0, zorder=5
    )
    ax.scatter(x[~weak], y[~weak], s=area[~weak], facecolors=ORANGE, edgecolors=INK, linewidths=0.6, zorder=5)


def _legend(
    ax: Axes,
    lines: list[NDArray[np.floating]],
    curve: NDArray[np.floating] | None,
    strength: NDArray[np.floating] | None,
    avoided: Sequence[Ranges],
) -> None:
    """Explain the signs below the picture, where they hide nothing."""
    handles: list[Artist] = []
    if lines:
        handles.append(Line2D([], [], color="black", lw=0.8, label=f"{len(lines)} paths (candidates)"))
    if curve is not None:
        dot: dict[str, Any] = {"color": ORANGE, "marker": "o", "lw": 1.2}
        handles.append(Line2D([], [], **dot, markeredgecolor=INK, ms=6, label="geodesic: centre of the tilt"))
        if strength is not None and (strength < WEAK_TILT).any():
            label = "weak tilt ($\\kappa$ < 1): the centre says little"
            handles.append(Line2D([], [], **dot, markerfacecolor="white", ms=4, label=label))
    if avoided:
        handles.append(
            Rectangle((0, 0), 1, 1, edgecolor=PURPLE, facecolor=_VEIL, hatch="xx", label="avoided")
        )
    if handles:
        ax.figure.legend(handles=handles, loc="outside lower center", ncols=2)


def _square(ax: Axes, names: tuple[str, ...]) -> None:
    ax.set(xlim=(-180, 180), ylim=(-180, 180), xticks=_TICKS, yticks=_TICKS, aspect="equal")
    ax.set_xlabel(f"{names[0]} [degree]")
    ax.set_ylabel(f"{names[1]} [degree]")
    ax.spines[["top", "right"]].set_visible(True)


def _wrap(angles: NDArray[np.floating]) -> NDArray[np.floating]:
    return (angles + np.pi) % (2 * np.pi) - np.pi


def _ceiling(free_energy: NDArray[np.float64]) -> float:
    """Return the top of the colour scale: nearly all of the map, in whole tens of kJ/mol."""
    return max(10.0, float(np.ceil(np.nanpercentile(free_energy, 95) / 10) * 10))


def _path_alpha(n_paths: int) -> float:
    """Return a line's opacity: all paths together darken the map about equally, however many there are."""
    return float(np.clip(4 / max(n_paths, 1), 0.04, 0.7))
