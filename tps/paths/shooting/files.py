"""Files of a transition-path ensemble: paths.npz, a table of its paths, and the packed files that hold their frames.

A chain's moves-N.npz hold the positions of all paths it made. Beside each lies frames-N.npz with the features and
energies of the same frames, which are looked at once: going on looks at new paths alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tps.arrays import load_arrays, save_arrays
from tps.errors import RunFolderError
from tps.files import whole
from tps.paths.shooting.packed import PackedFrames
from tps.paths.shooting.paths import TransitionPaths
from tps.paths.shooting.store import PACK_BYTES, POSITIONS, pack_files, path_lengths, stored_chains
from tps.stored import remedy

TABLE = "paths.npz"
_VALUES, _ENERGY, _CHANNELS, _LENGTHS = "values", "potential_energy", "channels", "path_lengths"
_COLUMNS = ("multiplicity", "chain", "move")


@dataclass(frozen=True, eq=False)
class PathNumbers:
    """What is said of some paths: features (n_frames, d) and energies (n_frames,) of each, and its channel."""

    values: Sequence[NDArray[np.float64]]
    potential_energy: Sequence[NDArray[np.float64]]
    channels: Sequence[str]


Look = Callable[[Sequence[NDArray[np.floating]]], PathNumbers]


def add_numbers(chains: Path, look: Look) -> None:
    """Write the features, energies and channels of all paths in a folder of chains, but for those known already."""
    for index in stored_chains(chains):
        for file in pack_files(chains, index):
            _add_to(file, look)


def _add_to(file: Path, look: Look) -> None:
    lengths, target = path_lengths(file), _beside(file)
    known = load_arrays(target, _LENGTHS)[_LENGTHS] if target.is_file() else lengths[:0]
    if len(known) == len(lengths):
        return
    found = look(list(PackedFrames.of_files([file], POSITIONS, [lengths])[len(known) :]))
    arrays: dict[str, NDArray[Any]] = {
        _VALUES: np.concatenate(found.values),
        _ENERGY: np.concatenate(found.potential_energy),
        _CHANNELS: np.array(found.channels),
        _LENGTHS: lengths[len(known) :],
    }
    if len(known):
        before = load_arrays(target)
        arrays = {name: np.concatenate([before[name], own]) for name, own in arrays.items()}
    with whole(target) as partial:
        save_arrays(partial, **arrays)


def with_numbers(paths: TransitionPaths) -> TransitionPaths:
    """Return paths of chains with what `add_numbers` has written of them; it stays on the disk, but for the channels.

    Raises
    ------
    RunFolderError
        If a file is missing or damaged.
    """
    packed = paths.positions
    if not isinstance(packed, PackedFrames) or not len(paths):
        return paths
    files = [_beside(file) for file in packed.files]
    channels = np.array([""] * len(paths), dtype=object)
    for number in np.unique(packed.file).tolist():
        own = np.flatnonzero(packed.file == number)
        said = load_arrays(files[number], _CHANNELS, _LENGTHS)
        starts = np.cumsum(said[_LENGTHS]) - said[_LENGTHS]
        channels[own] = said[_CHANNELS][np.searchsorted(starts, packed.start[own])]
    return replace(
        paths,
        values=packed.beside(files, _VALUES),
        potential_energy=packed.beside(files, _ENERGY),
        channels=channels.astype(str),
    )


def save_table(folder: Path, paths: TransitionPaths, feature_names: Sequence[str], *, time_unit: str) -> None:
    """Write paths.npz, the table of paths whose frames lie packed in files below the folder.

    Parameters
    ----------
    folder : Path
    paths : TransitionPaths
        From `with_numbers`, or as they were loaded.
    feature_names : sequence of str
    time_unit : str
        Of `paths.frame_time`.
    """
    packed, numbers = paths.positions, paths.values
    if not (isinstance(packed, PackedFrames) and isinstance(numbers, PackedFrames)):
        raise TypeError("a table is of packed paths")
    channels = {} if paths.channels is None else {_CHANNELS: paths.channels}
    used, pack = np.unique(packed.file, return_inverse=True)
    with whole(folder / TABLE) as partial:
        save_arrays(
            partial,
            files=np.array([os.path.relpath(packed.files[k], folder) for k in used]),
            number_files=np.array([os.path.relpath(numbers.files[k], folder) for k in used]),
            pack=pack,
            start=packed.start,
            lengths=packed.lengths,
            decorrelated=paths.decorrelated,
            frame_interval=paths.frame_time,
            time_unit=time_unit,
            feature_names=np.array(feature_names),
            **{name: getattr(paths, name) for name in _COLUMNS},
            **channels,
        )


def save_transition_paths(
    folder: Path,
    paths: TransitionPaths,
    values: Sequence[NDArray[np.float64]],
    potential_energy: Sequence[NDArray[np.float64]],
    feature_names: Sequence[str],
    *,
    time_unit: str,
) -> None:
    """Write paths that are no chain's of a folder: their frames packed in paths-N.npz, and the table.

    Parameters
    ----------
    folder : Path
    paths : TransitionPaths
    values : sequence of (n_frames, n_features) arrays
        Of each path, as `System.feature_values` gives them.
    potential_energy : sequence of (n_frames,) arrays
        [kJ/mol; of a surface: its unit].
    feature_names : sequence of str
    time_unit : str
        Of `paths.frame_time`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files, lengths = [], []
    size = np.cumsum([path.nbytes for path in paths.positions]) // PACK_BYTES
    for number in np.unique(size):
        rows = np.flatnonzero(size == number).tolist()
        files.append(folder / f"paths-{rows[0]:08d}.npz")
        lengths.append(paths.lengths[rows])
        save_arrays(
            files[-1],
            **{
                POSITIONS: np.concatenate([paths.positions[i] for i in rows]),
                _VALUES: np.concatenate([values[i] for i in rows]),
                _ENERGY: np.concatenate([potential_energy[i] for i in rows]),
            },
        )
    packed = PackedFrames.of_files(files, POSITIONS, lengths)
    stored = replace(
        paths,
        positions=packed,
        values=packed.beside(files, _VALUES),
        potential_energy=packed.beside(files, _ENERGY),
    )
    save_table(folder, stored, feature_names, time_unit=time_unit)


def load_transition_paths(folder: str | Path) -> TransitionPaths:
    """Open the transition paths of a folder: the table is read, the frames when they are asked for.

    Raises
    ------
    RunFolderError
        If there are none, or the table is damaged or of another version of tps.
    """
    folder = Path(folder)
    table = folder / TABLE
    if not table.is_file():
        raise RunFolderError(f"there are no transition paths in {folder}: run `tps shoot` first")
    data = load_arrays(table)
    if "lengths" not in data:
        raise RunFolderError(f"{table} holds candidates, not the transition paths of shooting")
    if "files" not in data:
        raise RunFolderError(f"{table} has the layout of an older tps: {remedy(table)}")
    _check(table, data)
    files, numbers = ([folder / str(name) for name in data[key]] for key in ("files", "number_files"))
    packed = PackedFrames(tuple(files), POSITIONS, data["pack"], data["start"], data["lengths"])
    return TransitionPaths(
        packed,
        **{name: data[name] for name in (*_COLUMNS, "decorrelated")},
        frame_time=float(data["frame_interval"]),
        values=packed.beside(numbers, _VALUES),
        potential_energy=packed.beside(numbers, _ENERGY),
        channels=data.get(_CHANNELS),
    )


def _check(table: Path, data: dict[str, NDArray[Any]]) -> None:
    """Check that the columns of a table are of one length, and point to files and frames."""
    n = data["lengths"].shape
    columns = {name: data[name] for name in (*_COLUMNS, "pack", "start", "lengths")}
    wrong = [name for name, column in columns.items() if column.shape != n or column.dtype.kind != "i"]
    wrong += [name for name in ("decorrelated", _CHANNELS) if name in data and data[name].shape != n]
    if not wrong and len(data["lengths"]):
        low = {"pack": 0, "start": 0, "lengths": 1, "multiplicity": 1}
        wrong += [name for name, least in low.items() if columns[name].min() < least]
        wrong += ["pack"] if columns["pack"].max() >= len(data["files"]) else []
    if wrong or len(n) != 1 or data["files"].shape != data["number_files"].shape:
        raise RunFolderError(f"{table} is damaged, its {', '.join(wrong) or 'columns'}: {remedy(table)}")


def _beside(file: Path) -> Path:
    """Return where the numbers of a file of moves lie."""
    return file.with_name(file.name.replace("moves-", "frames-"))
