"""Weighted frames: what every stage after this one knows of the molecule's Boltzmann distribution."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from tps.arrays import load_arrays, save_arrays
from tps.errors import RunFolderError, TrajectoryError

#: What its file holds: see `load_arrays`.
_LAYOUT = {"values": "f n d", "log_weights": "F n", "potential_energy": "F n", "walker": "n n"}


@dataclass(frozen=True)
class Conformations:
    """Frames, as features, with log-weights such that Σ w_i δ(x - x_i) represents the Boltzmann density.

    Attributes
    ----------
    values : (n_frames, d) array
        The features, in internal units.
    log_weights : (n_frames,) array
        Normalised on construction: logsumexp is 0.
    potential_energy : (n_frames,) array
        Of the molecule alone [kJ/mol].
    walker : (n_frames,) int array
        Which simulation a frame comes from; frames of one walker are in the order of time.
    """

    values: NDArray[np.float64]
    log_weights: NDArray[np.float64]
    potential_energy: NDArray[np.float64]
    walker: NDArray[np.int64]

    def __post_init__(self) -> None:
        n = len(self.values)
        if n == 0:
            raise TrajectoryError("conformations need at least one frame, but there are none")
        for name in ("log_weights", "potential_energy", "walker"):
            if len(getattr(self, name)) != n:
                raise TrajectoryError(f"{n} frames need {n} {name}, but got {len(getattr(self, name))}")
        if not np.isfinite(self.log_weights).any() or np.isnan(self.log_weights).any():
            raise TrajectoryError("log-weights must be numbers, at least one of them finite")
        object.__setattr__(self, "log_weights", self.log_weights - logsumexp(self.log_weights))

    @classmethod
    def of_grid(cls, values: NDArray[np.float64], energy: NDArray[np.float64], kt: float) -> Self:
        """Return the points (n, d) of a grid, which lie evenly, weighted by e^{-U/kT} of their energies (n,)."""
        return cls(values, -energy / kt, energy, np.zeros(len(energy), dtype=np.int64))

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.values)

    @property
    def effective_sample_size(self) -> float:
        """Kish's effective number of equally weighted frames, 1 / Σ w²."""
        return float(np.exp(-logsumexp(2 * self.log_weights)))

    def draw(self, among: NDArray[np.intp], n: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Return n of the frames `among` (m,), drawn in proportion to their weights, with replacement."""
        weights = np.exp(self.log_weights[among] - self.log_weights[among].max())
        return np.asarray(rng.choice(among, size=n, p=weights / weights.sum()))

    def stretches(self, n: int) -> NDArray[np.int64]:
        """Return to which of n stretches of the walkers' time each frame belongs (n_frames,)."""
        labels = np.empty(self.n_frames, dtype=np.int64)
        labels[np.argsort(self.walker, kind="stable")] = np.arange(self.n_frames) * n // self.n_frames
        return labels

    def weighted_mean(self, values: NDArray[np.float64], where: NDArray[np.bool_]) -> tuple[float, float]:
        """Return the Boltzmann mean of `values` over the frames `where`, and its standard error.

        The error comes from the scatter of ten consecutive blocks of frames, so correlation in time is in it; it is
        NaN when fewer than two blocks hold weight.
        """
        weight = np.where(where, np.exp(self.log_weights), 0.0)
        if weight.sum() == 0:
            return float("nan"), float("nan")
        mean = float(weight @ values / weight.sum())
        blocks = np.array_split(np.arange(self.n_frames), 10)
        share = np.array([weight[block].sum() for block in blocks]) / weight.sum()
        held = [block for block, part in zip(blocks, share, strict=True) if part > 0]
        if len(held) < 2:
            return mean, float("nan")
        deviation = np.array([weight[block] @ (values[block] - mean) / weight.sum() for block in held])
        return mean, float(np.sqrt(len(held) / (len(held) - 1) * np.sum(deviation**2)))

    def save(self, path: Path) -> None:
        """Write an npz file; the positions lie beside it in a trajectory."""
        save_arrays(
            path,
            values=self.values,
            log_weights=self.log_weights,
            potential_energy=self.potential_energy,
            walker=self.walker,
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        RunFolderError
            If it is not there, or of another version of tps.
        """
        if not path.is_file():
            raise RunFolderError(f"there are no conformations at {path}: run `tps conformations` first")
        return cls(**load_arrays(path, layout=_LAYOUT))
