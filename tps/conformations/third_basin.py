"""A third basin: somewhere that is neither A nor B, and keeps those who get there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tps.features import FeatureSpace

#: A stay is long that takes this share of its walker's time: so few of them fit in that they do not average out.
_LONG = 0.2
_FEWEST_FRAMES = 20
#: A feature tells a stay from all other frames where their histograms have no more than this in common.
_IN_COMMON = 0.2
_N_BINS = 36
#: A frame belongs to a basin within so many of its standard deviations.
_WIDTH = 2.5


@dataclass(frozen=True, eq=False)
class ThirdBasin:
    """Where walkers stayed that left A and B.

    Attributes
    ----------
    space : FeatureSpace
        The features that tell it from everything else, m of them.
    center, spread : (m,) arrays
        Mean and standard deviation there, in internal units.
    frame : int
        One frame that lies in its middle.
    n_stays : int
        Long stays there, of all walkers.
    n_left : int
        Those that ended before their walker's time did.
    longest : int
        Frames of the longest one.
    n_inside : int
        Frames of all of them.
    share_of_walker : float
        The longest one as a share of its walker's frames.
    """

    space: FeatureSpace
    center: NDArray[np.float64]
    spread: NDArray[np.float64]
    frame: int
    n_stays: int
    n_left: int
    longest: int
    n_inside: int
    share_of_walker: float

    @property
    def place(self) -> str:
        """Where it is, as people write it."""
        space = self.space
        parts = zip(
            space.names,
            self.center / space.user_scale,
            self.spread / space.user_scale,
            space.user_units,
            strict=True,
        )
        return ", ".join(
            f"{name} {center:.3g} ± {spread:.2g} {unit.replace('degree', '°')}".rstrip()
            for name, center, spread, unit in parts
        )

    def contains(self, space: FeatureSpace, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return whether feature values (n, d) of a whole space lie there (n,)."""
        at = values[:, [space.names.index(name) for name in self.space.names]]
        off = np.abs(self.space.difference(self.center, at))
        return np.asarray((off <= _WIDTH * self.spread).all(axis=1))

    def sentence(self, share: float, per_frame: float | None) -> str:
        """Return what is to be said: `share` of the weight lies there, `per_frame` is the time between frames [ps]."""
        longest, total = (_spoken(n, per_frame) for n in (self.longest, self.n_inside))
        left = "none of them ended" if not self.n_left else f"{self.n_left} of them ended"
        stays = (
            f"a walker stayed {longest}, {self.share_of_walker:.0%} of its time"
            if self.n_stays == 1
            else f"walkers stayed {total} in {self.n_stays} long stays, the longest {longest}"
        )
        return (
            f"a third basin at {self.place}, neither A nor B: {stays}, and {left}; it holds {share:.0%} of the weight, "
            "which so few visits do not tell, and rates and populations depend on it: sample longer, close it off by "
            "[confinement] in the system file, or make it A or B (conformations/third_basin.pdb is its structure)"
        )

    def as_dict(self, share: float, per_frame: float | None) -> dict[str, Any]:
        """Return its numbers as a JSON object: the longest stay in "ps", or "frames" where their time is not known."""
        longest, unit = (self.longest, "frames") if per_frame is None else (self.longest * per_frame, "ps")
        return {
            "place": self.place,
            "share": share,
            "longest": longest,
            "unit": unit,
            "n_stays": self.n_stays,
            "n_left": self.n_left,
        }


def find_third_basin(
    space: FeatureSpace,
    values: NDArray[np.float64],
    walker: NDArray[np.integer],
    in_a: NDArray[np.bool_],
    in_b: NDArray[np.bool_],
) -> ThirdBasin | None:
    """Return the place outside A and B where walkers stayed longest, if a feature tells it from all other frames.

    A stay is a stretch of one walker's frames outside both states. Long ones that cannot be told from what is visited
    between A and B anyhow are ways across, not basins.

    Parameters
    ----------
    space : FeatureSpace
    values : (n_frames, d) array
        In internal units.
    walker : (n_frames,) int array
        Frames of one walker are in the order of time.
    in_a, in_b : (n_frames,) bool arrays
    """
    values = space.wrap(values)
    stays = list(_long_stays(walker, in_a | in_b))
    others = np.ones(len(values), dtype=np.bool_)
    for stay, _ in stays:
        others[stay] = False
    if not others.any():
        return None
    ranges = space.ranges(values)
    for stay, size in sorted(stays, key=lambda found: -len(found[0])):
        columns = [
            k for k in range(space.n_features) if _in_common(values, stay, others, ranges, k) <= _IN_COMMON
        ]
        if not columns:
            continue
        part = space.select(tuple(space.names[k] for k in columns))
        center = part.mean(values[stay][:, columns])
        spread = np.sqrt(np.mean(part.difference(center, values[stay][:, columns]) ** 2, axis=0)) + 1e-9
        off = np.abs(part.difference(center, values[:, columns]))
        inside = (off <= _WIDTH * spread).all(axis=1)
        same = [found for found, _ in stays if 2 * inside[found].sum() >= len(found)]
        return ThirdBasin(
            part,
            center,
            spread,
            frame=int(stay[np.argmin((off[stay] / spread).max(axis=1))]),
            n_stays=len(same),
            n_left=sum(_ended(walker, found) for found in same),
            longest=len(stay),
            n_inside=sum(len(found) for found in same),
            share_of_walker=len(stay) / size,
        )
    return None


def _long_stays(
    walker: NDArray[np.integer], in_states: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.intp], int]]:
    """Yield the indices of frames of each long stay outside the states, and how many frames its walker has."""
    for name in np.unique(walker):
        frames = np.flatnonzero(walker == name)
        outside = np.concatenate([[False], ~in_states[frames], [False]])
        edges = np.flatnonzero(np.diff(outside.astype(np.int8)))
        for first, last in edges.reshape(-1, 2):
            if last - first >= max(_LONG * len(frames), _FEWEST_FRAMES):
                yield frames[first:last], len(frames)


def _in_common(
    values: NDArray[np.float64],
    stay: NDArray[np.intp],
    others: NDArray[np.bool_],
    ranges: NDArray[np.float64],
    column: int,
) -> float:
    """Return what the histograms of a feature in a stay and in other frames have in common, from 0 to 1."""
    low, high = ranges[column]
    edges = np.linspace(low, high, _N_BINS + 1)
    here, there = (np.histogram(values[part, column], edges)[0] for part in (stay, others))
    return float(np.minimum(here / max(here.sum(), 1), there / max(there.sum(), 1)).sum())


def _ended(walker: NDArray[np.integer], stay: NDArray[np.intp]) -> bool:
    """Return whether a stay ended before its walker's time."""
    return bool(stay[-1] != np.flatnonzero(walker == walker[stay[0]])[-1])


def _spoken(n_frames: int, per_frame: float | None) -> str:
    """Return a time in ps or ns, or in frames where the time between them is not known."""
    if per_frame is None:
        return f"{n_frames:,} frames"
    time = n_frames * per_frame
    return f"{time / 1000:.3g} ns" if time >= 1000 else f"{time:.3g} ps"
