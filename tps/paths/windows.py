"""Umbrella windows along a curve: what they are, what sampling them gives, and where their replicas start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.errors import ParameterError, RunFolderError
from tps.paths.annealed import equal_steps
from tps.paths.ensemble import COMPLETED, PathEnsemble


@dataclass(frozen=True)
class WindowSettings:
    """Sampling of the windows of one ladder.

    Attributes
    ----------
    n_frames : int
        Frames of each window and ladder.
    frame_interval : int
        Dynamics steps from one frame to the next; windows exchange their replicas after each.
    n_equilibration_frames : int
        Rounds of as many steps that come first and are thrown away, exchanges included.
    exchange : bool
        Whether the replicas of a ladder change windows; otherwise every window is a simulation of its own.
    """

    n_frames: int = 250
    frame_interval: int = 250
    n_equilibration_frames: int = 20
    exchange: bool = True

    def __post_init__(self) -> None:
        if min(self.n_frames, self.frame_interval) < 1 or self.n_equilibration_frames < 0:
            raise ParameterError(
                "windows need at least one frame, one step between frames and no negative equilibration, but got "
                f"{self.n_frames}, {self.frame_interval} and {self.n_equilibration_frames}"
            )


@dataclass(frozen=True, eq=False)
class Windows:
    """Tilts to sample under: η of K windows, of which some lie on a curve.

    Attributes
    ----------
    s : (K,) array
        Fraction of the curve's Fisher-Rao length, rising; NaN for windows off the curve, which come last.
    eta : (K, n_statistics) array
    """

    s: NDArray[np.float64]
    eta: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.eta.ndim != 2 or self.s.shape != self.eta.shape[:1] or len(self.s) < 2:
            raise ParameterError(
                f"windows need s (K,) and eta (K, n_statistics), K >= 2, but got {self.s.shape} and {self.eta.shape}"
            )
        on = self.on_curve
        if not np.isfinite(self.eta).all() or on < 2 or np.isfinite(self.s[on:]).any():
            raise ParameterError("windows need finite eta, at least two on the curve, and those off it last")
        if not (np.diff(self.s[:on]) > 0).all():
            raise ParameterError(f"the windows' s must rise along the curve, but got {self.s[:on]}")

    @property
    def n_windows(self) -> int:
        """Number K of windows."""
        return len(self.s)

    @property
    def on_curve(self) -> int:
        """Number of windows on the curve; they come first, from A to B."""
        return int(np.isfinite(self.s).sum())

    @classmethod
    def along(cls, s: ArrayLike, eta: ArrayLike, n_windows: int, *, untilted: bool = True) -> Self:
        """Return windows at equal Fisher-Rao distances along a curve, and by default η = 0 as one more.

        Parameters
        ----------
        s : (n_points,) array
            Fraction of the Fisher-Rao length at the curve's points, from 0 to 1.
        eta : (n_points, n_statistics) array
        n_windows : int
            On the curve, ends included.
        untilted : bool
            Whether the molecule itself, without a tilt, is sampled too: what regions are compared in.
        """
        if n_windows < 2:
            raise ParameterError(f"a curve needs at least 2 windows, but got {n_windows}")
        points = np.asarray(eta, dtype=np.float64)
        on = equal_steps(np.asarray(s, dtype=np.float64), points, n_windows - 1)
        at = np.linspace(0.0, 1.0, n_windows)
        if not untilted:
            return cls(at, on)
        return cls(np.append(at, np.nan), np.concatenate([on, np.zeros((1, points.shape[1]))]))

    def with_bridge(self, eta: ArrayLike) -> Self:
        """Return these windows with others (n, n_statistics) off the curve: see `tightening`, or a straight line's."""
        more = np.asarray(eta, dtype=np.float64)
        return type(self)(np.append(self.s, np.full(len(more), np.nan)), np.concatenate([self.eta, more]))


@dataclass(frozen=True, eq=False)
class WindowSamples:
    """Frames of K windows in L independent ladders, L x K x n_frames of them; NaN where a simulation failed.

    Attributes
    ----------
    windows : Windows
    values : (L, n_frames, K, d) array
        Feature torsions, or a surface's axes [rad, or the axis' unit].
    statistics : (L, n_frames, K, n_statistics) array
        T(x): all that the reduced potentials -η·T need.
    potential_energy : (L, n_frames, K) array
        Without the tilt [kJ/mol, or the surface's unit].
    in_a, in_b : (L, n_frames, K) bool arrays
        Whether the frame lies in state A, in state B.
    replica : (L, n_frames, K) int array
        Which replica of the ladder the frame is of; replica k started in window k.
    status : (L, K) str array
        "completed", or "failed: why".
    n_evaluations : int
        Force evaluations, all together.
    """

    windows: Windows
    values: NDArray[np.float64]
    statistics: NDArray[np.float64]
    potential_energy: NDArray[np.float64]
    in_a: NDArray[np.bool_]
    in_b: NDArray[np.bool_]
    replica: NDArray[np.int64]
    status: NDArray[np.str_]
    n_evaluations: int

    def __post_init__(self) -> None:
        shape = (*self.potential_energy.shape[:2], self.windows.n_windows)
        for name in ("potential_energy", "in_a", "in_b", "replica"):
            if getattr(self, name).shape != shape:
                raise ParameterError(
                    f"window samples need {name} {shape}, but got {getattr(self, name).shape}"
                )
        if self.statistics.shape != (*shape, self.windows.eta.shape[1]) or self.values.shape[:3] != shape:
            raise ParameterError(
                f"window samples need statistics and values {shape} and one more axis, but got "
                f"{self.statistics.shape} and {self.values.shape}"
            )

    @property
    def n_ladders(self) -> int:
        """Number of independent ladders L."""
        return len(self.statistics)

    @property
    def n_frames(self) -> int:
        """Number of frames of each window and ladder."""
        return self.statistics.shape[1]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Which frames there are, (L, n_frames, K)."""
        return np.isfinite(self.statistics).all(axis=-1) & np.isfinite(self.potential_energy)

    @property
    def n_failed(self) -> int:
        """Windows whose simulation failed, summed over ladders."""
        return int((self.status != COMPLETED).sum())

    @property
    def acceptance(self) -> NDArray[np.float64]:
        """Mean probability to accept a swap of neighbours on the curve, (on_curve - 1,)."""
        n = self.windows.on_curve
        tilt, frames = np.diff(self.windows.eta[:n], axis=0), np.diff(self.statistics[:, :, :n], axis=2)
        gain = -np.einsum("ks,lfks->lfk", tilt, frames)
        return np.asarray(np.nanmean(np.exp(np.minimum(gain, 0.0)), axis=(0, 1)))

    @property
    def n_traversals(self) -> int:
        """How often a replica went from one end of the curve to the other, either way, all ladders together."""
        last, total = self.windows.on_curve - 1, 0
        for ladder in self.replica:
            for r in range(self.windows.n_windows):
                place = np.argmax(ladder == r, axis=1)
                ends = place[(place == 0) | (place == last)]
                total += int(np.count_nonzero(np.diff(ends)))
        return total

    def save(self, path: Path) -> None:
        """Write an npz file."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "windows"}
        np.savez(path, s=self.windows.s, eta=self.windows.eta, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        RunFolderError
            If it is not there.
        """
        if not path.is_file():
            raise RunFolderError(f"there are no window samples at {path}: sample the windows first")
        with np.load(path) as data:
            arrays = {f.name: data[f.name] for f in fields(cls) if f.name not in ("windows", "n_evaluations")}
            return cls(
                windows=Windows(data["s"], data["eta"]), n_evaluations=int(data["n_evaluations"]), **arrays
            )


def tightening(unit_eta: ArrayLike, weakest: float, strongest: float, n: int) -> NDArray[np.float64]:
    """Return tilts (n, n_statistics) about one place, ever tighter: a bridge between the humps of weak windows.

    The weakest window has two humps, as the middle of an unconstrained geodesic has. On top of the barrier the
    strongest one has a single hump, which both flow into: replicas that climb this ladder cross as often as they like.

    Parameters
    ----------
    unit_eta : (n_statistics,) array
        η of unit strength about the barrier: T(x) of torsions, (x, -1/2) in a Euclidean space.
    weakest, strongest : float
        Strengths κ, e^log_snr in a Euclidean space; equal ratios lie between them.
    n : int
    """
    if not 0 < weakest < strongest or n < 2:
        raise ParameterError(
            f"tightening needs 0 < weakest < strongest and 2 windows or more, but got {weakest}, {strongest} and {n}"
        )
    return np.outer(np.geomspace(weakest, strongest, n), np.asarray(unit_eta, dtype=np.float64))


def barrier_place(pulls: PathEnsemble) -> NDArray[np.float64]:
    """Return where a stiff pull from A to B meets its barrier: the mean torsions at its highest mean work (d,) [rad].

    Where a surface over the features is known, its saddle point (`tps.analysis.flood_fill`) is lower and better.

    Parameters
    ----------
    pulls : PathEnsemble
        Paths along a straight line of constant κ, whose work is close to the free energy along it.
    """
    if not pulls.completed.any():
        raise ParameterError("no pull was finished, so where its barrier lies cannot be told")
    top = int(np.argmax(pulls.cumulative_work[pulls.completed].mean(axis=0)))
    there = pulls.torsions[pulls.completed, top]
    return np.asarray(np.angle(np.exp(1j * there).mean(axis=0)))


def starts_along(
    windows: Windows,
    frame_s: ArrayLike,
    frames: Sequence[NDArray[np.floating]] | NDArray[np.floating],
    frame_statistics: ArrayLike,
) -> NDArray[np.float64]:
    """Return a start for every window from one annealed path: the frame nearest in s, or the likeliest off the curve.

    Paths that run from A to B lag in A, those that run back lag in B: starting one ladder from each puts replicas into
    both humps of windows that have two.

    Parameters
    ----------
    windows : Windows
    frame_s : (n_frames,) array
        Where on the curve each frame is.
    frames : (n_frames, ...) array
        Positions, [nm] for a molecule.
    frame_statistics : (n_frames, n_statistics) array
        T of the frames.

    Returns
    -------
    (K, ...) array
    """
    at, statistics = np.asarray(frame_s, dtype=np.float64), np.asarray(frame_statistics, dtype=np.float64)
    if not len(at) == len(frames) == len(statistics) > 0:
        raise ParameterError(
            f"starts need one s and one statistic per frame, but got {len(at)} and {len(statistics)} for {len(frames)}"
        )
    nearest = [
        int(np.argmin(np.abs(at - s)))
        if np.isfinite(s)
        else int(np.argmax(statistics @ eta))
        if eta.any()
        else 0
        for s, eta in zip(windows.s, windows.eta, strict=True)
    ]
    return np.asarray([frames[i] for i in nearest], dtype=np.float64)
