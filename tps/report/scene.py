"""What a picture over torsions shows, and how its curve, regions and legend are drawn."""

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

from tps.report.style import HALO, INK, NO_DATA, ORANGE, PURPLE, VERMILLION
from tps.report.torus import WEAK_SPREAD_DEGREE, WEAK_TILT, Ranges, region_boxes

DEGREE = 180 / np.pi
TICKS = range(-180, 181, 60)

_MAX_DOTS = 33
_VEIL = "#cc79a733"


@dataclass(frozen=True, eq=False)
class TorsionScene:
    """One or two torsions of a molecule: free energy, geodesic, paths and regions; angles in rad."""

    names: tuple[str, ...]
    n_features: int
    grid: NDArray[np.float64]
    free_energy: NDArray[np.float64]
    center: NDArray[np.floating] | None
    strength: NDArray[np.floating] | None
    """ln kappa of each curve point, the weakest of the torsions shown."""
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
        """Says when torsions are left out."""
        left_out = self.n_features > len(self.names)
        return f"{len(self.names)} of {self.n_features} torsions" if left_out else ""


def draw_dots(ax: Axes, points: NDArray[np.floating], strength: NDArray[np.floating] | None) -> None:
    """Draw curve points (n_points, 2): area grows with ln kappa, weak ones are hollow."""
    level = np.full(len(points), 3.0) if strength is None else strength
    spread = np.linspace(0, len(points) - 1, min(len(points), _MAX_DOTS)).round().astype(int)
    (x, y), level = points[spread].T, level[spread]
    weak = level < WEAK_TILT
    area = np.clip(8 + 9 * level, 8, 50)
    hollow: dict[str, Any] = {"facecolors": "white", "edgecolors": ORANGE, "linewidths": 1.0}
    solid: dict[str, Any] = {"facecolors": ORANGE, "edgecolors": INK, "linewidths": 0.6}
    for chosen, look in ((weak, hollow), (~weak, solid)):
        ax.scatter(x[chosen], y[chosen], s=area[chosen], zorder=5, **look)


def draw_boxes(ax: Axes, scene: TorsionScene) -> None:
    """Draw the regions of a scene of two torsions."""
    for label, ranges in scene.states.items():
        boxes = region_boxes(ranges, scene.names)
        for box in boxes:
            ax.add_patch(_rectangle(box, edgecolor="black", facecolor="none", linewidth=1.3))
        if boxes:
            (left, _), (_, high) = max(boxes, key=lambda box: np.prod([b - a for a, b in box]))
            corner = (left * DEGREE + 4, high * DEGREE - 4)
            ax.text(*corner, label, ha="left", va="top", weight="bold", size=13, zorder=7, path_effects=HALO)
    for ranges in scene.avoided:
        for box in region_boxes(ranges, scene.names):
            ax.add_patch(
                _rectangle(box, edgecolor=PURPLE, facecolor=_VEIL, linewidth=1.3, hatch="xx", zorder=1.5)
            )


def draw_strips(axes: Sequence[Axes], scene: TorsionScene) -> None:
    """Draw the regions of a scene of one torsion, labelled in the first of `axes`."""
    regions = [(label, ranges, INK) for label, ranges in scene.states.items()]
    regions += [("avoid", ranges, PURPLE) for ranges in scene.avoided]
    for label, ranges, color in regions:
        for ((low, high),) in region_boxes(ranges, scene.names):
            for ax in axes:
                ax.axvspan(low * DEGREE, high * DEGREE, color=color, alpha=0.1, lw=0)
            axes[0].text(
                (low + high) / 2 * DEGREE,
                0.97,
                label,
                transform=axes[0].get_xaxis_transform(),
                ha="center",
                va="top",
                weight="bold",
            )


def draw_legend(figure: Figure, scene: TorsionScene) -> None:
    """Explain the signs below the picture, where they hide nothing."""
    handles: list[Artist] = []
    if scene.paths:
        handles.append(Line2D([], [], color="black", lw=0.8, label=f"{len(scene.paths)} paths (candidates)"))
    if scene.center is not None:
        dot: dict[str, Any] = {"color": ORANGE, "marker": "o", "lw": 1.2}
        handles.append(Line2D([], [], **dot, markeredgecolor=INK, ms=6, label="geodesic: centre of the tilt"))
        if scene.strength is not None and (scene.strength < WEAK_TILT).any():
            label = f"weak tilt (> {WEAK_SPREAD_DEGREE:g}° wide): centre says little"
            handles.append(Line2D([], [], **dot, markerfacecolor="white", ms=4, label=label))
    if scene.mean is not None:
        label = "geodesic: mean of the tilted ensemble"
        handles.append(Line2D([], [], color=VERMILLION, lw=1.4, ls=(0, (3, 1.2)), label=label))
    if len(scene.names) == 2:
        if scene.avoided:
            handles.append(_key(edgecolor=PURPLE, facecolor=_VEIL, hatch="xx", label="avoided"))
        if np.isnan(scene.free_energy).any():
            handles.append(_key(edgecolor="none", facecolor=NO_DATA, label="no data"))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=2)


def _rectangle(box: tuple[tuple[float, float], ...], **look: Any) -> Rectangle:
    (left, right), (low, high) = ((a * DEGREE, b * DEGREE) for a, b in box)
    return Rectangle((left, low), right - left, high - low, **{"zorder": 3, **look})


def _key(**look: Any) -> Rectangle:
    return Rectangle((0, 0), 1, 1, **look)
