"""The picture of the molecule: free energy over torsions with the geodesic and the paths on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tps.errors import ParameterError
from tps.report.scene import DEGREE, TICKS, TorsionScene, draw_boxes, draw_dots, draw_legend, draw_strips
from tps.report.style import NO_DATA, ORANGE, VERMILLION, new_figure, styled
from tps.report.torus import Ranges, free_energy_on_grid, wrap, wrapped_lines

MAP_COLORS = LinearSegmentedColormap.from_list("free_energy", ["#1f4e79", "#5b8fbf", "#a9c9e4", "#eef4fa"])
_DASHES = (0, (3, 1.2))


@styled
def free_energy_map(
    torsions: NDArray[np.floating],
    log_weights: NDArray[np.floating],
    temperature: float,
    *,
    feature_names: Sequence[str],
    center: NDArray[np.floating] | None = None,
    log_snr: NDArray[np.floating] | None = None,
    mean: NDArray[np.floating] | None = None,
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
        are too weak for the centre to be the place of the molecule.
    mean : ndarray (n_points, d), optional
        Direction of the geodesic's expectation parameter [rad]: where the tilted molecule is on average.
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
    torsions, d = np.asarray(torsions), len(feature_names)
    if torsions.ndim != 2 or torsions.shape[1] != d or len(log_weights) != len(torsions):
        raise ParameterError(
            f"a map needs torsions (n_frames, {d}) and as many log_weights, but got "
            f"{torsions.shape} and {np.shape(log_weights)}"
        )
    if not set(names) <= set(feature_names) or len(names) not in (1, 2):
        known = ", ".join(feature_names)
        raise ParameterError(f"a map shows one or two of {known}, but got {', '.join(names)}")
    columns = [list(feature_names).index(name) for name in names]
    centers, free_energy = free_energy_on_grid(torsions[:, columns], np.asarray(log_weights), temperature)
    scene = TorsionScene(
        names=names,
        n_features=d,
        grid=centers,
        free_energy=free_energy,
        center=None if center is None else np.asarray(center)[:, columns],
        strength=_strength(log_snr, columns, center),
        mean=None if mean is None else np.asarray(mean)[:, columns],
        paths=[np.asarray(path)[:, columns] for path in paths],
        states=states or {},
        avoided=avoided,
    )
    return _draw_map(scene) if len(names) == 2 else _draw_profile(scene)


def _strength(
    log_snr: NDArray[np.floating] | None, columns: list[int], center: NDArray[np.floating] | None
) -> NDArray[np.floating] | None:
    """Return ln kappa of each curve point: the weakest of the torsions shown."""
    if log_snr is None or center is None:
        return None
    if len(log_snr) != len(center):
        raise ParameterError(
            f"log_snr needs one entry for each of {len(center)} centres, but has {len(log_snr)}"
        )
    log_snr = np.asarray(log_snr)
    return log_snr[:, columns].min(axis=1) if log_snr.ndim == 2 else log_snr


def _draw_map(scene: TorsionScene) -> Figure:
    figure = new_figure(6.4, 5.6)
    ax = figure.add_subplot()
    ax.set_facecolor(NO_DATA)
    edges = np.linspace(-180, 180, len(scene.grid) + 1)
    ceiling = _ceiling(scene.free_energy)
    values = scene.free_energy.T
    mesh = ax.pcolormesh(edges, edges, values, cmap=MAP_COLORS, vmin=0, vmax=ceiling, rasterized=True)
    middle, step = scene.grid * DEGREE, 5 if ceiling <= 40 else 10
    levels = np.arange(step, ceiling, step)
    ax.contour(middle, middle, values, levels=levels, colors="white", linewidths=0.5, alpha=0.7)
    bar = figure.colorbar(mesh, ax=ax, shrink=0.85, extend="max", pad=0.02)
    bar.set_label("Free energy [kJ/mol]")
    draw_boxes(ax, scene)
    pieces = [piece * DEGREE for path in scene.paths for piece in wrapped_lines(path)]
    ax.add_collection(LineCollection(pieces, colors="black", linewidths=0.4, alpha=scene.path_opacity))
    for curve, color, dashes in ((scene.mean, VERMILLION, _DASHES), (scene.center, ORANGE, "-")):
        if curve is not None:
            pieces = [piece * DEGREE for piece in wrapped_lines(curve)]
            ax.add_collection(LineCollection(pieces, colors="white", linewidths=2.6, alpha=0.8, zorder=4))
            lines = LineCollection(pieces, colors=color, linewidths=1.4, linestyles=[dashes], zorder=4)
            ax.add_collection(lines)
    if scene.center is not None:
        draw_dots(ax, wrap(scene.center) * DEGREE, scene.strength)
    ax.set(xlim=(-180, 180), ylim=(-180, 180), xticks=TICKS, yticks=TICKS, aspect="equal", title=scene.title)
    ax.set_xlabel(f"{scene.names[0]} [degree]")
    ax.set_ylabel(f"{scene.names[1]} [degree]")
    ax.spines[["top", "right"]].set_visible(True)
    draw_legend(figure, scene)
    return figure


def _draw_profile(scene: TorsionScene) -> Figure:
    """Draw the profile of one torsion above, and below it how curve and paths move along s."""
    figure = new_figure(6.4, 6.0)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.4])
    top.plot(scene.grid * DEGREE, scene.free_energy, color="#1f4e79")
    top.set(ylabel="Free energy [kJ/mol]", ylim=(0, None), title=scene.title)
    draw_strips((top, bottom), scene)
    for path in scene.paths:
        for piece in wrapped_lines(path):
            s = np.linspace(0, 1, len(path))
            bottom.plot(piece[:, 0] * DEGREE, s, color="black", lw=0.5, alpha=scene.path_opacity)
    for curve, color, dashes in ((scene.mean, VERMILLION, _DASHES), (scene.center, ORANGE, "-")):
        for piece in wrapped_lines(curve) if curve is not None else []:
            s = np.linspace(0, 1, len(piece))
            bottom.plot(piece[:, 0] * DEGREE, s, color=color, ls=dashes, lw=1.4)
    if scene.center is not None:
        s = np.linspace(0, 1, len(scene.center))
        draw_dots(bottom, np.column_stack([wrap(scene.center[:, 0]) * DEGREE, s]), scene.strength)
    bottom.set(xlim=(-180, 180), ylim=(-0.02, 1.02), xticks=TICKS, ylabel="s along the path [-]")
    bottom.set_xlabel(f"{scene.names[0]} [degree]")
    draw_legend(figure, scene)
    return figure


def _ceiling(free_energy: NDArray[np.float64]) -> float:
    """Return the top of the colour scale: nearly all of the map, in whole tens of kJ/mol."""
    return max(10.0, float(np.ceil(np.nanpercentile(free_energy, 95) / 10) * 10))
