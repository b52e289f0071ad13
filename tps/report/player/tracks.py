"""Paths as the player shows them: some of their frames, with every number that stands beside a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tps.errors import ParameterError
from tps.paths import evenly
from tps.report.player.packed import packed_positions, packed_table

#: Most frames of one path; what is longer than a plot is wide adds nothing to look at.
MOST_FRAMES = 400
#: Frames of a path that are given up last: fewer paths are kept before paths get shorter than this.
_ENOUGH_FRAMES = 80


@dataclass(frozen=True, eq=False)
class Track:
    """One path of a player.

    Attributes
    ----------
    name : str
    frames : (n,) int array
        Which of the path's frames these are, increasing.
    columns : mapping of str to (n,) array
        Axes of the map and traces, by their keys.
    positions : (n, n_atoms, 3) array or None
        [nm]; None on a surface.
    """

    name: str
    frames: NDArray[np.int64]
    columns: Mapping[str, NDArray[np.floating]]
    positions: NDArray[np.floating] | None = None

    def __post_init__(self) -> None:
        n = len(self.frames)
        lengths = {len(column) for column in self.columns.values()}
        if lengths != {n} or (self.positions is not None and len(self.positions) != n) or n == 0:
            raise ParameterError(
                f"a path of {n} frames needs at least one, as many positions and columns as long, but got {lengths}"
            )


@dataclass(frozen=True, eq=False)
class TrackSet:
    """Paths that belong together, such as the candidates of a method.

    Attributes
    ----------
    name : str
    note : str
        What they are, in a sentence or two.
    time : str
        What the column "time" is, with its unit.
    tracks : tuple of Track
    joined : bool
        Whether a path's frames follow one another, and are joined by lines.
    dynamical : bool
        Whether the paths are those of unbiased dynamics.
    """

    name: str
    note: str
    time: str
    tracks: tuple[Track, ...]
    joined: bool = True
    dynamical: bool = False

    def __post_init__(self) -> None:
        keys = {tuple(track.columns) for track in self.tracks}
        kinds = {track.positions is None for track in self.tracks}
        if len(keys) != 1 or len(kinds) != 1:
            raise ParameterError(
                f"the paths of {self.name} need the same columns, all with positions or none"
            )

    def as_json(self) -> dict[str, object]:
        """Return the set as the page holds it: its paths one after the other in one table."""
        columns = {
            key: np.concatenate([track.columns[key] for track in self.tracks])
            for key in self.tracks[0].columns
        }
        found: dict[str, object] = {
            "name": self.name,
            "note": self.note,
            "time": self.time,
            "joined": self.joined,
            "paths": [[track.name, len(track.frames)] for track in self.tracks],
            "table": packed_table({"frame": np.concatenate([t.frames for t in self.tracks]), **columns}),
        }
        positions = [track.positions for track in self.tracks if track.positions is not None]
        if positions:
            xyz = packed_positions(np.concatenate(positions))
            found |= {"positions": xyz.data, "step": xyz.step, "error": xyz.error}
        return found


@dataclass(frozen=True)
class Share:
    """How many paths of a set, and how many frames of each, a player keeps."""

    n_paths: int
    n_frames: int


def shares(sizes: Sequence[tuple[int, int]], n_frames: int) -> list[Share]:
    """Divide `n_frames` frames among sets, so that none gets more than it has while another goes short.

    Parameters
    ----------
    sizes : sequence of (n_paths, longest)
        Of each set: its paths, and the frames of the longest.
    n_frames : int
        Frames of all sets together. At least one path of two frames is kept of each all the same.

    Returns
    -------
    list of Share
    """
    wanted = np.array([n * min(longest, MOST_FRAMES) for n, longest in sizes])
    granted = np.zeros(len(sizes), dtype=np.int64)
    for place, k in enumerate(np.argsort(wanted)):
        granted[k] = min(wanted[k], (n_frames - granted.sum()) // (len(sizes) - place))
    return [_share(*size, int(frames)) for size, frames in zip(sizes, granted, strict=True)]


def _share(n_paths: int, longest: int, n_frames: int) -> Share:
    kept = int(np.clip(n_frames // min(longest, _ENOUGH_FRAMES), 1, n_paths))
    return Share(kept, max(2, min(longest, n_frames // kept, MOST_FRAMES)))


def thinned(n: int, most: int, keep: NDArray[np.integer] | None = None) -> NDArray[np.int64]:
    """Return at most about `most` of n frames: those to `keep`, as far as they fill half of them, and others between.

    Both ends are among them.
    """
    if n <= most:
        return np.arange(n)
    kept = np.empty(0, np.int64) if keep is None else np.asarray(keep, dtype=np.int64)
    kept = kept[evenly(len(kept), max(1, most // 2))]
    return np.union1d(kept, evenly(n, max(2, most - len(kept))))
