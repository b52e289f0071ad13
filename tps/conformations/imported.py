"""The user's own trajectories as weighted frames: any format MDTraj reads, with an optional weights file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mdtraj
import numpy as np
from numpy.typing import NDArray

from tps.apart import SUFFIXES as APART
from tps.apart import check_room, load_apart, room_for_frames
from tps.conformations.cells import whole_positions
from tps.conformations.frames import check_dcd_length
from tps.conformations.weights import WeightColumn, WeightKind, check_weights, read_weights
from tps.errors import TrajectoryError, reason_of
from tps.files import check_unpacked
from tps.quiet import silent_stdout
from tps.systems import MolecularSystem

#: Formats of single precision without packing: as large as their frames in memory.
_UNPACKED = (".dcd", ".nc", ".ncdf", ".netcdf")


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
    weights_kind: WeightKind | None = None,
    weights_column: str | None = None,
    skip_bad_frames: bool = False,
) -> ImportedFrames:
    """Read trajectories of the system's molecule.

    A frame of zero weight is left out, counted and said; molecules cut by the border of a cell are made whole.

    Parameters
    ----------
    system : MolecularSystem
    files : sequence of Path
        In any format MDTraj reads; formats without topology take the system's atom order.
    stride : int
        Keep every stride-th frame; the weights file has a line for every frame before the stride.
    weights_file : Path, optional
        npy, npz or text columns, such as a PLUMED COLVAR file, whose first line names its fields.
    weights_kind : str, optional
        What the column holds: weights, their logarithms, or a bias [kJ/mol] to be undone; what its name in the file
        says by default, such as metad.rbias.
    weights_column : str, optional
        Name of a column, or its number counted from 0; the only one that is named a weight by default.
    skip_bad_frames : bool
        Leave out frames with coordinates that are not finite numbers, count and say them, instead of refusing.

    Raises
    ------
    TrajectoryError
        If a file is missing or unreadable, of another molecule, has a bad frame, molecules that no cell makes whole
        or another cell than the system's, or what is given as weights cannot be that.
    """
    if not files:
        raise TrajectoryError(
            "importing needs at least one trajectory, but conformations.trajectories is empty"
        )
    positions, index, begins, notes = _read_all(system, files, stride)
    trajectory = np.searchsorted(begins, index, side="right") - 1
    keep = np.asarray(np.isfinite(positions).all(axis=(1, 2)))
    if not keep.all():
        said_of_bad = _bad_frames(keep, index - begins[trajectory], trajectory, files)
        if not skip_bad_frames:
            raise TrajectoryError(
                f"{said_of_bad}: mend the file, or set conformations.skip_bad_frames = true to leave them out"
            )
        notes.append(f"{said_of_bad} and were left out")
    log_weights = np.zeros(len(positions))
    if weights_file is not None and keep.any():
        column = read_weights(weights_file, weights_column, weights_kind)
        log_weights = _weigh(system, column, positions, keep, index, int(begins[-1]))
        if n_weightless := int((keep & ~np.isfinite(log_weights)).sum()):
            notes.append(f"{n_weightless} frames carry no weight and were left out")
            keep &= np.isfinite(log_weights)
    if not keep.any():
        raise TrajectoryError("no frame of the trajectories can be used: all are damaged or without weight")
    return ImportedFrames(positions[keep], log_weights[keep], trajectory[keep], tuple(notes))


def _read_all(
    system: MolecularSystem, files: Sequence[Path], stride: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], list[str]]:
    """Return every stride-th frame, which it is of all (n,), where each file begins, the end of all last, and notes."""
    parts: list[NDArray[np.float32]] = []
    notes: list[str] = []
    begins = [0]
    for file in files:
        first = -begins[-1] % stride
        loaded, n_frames = _read(system, file, first, stride)
        if len(loaded):
            part, said = whole_positions(system, loaded, file, np.arange(first, n_frames, stride))
            parts.append(part)
            notes += said
        begins.append(begins[-1] + n_frames)
    if not parts:
        raise TrajectoryError("the trajectories have no frames: check conformations.trajectories")
    return np.concatenate(parts), np.arange(0, begins[-1], stride), np.array(begins), notes


def _bad_frames(
    finite: NDArray[np.bool_],
    frame: NDArray[np.int64],
    trajectory: NDArray[np.int64],
    files: Sequence[Path],
) -> str:
    """Return how many frames to be kept are not finite, and where the first is."""
    bad = np.flatnonzero(~finite)
    first = int(bad[0])
    return (
        f"{len(bad)} of {len(finite)} frames have coordinates that are not finite numbers (the first is frame "
        f"{frame[first]} of {files[trajectory[first]]})"
    )


def _weigh(
    system: MolecularSystem,
    column: WeightColumn,
    positions: NDArray[np.float32],
    keep: NDArray[np.bool_],
    index: NDArray[np.int64],
    n_frames: int,
) -> NDArray[np.float64]:
    """Return the log-weights of the frames that were read, which are `index` of all, after a look at those to keep."""
    if len(column.values) != n_frames:
        raise TrajectoryError(
            f"weights file {column.file} has {len(column.values)} values, but the trajectories have {n_frames} "
            "frames: give one value per frame, in the order of the files"
        )
    values = system.values(positions[keep])
    check_weights(column, system.kt, values, system.collective_variables, index[keep])
    return column.log_weights(system.kt)[index]


def _read(system: MolecularSystem, file: Path, first: int, stride: int) -> tuple[mdtraj.Trajectory, int]:
    """Return every stride-th frame of a file, from the first one, and how many it has."""
    if not file.is_file():
        raise TrajectoryError(f"there is no trajectory {file}: check conformations.trajectories")
    needed = f"{file} must hold the {system.n_atoms} atoms of {system.name}"
    try:
        check_unpacked(file)
        with silent_stdout():
            if file.suffix.lower() in APART:
                loaded, n_frames = load_apart(file, system.mdtraj_topology, first, stride)
            elif file.suffix.lower() in _UNPACKED:
                loaded, n_frames = _some_frames(system, file, first, stride)
            else:
                whole = mdtraj.load(str(file), **_topology_argument(system, file))
                loaded, n_frames = whole[first::stride], whole.n_frames
    except Exception as error:  # MDTraj's readers raise whatever a damaged file leads them to
        raise TrajectoryError(f"{needed}, but MDTraj cannot read it ({reason_of(error)})") from error
    if file.suffix.lower() == ".dcd":
        check_dcd_length(file, n_frames)
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
    return loaded, n_frames


def _some_frames(
    system: MolecularSystem, file: Path, first: int, stride: int
) -> tuple[mdtraj.Trajectory, int]:
    """Return what `_read` does of a file that one can look into anywhere."""
    check_room(file.stat().st_size // stride, room_for_frames())
    with mdtraj.open(str(file)) as opened:
        n_frames = len(opened)
        opened.seek(min(first, n_frames))
        loaded = opened.read_as_traj(system.mdtraj_topology, stride=stride)
    expected = len(range(first, n_frames, stride))
    if len(loaded) != expected:
        raise OSError(
            f"by its size it has {n_frames} frames, but {expected - len(loaded)} of {expected} are no frames"
        )
    return loaded, n_frames


def _topology_argument(system: MolecularSystem, file: Path) -> dict[str, mdtraj.Topology]:
    """Give the topology to the formats that have none of their own."""
    own = (".pdb", ".pdb.gz", ".gro", ".pdbx", ".cif", ".mol2", ".hoomdxml", ".gsd", ".arc")
    return {} if file.name.lower().endswith(own) else {"top": system.mdtraj_topology}
