"""What shots from frames of a known distribution give: their record, and independent paths with weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from tps.arrays import load_arrays, save_arrays
from tps.errors import ParameterError, RunFolderError
from tps.files import whole
from tps.stored import remedy

#: What its file holds: see `load_arrays`.
_LAYOUT = {
    "log_weights": "F n",
    "choice": "f n",
    "state": "i n",
    "guess": "i n",
    "drawn": "n s",
    "ends": "i s 2",
    "shot": "n p",
    "log_sums": "f p",
    "taught": "n t",
    "lessons": "i t 2",
    "seed": "n",
    "n_steps": "n",
}
#: Indices in it, and what they count.
_AMONG = {"drawn": "log_weights", "taught": "log_weights", "shot": "drawn"}


@dataclass(frozen=True, eq=False)
class FrameShots:
    """The frames that could be shot from, and what became of the shots: everything rates need, numbers alone.

    Attributes
    ----------
    log_weights : (n_frames,) array
        -ln S of every frame, those in A and B included: its Boltzmann weight, with the constant of `log_sums`.
    choice : (n_frames,) array
        c, in proportion to which frames were drawn; 0 in A and B.
    state : (n_frames,) int8 array
        IN_A, IN_B or OUTSIDE.
    guess : (n_frames,) int8 array
        The state that what was learned gives a frame to; a frame's own in A and B, OUTSIDE where nothing was learned.
    drawn : (n_shots,) int array
        The frame of each shot.
    ends : (n_shots, 2) int array
        Where it ended forwards and backwards.
    shot : (n_paths,) int array
        The shots that made a path from one state to the other.
    log_sums : (n_paths,) array
        ln Σ_j S(x_j) c(x_j) over the interior frames of each such path.
    taught : (n_learning,) int array
        Frames of the shots that only taught c.
    lessons : (n_learning, 2) int array
        Where those ended.
    seed : int
        Of what was learned from them.
    n_steps : int
        Force evaluations, learning included.
    """

    log_weights: NDArray[np.float64]
    choice: NDArray[np.float64]
    state: NDArray[np.int8]
    guess: NDArray[np.int8]
    drawn: NDArray[np.int64]
    ends: NDArray[np.int64]
    shot: NDArray[np.int64]
    log_sums: NDArray[np.float64]
    taught: NDArray[np.int64]
    lessons: NDArray[np.int64]
    seed: int
    n_steps: int

    def __post_init__(self) -> None:
        n = len(self.log_weights)
        if not n == len(self.choice) == len(self.state) == len(self.guess):
            raise ParameterError(f"{n} frames need as many weights, choices, states and guesses")
        if self.ends.shape != (len(self.drawn), 2) or self.shot.shape != self.log_sums.shape:
            raise ParameterError("every shot needs two ends, and every path one sum")

    @property
    def n_shots(self) -> int:
        """Shots, those that only taught left out."""
        return len(self.ends)

    @property
    def log_path_weights(self) -> NDArray[np.float64]:
        """Normalised weights (n_paths,) of the paths in the transition-path ensemble."""
        return -self.log_sums - (logsumexp(-self.log_sums) if len(self.log_sums) else 0.0)

    @property
    def effective_paths(self) -> float:
        """Effective number of paths (Kish)."""
        return float(np.exp(-logsumexp(2 * self.log_path_weights))) if len(self.log_sums) else 0.0

    def joined(self, other: FrameShots) -> FrameShots:
        """Return these shots and others from the same frames, drawn alike.

        Raises
        ------
        ParameterError
            If the frames or how they were drawn differ.
        """
        if self.choice.shape != other.choice.shape or not np.allclose(self.choice, other.choice, rtol=1e-6):
            raise ParameterError("shots can be joined only if their frames are the same and were drawn alike")
        return FrameShots(
            log_weights=self.log_weights,
            choice=self.choice,
            state=self.state,
            guess=self.guess,
            drawn=np.concatenate([self.drawn, other.drawn]),
            ends=np.concatenate([self.ends, other.ends]),
            shot=np.concatenate([self.shot, self.n_shots + other.shot]),
            log_sums=np.concatenate([self.log_sums, other.log_sums]),
            taught=self.taught,
            lessons=self.lessons,
            seed=self.seed,
            n_steps=self.n_steps + other.n_steps,
        )

    def save(self, path: Path, **more: str) -> None:
        """Replace an npz file at one stroke, `more` beside the arrays."""
        with whole(path) as partial:
            save_arrays(partial, **{f.name: getattr(self, f.name) for f in fields(self)}, **more)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        found = load_arrays(path, layout=_LAYOUT)
        wrong = [name for name, among in _AMONG.items() if (found[name] >= len(found[among])).any()]
        if wrong:
            raise RunFolderError(f"{path} is damaged, its {', '.join(wrong)}: {remedy(path)}")
        numbers: dict[str, Any] = {name: int(found[name]) for name in ("seed", "n_steps")}
        return cls(**{**found, **numbers})


@dataclass(frozen=True, eq=False)
class ReweightedPaths:
    """Independent paths from A to B, and the shots that made them.

    Attributes
    ----------
    positions : tuple of (n_frames, *position) arrays
        First frame in A, last in B.
    shots : FrameShots
    """

    positions: tuple[NDArray[np.floating], ...]
    shots: FrameShots

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def log_weights(self) -> NDArray[np.float64]:
        """Normalised weights (n_paths,) that make the paths the transition-path ensemble."""
        return self.shots.log_path_weights

    @property
    def shot(self) -> NDArray[np.int64]:
        """The shot (n_paths,) that made each."""
        return self.shots.shot

    @property
    def n_shots(self) -> int:
        """Shots that gave these paths."""
        return self.shots.n_shots

    @property
    def effective_paths(self) -> float:
        """Effective number of paths (Kish)."""
        return self.shots.effective_paths

    def spread(
        self, n: int, features: Callable[[NDArray[np.floating]], NDArray[np.float64]] | None = None
    ) -> tuple[NDArray[np.floating], ...]:
        """Return n of the paths, each as often as its weight says to within one.

        Parameters
        ----------
        n : int
        features : callable, optional
            Maps positions (n_frames, *position) to features (n_frames, d). Paths are then taken along the direction in
            which their mean features differ most, so that ways apart get their shares to within one as well.
        """
        weights, order = np.exp(self.log_weights), np.arange(len(self))
        if features is not None:
            means = np.array([features(path).mean(axis=0) for path in self.positions])
            away = means - weights @ means
            _, directions = np.linalg.eigh(away.T @ (weights[:, None] * away))
            order = np.argsort(away @ directions[:, -1], kind="stable")
        below = np.cumsum(weights[order])
        picked = order[np.searchsorted(below, (np.arange(n) + 0.5) / n * below[-1])]
        return tuple(self.positions[i] for i in picked)
