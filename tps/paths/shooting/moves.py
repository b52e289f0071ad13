"""One shooting move: from the current path to the next one, for many chains at once.

Two-way: a frame gets velocities drawn anew and is flown on and back until each end is in A or B; a path from B to A
counts as its reverse, which equilibrium dynamics makes as often. One-way: the frame keeps its velocities, and only the
part after it (or before it) is flown anew, with other noise. Either way the trial is accepted with probability
min(1, W_old/W_new), W the sum over the interior frames of the weights by which the shooting frame is chosen.

References
----------
Dellago, Bolhuis, Geissler, Adv. Chem. Phys. 123, 1 (2002); Bolhuis, Chandler, Dellago, Geissler, Annu. Rev. Phys. Chem.
53, 291 (2002): flexible length, and that a trial may stop as soon as its length rules it out; Jung, Okazaki, Hummer,
J. Chem. Phys. 147, 152716 (2017): biased choice of the frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.dynamics.transition import (
    FAILED,
    IN_A,
    IN_B,
    OUTSIDE,
    Flight,
    Points,
    TransitionDynamics,
    generators,
)
from tps.errors import ParameterError
from tps.paths.shooting.candidate import Tally, counted, likely_frame, new_tally
from tps.paths.shooting.choice import FrameChoice, UniformChoice
from tps.paths.shooting.path import ChainPath
from tps.paths.shooting.records import MOVE_RECORD, Direction, Outcome, Records


@dataclass(frozen=True)
class ShootingSettings:
    """How chains shoot.

    Attributes
    ----------
    kind : "two-way" or "one-way"
        One-way moves choose forward or backward by a fair coin. A candidate is always replaced by a two-way move with
        fresh velocities.
    max_frames : int
        Longest path, its ends included: the ensemble holds no longer ones, so choose it far above their mean length.
    redraw_velocities : bool
        Whether two-way moves draw velocities anew; otherwise new noise alone makes the trial differ.
    choice : FrameChoice
        How the shooting frame is chosen.
    drawn : bool
        Whether the candidates are transition paths drawn from the ensemble itself, such as `ReweightedPaths.spread`:
        a chain's first move then takes its candidate as it is, without burn-in. For two-way moves that redraw
        velocities, as a candidate has none.
    """

    kind: Literal["two-way", "one-way"] = "two-way"
    max_frames: int = 10_000
    redraw_velocities: bool = True
    choice: FrameChoice = field(default_factory=UniformChoice)
    drawn: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("two-way", "one-way"):
            raise ParameterError(f"the kind of shooting is two-way or one-way, but got {self.kind!r}")
        if self.drawn and not (self.kind == "two-way" and self.redraw_velocities):
            raise ParameterError(
                "paths drawn from the ensemble come without velocities: take two-way moves with redrawn velocities"
            )
        if self.max_frames < 3:
            raise ParameterError(f"a path has at least 3 frames, but max_frames is {self.max_frames}")


@dataclass(frozen=True, eq=False)
class Chain:
    """A chain between two moves.

    Attributes
    ----------
    index : int
        Which chain; its moves' chance follows from seed, index and move number alone.
    move : int
        Number of the next move.
    path : ChainPath
    tally : (n_frames, 2) int array or None
        Where flights from a candidate's frames have ended so far; None once the path is one that the dynamics made.
    """

    index: int
    move: int
    path: ChainPath
    tally: Tally | None

    @classmethod
    def from_candidate(cls, index: int, dynamics: TransitionDynamics, positions: ArrayLike) -> Self:
        """Return a new chain: see `ChainPath.from_candidate`."""
        path = ChainPath.from_candidate(dynamics, positions)
        return cls(index, 0, path, new_tally(len(path)))

    @property
    def dynamical(self) -> bool:
        """Whether the path was made by the dynamics; a candidate was not, so its length rules nothing out."""
        return self.tally is None


def accepts(u: float, old_weight: float, new_weight: float) -> bool:
    """Return whether a trial is accepted, given u uniform in [0, 1): with probability min(1, old/new)."""
    return u * new_weight < old_weight


def longest_interior(u: float, n_interior: int, max_interior: int) -> int:
    """Return the longest interior a trial may have, given u, with equal weights: u n_new < n_old."""
    return max_interior if u * max_interior < n_interior else math.ceil(n_interior / u) - 1


@dataclass(eq=False)
class _Trial:
    """One chain's move in the making; `point` is the shooting frame as it is flown on from (or back, one-way)."""

    chain: Chain
    rng: np.random.Generator
    frame: int
    direction: Direction
    point: Points
    u: float
    old_weight: float
    max_frames: int
    forward: Flight | None = None
    backward: Flight | None = None

    @property
    def n_kept(self) -> int:
        """Frames of the old path on the new one."""
        if self.direction == Direction.BOTH:
            return 1
        return self.frame + 1 if self.direction == Direction.FORWARD else len(self.chain.path) - self.frame

    @property
    def n_flown(self) -> int:
        """Frames flown so far."""
        return sum(flight.n_frames for flight in (self.forward, self.backward) if flight)

    @property
    def ends(self) -> tuple[int, int]:
        """Where the trial begins and ends, OUTSIDE where it was not flown."""
        forward = self.forward.end if self.forward else OUTSIDE
        backward = self.backward.end if self.backward else OUTSIDE
        if self.direction == Direction.FORWARD:
            return IN_A, forward
        return (backward, IN_B) if self.direction == Direction.BACKWARD else (backward, forward)

    def path(self) -> ChainPath:
        """Return the finished trial from A to B."""
        old, frame, move = self.chain.path, self.frame, self.chain.move
        if self.direction == Direction.BOTH:
            kept = ChainPath(self.point[None], np.array([True]), old.born[frame : frame + 1])
        else:
            forward = self.direction == Direction.FORWARD
            kept = old.part(slice(0, frame + 1) if forward else slice(frame, None))
        parts = [kept]
        if self.backward:
            parts.insert(0, ChainPath.flown(self.backward.points[::-1], onward=False, move=move))
        if self.forward:
            parts.append(ChainPath.flown(self.forward.points, onward=True, move=move))
        joined = ChainPath.joined(parts)
        return joined.reversed() if self.ends == (IN_B, IN_A) else joined


def shooting_move(
    dynamics: TransitionDynamics, chains: Sequence[Chain], settings: ShootingSettings, seed: int
) -> tuple[list[Chain], Records, list[NDArray[np.floating]]]:
    """Make the next move of every chain.

    Parameters
    ----------
    dynamics : TransitionDynamics
    chains : sequence of Chain
    settings : ShootingSettings
    seed : int
        Of all chains together.

    Returns
    -------
    chains : list of Chain
        After the move; a rejected trial leaves the path as it was.
    records : (n_chains,) array of MOVE_RECORD
    shots : list of (*position) arrays
        Positions of the shooting frames; of a move that only takes a drawn path, those of its middle frame.
    """
    if settings.drawn and any(chain.move == 0 for chain in chains):
        return _taken(dynamics, chains)
    rngs = generators(seed, *((chain.index, chain.move) for chain in chains))
    trials = [_prepare(dynamics, chain, settings, rng) for chain, rng in zip(chains, rngs, strict=True)]
    _fly(dynamics, trials)
    moved, records, shots = [], np.zeros(len(chains), dtype=MOVE_RECORD), []
    for row, trial in enumerate(trials):
        chain, records[row] = _decide(dynamics, trial, settings)
        moved.append(chain)
        old = trial.chain.path.points
        shots.append(dynamics.positions(old[trial.frame : trial.frame + 1])[0])
    return moved, records, shots


def _taken(
    dynamics: TransitionDynamics, chains: Sequence[Chain]
) -> tuple[list[Chain], Records, list[NDArray[np.floating]]]:
    """Take the drawn paths of new chains as their first ones, which costs no step."""
    moved, records, shots = [], np.zeros(len(chains), dtype=MOVE_RECORD), []
    for row, chain in enumerate(chains):
        path, middle = chain.path, len(chain.path) // 2
        records[row]["chain"], records[row]["frame"] = chain.index, middle
        records[row]["n_old"] = records[row]["n_new"] = len(path)
        records[row]["accepted"], records[row]["outcome"] = True, Outcome.ACCEPTED
        records[row]["from_candidate"] = True
        records[row]["end_forward"], records[row]["end_backward"] = IN_B, IN_A
        moved.append(Chain(chain.index, 1, replace(path, born=np.zeros_like(path.born)), None))
        shots.append(dynamics.positions(path.points[middle : middle + 1])[0])
    return moved, records, shots


def _prepare(
    dynamics: TransitionDynamics, chain: Chain, settings: ShootingSettings, rng: np.random.Generator
) -> _Trial:
    path = chain.path
    if chain.tally is not None:
        frame = likely_frame(chain.tally, rng)
        point = dynamics.fresh(path.start(dynamics, frame, True)[None], [rng])[0]
        return _Trial(chain, rng, frame, Direction.BOTH, point, 0.0, 1.0, settings.max_frames)
    weights = settings.choice.weights(dynamics, dynamics.positions(path.points[1:-1]))
    total = np.cumsum(weights)
    if not (np.isfinite(total[-1]) and np.min(weights) > 0):
        raise ParameterError("the weights by which a shooting frame is chosen must be positive and finite")
    below = int(np.searchsorted(total, rng.random() * total[-1], side="right"))
    frame = 1 + min(below, len(weights) - 1)  # the product may round up to the total
    forward, u = bool(rng.random() < 0.5), float(rng.random())
    direction = Direction.BOTH
    if settings.kind == "one-way":
        direction = Direction.FORWARD if forward else Direction.BACKWARD
    point = path.start(dynamics, frame, direction != Direction.BACKWARD)
    if direction == Direction.BOTH and settings.redraw_velocities:
        point = dynamics.fresh(point[None], [rng])[0]
    longest = settings.max_frames
    if isinstance(settings.choice, UniformChoice):
        longest = 2 + longest_interior(u, len(weights), longest - 2)
    return _Trial(chain, rng, frame, direction, point, u, float(total[-1]), longest)


def _fly(dynamics: TransitionDynamics, trials: list[_Trial]) -> None:
    """Fly the trials' first flights together, then the second ones of those that can still succeed."""
    limits = [
        max(0, t.max_frames - t.n_kept - (t.direction == Direction.BOTH)) for t in trials
    ]  # a two-way trial needs one more frame behind its shooting frame
    first = dynamics.fly(np.stack([t.point for t in trials]), [t.rng.spawn(1)[0] for t in trials], limits)
    again = []
    for trial, flight in zip(trials, first, strict=True):
        if trial.direction == Direction.BACKWARD:
            trial.backward = flight
            continue
        trial.forward = flight
        if trial.direction == Direction.BOTH and flight.end in (IN_A, IN_B):
            again.append(trial)
    if again:
        second = dynamics.fly(
            dynamics.reverse(np.stack([t.point for t in again])),
            [t.rng.spawn(1)[0] for t in again],
            [t.max_frames - 1 - t.n_flown for t in again],
        )
        for trial, flight in zip(again, second, strict=True):
            trial.backward = flight


def _decide(dynamics: TransitionDynamics, trial: _Trial, settings: ShootingSettings) -> tuple[Chain, Records]:
    chain, ends = trial.chain, trial.ends
    outcome, path, n_new = Outcome.WRONG_ENDS, chain.path, 0
    if FAILED in ends:
        outcome = Outcome.FAILED
    elif (
        OUTSIDE in ends
    ):  # out of frames: of those allowed at all, or of those that this u could still accept
        outcome = Outcome.TOO_LONG if trial.max_frames == settings.max_frames else Outcome.RATIO
    else:
        n_new = trial.n_kept + trial.n_flown
        if set(ends) == {IN_A, IN_B}:
            new = trial.path()
            weights = settings.choice.weights(dynamics, dynamics.positions(new.points[1:-1]))
            taken = chain.tally is not None or accepts(trial.u, trial.old_weight, float(weights.sum()))
            outcome, path = (Outcome.ACCEPTED, new) if taken else (Outcome.RATIO, path)
    accepted = outcome == Outcome.ACCEPTED
    record = np.zeros((), dtype=MOVE_RECORD)
    record["chain"], record["move"] = chain.index, chain.move
    record["direction"], record["frame"] = trial.direction, trial.frame
    record["n_old"], record["n_new"] = len(chain.path), n_new
    record["accepted"], record["outcome"] = accepted, outcome
    record["from_candidate"] = not chain.dynamical
    record["end_forward"] = trial.forward.end if trial.forward else OUTSIDE
    record["end_backward"] = trial.backward.end if trial.backward else OUTSIDE
    record["n_steps"] = trial.n_flown * dynamics.steps_per_frame
    record["oldest"] = path.born.min()
    tally = None if accepted or chain.tally is None else counted(chain.tally, trial.frame, ends)
    return Chain(chain.index, chain.move + 1, path, tally), record
