"""What a set of paths is, and its files: one DCD per path, and paths.npz for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.arrays import load_arrays, save_arrays
from tps.conformations.frames import write_dcd
from tps.errors import RunFolderError
from tps.stored import remedy

#: What paths.npz holds: see `load_arrays`.
_ARRAYS = {
    "values": "F p f d",
    "potential_energy": "F p f",
    "cumulative_work": "F p f",
    "s": "f f",
    "reactive_start": "i p",
    "reactive_end": "i p",
    "status": "U p",
    "seeds": "n p",
    "feature_names": "U d",
}
_NUMBERS = {"frame_interval": "f", "time_unit": "U", "n_evaluations": "n"}
_PER_FRAME = ("values", "potential_energy", "cumulative_work")
COMPLETED = "completed"
_PASSAGES = "passages.npz"
#: Axes of a molecule's positions (n_frames, n_atoms, 3); points on a surface have one less.
MOLECULE_NDIM = 3


@dataclass(frozen=True, eq=False)
class Passages:
    """Paths as they pass from A to B, looked at more often than frames are stored.

    What the last frame in A and the first in B are depends on how often one looks. Where a transition is over sooner
    than the next frame is stored, stored frames show two ends and hardly anything between them, and hide returns to A.

    Attributes
    ----------
    values : tuple of (n, d) arrays
        One per path: the features from the last look at it in A to the first in B; (0, d) where it never goes there.
    interval : float
        Time between looks.
    """

    values: tuple[NDArray[np.float64], ...]
    interval: float

    @property
    def reactive(self) -> tuple[NDArray[np.float64], ...]:
        """Those of the paths that go from A to B."""
        return tuple(values for values in self.values if len(values))

    def save(self, file: Path) -> None:
        """Write an npz file."""
        lengths = np.array([len(values) for values in self.values], dtype=np.int64)
        save_arrays(file, values=np.concatenate(self.values), lengths=lengths, interval=self.interval)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read what `save` wrote."""
        data = load_arrays(file, layout={"values": "f n d", "lengths": "n p", "interval": "f"})
        cuts = np.cumsum(data["lengths"])[:-1]
        if data["lengths"].sum() != len(data["values"]):
            raise RunFolderError(
                f"{file} is damaged, its lengths are not those of its values: {remedy(file)}"
            )
        return cls(tuple(np.split(data["values"], cuts)), float(data["interval"]))


@dataclass(frozen=True, eq=False)
class PathRecord:
    """What one path's dynamics gives; `positions` is None, and `failure` says why, when it failed."""

    seed: int
    n_evaluations: int
    positions: NDArray[np.float32] | None = None
    values: NDArray[np.float64] | None = None
    potential_energy: NDArray[np.float64] | None = None
    cumulative_work: NDArray[np.float64] | None = None
    passage: NDArray[np.float64] | None = None
    failure: str = ""

    @classmethod
    def failed(cls, why: str, seed: int, n_evaluations: int) -> Self:
        """Return the record of a path that could not be finished."""
        return cls(seed=seed, n_evaluations=n_evaluations, failure=why)


@dataclass(frozen=True, eq=False)
class PathEnsemble:
    """Paths along one curve, failed ones included.

    Attributes
    ----------
    values : (n_paths, n_frames, d) array
        The features, in internal units; NaN for a failed path, as every per-frame number.
    potential_energy : (n_paths, n_frames) array
        Of the molecule alone: no tilt, no wall [kJ/mol, or the surface's unit].
    cumulative_work : (n_paths, n_frames) array
        Work done by moving the tilt until that frame [kT].
    s : (n_frames,) array
        Fraction of the curve's Fisher-Rao length.
    reactive_start, reactive_end : (n_paths,) int arrays
        Inclusive frame indices of the reactive segment; -1 where there is none.
    status : (n_paths,) str array
        "completed", or "failed: why".
    seeds : (n_paths,) int array
    feature_names : (d,) str array
    frame_interval : float
        Time between frames; under a moving tilt protocol time, not physical time.
    time_unit : str
        Of `frame_interval`: "ps", or "unit²" on a surface.
    n_evaluations : int
        Force evaluations of all paths together.
    passages : Passages or None
        None where only frames were looked at.
    """

    values: NDArray[np.float64]
    potential_energy: NDArray[np.float64]
    cumulative_work: NDArray[np.float64]
    s: NDArray[np.float64]
    reactive_start: NDArray[np.int64]
    reactive_end: NDArray[np.int64]
    status: NDArray[np.str_]
    seeds: NDArray[np.int64]
    feature_names: NDArray[np.str_]
    frame_interval: float
    time_unit: str
    n_evaluations: int
    passages: Passages | None = None

    @classmethod
    def from_records(
        cls,
        records: Sequence[PathRecord],
        segments: Sequence[tuple[int, int] | None],
        feature_names: Sequence[str],
        n_frames: int,
        frame_interval: float,
        time_unit: str = "ps",
    ) -> Self:
        """Stack the records of single paths; failed ones become NaN."""
        values = np.full((len(records), n_frames, len(feature_names)), np.nan)
        energy, work = np.full((2, len(records), n_frames), np.nan)
        for i, record in enumerate(records):
            if record.failure or record.values is None:
                continue
            values[i], energy[i], work[i] = record.values, record.potential_energy, record.cumulative_work
        ends = np.array([segment or (-1, -1) for segment in segments], dtype=np.int64).reshape(-1, 2)
        return cls(
            values=values,
            potential_energy=energy,
            cumulative_work=work,
            s=np.arange(1, n_frames + 1) / n_frames,
            reactive_start=ends[:, 0],
            reactive_end=ends[:, 1],
            status=np.array([f"failed: {r.failure}" if r.failure else COMPLETED for r in records]),
            seeds=np.array([r.seed for r in records], dtype=np.int64),
            feature_names=np.array(feature_names),
            frame_interval=frame_interval,
            time_unit=time_unit,
            n_evaluations=sum(r.n_evaluations for r in records),
        )

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read a paths.npz."""
        data = load_arrays(file, layout=_ARRAYS | _NUMBERS)
        arrays: dict[str, Any] = {name: data[name] for name in _ARRAYS}
        found = cls(
            **arrays,
            frame_interval=float(data["frame_interval"]),
            time_unit=str(data["time_unit"]),
            n_evaluations=int(data["n_evaluations"]),
        )
        found._check(file)
        return found

    def _check(self, file: Path) -> None:
        """Check that finished paths have numbers, and that reactive segments lie on them."""
        wrong = [name for name in _PER_FRAME if not np.isfinite(getattr(self, name)[self.completed]).all()]
        first, last = self.reactive_start, self.reactive_end
        there = (first >= 0) & (first < last) & (last < len(self.s)) & self.completed
        wrong += [] if (there | ((first == -1) & (last == -1))).all() else ["reactive_start"]
        if wrong:
            raise RunFolderError(f"{file} is damaged, its {', '.join(wrong)}: {remedy(file)}")

    @property
    def n_paths(self) -> int:
        """Number of paths started."""
        return len(self.status)

    @property
    def completed(self) -> NDArray[np.bool_]:
        """Which paths were finished, (n_paths,)."""
        return self.status == COMPLETED

    @property
    def reactive(self) -> NDArray[np.bool_]:
        """Which paths have a reactive segment, (n_paths,)."""
        return self.reactive_start >= 0

    @property
    def reactive_paths(self) -> list[int]:
        """Indices of the paths with a reactive segment."""
        return [int(i) for i in np.flatnonzero(self.reactive)]

    def segment(self, path: int) -> slice:
        """Return the frames of a path's reactive segment, both ends included."""
        return slice(int(self.reactive_start[path]), int(self.reactive_end[path]) + 1)

    def segments(self, positions: Sequence[NDArray[np.floating] | None]) -> list[NDArray[np.floating]]:
        """Return the reactive segments of positions (n_frames, ...) of all paths, None for one that failed."""
        found = []
        for index in self.reactive_paths:
            frames = positions[index]
            if frames is not None:
                found.append(frames[self.segment(index)])
        return found


def write_trajectory(file: Path, positions: NDArray[np.floating], box: ArrayLike | None = None) -> None:
    """Write positions (n_frames, n_atoms, 3) [nm] as a DCD; points on a surface (n_frames, d) stand in paths.npz."""
    if positions.ndim == MOLECULE_NDIM:
        write_dcd(file, np.asarray(positions, dtype=np.float32), box)


def save_paths(
    folder: Path,
    ensemble: PathEnsemble,
    positions: Sequence[NDArray[np.floating] | None],
    box: ArrayLike | None = None,
) -> None:
    """Write paths.npz, NNNN.dcd for every finished path of a molecule, in its box (3, 3) [nm] or none, and passages."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, frames in enumerate(positions):
        if frames is not None:
            write_trajectory(folder / f"{index:04d}.dcd", frames, box)
    arrays = {name: getattr(ensemble, name) for name in _ARRAYS}
    save_arrays(
        folder / "paths.npz",
        frame_interval=ensemble.frame_interval,
        time_unit=ensemble.time_unit,
        n_evaluations=ensemble.n_evaluations,
        **arrays,
    )
    if ensemble.passages is not None:
        ensemble.passages.save(folder / _PASSAGES)


def load_paths(folder: str | Path) -> PathEnsemble:
    """Read what `save_paths` wrote, without the positions.

    Raises
    ------
    RunFolderError
        If there are no paths, or they are of another version of tps.
    """
    folder = Path(folder)
    file = folder / "paths.npz"
    if not file.is_file():
        raise RunFolderError(f"there are no paths in {folder}: run `tps paths` first")
    ensemble, passages = PathEnsemble.load(file), folder / _PASSAGES
    return replace(ensemble, passages=Passages.load(passages)) if passages.is_file() else ensemble
