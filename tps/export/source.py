"""Read the paths of a run folder: candidates, one DCD each, and the paths of shooting, packed in a few files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mdtraj
import numpy as np
from numpy.typing import NDArray

from tps.arrays import load_arrays
from tps.errors import ParameterError, RunFolderError, TrajectoryError
from tps.export.record import NO_SEGMENT
from tps.features.selection import chosen_atoms
from tps.paths import Frames, load_paths, load_transition_paths
from tps.quiet import silent_stdout
from tps.systems import MolecularSystem
from tps.systems.imaging import image_molecules, set_box


@dataclass(frozen=True)
class PathSource:
    """The paths of one stage of a run, by index; positions stay on disk until they are asked for."""

    folder: Path
    system: MolecularSystem
    status: tuple[str, ...]
    potential_energy: Frames
    """(n_frames,) of each path [kJ/mol], NaN where it failed."""
    reactive_start: NDArray[np.int64]
    reactive_end: NDArray[np.int64]
    lengths: NDArray[np.int64]
    """(n_paths,) frames of each path; those of shooting differ."""
    chain: NDArray[np.int64] | None
    """(n_paths,) of paths of shooting, None for candidates."""
    frame_interval_ps: float
    packed: Frames | None = None
    """Positions (n_frames, n_atoms, 3) of paths that have no DCD of their own."""

    @property
    def n_paths(self) -> int:
        """Paths started, failed ones included."""
        return len(self.status)

    @property
    def dynamical(self) -> bool:
        """Whether the paths are those of shooting, whose time is physical."""
        return self.chain is not None

    def frames(self, index: int, *, reactive_only: bool) -> tuple[int, int] | str:
        """Return the first and last frame (inclusive) of path `index`, or the reason there are none."""
        if self.status[index] != "completed":
            return self.status[index]
        if not reactive_only:
            return 0, int(self.lengths[index]) - 1
        first, last = int(self.reactive_start[index]), int(self.reactive_end[index])
        return (first, last) if 0 <= first <= last else NO_SEGMENT

    def load(self, index: int) -> mdtraj.Trajectory:
        """Return all frames of path `index` as they are stored, in the box, their time in ps of the protocol.

        Raises
        ------
        TrajectoryError
            If it is missing or damaged, belongs to another molecule, or has another number of frames.
        """
        file, n_frames = self.folder / f"{index:04d}.dcd", int(self.lengths[index])
        try:
            if self.packed is not None:
                file, found = self.folder / "paths.npz", self.packed[index]
                path = mdtraj.Trajectory(np.array(found), self.system.mdtraj_topology)
            else:
                with silent_stdout():
                    path = mdtraj.load_dcd(str(file), top=self.system.mdtraj_topology)
        except (OSError, ValueError) as error:
            raise TrajectoryError(
                f"{file} should hold {self.system.n_atoms} atoms, but cannot be read ({error}): "
                "make the paths again with --force"
            ) from error
        if path.n_frames != n_frames or not np.isfinite(path.xyz).all():
            raise TrajectoryError(
                f"{file} should hold {n_frames} frames of finite coordinates, but has {path.n_frames}"
                + ("" if np.isfinite(path.xyz).all() else ", some not finite")
                + ": make the paths again with --force"
            )
        path.time = np.arange(n_frames) * self.frame_interval_ps
        set_box(path, self.system.box)
        return path


def open_paths(run: Path, source: str, system: MolecularSystem) -> PathSource:
    """Return the paths in folder `source` of `run` (for instance "paths" or "baselines/straight").

    Raises
    ------
    RunFolderError
        If the stage has not been run.
    TrajectoryError
        If paths.npz lacks an entry or its entries disagree in length.
    """
    table = run / source / "paths.npz"
    if not table.is_file():
        raise RunFolderError(f"{table} is missing: make the paths first, with `tps paths {run}`")
    columns = load_arrays(table, "chain")
    return _packed(table.parent, system) if "chain" in columns else _candidates(table, system)


def _packed(folder: Path, system: MolecularSystem) -> PathSource:
    """Return paths of shooting, every frame of which lies on the way from A to B."""
    paths = load_transition_paths(folder)
    n = len(paths)
    return PathSource(
        folder=folder,
        system=system,
        status=("completed",) * n,
        potential_energy=paths.potential_energy or (),
        reactive_start=np.zeros(n, dtype=np.int64),
        reactive_end=paths.lengths - 1,
        lengths=paths.lengths,
        chain=paths.chain,
        frame_interval_ps=paths.frame_time,
        packed=paths.positions,
    )


def _candidates(table: Path, system: MolecularSystem) -> PathSource:
    """Return paths along a curve."""
    stored = load_paths(table.parent)
    energy = np.asarray(stored.potential_energy, dtype=np.float64)
    return PathSource(
        folder=table.parent,
        system=system,
        status=tuple(str(entry) for entry in stored.status),
        potential_energy=list(energy),
        reactive_start=stored.reactive_start,
        reactive_end=stored.reactive_end,
        lengths=np.full(len(energy), energy.shape[-1]),
        chain=None,
        frame_interval_ps=stored.frame_interval,
    )


def structure(system: MolecularSystem, positions: NDArray[np.floating]) -> mdtraj.Trajectory:
    """Return frames at positions (n_frames, n_atoms, 3) or (n_atoms, 3) [nm] as `image_molecules` places them."""
    found = mdtraj.Trajectory(np.array(positions, dtype=np.float32), system.mdtraj_topology)
    set_box(found, system.box)
    image_molecules(found, np.asarray(system.solute))
    return found


def select_atoms(system: MolecularSystem, selection: str | None) -> NDArray[np.int64]:
    """Return the atom indices of an MDTraj selection; None takes the solute.

    Raises
    ------
    SystemDefinitionError
        If the selection cannot be understood or takes no atom.
    """
    if selection is None:
        return np.asarray(system.solute, dtype=np.int64)
    return np.asarray(chosen_atoms(system.mdtraj_topology, selection), dtype=np.int64)


def heavy_atoms(topology: mdtraj.Topology, atoms: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return those of `atoms` to align on: all but hydrogen, or all where fewer than three are heavier."""
    heavy = [i for i in atoms.tolist() if _weight(topology.atom(i)) > 1]
    return np.array(heavy if len(heavy) >= 3 else atoms, dtype=np.int64)


def _weight(atom: mdtraj.core.topology.Atom) -> int:
    """Return an atomic number; that of an unknown element is large, of a virtual site 0."""
    return 99 if atom.element is None else int(atom.element.atomic_number)


def check_indices(which: Sequence[int] | None, n_paths: int) -> tuple[int, ...]:
    """Return the path indices asked for, each once; None takes all.

    Raises
    ------
    ParameterError
        If there is no path of that index.
    """
    if which is None:
        return tuple(range(n_paths))
    wrong = [index for index in which if not 0 <= index < n_paths]
    if wrong:
        raise ParameterError(f"the run has paths 0 to {n_paths - 1}, but path {wrong[0]} was asked for")
    return tuple(dict.fromkeys(which))
