"""The current path of a chain: its frames as phase points, and which move made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.dynamics.segments import reactive_segment
from tps.dynamics.transition import IN_A, IN_B, OUTSIDE, Points, TransitionDynamics
from tps.errors import ParameterError


@dataclass(frozen=True, eq=False)
class ChainPath:
    """A path from A to B: the first frame in A, the last in B, all between in neither.

    Attributes
    ----------
    points : (n_frames, *point) array
    onward : (n_frames,) bool array
        Whether a phase point leads on along the path; the others were flown backwards and lead back to A. Reversing is
        left to the moment a frame is shot from, because with half-step velocities it takes a force evaluation.
    born : (n_frames,) int array
        The move that made each frame, -1 for the first path.
    """

    points: Points
    onward: NDArray[np.bool_]
    born: NDArray[np.int64]

    @classmethod
    def from_candidate(cls, dynamics: TransitionDynamics, positions: ArrayLike) -> Self:
        """Return the reactive segment of a candidate's positions (n_frames, *position), not dynamical yet.

        Raises
        ------
        ParameterError
            If it never goes from A to B, or has no frame between them to shoot from.
        """
        points = dynamics.points(positions)
        where = dynamics.states(points)
        segment = reactive_segment(where == IN_A, where == IN_B)
        if segment is None:
            raise ParameterError(
                "a chain starts from a path from A to B, but this one never goes there: start from a reactive path"
            )
        if segment[1] - segment[0] < 2:
            raise ParameterError(
                "a path to shoot from needs a frame outside both states between A and B, but frame "
                f"{segment[0]} in A is followed by one in B: store candidates' frames more often"
            )
        chosen = points[segment[0] : segment[1] + 1]
        return cls(chosen, np.ones(len(chosen), dtype=bool), np.full(len(chosen), -1))

    @classmethod
    def flown(cls, points: Points, *, onward: bool, move: int) -> Self:
        """Return new frames that a move has made, in the order of the path."""
        n = len(points)
        return cls(points, np.full(n, onward), np.full(n, move, dtype=np.int64))

    @classmethod
    def joined(cls, parts: Sequence[ChainPath]) -> Self:
        """Return parts one after another as one path."""
        return cls(
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.onward for part in parts]),
            np.concatenate([part.born for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.points)

    def start(self, dynamics: TransitionDynamics, frame: int, onward: bool) -> Points:
        """Return the phase point (*point) from which to fly on (or back) from a frame."""
        point = self.points[frame]
        return point if bool(self.onward[frame]) == onward else dynamics.reverse(point[None])[0]

    def part(self, frames: slice) -> ChainPath:
        """Return some of the frames."""
        return ChainPath(self.points[frames], self.onward[frames], self.born[frames])

    def reversed(self) -> ChainPath:
        """Return the same path run through the other way."""
        return ChainPath(self.points[::-1], ~self.onward[::-1], self.born[::-1])

    def check(self, dynamics: TransitionDynamics) -> None:
        """Check that the frames are a path from A to B.

        Raises
        ------
        ParameterError
            If they are not.
        """
        where = dynamics.states(self.points)
        if len(where) < 3 or where[0] != IN_A or where[-1] != IN_B or (where[1:-1] != OUTSIDE).any():
            raise ParameterError(
                "a stored path no longer goes from A to B: the states have changed since it was made"
            )
