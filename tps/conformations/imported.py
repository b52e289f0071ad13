"""The user's own trajectories as weighted frames: any format MDTraj reads, with an optional weights file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import mdtraj
import numpy as np
from numpy.typing import NDArray

from tps.errors import TrajectoryError
from tps.quiet import silent_stdout
from tps.systems import MolecularSystem
from tps.units import thermal_energy

WeightKind = Literal["weight", "log-weight", "bias-kj-per-mol"]


@dataclass(frozen=True, eq=False)
class ImportedFrames:
    """Positions (n, n_atoms, 3) [nm], log-weights (n,), the trajectory each frame is from (n,), and what was said."""

    positions: NDArray[np.float32]
    log_weights: NDArray[np.float64]
    trajectory: NDArray[np.int64]
    notes: tuple[str, ...]


def import_trajectories(
    system: MolecularSystem,
    files: Sequence[Path],
    *,
    stride: int = 1,
    weights_file: Path | None = None,
    weights_kind: WeightKind = "log-weight",
    weights_column: str | None = None,
    skip_bad_frames: bool = False,
) -> ImportedFrames:
    """Read trajectories of the system's molecule.

    A frame of zero weight is left out, counted and said.

    Parameters
    ----------
    system : MolecularSystem
    files : sequence of Path
        In any format MDTraj reads; formats without topology take the system's atom order.
    stride : int
        Keep every stride-th frame; the weights file has a line for every frame before the stride.
    weights_file : Path, optional
        npy, npz (first array) or text columns; a PLUMED COLVAR file is text whose first line names its fields.
    weights_kind : str
        What the column holds: weights, their logarithms, or a bias [kJ/mol] to be undone, such as metad.rbias.
    weights_column : str, optional
        Field name of a PLUMED file, or the number of a column counted from 0; the last column by default.
    skip_bad_frames : bool
        Leave out frames with coordinates that are not finite numbers, count and say them, instead of refusing.

    Raises
    ------
    TrajectoryError
        If a file is missing or unreadable, of another molecule, has a bad frame, or the weights do not fit.
    """
    if not files:
        raise TrajectoryError(
            "importing needs at least one trajectory, but conformations.trajectories is empty"
        )
    parts = [_read(system, file) for file in files]
    positions = np.concatenate(parts)
    trajectory = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    log_weights = np.zeros(len(positions))
    if weights_file is not None:
        column = _read_weights(weights_file, weights_column)
        if len(column) != len(positions):
            raise TrajectoryError(
                f"weights file {weights_file} has {len(column)} values, but the trajectories have {len(positions)} "
                "frames: give one value per frame, in the order of the files"
            )
        log_weights = _log_weights(column, weights_kind, system.temperature, weights_file)
    keep = np.zeros(len(positions), dtype=bool)
    keep[::stride] = True
    finite = np.isfinite(positions).all(axis=(1, 2))
    weighted = np.isfinite(log_weights)
    notes = []
    if (n_bad := int((keep & ~finite).sum())) > 0:
        worst = int(np.flatnonzero(keep & ~finite)[0])
        frame = worst - int(np.argmax(trajectory == trajectory[worst]))
        what = f"{n_bad} of {int(keep.sum())} frames have coordinates that are not finite numbers"
        where = f"the first is frame {frame} of {files[trajectory[worst]]}"
        if not skip_bad_frames:
            raise TrajectoryError(
                f"{what} ({where}): mend the file, or set conformations.skip_bad_frames = true to leave them out"
            )
        notes.append(f"{what} and were left out ({where})")
    if (n_weightless := int((keep & finite & ~weighted).sum())) > 0:
        notes.append(f"{n_weightless} frames carry no weight and were left out")
    keep &= finite & weighted
    if not keep.any():
        raise TrajectoryError("no frame of the trajectories can be used: all are damaged or without weight")
    return ImportedFrames(positions[keep], log_weights[keep], trajectory[keep], tuple(notes))


def _read(system: MolecularSystem, file: Path) -> NDArray[np.float32]:
    if not file.is_file():
        raise TrajectoryError(f"there is no trajectory {file}: check conformations.trajectories")
    needed = f"{file} must hold the {system.n_atoms} atoms of {system.name}"
    try:
        with silent_stdout():
            loaded = mdtraj.load(str(file), **_topology_argument(system, file))
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, IndexError, EOFError) as error:
        raise TrajectoryError(f"{needed}, but MDTraj cannot read it ({_first_line(error)})") from error
    if loaded.n_atoms != system.n_atoms:
        raise TrajectoryError(
            f"{needed}, but has {loaded.n_atoms}: export the molecule alone, in its atom order"
        )
    elements = [atom.element for atom in loaded.topology.atoms]
    expected = [atom.element for atom in system.mdtraj_topology.atoms]
    for index, (got, want) in enumerate(zip(elements, expected, strict=True)):
        if got is not None and got != want:
            raise TrajectoryError(
                f"{needed}, but atom {index} is {got.symbol} where the system has {want.symbol}: "
                "it is another molecule or another atom order"
            )
    return np.asarray(loaded.xyz, dtype=np.float32)


def _topology_argument(system: MolecularSystem, file: Path) -> dict[str, mdtraj.Topology]:
    """Give the topology to the formats that have none of their own."""
    own = (".pdb", ".pdb.gz", ".h5", ".lh5", ".gro", ".pdbx", ".cif", ".mol2", ".hoomdxml", ".gsd", ".arc")
    return {} if file.name.lower().endswith(own) else {"top": system.mdtraj_topology}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _read_weights(file: Path, column: str | None) -> NDArray[np.float64]:
    if not file.is_file():
        raise TrajectoryError(f"there is no weights file {file}: check conformations.weights_file")
    try:
        if file.suffix in (".npy", ".npz"):
            loaded = np.load(file, allow_pickle=False)
            table = loaded if isinstance(loaded, np.ndarray) else loaded[loaded.files[0]]
        else:
            table = np.loadtxt(file, comments="#", ndmin=2)
        table = np.asarray(table, dtype=np.float64)
    except (ValueError, OSError, IndexError) as error:
        raise TrajectoryError(
            f"weights file {file} is not a table of numbers ({_first_line(error)})"
        ) from error
    if table.ndim == 1:
        return table
    return table[:, _column_index(file, column, table.shape[1])]


def _column_index(file: Path, column: str | None, n_columns: int) -> int:
    if column is None:
        return n_columns - 1
    fields: list[str] = []
    if file.suffix not in (".npy", ".npz"):
        with file.open() as lines:
            first = lines.readline().split()
        fields = first[2:] if first[:2] == ["#!", "FIELDS"] else []
    if column in fields:
        return fields.index(column)
    if column.isdecimal() and int(column) < n_columns:
        return int(column)
    raise TrajectoryError(
        f"weights file {file} has no column {column!r}: name one of "
        f"{', '.join(fields) if fields else f'0 to {n_columns - 1}'}"
    )


def _log_weights(
    column: NDArray[np.float64], kind: WeightKind, temperature: float, file: Path
) -> NDArray[np.float64]:
    if np.isnan(column).any():
        line = int(np.flatnonzero(np.isnan(column))[0])
        raise TrajectoryError(f"weights file {file} has a value that is not a number for frame {line}")
    if kind == "log-weight":
        return column
    if kind == "bias-kj-per-mol":
        return column / thermal_energy(temperature)
    if (column < 0).any() or not (column > 0).any():
        raise TrajectoryError(
            f"weights in {file} must be zero or positive, with one above zero: is weights_kind 'log-weight' meant?"
        )
    with np.errstate(divide="ignore"):
        return np.log(column)
