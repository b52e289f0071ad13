"""Frames of many paths that lie packed in a few files, read as they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from tps.arrays import load_arrays
from tps.errors import RunFolderError
from tps.stored import remedy

Frames = Sequence[NDArray[Any]]
#: Arrays kept in memory: positions, features and energies of one file, whose paths are asked for one after another.
_KEPT = 3


@dataclass(frozen=True, eq=False)
class PackedFrames(Frames):
    """An array (n_frames, ...) of each path, which lie end to end in one array of an npz file.

    Attributes
    ----------
    files : tuple of Path
    name : str
        Of the array in the files.
    file : (n_paths,) int array
        Which of the files holds a path.
    start, lengths : (n_paths,) int arrays
        The path's first frame there, and how many follow.
    """

    files: tuple[Path, ...]
    name: str
    file: NDArray[np.int64]
    start: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @classmethod
    def of_files(cls, files: Sequence[Path], name: str, lengths: Sequence[NDArray[np.int64]]) -> Self:
        """Return the paths of whole files, each of which holds paths of some `lengths`."""
        starts = [np.cumsum(own) - own for own in lengths]
        which = [np.full(len(own), k, dtype=np.int64) for k, own in enumerate(lengths)]
        return cls(tuple(files), name, _concatenated(which), _concatenated(starts), _concatenated(lengths))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return paths of several files one after another; all arrays have one name."""
        before = np.cumsum([0, *(len(part.files) for part in parts)])
        return cls(
            tuple(file for part in parts for file in part.files),
            parts[0].name,
            _concatenated([part.file + n for part, n in zip(parts, before.tolist(), strict=False)]),
            _concatenated([part.start for part in parts]),
            _concatenated([part.lengths for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> PackedFrames: ...
    def __getitem__(self, index: int | slice) -> NDArray[Any] | PackedFrames:
        """Return the frames of one path, or some of the paths.

        Raises
        ------
        RunFolderError
            If the file is missing, damaged, or shorter than it should be.
        """
        if isinstance(index, slice):
            return self.chosen(np.arange(len(self))[index])
        file, start, length = self.files[self.file[index]], int(self.start[index]), int(self.lengths[index])
        frames = _stored(file, self.name)[start : start + length]
        if len(frames) != length:
            raise RunFolderError(f"{file} is damaged, frames of its paths are missing: {remedy(file)}")
        return frames

    def chosen(self, rows: NDArray[np.int64]) -> PackedFrames:
        """Return some of the paths."""
        return PackedFrames(self.files, self.name, self.file[rows], self.start[rows], self.lengths[rows])

    def beside(self, files: Sequence[Path], name: str) -> PackedFrames:
        """Return another array of the same frames, packed alike in files beside these."""
        return PackedFrames(tuple(files), name, self.file, self.start, self.lengths)


def chosen_frames(frames: Frames, rows: NDArray[np.int64]) -> Frames:
    """Return the arrays of some paths; packed ones stay on the disk."""
    return frames.chosen(rows) if isinstance(frames, PackedFrames) else tuple(frames[i] for i in rows)


def joined_frames(parts: Iterable[Frames]) -> Frames:
    """Return the arrays of several sets of paths; packed ones stay on the disk."""
    found = list(parts)
    packed = [part for part in found if isinstance(part, PackedFrames)]
    if packed and len(packed) == len(found):
        return PackedFrames.joined(packed)
    return tuple(array for part in found for array in part)


def _stored(file: Path, name: str) -> NDArray[Any]:
    try:
        said = file.stat()
    except OSError:
        raise RunFolderError(f"{file} does not exist: {remedy(file)}") from None
    return _read(file, name, said.st_size, said.st_mtime_ns)


@lru_cache(maxsize=_KEPT)
def _read(file: Path, name: str, *_: int) -> NDArray[Any]:
    found = load_arrays(file, name)[name]
    found.flags.writeable = False
    return found


def _concatenated(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])
