"""What is written down about every shooting move, and what follows from it alone."""

from __future__ import annotations

from collections.abc import Sequence
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


def decorrelated_moves(records: Records, last: int = -1) -> NDArray[np.int64]:
    """Return moves (n,) of one chain after which the path shares no frame with those after the moves before.

    `last` is the last such move before these records.

    The first is the end of burn-in. The shooting frame of a two-way move stays on the path and counts as shared.
    """
    moves, oldest = records["move"], records["oldest"]
    found = []
    for move, old in zip(moves.tolist(), oldest.tolist(), strict=True):
        if old > last:
            found.append(move)
            last = move
    return np.array(found, dtype=np.int64)


def lengths_after_moves(records: Records) -> NDArray[np.int64]:
    """Return the frames of the current path after every move (n_moves,)."""
    return np.where(records["accepted"], records["n_new"], records["n_old"]).astype(np.int64)


@dataclass(frozen=True)
class ChainCounts:
    """What the statistics need of a chain's moves, added up move by move so that none is read again.

    Attributes
    ----------
    n_moves, n_accepted : int
        Moves from dynamical paths, those from candidates left out.
    n_candidate_moves : int
    outcomes : tuple of int
        How the moves from dynamical paths ended, in the order of `Outcome`.
    burn_in : int
        The first move after which no frame of the first path was left; -1: not yet.
    n_decorrelated, last_decorrelated : int
        Paths that share no frame with those before them, and the move of the last one, -1 without any.
    n_late, late_frames : int
        Moves from the end of burn-in on, and the frames of the paths after them, added up.
    n_paths : int
        Paths from the end of burn-in on.
    n_frames : int
        Frames of all paths made, those of burn-in included.
    n_steps : int
        MD steps of all moves.
    """

    n_moves: int = 0
    n_accepted: int = 0
    n_candidate_moves: int = 0
    outcomes: tuple[int, ...] = (0,) * len(Outcome)
    burn_in: int = -1
    n_decorrelated: int = 0
    last_decorrelated: int = -1
    n_late: int = 0
    late_frames: int = 0
    n_paths: int = 0
    n_frames: int = 0
    n_steps: int = 0

    def after(self, records: Records) -> ChainCounts:
        """Return the counts after the chain's next moves."""
        proper = records[~records["from_candidate"]]
        outcomes = np.bincount(proper["outcome"], minlength=len(Outcome)).tolist()
        end = burn_in(records) if self.burn_in < 0 else self.burn_in
        late = records[records["move"] >= (np.inf if end is None else end)]
        spread = decorrelated_moves(records, self.last_decorrelated)
        return ChainCounts(
            n_moves=self.n_moves + len(proper),
            n_accepted=self.n_accepted + int(proper["accepted"].sum()),
            n_candidate_moves=self.n_candidate_moves + len(records) - len(proper),
            outcomes=tuple(a + b for a, b in zip(self.outcomes, outcomes, strict=True)),
            burn_in=-1 if end is None else end,
            n_decorrelated=self.n_decorrelated + len(spread),
            last_decorrelated=int(spread[-1]) if len(spread) else self.last_decorrelated,
            n_late=self.n_late + len(late),
            late_frames=self.late_frames + int(lengths_after_moves(late).sum()),
            n_paths=self.n_paths + int(late["accepted"].sum()),
            n_frames=self.n_frames + int(records["n_new"][records["accepted"]].sum()),
            n_steps=self.n_steps + int(records["n_steps"].sum()),
        )

    @property
    def all_moves(self) -> int:
        """Moves of the chain, those from its candidate included."""
        return self.n_moves + self.n_candidate_moves


def shooting_statistics(chains: Sequence[ChainCounts]) -> ShootingStatistics:
    """Summarise chains by their counts."""
    n_late = sum(c.n_late for c in chains)
    outcomes = zip(*(c.outcomes for c in chains), strict=True) if chains else [()] * len(Outcome)
    return ShootingStatistics(
        n_moves=sum(c.n_moves for c in chains),
        n_accepted=sum(c.n_accepted for c in chains),
        n_candidate_moves=sum(c.n_candidate_moves for c in chains),
        outcomes={o.name.lower(): sum(n) for o, n in zip(Outcome, outcomes, strict=True)},
        burn_in=tuple(None if c.burn_in < 0 else c.burn_in for c in chains),
        n_decorrelated=tuple(c.n_decorrelated for c in chains),
        mean_length=sum(c.late_frames for c in chains) / n_late if n_late else float("nan"),
        n_steps=sum(c.n_steps for c in chains),
    )
