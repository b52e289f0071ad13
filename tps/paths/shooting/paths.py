"""The transition-path ensemble that chains have made: paths, and how often each counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tps.errors import ParameterError
from tps.paths.shooting.packed import Frames, PackedFrames, chosen_frames, joined_frames
from tps.paths.shooting.records import Records, burn_in, decorrelated_moves


@dataclass(frozen=True, eq=False)
class TransitionPaths:
    """Paths from A to B, distributed as equilibrium dynamics makes them.

    Attributes
    ----------
    positions : sequence of (n_frames, *position) arrays
        The first frame lies in A, the last in B, and all others in neither [nm for molecules]. Those of a run stay on
        the disk until they are asked for.
    multiplicity : (n_paths,) int array
        Moves after which each was the current path: its weight in every average.
    chain : (n_paths,) int array
    move : (n_paths,) int array
        The move that made it.
    decorrelated : (n_paths,) bool array
        Paths of one chain no two of which share a frame. For counting alone: that a path has just been accepted makes
        it unlike the ensemble, so average over all paths with their multiplicity, or over `thinned` ones.
    frame_time : float
        [ps; of a surface: its squared unit].
    values : sequence of (n_frames, n_features) arrays or None
        Features, where they are known already.
    potential_energy : sequence of (n_frames,) arrays or None
        [kJ/mol; of a surface: its unit], where known.
    channels : (n_paths,) str array or None
        The channel of each, where known.
    """

    positions: Frames
    multiplicity: NDArray[np.int64]
    chain: NDArray[np.int64]
    move: NDArray[np.int64]
    decorrelated: NDArray[np.bool_]
    frame_time: float
    values: Frames | None = None
    potential_energy: Frames | None = None
    channels: NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        n = len(self.positions)
        if {len(getattr(self, name)) for name in ("multiplicity", "chain", "move", "decorrelated")} != {n}:
            raise ParameterError(f"{n} transition paths need as many multiplicities, chains and moves")

    @classmethod
    def from_chains(cls, chains: Iterable[tuple[Records, Frames]], frame_time: float) -> Self:
        """Return what chains made after their burn-in.

        Parameters
        ----------
        chains : iterable of (records, paths)
            Per chain the records of its moves from 0 on, and the positions of the path of every accepted move.
        frame_time : float
        """
        positions: list[Frames] = []
        columns: list[list[NDArray[np.int64]]] = [[], [], [], []]
        for records, paths in chains:
            end = burn_in(records)
            if end is None:
                continue
            rows = np.flatnonzero(records["accepted"])
            if len(rows) != len(paths):
                raise ParameterError(
                    f"{len(rows)} accepted moves made {len(paths)} paths: give one path each"
                )
            late = records["move"][rows] >= end
            spans = np.diff([*rows, len(records)])
            made = records["move"][rows][late]
            positions.append(chosen_frames(paths, np.flatnonzero(late)))
            spread = np.isin(made, decorrelated_moves(records)).astype(np.int64)
            chain = records["chain"][rows][late].astype(np.int64)
            for column, values in zip(columns, (spans[late], chain, made, spread), strict=True):
                column.append(values)
        empty = np.empty(0, dtype=np.int64)
        counts, chain, move, spread = (np.concatenate([empty, *column]) for column in columns)
        return cls(joined_frames(positions), counts, chain, move, spread.astype(bool), frame_time)

    @classmethod
    def of_segments(cls, segments: Sequence[NDArray[np.floating]], frame_time: float) -> Self:
        """Return paths that are no chain's, such as the reactive segments of candidates, each counted once."""
        n = len(segments)
        ones, numbers = np.ones(n, dtype=np.int64), np.arange(n)
        return cls(tuple(segments), ones, numbers, np.zeros_like(numbers), ones.astype(bool), frame_time)

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Frames of each path (n_paths,), both ends included."""
        if isinstance(self.positions, PackedFrames):
            return self.positions.lengths
        return np.array([len(p) for p in self.positions], dtype=np.int64)

    @property
    def durations(self) -> NDArray[np.float64]:
        """Time from the last frame in A to the first in B (n_paths,) [ps; of a surface: its squared unit]."""
        return np.asarray((self.lengths - 1) * self.frame_time, dtype=np.float64)

    def select(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> TransitionPaths:
        """Return some of the paths, such as ``paths.select(paths.chain % 2 == 0)``."""
        rows = np.arange(len(self))[which]
        numbers = (self.values, self.potential_energy)
        values, energies = (None if own is None else chosen_frames(own, rows) for own in numbers)
        return TransitionPaths(
            chosen_frames(self.positions, rows),
            self.multiplicity[rows],
            self.chain[rows],
            self.move[rows],
            self.decorrelated[rows],
            self.frame_time,
            values,
            energies,
            None if self.channels is None else self.channels[rows],
        )

    def thinned(self, n_moves: int) -> TransitionPaths:
        """Return the paths that were current after every `n_moves`-th move since burn-in, each counted once.

        Raises
        ------
        ParameterError
            If `n_moves` is not positive.
        """
        if n_moves < 1:
            raise ParameterError(f"paths are thinned to every n-th move, n at least 1, but got {n_moves}")
        rows: list[NDArray[np.int64]] = []
        for chain in np.unique(self.chain):
            own = np.flatnonzero(self.chain == chain)
            current = np.repeat(own, self.multiplicity[own])
            rows.append(current[n_moves - 1 :: n_moves])
        chosen = self.select(np.concatenate([np.empty(0, dtype=np.int64), *rows]))
        return replace(chosen, multiplicity=np.ones(len(chosen), dtype=np.int64))
