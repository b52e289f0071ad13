"""Files of a transition-path ensemble: one DCD per path of a molecule, and paths.npz for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.arrays import load_arrays, save_arrays
from tps.conformations.frames import read_dcd
from tps.errors import RunFolderError
from tps.paths.ensemble import COMPLETED, MOLECULE_NDIM, PathEnsemble, write_trajectory
from tps.paths.shooting.paths import TransitionPaths

_COLUMNS = ("multiplicity", "chain", "move", "decorrelated")


def save_transition_paths(
    folder: Path,
    paths: TransitionPaths,
    values: Sequence[NDArray[np.float64]],
    potential_energy: Sequence[NDArray[np.float64]],
    feature_names: Sequence[str],
    *,
    time_unit: str,
    box: ArrayLike | None = None,
) -> None:
    """Write NNNN.dcd for every path of a molecule, and paths.npz, which `load_paths` reads too.

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
    box : (3, 3) array, optional
        Box of a molecule [nm].
    """
    folder.mkdir(parents=True, exist_ok=True)
    for index, positions in enumerate(paths.positions):
        write_trajectory(folder / f"{index:04d}.dcd", positions, box)
    lengths, n = paths.lengths, len(paths)
    longest = int(lengths.max()) if n else 0
    padded = np.full((n, longest, len(feature_names)), np.nan)
    energy, nothing = np.full((2, n, longest), np.nan)
    for row, (value, u) in enumerate(zip(values, potential_energy, strict=True)):
        padded[row, : len(value)], energy[row, : len(u)] = value, u
    save_arrays(
        folder / "paths.npz",
        values=padded,
        potential_energy=energy,
        cumulative_work=nothing,
        s=np.arange(1, longest + 1) / max(longest, 1),
        reactive_start=np.zeros(n, dtype=np.int64),
        reactive_end=lengths - 1,
        status=np.full(n, COMPLETED),
        seeds=np.full(n, -1),
        feature_names=np.array(feature_names),
        frame_interval=paths.frame_time,
        time_unit=time_unit,
        n_evaluations=int(lengths.sum()),
        lengths=lengths,
        trajectories=any(positions.ndim == MOLECULE_NDIM for positions in paths.positions),
        **{name: getattr(paths, name) for name in _COLUMNS},
    )


def load_transition_paths(folder: Path) -> tuple[TransitionPaths, PathEnsemble]:
    """Read what `save_transition_paths` wrote: the paths, and their features and energies padded with NaN.

    Raises
    ------
    RunFolderError
        If there are none, or a file is missing or damaged, or of another version of tps.
    """
    file = folder / "paths.npz"
    if not file.is_file():
        raise RunFolderError(f"there are no transition paths in {folder}: run `tps shoot` first")
    ensemble, data = PathEnsemble.load(file), load_arrays(file)
    if "lengths" not in data:
        raise RunFolderError(f"{file} holds candidates, not the transition paths of shooting")
    columns = {name: data[name] for name in _COLUMNS}
    lengths = data["lengths"].tolist()
    if data["trajectories"]:
        positions = [_read_path(folder / f"{index:04d}.dcd", length) for index, length in enumerate(lengths)]
    else:
        positions = [ensemble.values[index, :length] for index, length in enumerate(lengths)]
    return TransitionPaths(tuple(positions), **columns, frame_time=ensemble.frame_interval), ensemble


def _read_path(dcd: Path, length: int) -> NDArray[np.floating]:
    if not dcd.is_file():
        raise RunFolderError(f"{dcd} is missing, and paths.npz counts it in: shoot again")
    found = read_dcd(dcd)
    if len(found) != length:
        raise RunFolderError(f"{dcd} holds {len(found)} frames, and paths.npz says {length}: shoot again")
    return found
