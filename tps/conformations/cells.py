"""Frames of a trajectory with a unit cell: molecules whole, and the cell that of the system."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.errors import TrajectoryError
from tps.features.variable import nearest_image
from tps.systems import MolecularSystem
from tps.systems.imaging import image_molecules, set_box
from tps.systems.molecular_graph import graph_of
from tps.systems.structures import PLACEHOLDER_BOX, Structure, describe_box

#: A bond is broken where it is so many times as long as in the end structures, and by so much [nm].
_BROKEN_FACTOR, _BROKEN_EXCESS = 2.0, 0.05
#: Parts of an edge by which the mean cell, and that of any frame, may differ from the system's box.
_MAX_MEAN_CHANGE, _MAX_CHANGE = 0.02, 0.05
#: Smaller changes are the files' rounding.
_ROUNDING = 1e-3


def whole_positions(
    system: MolecularSystem, frames: mdtraj.Trajectory, file: Path, numbers: NDArray[np.int64]
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return positions (n_frames, n_atoms, 3) [nm] with molecules whole, and what had to be said.

    Parameters
    ----------
    system : MolecularSystem
    frames : mdtraj.Trajectory
        Of its atoms; the cell is that of the file, or none.
    file : Path
        Where they are from.
    numbers : (n_frames,) array of int
        Which of its frames they are.

    Raises
    ------
    TrajectoryError
        If bonds are broken and no cell mends them, or the cell is not the system's.
    """
    cells = _cells(frames)
    notes = () if cells is None or system.box is None else _compare(cells, system.box, file, numbers)
    xyz = np.array(frames.xyz, dtype=np.float32)
    bonds, limits = _bonds(system)
    broken = _longest(xyz, bonds, limits) > 1
    if broken.any():
        notes += (_mend(system, xyz, broken, cells, file, numbers),)
        if (still := _longest(xyz, bonds, limits) > 1).any():
            raise TrajectoryError(
                f"frame {numbers[still][0]} of {file} has bonds that are broken whatever periodic image "
                f"is taken: make molecules whole when you write the trajectory, from the one with its own cell"
            )
    if system.box is None and cells is not None:  # nothing later looks for images: molecules near one another
        _image(system, xyz, ~broken & np.isfinite(xyz).all(axis=(1, 2)), cells, np.arange(system.n_atoms))
    return xyz, notes


def _cells(frames: mdtraj.Trajectory) -> NDArray[np.float64] | None:
    """Return the cell of each frame (n_frames, 3, 3) [nm]; None without, or for the placeholders of files without."""
    if frames.unitcell_vectors is None:
        return None
    cells = np.asarray(frames.unitcell_vectors, dtype=np.float64)
    real = np.isfinite(cells).all() and np.linalg.norm(cells, axis=-1).min() > PLACEHOLDER_BOX
    return cells if real else None


def _compare(
    cells: NDArray[np.float64], box: NDArray[np.float64], file: Path, numbers: NDArray[np.int64]
) -> tuple[str, ...]:
    """Return what is to be said of cells other than the system's box, of the same lattice in whichever vectors."""
    turned = np.rint(cells @ np.linalg.inv(box))
    same = np.isclose(np.abs(np.linalg.det(turned)), 1.0)
    turned[~same] = np.eye(3)
    found = np.linalg.solve(turned, cells)
    edges = np.linalg.norm(box, axis=1)
    change = (np.linalg.norm(found - box, axis=-1) / edges).max(axis=-1)
    mean = found.mean(axis=0)
    mean_change = (np.linalg.norm(mean - box, axis=-1) / edges).max()
    worst = int(change.argmax())
    if mean_change > _MAX_MEAN_CHANGE or change[worst] > _MAX_CHANGE:
        raise TrajectoryError(
            f"the cell of {file} is {describe_box(mean)} on average and {100 * change[worst]:.1f} % off in frame "
            f"{numbers[worst]}, but the system's box is {describe_box(box)} and its volume is constant: run the "
            "trajectory in this box, or prepare the system in the trajectory's mean one"
        )
    if change[worst] < _ROUNDING:
        return ()
    n_far = int((change > _MAX_MEAN_CHANGE).sum())
    return (
        f"cells of {file} differ from the system's box by up to {100 * change[worst]:.1f} % of an edge "
        f"({n_far} of {len(cells)} frames by more than {100 * _MAX_MEAN_CHANGE:.0f} %), {100 * mean_change:.1f} % on "
        "average: they are taken as frames of the system's constant volume",
    )


def _bonds(system: MolecularSystem) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return bonds (n_bonds, 2) and the length at which each is broken (n_bonds,) [nm]."""
    graph = graph_of(Structure(system.directory, system.topology, system.positions_a, system.box))
    pairs = [(i, j) for i, others in enumerate(graph.neighbours) for j in others if i < j]
    bonds = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    ends = nearest_image(system.ends[:, bonds[:, 0]] - system.ends[:, bonds[:, 1]], system.box)
    return bonds, _BROKEN_FACTOR * np.linalg.norm(ends, axis=-1).max(axis=0) + _BROKEN_EXCESS


def _longest(
    xyz: NDArray[np.float32], bonds: NDArray[np.intp], limits: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the largest bond length over its limit (n_frames,)."""
    if not len(bonds):
        return np.zeros(len(xyz))
    lengths = np.linalg.norm(xyz[:, bonds[:, 0]] - xyz[:, bonds[:, 1]], axis=-1)
    return np.asarray((lengths / limits).max(axis=1), dtype=np.float64)


def _mend(
    system: MolecularSystem,
    xyz: NDArray[np.float32],
    broken: NDArray[np.bool_],
    cells: NDArray[np.float64] | None,
    file: Path,
    numbers: NDArray[np.int64],
) -> str:
    """Make the broken frames whole in place, and return what is to be said."""
    what = f"{int(broken.sum())} of {len(xyz)} frames of {file} have molecules cut by a periodic border"
    used = system.box if cells is None else cells
    if used is None:
        raise TrajectoryError(
            f"{what} (frame {numbers[broken][0]} is the first), and neither file nor system has a cell to "
            "mend them: make molecules whole when you write the trajectory, or write its cell"
        )
    solute = np.arange(system.n_atoms) if system.box is None else np.asarray(system.solute)
    _image(system, xyz, broken, used, solute)
    where = "in its cell" if cells is not None else "in the system's box, for the file has no cell"
    return f"{what}: they were made whole {where}"


def _image(
    system: MolecularSystem,
    xyz: NDArray[np.float32],
    which: NDArray[np.bool_],
    cells: ArrayLike,
    solute: NDArray[np.intp],
) -> None:
    """Make some frames whole in place, in one cell (3, 3) or that of each frame (n_frames, 3, 3) [nm]."""
    if not which.any():
        return
    frames = mdtraj.Trajectory(xyz[which], system.mdtraj_topology)
    vectors = np.asarray(cells, dtype=np.float32)
    if vectors.ndim == 3:
        frames.unitcell_vectors = vectors[which]
    else:
        set_box(frames, vectors)
    image_molecules(frames, solute)
    xyz[which] = frames.xyz
