"""One or two features as the axes of a picture: in user units, curves without jumps, regions as boxes."""

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
from tps.features import FeatureSpace
from tps.report.style import HALO, INK, PURPLE, VEIL

Box = tuple[tuple[float, float], ...]
#: A region: (low, high) of some features by name, in internal units; an angle's with low > high goes through 180°.
Ranges = Mapping[str, tuple[float, float]]

TURN = 2 * np.pi


@dataclass(frozen=True, eq=False)
class FeatureAxes:
    """The features a picture is drawn over.

    Attributes
    ----------
    space : FeatureSpace
        Of one or two features.
    limits : (d, 2) array
        Low and high of each axis, in internal units.
    """

    space: FeatureSpace
    limits: ArrayLike

    def __post_init__(self) -> None:
        names = self.space.names
        if len(names) not in (1, 2) or np.shape(self.limits) != (len(names), 2):
            raise ParameterError(
                "a picture needs one or two features and the low and high of each, but got "
                f"{', '.join(names)} and limits of shape {np.shape(self.limits)}"
            )

    @property
    def n(self) -> int:
        """One or two."""
        return self.space.n_features

    def shown(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return values (..., d) in user units."""
        return np.asarray(np.asarray(values, dtype=np.float64) / self.space.user_scale)

    def ends(self, axis: int) -> tuple[float, float]:
        """Where the picture ends, in user units."""
        low, high = np.asarray(self.limits, dtype=np.float64)[axis] / self.space.user_scale[axis]
        return float(low), float(high)

    def label(self, axis: int) -> str:
        """Name and unit of an axis."""
        name, unit = self.space.names[axis], self.space.user_units[axis]
        return f"{name} [{unit}]" if unit else name

    def lines(self, points: NDArray[np.floating]) -> list[NDArray[np.float64]]:
        """Return polylines (n, d) of a curve's points (n, >= d), in user units, without jumps across the picture.

        Raises
        ------
        ParameterError
            If the points do not have these features.
        """
        if np.ndim(points) != 2 or np.shape(points)[1] < self.n:
            raise ParameterError(
                f"a path over {self.n} features needs shape (n_frames, {self.n}), but has {np.shape(points)}"
            )
        return [self.shown(piece) for piece in wrapped_lines(self.space, points[:, : self.n])]

    def boxes(self, ranges: Ranges) -> list[Box]:
        """Return a region as boxes inside the picture, one (low, high) for each axis.

        An axis the region does not limit is covered; a region that limits none of them has no boxes.
        """
        if not any(name in ranges for name in self.space.names):
            return []
        pieces = []
        for axis, (name, scale) in enumerate(zip(self.space.names, self.space.user_scale, strict=True)):
            ends, given = self.ends(axis), ranges.get(name)
            if given is None:
                pieces.append([ends])
            elif self.space.periodic[axis]:
                pieces.append([(a / scale, b / scale) for a, b in range_pieces(given)])
            else:
                low, high = max(given[0] / scale, ends[0]), min(given[1] / scale, ends[1])
                pieces.append([(low, high)] if low < high else [])
        return list(itertools.product(*pieces))

    def dress(self, ax: Axes) -> None:
        """Set limits, labels and a frame."""
        for axis, name in enumerate("xy"[: self.n]):
            ax.set(**{f"{name}lim": self.ends(axis), f"{name}label": self.label(axis)})
            if self.space.periodic[axis]:
                ax.set(**{f"{name}ticks": range(-180, 181, 60)})
        if self.n == 2:
            ax.spines[["top", "right"]].set_visible(True)

    def draw_states(self, ax: Axes, states: Mapping[str, Ranges], *, named: bool = True) -> None:
        """Draw states as boxes, over one feature as strips, with their names."""
        for label, ranges in states.items():
            boxes = self.boxes(ranges)
            for box in boxes:
                if len(box) == 1:
                    ax.axvspan(*box[0], color=INK, alpha=0.1, lw=0)
                else:
                    ax.add_patch(_rectangle(box, edgecolor="black", facecolor="none"))
            if boxes and named:
                self._name(ax, max(boxes, key=lambda box: np.prod([b - a for a, b in box])), label)

    def draw_avoided(self, ax: Axes, avoided: Sequence[Ranges], *, named: bool = True) -> None:
        """Draw regions to stay out of, hatched; over one feature as strips, with a word."""
        for box in itertools.chain.from_iterable(self.boxes(ranges) for ranges in avoided):
            if len(box) == 2:
                ax.add_patch(_rectangle(box, edgecolor=PURPLE, facecolor=VEIL, hatch="xx"))
                continue
            ax.axvspan(*box[0], color=PURPLE, alpha=0.1, lw=0)
            if named:
                self._name(ax, box, "avoid")

    def _name(self, ax: Axes, box: Box, label: str) -> None:
        left, right = box[0]
        look: dict[str, Any] = {"va": "top", "weight": "bold", "zorder": 7, "path_effects": HALO}
        if len(box) == 1:
            ax.text((left + right) / 2, 0.97, label, ha="center", transform=ax.get_xaxis_transform(), **look)
        else:
            ax.annotate(label, (left, box[1][1]), (4, -3), textcoords="offset points", **look)


def wrapped_lines(space: FeatureSpace, values: NDArray[np.floating]) -> list[NDArray[np.float64]]:
    """Return polylines that draw a curve (n_points, d) without jumps where angles go through 180 degrees.

    The curve is unwrapped, each step taken the short way round, and repeated by whole turns wherever a part of it falls
    into the picture's turn (-pi, pi]; the caller clips at the edges.

    Returns
    -------
    list of ndarray (n_points, d)
    """
    smooth = space.unwrap(values)
    turns = [
        range(int(np.ceil((-np.pi - high) / TURN)), int(np.floor((np.pi - low) / TURN)) + 1)
        if periodic
        else range(1)
        for periodic, low, high in zip(space.periodic, smooth.min(axis=0), smooth.max(axis=0), strict=True)
    ]
    return [smooth + TURN * np.array(shift) for shift in itertools.product(*turns)]


def range_pieces(limits: tuple[float, float]) -> list[tuple[float, float]]:
    """Return the intervals of (-pi, pi] that an angle's range covers."""
    low, high = limits
    return [(low, high)] if low <= high else [(-np.pi, high), (low, np.pi)]


def _rectangle(box: Box, **look: Any) -> Rectangle:
    """Return the outline of a box of two axes."""
    (left, right), (low, high) = box
    return Rectangle((left, low), right - left, high - low, linewidth=1.3, zorder=2, **look)
