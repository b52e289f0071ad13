"""What weighted frames can say of A against B: it depends on who went from one to the other, and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tps.errors import ParameterError

#: Where the weights come from: the points of a grid; plain dynamics, which must find them itself; sampling under a
#: frozen bias; a file of the user's; windows and basins weighed together; replicas at several temperatures.
Source = Literal["grid", "plain", "bias", "file", "windows", "temperatures"]


@dataclass(frozen=True)
class FramesVerdict:
    """Whether the weights of the frames tell how likely A is against B.

    Attributes
    ----------
    source : str
        What the weights are from.
    n_walkers : int
        Simulations, or trajectories, that have frames.
    a_to_b, b_to_a : int
        Transitions of all walkers between the states, by the last one visited; 0 on a grid.
    n_saw_both : int
        Walkers with frames in both states.
    n_returned : int
        Walkers that went over and back.
    weightless : str
        Why the relative weight of A and B is not known, and with it differences between them, rates and ψ's; empty
        where it is.
    """

    source: Source
    n_walkers: int
    a_to_b: int
    b_to_a: int
    n_saw_both: int
    n_returned: int
    weightless: str

    @property
    def connected(self) -> bool:
        """Whether the relative weight of A and B is supported."""
        return not self.weightless

    @property
    def sentence(self) -> str:
        """What was seen, in one sentence."""
        if self.weightless:
            return self.weightless
        if self.source == "grid":
            return "the grid covers both states"
        if self.source == "windows":
            return "chains through windows from A and from B agree: the weights of A and B are known"
        if self.source == "temperatures":
            return f"replicas went {self._counted()}: the weights of A and B are known"
        return f"{self._seen()}: the weights of A and B are {'known' if self.source != 'file' else 'those given'}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know; none if all is well."""
        said = [self.weightless] if self.weightless else []
        if not said and self.source == "file" and not self.n_saw_both:
            said.append(f"{self._seen()}: how likely A is against B rests on the weights given alone")
        return tuple(said)

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {**asdict(self), "connected": self.connected, "sentence": self.sentence}

    def _counted(self) -> str:
        return f"{self.a_to_b} times from A to B and {self.b_to_a} back"

    def _seen(self) -> str:
        return _seen(self.n_walkers, self.n_saw_both, self.a_to_b, self.b_to_a)


def states_next_and_last(
    walker: NDArray[np.integer], state: NDArray[np.integer], none: int
) -> NDArray[np.int64]:
    """Return the state that each frame's walker goes to next, and the one it was in last (n_frames, 2).

    Parameters
    ----------
    walker : (n_frames,) int array
        Frames of one walker are in the order of time.
    state : (n_frames,) int array
        That of each frame; `none` outside of all.
    none : int
        Stands where a walker goes to none any more, or was in none yet.
    """
    found = np.full((len(walker), 2), none, dtype=np.int64)
    for one in np.unique(walker):
        rows = np.flatnonzero(walker == one)
        for column, order in enumerate((rows[::-1], rows)):
            since = np.maximum.accumulate(np.where(state[order] != none, np.arange(len(order)), -1))
            found[order, column] = np.where(since >= 0, state[order][since], none)
    return found


def judge_frames(
    walker: NDArray[np.integer],
    in_a: NDArray[np.bool_],
    in_b: NDArray[np.bool_],
    source: Source,
    doubt: str = "",
    ladder: NDArray[np.integer] | None = None,
) -> FramesVerdict:
    """Return whether frames can say how likely A is against B.

    Plain dynamics weighs the states only by going over and back: the walkers that did must be at least half of those
    that saw a state at all. Of replicas at several temperatures, those of every ladder must have gone over and back.
    Under a frozen bias every walker must have seen both. A file's weights are taken at their word.

    Parameters
    ----------
    walker : (n_frames,) int array
        Frames of one walker are in the order of time.
    in_a, in_b : (n_frames,) bool arrays
        Whether a frame lies in a state.
    source : str
        Where the weights come from.
    doubt : str
        Why whoever weighed frames of windows does not believe it; empty where they do.
    ladder : (n_frames,) int array or None
        Which replicas exchange temperatures with one another: those of one number. Needed for "temperatures".

    Raises
    ------
    ParameterError
        If the arrays do not have one length.
    """
    if not in_a.shape == in_b.shape == walker.shape:
        raise ParameterError(
            f"frames, and whether they lie in A and B, need one length, but got {walker.shape}, {in_a.shape} and "
            f"{in_b.shape}"
        )
    walkers = np.unique(walker)
    counts = np.array([_transitions(in_a[walker == w], in_b[walker == w]) for w in walkers]).reshape(-1, 2)
    sees = np.array([(in_a[walker == w].any(), in_b[walker == w].any()) for w in walkers]).reshape(-1, 2)
    n_both, n_either = int(sees.all(axis=1).sum()), int(sees.any(axis=1).sum())
    n_returned = int((counts > 0).all(axis=1).sum())
    over, back = (int(n) for n in counts.sum(axis=0)) if source not in ("grid", "windows") else (0, 0)
    unvisited = [name for name, mask in (("A", in_a), ("B", in_b)) if not mask.any()]
    seen = _seen(len(walkers), n_both, over, back)
    weightless = ""
    if unvisited:
        weightless = (
            f"no frame lies in state {' or '.join(unvisited)}: how likely A is against B is not known"
        )
    elif source == "plain" and 2 * n_returned < n_either:
        weightless = (
            f"{seen}, and {n_returned} went over and back: how likely A is against B is where the walkers started, "
            "not what was sampled; sample longer, take metadynamics, or join trajectories that go on from one another"
        )
    elif source == "windows":
        weightless = doubt
    elif source == "temperatures":
        weightless = _one_way(walker, counts, ladder)
    elif source == "bias" and n_both < len(walkers):
        weightless = (
            f"{seen} under the frozen bias: how likely A is against B is not known; sample longer, or bias features "
            "that tell them apart"
        )
    return FramesVerdict(source, len(walkers), over, back, n_both, n_returned, weightless)


def _one_way(
    walker: NDArray[np.integer], counts: NDArray[np.int64], ladder: NDArray[np.integer] | None
) -> str:
    """Return why replicas with transitions (n_walkers, 2) do not weigh A against B; "" if they do."""
    if ladder is None:
        raise ParameterError("replicas at several temperatures are judged by their ladders: name them")
    _, first = np.unique(walker, return_index=True)
    names = np.unique(ladder)
    whole = sum(bool((counts[ladder[first] == name].sum(axis=0) > 0).all()) for name in names)
    if whole == len(names):
        return ""
    return (
        f"replicas of {whole} of {len(names)} ladders of temperatures went from A to B and back: how likely A is "
        "against B is where they started, not what was sampled; sample longer, or raise "
        "conformations.max_temperature_kelvin"
    )


def _transitions(in_a: NDArray[np.bool_], in_b: NDArray[np.bool_]) -> tuple[int, int]:
    """Return how often a walker came to B with A the last state visited, and to A with B the last."""
    visits = in_b[in_a | in_b].astype(np.int64)
    steps = np.diff(visits)
    return int((steps > 0).sum()), int((steps < 0).sum())


def _seen(n_walkers: int, n_both: int, over: int, back: int) -> str:
    return f"{n_both} of {n_walkers} walkers saw both A and B ({over} times from A to B, {back} from B to A)"
