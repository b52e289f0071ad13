"""What a picture over features shows, and how its curve and legend are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from tps.report.feature_axes import FeatureAxes, Ranges
from tps.report.style import INK, NO_DATA, ORANGE, PURPLE, VEIL, VERMILLION
from tps.report.tilt import WEAK_SPREAD, WEAK_TILT
from tps.spacetime import WEAK_SPREAD_DEGREE

_MAX_DOTS = 33


@dataclass(frozen=True, eq=False)
class FreeEnergyScene:
    """One or two features of a molecule: free energy, geodesic, paths and regions; values in internal units."""

    axes: FeatureAxes
    n_features: int
    edges: NDArray[np.float64]
    """(1 or 2, n_bins + 1): where the bins of each axis end."""
    free_energy: NDArray[np.float64]
    unit: str
    center: NDArray[np.floating] | None
    strength: NDArray[np.floating] | None
    """Of the tilt at each curve point and in each of the features shown: see `tilt_strength`."""
    mean: NDArray[np.floating] | None
    paths: list[NDArray[np.floating]]
    states: Mapping[str, Ranges]
    avoided: Sequence[Ranges]

    @property
    def path_opacity(self) -> float:
        """All paths together darken the picture about equally, however many there are."""
        return float(np.clip(4 / max(len(self.paths), 1), 0.04, 0.7))

    @property
    def title(self) -> str:
        """Says when features are left out."""
        left_out = self.n_features > self.axes.n
        return f"{self.axes.n} of {self.n_features} features" if left_out else ""

    @property
    def weak(self) -> NDArray[np.bool_] | None:
        """Where along the curve the tilt leaves a feature shown nearly free, so that its centre says little."""
        return None if self.strength is None else np.any(self.strength < WEAK_TILT, axis=1)

    def middles(self, axis: int) -> NDArray[np.float64]:
        """Return the middles of the bins in user units."""
        edges = self.edges[axis] / self.axes.space.user_scale[axis]
        return np.asarray((edges[1:] + edges[:-1]) / 2)


def draw_dots(ax: Axes, points: NDArray[np.floating], scene: FreeEnergyScene) -> None:
    """Draw curve points (n_points, 2): area grows with the strength of the tilt, weak ones are hollow."""
    n = len(points)
    level = np.full(n, 3.0) if scene.strength is None else scene.strength.min(axis=1)
    weak = np.zeros(n, dtype=bool) if scene.weak is None else scene.weak
    spread = np.linspace(0, n - 1, min(n, _MAX_DOTS)).round().astype(int)
    (x, y), level, weak = points[spread].T, level[spread], weak[spread]
    area = np.clip(8 + 9 * level, 8, 50)
    hollow: dict[str, Any] = {"facecolors": "white", "edgecolors": ORANGE, "linewidths": 1.0}
    solid: dict[str, Any] = {"facecolors": ORANGE, "edgecolors": INK, "linewidths": 0.6}
    for chosen, look in ((weak, hollow), (~weak, solid)):
        ax.scatter(x[chosen], y[chosen], s=area[chosen], zorder=5, **look)


def draw_legend(figure: Figure, scene: FreeEnergyScene) -> None:
    """Explain the signs below the picture, where they hide nothing."""
    handles: list[Artist] = []
    if scene.paths:
        handles.append(Line2D([], [], color="black", lw=0.8, label=f"{len(scene.paths)} paths (candidates)"))
    if scene.center is not None:
        dot: dict[str, Any] = {"color": ORANGE, "marker": "o", "lw": 1.2}
        handles.append(Line2D([], [], **dot, markeredgecolor=INK, ms=6, label="geodesic: centre of the tilt"))
        if scene.weak is not None and scene.weak.any():
            wide = f"{WEAK_SPREAD_DEGREE:g}°" if scene.axes.space.n_circles else f"{WEAK_SPREAD:.2g} scales"
            label = f"weak tilt (> {wide} wide): centre says little"
            handles.append(Line2D([], [], **dot, markerfacecolor="white", ms=4, label=label))
    if scene.mean is not None:
        label = "geodesic: mean of the tilted ensemble"
        handles.append(Line2D([], [], color=VERMILLION, lw=1.4, ls=(0, (3, 1.2)), label=label))
    if scene.axes.n == 2:
        if scene.avoided:
            handles.append(_key(edgecolor=PURPLE, facecolor=VEIL, hatch="xx", label="avoided"))
        if np.isnan(scene.free_energy).any():
            handles.append(_key(edgecolor="none", facecolor=NO_DATA, label="no data"))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=2)


def _key(**look: Any) -> Rectangle:
    return Rectangle((0, 0), 1, 1, **look)
