"""Positions on disk: DCD, which keeps single precision and opens everywhere."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from pathlib import Path

import mdtraj
import numpy as np
from mdtraj.utils.unitcell import box_vectors_to_lengths_and_angles
from numpy.typing import ArrayLike, NDArray

from tps.errors import RunFolderError, TrajectoryError, reason_of
from tps.quiet import silent_stdout
from tps.stored import remedy

_ANGSTROM_PER_NM = np.float32(10.0)
#: MDTraj writes the date and what happens to lie in memory into the two title lines; the same frames should be the
#: same bytes.
_TITLE_OFFSET, _TITLE_BYTES = 100, 160
_TITLE = b"Created by tps"
#: Of a file without frames; of the cell of one frame.
_HEADER_BYTES, _CELL_BYTES = 276, 56


def write_dcd(path: Path, positions: NDArray[np.float32], box: ArrayLike | None = None) -> None:
    """Write positions (n_frames, n_atoms, 3) [nm] as a DCD file, with the cell of a box (3, 3) [nm] that all share.

    Raises
    ------
    OSError
        If not all of it could be written.
    """
    cell: dict[str, NDArray[np.float32]] = {}
    if box is not None:
        found = np.array(
            box_vectors_to_lengths_and_angles(*np.asarray(box, dtype=np.float64)), dtype=np.float32
        )
        every = np.tile(found, (len(positions), 1))
        cell = {"cell_lengths": every[:, :3] * _ANGSTROM_PER_NM, "cell_angles": every[:, 3:]}
    with (
        silent_stdout(),
        mdtraj.formats.DCDTrajectoryFile(str(path), "w", force_overwrite=True) as file,
        contextlib.suppress(TypeError),  # MDTraj stumbles over its own message that the disk is full
    ):
        file.write(positions.astype(np.float32) * _ANGSTROM_PER_NM, **cell)
    _check_whole(path, positions, bool(cell))
    with path.open("r+b") as raw:
        raw.seek(_TITLE_OFFSET)
        raw.write(_TITLE.ljust(_TITLE_BYTES))


def _check_whole(path: Path, positions: NDArray[np.float32], cell: bool) -> None:
    """Raise where a file is shorter than it should be: what the plugin writes last it does not look after."""
    n_frames, n_atoms, n_axes = positions.shape
    frame_bytes = _CELL_BYTES * cell + n_axes * (_ANGSTROM_PER_NM.itemsize * n_atoms + 8)
    if path.stat().st_size != _HEADER_BYTES + n_frames * frame_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def read_dcd(path: Path) -> NDArray[np.float32]:
    """Read positions (n_frames, n_atoms, 3) [nm] of a DCD file of a run folder; the box is its system's.

    Raises
    ------
    RunFolderError
        If it is missing, damaged or cut off.
    """
    if not path.is_file():
        raise RunFolderError(f"{path} does not exist: {remedy(path)}")
    try:
        with silent_stdout(), mdtraj.formats.DCDTrajectoryFile(str(path), "r") as file:
            xyz, _, _ = file.read()
        check_dcd_length(path, len(xyz))
    except (OSError, ValueError, MemoryError, RuntimeError) as reason:
        raise RunFolderError(f"{path} cannot be read ({reason_of(reason)}): {remedy(path)}") from None
    return np.asarray(xyz / _ANGSTROM_PER_NM, dtype=np.float32)


def read_finite_dcd(path: Path) -> NDArray[np.float32]:
    """Read a DCD file as `read_dcd` does, one whose simulations all came to their end.

    Raises
    ------
    RunFolderError
        As there, or if a position is not finite.
    """
    positions = read_dcd(path)
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=(1, 2)))
    if len(bad):
        raise RunFolderError(f"{path} is damaged, frame {bad[0]} has no finite positions: {remedy(path)}")
    return positions


def check_dcd_length(path: Path, n_frames: int) -> None:
    """Check that a DCD file holds the frames that its header counts, where it counts them.

    Raises
    ------
    TrajectoryError
        If some are missing: the file was cut off.
    """
    with path.open("rb") as file:
        header = file.read(12)
    order = "<" if header[:1] == b"T" else ">"  # a record of 84 bytes comes first
    counted = struct.unpack(f"{order}i", header[8:])[0] if header[4:8] == b"CORD" else 0
    if counted > n_frames:
        raise TrajectoryError(
            f"{path} is cut off: its header counts {counted} frames, and {n_frames} are there"
        )
