"""The picture of the molecule: free energy over features with the geodesic and the paths on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tps.errors import ParameterError
from tps.features import FeatureSpace
from tps.report.channels import ChannelCurve, draw_channels
from tps.report.density import free_energy_on_grid
from tps.report.feature_axes import FeatureAxes, Ranges
from tps.report.scene import FreeEnergyScene, draw_dots, draw_legend
from tps.report.style import NO_DATA, ORANGE, VERMILLION, new_figure, styled
from tps.report.tilt import tilt_strength

MAP_COLORS = LinearSegmentedColormap.from_list("free_energy", ["#1f4e79", "#5b8fbf", "#a9c9e4", "#eef4fa"])
_DASHES = (0, (3, 1.2))


@styled
def free_energy_map(
    space: FeatureSpace,
    values: NDArray[np.floating],
    log_weights: NDArray[np.floating],
    kt: float,
    *,
    unit: str = "kJ/mol",
    eta: NDArray[np.floating] | None = None,
    mu: NDArray[np.floating] | None = None,
    paths: Sequence[NDArray[np.floating]] = (),
    states: Mapping[str, Ranges] | None = None,
    avoided: Sequence[Ranges] = (),
    channels: Sequence[ChannelCurve] = (),
    features: Sequence[str] | None = None,
) -> Figure:
    """Draw the free energy over two features (one: a profile), with the geodesic and the paths.

    Parameters
    ----------
    space : FeatureSpace
        Of d features; angles are shown in degrees.
    values : ndarray (n_frames, d)
        Weighted frames.
    log_weights : ndarray (n_frames,)
    kt : float
        Thermal energy, in `unit`.
    unit : str
        Of the free energy.
    eta : ndarray (n_points, K), optional
        Natural parameters of the geodesic, drawn by its centres: larger dots are stronger tilts, and hollow ones are
        too weak for the centre to be the place of the molecule.
    mu : ndarray (n_points, K), optional
        Its expectation parameters: where the tilted molecule is on average.
    paths : sequence of ndarray (n_frames_i, d), optional
        Features along each path.
    states : mapping of str to ranges, optional
        Ranges (low, high) by feature, for each state.
    avoided : sequence of ranges, optional
    channels : sequence of ChannelCurve, optional
        Drawn over two features, each with its barrier.
    features : sequence of str, optional
        The one or two features to show; the first two by default.

    Raises
    ------
    ParameterError
        If the arrays do not fit one another or a name is unknown.
    """
    names = tuple(features) if features is not None else space.names[:2]
    x, d = np.asarray(values), space.n_features
    if x.ndim != 2 or x.shape[1] != d or len(log_weights) != len(x):
        raise ParameterError(
            f"a map needs values (n_frames, {d}) and as many log_weights, but got {x.shape} and {np.shape(log_weights)}"
        )
    if not set(names) <= set(space.names) or len(names) not in (1, 2):
        raise ParameterError(
            f"a map shows one or two of {', '.join(space.names)}, but got {', '.join(names)}"
        )
    columns, shown = [space.names.index(name) for name in names], space.select(names)
    edges, free_energy = free_energy_on_grid(shown, x[:, columns], np.asarray(log_weights), kt)
    scene = FreeEnergyScene(
        axes=FeatureAxes(shown, edges[:, [0, -1]]),
        n_features=d,
        edges=edges,
        free_energy=free_energy,
        unit=unit,
        center=None if eta is None else space.center(eta)[:, columns],
        strength=None if eta is None else tilt_strength(space, eta)[:, columns],
        mean=None if mu is None else space.center(mu)[:, columns],
        paths=[np.asarray(path)[:, columns] for path in paths],
        states=states or {},
        avoided=avoided,
    )
    return _draw_map(scene, channels, columns) if len(names) == 2 else _draw_profile(scene)


def _draw_map(scene: FreeEnergyScene, channels: Sequence[ChannelCurve], columns: Sequence[int]) -> Figure:
    figure, axes = new_figure(6.4, 5.6), scene.axes
    ax = figure.add_subplot()
    ax.set_facecolor(NO_DATA)
    edges = [scene.edges[k] / axes.space.user_scale[k] for k in range(2)]
    ceiling = _ceiling(scene.free_energy)
    values = scene.free_energy.T
    mesh = ax.pcolormesh(*edges, values, cmap=MAP_COLORS, vmin=0, vmax=ceiling, rasterized=True)
    levels = np.arange(5, ceiling, 5) if ceiling <= 40 else np.arange(10, ceiling, 10)
    middles = [scene.middles(k) for k in range(2)]
    ax.contour(*middles, values, levels=levels, colors="white", linewidths=0.5, alpha=0.7)
    bar = figure.colorbar(mesh, ax=ax, shrink=0.85, extend="max", pad=0.02)
    bar.set_label(f"Free energy [{scene.unit}]")
    axes.draw_states(ax, scene.states)
    axes.draw_avoided(ax, scene.avoided)
    pieces = [piece for path in scene.paths for piece in axes.lines(path)]
    ax.add_collection(LineCollection(pieces, colors="black", linewidths=0.4, alpha=scene.path_opacity))
    for curve, color, dashes in ((scene.mean, VERMILLION, _DASHES), (scene.center, ORANGE, "-")):
        if curve is not None:
            pieces = axes.lines(curve)
            ax.add_collection(LineCollection(pieces, colors="white", linewidths=2.6, alpha=0.8, zorder=4))
            lines = LineCollection(pieces, colors=color, linewidths=1.4, linestyles=[dashes], zorder=4)
            ax.add_collection(lines)
    if scene.center is not None:
        draw_dots(ax, axes.shown(axes.space.wrap(scene.center)), scene)
    draw_channels(ax, axes, channels, columns)
    axes.dress(ax)
    ax.set_title(scene.title)
    if all(axes.space.periodic):
        ax.set_aspect("equal")
    draw_legend(figure, scene)
    return figure


def _draw_profile(scene: FreeEnergyScene) -> Figure:
    """Draw the profile of one feature above, and below it how curve and paths move along s."""
    figure, axes = new_figure(6.4, 6.0), scene.axes
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.4])
    top.plot(scene.middles(0), scene.free_energy, color="#1f4e79")
    top.set(ylabel=f"Free energy [{scene.unit}]", ylim=(0, None), title=scene.title)
    for ax in (top, bottom):
        axes.draw_states(ax, scene.states, named=ax is top)
        axes.draw_avoided(ax, scene.avoided, named=ax is top)
    for path in scene.paths:
        for piece in axes.lines(path):
            s = np.linspace(0, 1, len(path))
            bottom.plot(piece[:, 0], s, color="black", lw=0.5, alpha=scene.path_opacity)
    for curve, color, dashes in ((scene.mean, VERMILLION, _DASHES), (scene.center, ORANGE, "-")):
        for piece in axes.lines(curve) if curve is not None else []:
            s = np.linspace(0, 1, len(piece))
            bottom.plot(piece[:, 0], s, color=color, ls=dashes, lw=1.4)
    if scene.center is not None:
        places, s = axes.shown(axes.space.wrap(scene.center)), np.linspace(0, 1, len(scene.center))
        draw_dots(bottom, np.column_stack([places[:, 0], s]), scene)
    axes.dress(bottom)
    bottom.set(ylim=(-0.02, 1.02), ylabel="s along the path [-]")
    draw_legend(figure, scene)
    return figure


def _ceiling(free_energy: NDArray[np.float64]) -> float:
    """Return the top of the colour scale: nearly all of the map, in whole tens of kJ/mol."""
    return max(10.0, float(np.ceil(np.nanpercentile(free_energy, 95) / 10) * 10))
