"""Rounds of growing frames: what each has sampled and said, kept on disk, and pooled."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tps.analysis import FramePool
from tps.arrays import load_arrays, save_arrays
from tps.conformations import Conformations, read_dcd, write_dcd
from tps.paths import WindowSamples
from tps.pipeline.folder import write_json
from tps.pipeline.sample import SampledConformations
from tps.stored import read_json
from tps.systems import MolecularSystem, System

#: Rounds in progress, and where they lie in conformations/ when growing has ended, with what it says.
IN_PROGRESS, ROUNDS, GROWTH = ".growing", "rounds", "growth.json"
_KEY, _UNTILTED = "key.txt", "untilted"


@dataclass(frozen=True, eq=False)
class GrownFrames:
    """Frames with all that is known of them but their weights, N of them.

    Attributes
    ----------
    values : (N, d) array
    potential_energy : (N,) array
    positions : (N, ...) array
        As `System.values` takes them.
    inside : (2, N) bool array
        Whether each lies in A, in B.
    eta : (N, n_statistics) array
        Tilt each was drawn under; NaN for basins.
    ladder : (N,) int array
        Independent chain it belongs to.
    walker : (N,) int array
        Simulation it is of: a ladder, or a walker of plain dynamics.
    """

    values: NDArray[np.float64]
    potential_energy: NDArray[np.float64]
    positions: NDArray[np.floating]
    inside: NDArray[np.bool_]
    eta: NDArray[np.float64]
    ladder: NDArray[np.int64]
    walker: NDArray[np.int64]

    @classmethod
    def of_plain(cls, system: System, sampled: SampledConformations) -> GrownFrames:
        """Return frames of dynamics without a tilt, whose distribution is not known yet."""
        frames = sampled.frames
        positions = frames.values if sampled.positions is None else sampled.positions
        values = system.values(positions)
        inside = np.stack([s.region.contains(values) for s in (system.state_a, system.state_b)])
        tilt = np.full((frames.n_frames, system.space.n_statistics), np.nan)
        walker = frames.walker.astype(np.int64)
        return cls(frames.values, frames.potential_energy, positions, inside, tilt, walker, walker)

    def basins(self, n_ladders: int) -> GrownFrames:
        """Return the frames in A or B, as p0 restricted to these; ladders share those of each by time."""
        share = np.zeros(self.n_frames, dtype=np.int64)
        for within in self.inside:
            share[within] = np.arange(within.sum()) * n_ladders // within.sum()
        plain = replace(
            self, eta=np.full_like(self.eta, np.nan), ladder=share, walker=n_ladders + self.walker
        )
        return plain.of(np.asarray(self.inside.any(axis=0)))

    @classmethod
    def of_windows(cls, samples: WindowSamples) -> GrownFrames:
        """Return all frames of windows, ladder by ladder in the order of time."""
        assert samples.positions is not None
        shape = samples.potential_energy.shape
        ladder, _, window = (axis.ravel() for axis in np.indices(shape))
        return cls(
            samples.values.reshape(len(ladder), -1),
            samples.potential_energy.ravel(),
            samples.positions.reshape(len(ladder), *samples.positions.shape[3:]),
            np.stack([samples.in_a.ravel(), samples.in_b.ravel()]),
            samples.windows.eta[window],
            ladder,
            ladder,
        ).of(samples.valid.ravel())

    def of(self, kept: NDArray[Any]) -> GrownFrames:
        """Return some of the frames, by a mask or by their indices."""
        index = np.flatnonzero(kept) if kept.dtype == np.bool_ else kept
        return GrownFrames(
            **{f.name: np.take(getattr(self, f.name), index, axis=_axis(f.name)) for f in fields(self)}
        )

    @classmethod
    def joined(cls, parts: Sequence[GrownFrames]) -> GrownFrames:
        """Return all parts as one, walker by walker, the parts of each in their order."""
        whole = cls(
            **{
                f.name: np.concatenate([getattr(p, f.name) for p in parts], axis=_axis(f.name))
                for f in fields(cls)
            }
        )
        return whole.of(np.argsort(whole.walker, kind="stable"))

    @property
    def n_frames(self) -> int:
        """Number N of frames."""
        return len(self.values)

    def weighted(self, log_weights: NDArray[np.float64]) -> Conformations:
        """Return them with log-weights (N,)."""
        return Conformations(self.values, log_weights, self.potential_energy, self.walker)

    def pool(self, system: System) -> FramePool:
        """Return them as MBAR takes them: frames of the same tilt are of one window, whichever round they are of."""
        basin = np.isnan(self.eta[:, 0])
        eta, window = np.unique(self.eta[~basin].round(9), axis=0, return_inverse=True)
        state = np.where(self.inside[0], len(eta), len(eta) + 1)
        state[~basin] = window.ravel()
        return FramePool(eta, state, system.space.statistic(self.values), self.inside, self.ladder)


@dataclass(frozen=True, eq=False)
class GrownRound:
    """One round.

    Attributes
    ----------
    samples : WindowSamples
        With positions.
    counts : (K,) bool array
        Which windows count.
    curve : (n_points, n_statistics) array
        Natural parameters of the curve that all rounds up to this one give.
    said : dict
        What result.json says of it.
    """

    samples: WindowSamples
    counts: NDArray[np.bool_]
    curve: NDArray[np.float64]
    said: dict[str, Any]

    @property
    def frames(self) -> GrownFrames:
        """Frames of the windows that count."""
        return self._where(self.counts)

    @property
    def all_frames(self) -> GrownFrames:
        """Frames of all windows."""
        return self._where(np.ones(len(self.counts), dtype=np.bool_))

    def _where(self, counts: NDArray[np.bool_]) -> GrownFrames:
        window = np.indices(self.samples.potential_energy.shape)[2].ravel()[self.samples.valid.ravel()]
        return GrownFrames.of_windows(self.samples).of(counts[window])


@dataclass(frozen=True)
class RoundsFolder:
    """Where rounds are kept while more are made: written whole or not at all, and gone on from after a kill."""

    path: Path
    system: System

    @classmethod
    def opened(cls, path: Path, earlier: Path, system: System, key: str) -> RoundsFolder:
        """Open the folder of growing in progress, or that of a finished one; begin anew where the key is another."""
        for folder in (path, earlier):
            if (folder / _KEY).is_file() and (folder / _KEY).read_text() == key:
                if folder != path:
                    copy = path.with_name(f"{path.name}.partial")
                    for old in (path, copy):
                        shutil.rmtree(old, ignore_errors=True)
                    shutil.copytree(folder, copy)
                    copy.rename(path)
                return cls(path, system)
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        (path / _KEY).write_text(key)
        return cls(path, system)

    def rounds(self) -> list[GrownRound]:
        """Return the rounds that are done."""
        found: list[GrownRound] = []
        while (folder := self.path / str(len(found))).is_dir():
            found.append(self._read(folder))
        return found

    def basins(self) -> SampledConformations | None:
        """Return frames of dynamics without a tilt from both ends; None where there are none yet."""
        folder = self.path / "basins"
        if not folder.is_dir():
            return None
        frames, said = Conformations.load(folder / "data.npz"), read_json(folder / "result.json")
        positions = read_dcd(folder / "frames.dcd") if isinstance(self.system, MolecularSystem) else None
        return SampledConformations(frames, positions, int(said["steps"]), tuple(said.get("notes", ())))

    def save_basins(self, sampled: SampledConformations) -> None:
        """Keep frames of dynamics without a tilt."""
        partial = self._partial("basins")
        sampled.frames.save(partial / "data.npz")
        self._write_positions(partial, sampled.positions)
        write_json(partial / "result.json", {"steps": sampled.n_evaluations, "notes": sampled.notes})
        partial.rename(self.path / "basins")

    def untilted(self) -> WindowSamples | None:
        """Return plain dynamics that went on after the basins; None where there is none."""
        folder = self.path / _UNTILTED
        return self._read_samples(folder) if folder.is_dir() else None

    def save_untilted(self, samples: WindowSamples) -> None:
        """Keep plain dynamics that went on."""
        partial = self._partial(_UNTILTED)
        self._write_samples(partial, samples)
        partial.rename(self.path / _UNTILTED)

    def save(self, number: int, grown: GrownRound) -> None:
        """Keep a round."""
        partial = self._partial(str(number))
        self._write_samples(partial, grown.samples)
        save_arrays(partial / "curve.npz", eta=grown.curve, counts=grown.counts)
        write_json(partial / "result.json", grown.said)
        partial.rename(self.path / str(number))

    def _read(self, folder: Path) -> GrownRound:
        curve = load_arrays(folder / "curve.npz")
        said = read_json(folder / "result.json")
        return GrownRound(self._read_samples(folder), curve["counts"], curve["eta"], said)

    def _read_samples(self, folder: Path) -> WindowSamples:
        samples = WindowSamples.load(folder / "samples.npz")
        positions = self._positions(folder, samples.values)
        shape = (*samples.potential_energy.shape, *self.system.ends.shape[1:])
        return replace(samples, positions=positions.reshape(shape))

    def _write_samples(self, folder: Path, samples: WindowSamples) -> None:
        samples.save(folder / "samples.npz")
        assert samples.positions is not None
        self._write_positions(folder, samples.positions.reshape(-1, *samples.positions.shape[3:]))

    def _partial(self, name: str) -> Path:
        partial = self.path / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        return partial

    def _positions(self, folder: Path, values: NDArray[np.float64]) -> NDArray[np.floating]:
        return read_dcd(folder / "frames.dcd") if isinstance(self.system, MolecularSystem) else values

    def _write_positions(self, folder: Path, positions: NDArray[np.floating] | None) -> None:
        if isinstance(self.system, MolecularSystem):
            assert positions is not None
            write_dcd(folder / "frames.dcd", positions.astype(np.float32), self.system.box)


def _axis(name: str) -> int:
    """Return the axis of frames of an array of `GrownFrames`."""
    return 1 if name == "inside" else 0
