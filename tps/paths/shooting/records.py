"""What is written down about every shooting move, and what follows from it alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Outcome(IntEnum):
    """How a move ended."""

    ACCEPTED = 0
    WRONG_ENDS = 1  #: the trial does not connect A with B
    RATIO = 2  #: rejected by the ratio of the paths' weights (with equal weights: of their lengths)
    TOO_LONG = 3  #: neither state within the longest path allowed
    FAILED = 4  #: the dynamics left the numbers


class Direction(IntEnum):
    """Which part of the path a move makes anew."""

    BACKWARD = -1
    BOTH = 0
    FORWARD = 1


#: One move. `frame` is the shooting frame's index on the old path of `n_old` frames; `n_new` counts the trial's frames
#: (0: it was not finished); `from_candidate` tells moves that start from a path that is not dynamical;
#: `end_forward`, `end_backward` are the ends of the flights (OUTSIDE where none finished); `n_steps` counts MD steps;
#: `oldest` is the number of the move that made the oldest frame of the path after this move, -1 for the first path.
MOVE_RECORD = np.dtype(
    [
        ("chain", np.int32),
        ("move", np.int64),
        ("direction", np.int8),
        ("frame", np.int32),
        ("n_old", np.int32),
        ("n_new", np.int32),
        ("accepted", np.bool_),
        ("outcome", np.int8),
        ("from_candidate", np.bool_),
        ("end_forward", np.int8),
        ("end_backward", np.int8),
        ("n_steps", np.int64),
        ("oldest", np.int64),
    ]
)

Records = NDArray[np.void]


@dataclass(frozen=True)
class ShootingStatistics:
    """How well shooting goes, over all chains.

    Attributes
    ----------
    n_moves, n_accepted : int
        Moves from dynamical paths, those from candidates left out.
    n_candidate_moves : int
        Moves it took to get from the candidates to dynamical paths.
    outcomes : dict of str to int
        How the moves from dynamical paths ended.
    burn_in : tuple of (int or None)
        Per chain: moves until no frame of the first path was left; None: not yet.
    n_decorrelated : tuple of int
        Per chain: paths after burn-in no two of which share a frame.
    mean_length : float
        Frames per path, after burn-in, each path counted for every move that it was current; NaN without any.
    n_steps : int
        MD steps, those of rejected moves and of burn-in included.
    """

    n_moves: int
    n_accepted: int
    n_candidate_moves: int
    outcomes: dict[str, int]
    burn_in: tuple[int | None, ...]
    n_decorrelated: tuple[int, ...]
    mean_length: float
    n_steps: int

    @property
    def acceptance(self) -> float:
        """Fraction of moves accepted; NaN without any move."""
        return self.n_accepted / self.n_moves if self.n_moves else float("nan")

    @property
    def steps_per_decorrelated_path(self) -> float:
        """MD steps per decorrelated path, all chains and burn-in included; infinite without any."""
        n = sum(self.n_decorrelated)
        return self.n_steps / n if n else float("inf")


def burn_in(records: Records) -> int | None:
    """Return the first move of a chain after which no frame of the first path was left, or None."""
    free = np.flatnonzero(records["oldest"] >= 0)
    return int(records["move"][free[0]]) if len(free) else None


def decorrelated_moves(records: Records) -> NDArray[np.int64]:
    """Return moves (n,) of one chain after which the path shares no frame with those after the moves before.

    The first is the end of burn-in. The shooting frame of a two-way move stays on the path and counts as shared.
    """
    moves, oldest = records["move"], records["oldest"]
    found, last = [], -1
    for move, old in zip(moves.tolist(), oldest.tolist(), strict=True):
        if old > last:
            found.append(move)
            last = move
    return np.array(found, dtype=np.int64)


def lengths_after_moves(records: Records) -> NDArray[np.int64]:
    """Return the frames of the current path after every move (n_moves,)."""
    return np.where(records["accepted"], records["n_new"], records["n_old"]).astype(np.int64)


def shooting_statistics(records: list[Records]) -> ShootingStatistics:
    """Summarise the records of chains, each (n_moves,) in the order of the moves."""
    together = np.concatenate(records) if records else np.empty(0, dtype=MOVE_RECORD)
    proper = together[~together["from_candidate"]]
    ends = tuple(burn_in(r) for r in records)
    lengths = [
        lengths_after_moves(r)[r["move"] >= end]
        for r, end in zip(records, ends, strict=True)
        if end is not None
    ]
    return ShootingStatistics(
        n_moves=len(proper),
        n_accepted=int(proper["accepted"].sum()),
        n_candidate_moves=int(together["from_candidate"].sum()),
        outcomes={o.name.lower(): int((proper["outcome"] == o).sum()) for o in Outcome},
        burn_in=ends,
        n_decorrelated=tuple(len(decorrelated_moves(r)) for r in records),
        mean_length=float(np.concatenate(lengths).mean()) if lengths else float("nan"),
        n_steps=int(together["n_steps"].sum()),
    )
