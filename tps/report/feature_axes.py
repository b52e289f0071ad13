"""One or two features as the axes of a picture: angles in degrees, curves without jumps, states as boxes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from tps.errors import ParameterError
from tps.report.style import HALO, INK
from tps.report.torus import Ranges, range_pieces, wrapped_lines

Box = tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class FeatureAxes:
    """The features a picture is drawn over.

    Attributes
    ----------
    names : sequence of str
        One or two.
    limits : (d, 2) array
        Low and high of each axis; angles, in rad, may be given as any turn.
    periodic : bool
        Whether the features are angles.
    """

    names: Sequence[str]
    limits: ArrayLike
    periodic: bool

    def __post_init__(self) -> None:
        if len(self.names) not in (1, 2) or np.shape(self.limits) != (len(self.names), 2):
            raise ParameterError(
                "a picture needs one or two features and the low and high of each, but got "
                f"{', '.join(self.names) or 'none'} and limits of shape {np.shape(self.limits)}"
            )

    @property
    def scale(self) -> float:
        """Degrees per radian for angles, 1 otherwise."""
        return 180 / np.pi if self.periodic else 1.0

    def ends(self, axis: int) -> tuple[float, float]:
        """Where the picture ends, in its own unit."""
        low, high = np.asarray(self.limits, dtype=np.float64)[axis] * self.scale
        return float(low), float(high)

    def label(self, axis: int) -> str:
        """Name and unit of an axis."""
        return f"{self.names[axis]} [degree]" if self.periodic else self.names[axis]

    def lines(self, points: NDArray[np.floating]) -> list[NDArray[np.float64]]:
        """Return polylines (n, d) of a curve's points (n, >= d), in the picture's unit, without jumps across it.

        Raises
        ------
        ParameterError
            If the points do not have these features.
        """
        d = len(self.names)
        if np.ndim(points) != 2 or np.shape(points)[1] < d:
            raise ParameterError(
                f"a path over {d} features needs shape (n_frames, {d}), but has {np.shape(points)}"
            )
        kept = np.asarray(points, dtype=np.float64)[:, :d]
        return [piece * self.scale for piece in wrapped_lines(kept)] if self.periodic else [kept]

    def boxes(self, ranges: Ranges) -> list[Box]:
        """Return a region as boxes inside the picture, one (low, high) for each axis.

        An axis the region does not limit is covered; a region that limits none of them has no boxes.
        """
        if not any(name in ranges for name in self.names):
            return []
        pieces = []
        for axis, name in enumerate(self.names):
            ends = self.ends(axis)
            given = ranges.get(name)
            if given is None:
                pieces.append([ends])
            elif self.periodic:
                pieces.append([(a * self.scale, b * self.scale) for a, b in range_pieces(given)])
            else:
                pieces.append([(max(given[0], ends[0]), min(given[1], ends[1]))])
        return list(itertools.product(*pieces))

    def dress(self, ax: Axes) -> None:
        """Set limits, labels and a frame."""
        for axis, name in enumerate("xy"[: len(self.names)]):
            ax.set(**{f"{name}lim": self.ends(axis), f"{name}label": self.label(axis)})
            if self.periodic:
                ax.set(**{f"{name}ticks": range(-180, 181, 60)})
        if len(self.names) == 2:
            ax.spines[["top", "right"]].set_visible(True)

    def draw_states(self, ax: Axes, states: Mapping[str, Ranges], *, named: bool = True) -> None:
        """Draw states as boxes, over one feature as strips, with their names."""
        for label, ranges in states.items():
            boxes = self.boxes(ranges)
            for box in boxes:
                if len(box) == 1:
                    ax.axvspan(*box[0], color=INK, alpha=0.1, lw=0)
                else:
                    ax.add_patch(rectangle(box, edgecolor="black", facecolor="none"))
            if not boxes or not named:
                continue
            largest = max(boxes, key=lambda box: np.prod([b - a for a, b in box]))
            left, right = largest[0]
            if len(largest) == 1:
                place: dict[str, Any] = {
                    "x": (left + right) / 2,
                    "y": 0.97,
                    "transform": ax.get_xaxis_transform(),
                }
                ax.text(s=label, ha="center", va="top", weight="bold", path_effects=HALO, **place)
            else:
                look: dict[str, Any] = {"va": "top", "weight": "bold", "zorder": 7, "path_effects": HALO}
                ax.annotate(label, (left, largest[1][1]), (4, -3), textcoords="offset points", **look)


def rectangle(box: Box, **look: Any) -> Rectangle:
    """Return the outline of a box of two axes."""
    (left, right), (low, high) = box
    return Rectangle((left, low), right - left, high - low, linewidth=1.3, zorder=2, **look)
