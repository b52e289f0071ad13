"""Read the paths of a run folder: topology.pdb, paths.npz and one DCD for each completed path."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mdtraj
import numpy as np
from numpy.typing import NDArray

from tps.errors import ParameterError, RunFolderError, TrajectoryError
from tps.export.record import NO_SEGMENT
from tps.quiet import silent_stdout


@dataclass(frozen=True)
class PathSource:
    """The paths of one stage of a run, by index; positions stay on disk until they are asked for."""

    folder: Path
    reference: mdtraj.Trajectory
    """One frame: the run's topology.pdb with its coordinates."""
    status: tuple[str, ...]
    potential_energy: NDArray[np.float64]
    """(n_paths, n_frames) [kJ/mol], NaN where a path failed."""
    reactive_start: NDArray[np.int64]
    reactive_end: NDArray[np.int64]
    lengths: NDArray[np.int64]
    """(n_paths,) frames of each path; those of shooting differ."""
    dynamical: bool
    """Whether the paths are those of shooting, each with a length of its own."""
    frame_interval_ps: float

    @property
    def n_paths(self) -> int:
        """Paths started, failed ones included."""
        return len(self.status)

    def frames(self, index: int, *, reactive_only: bool) -> tuple[int, int] | str:
        """Return the first and last frame (inclusive) of path `index`, or the reason there are none."""
        if self.status[index] != "completed":
            return self.status[index]
        if not reactive_only:
            return 0, int(self.lengths[index]) - 1
        first, last = int(self.reactive_start[index]), int(self.reactive_end[index])
        return (first, last) if 0 <= first <= last else NO_SEGMENT

    def load(self, index: int) -> mdtraj.Trajectory:
        """Return all frames of path `index`, their time in ps of the protocol.

        Raises
        ------
        TrajectoryError
            If its DCD is missing or damaged, belongs to another molecule, or has another number of frames.
        """
        file, n_frames = self.folder / f"{index:04d}.dcd", int(self.lengths[index])
        try:
            with silent_stdout():
                path = mdtraj.load_dcd(str(file), top=self.reference.topology)
        except (OSError, ValueError) as error:
            raise TrajectoryError(
                f"{file} should hold {self.reference.n_atoms} atoms, but cannot be read ({error}): "
                "make the paths again with --force"
            ) from error
        if path.n_frames != n_frames or not np.isfinite(path.xyz).all():
            raise TrajectoryError(
                f"{file} should hold {n_frames} frames of finite coordinates, but has {path.n_frames}"
                + ("" if np.isfinite(path.xyz).all() else ", some not finite")
                + ": make the paths again with --force"
            )
        path.time = np.arange(n_frames) * self.frame_interval_ps
        return path


def open_paths(run: Path, source: str = "paths") -> PathSource:
    """Return the paths in folder `source` of `run` (for instance "paths" or "baselines/straight").

    Raises
    ------
    RunFolderError
        If the run has no topology.pdb, or the stage has not been run.
    TrajectoryError
        If paths.npz lacks an entry or its entries disagree in length.
    """
    topology, table = run / "topology.pdb", run / source / "paths.npz"
    if not topology.is_file():
        raise RunFolderError(f"{run} has no topology.pdb: give the folder of a run, as made by `tps run`")
    if not table.is_file():
        raise RunFolderError(f"{table} is missing: make the paths first, with `tps paths {run}`")
    reference = load_structure(topology)
    try:
        with np.load(table, allow_pickle=False) as data:
            potential_energy = np.asarray(data["potential_energy"], dtype=np.float64)
            whole = np.full(len(potential_energy), potential_energy.shape[-1])
            found = PathSource(
                folder=table.parent,
                reference=reference,
                status=tuple(str(entry) for entry in data["status"]),
                potential_energy=potential_energy,
                reactive_start=np.asarray(data["reactive_start"], dtype=np.int64),
                reactive_end=np.asarray(data["reactive_end"], dtype=np.int64),
                lengths=np.asarray(data["lengths"], dtype=np.int64) if "lengths" in data.files else whole,
                dynamical="lengths" in data.files,
                frame_interval_ps=float(data["frame_interval_ps"]),
            )
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise TrajectoryError(f"{table} is damaged ({error}): make the paths again with --force") from error
    columns = (found.potential_energy, found.reactive_start, found.reactive_end, found.lengths)
    lengths = {found.n_paths, *map(len, columns)}
    if len(lengths) != 1 or found.potential_energy.ndim != 2:
        raise TrajectoryError(
            f"{table} should hold one entry for each path, but the numbers of entries are {sorted(lengths)}: "
            "make the paths again with --force"
        )
    return found


def load_structure(file: Path) -> mdtraj.Trajectory:
    """Return the first model of a PDB file with the atom names of the file and the bonds of its residues.

    MDTraj finds the bonds of a residue only under the names of its own table, and renames atoms to them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, named = (mdtraj.load_pdb(str(file), standard_names=flag)[0] for flag in (True, False))
    topology = copy.deepcopy(found.topology)
    for atom, original in zip(topology.atoms, named.topology.atoms, strict=True):
        atom.name, atom.residue.name = original.name, original.residue.name
    return mdtraj.Trajectory(named.xyz, topology)


def select_atoms(topology: mdtraj.Topology, selection: str | None) -> NDArray[np.int64]:
    """Return the atom indices of an MDTraj selection; None takes all atoms.

    Raises
    ------
    ParameterError
        If the selection cannot be understood or takes no atom.
    """
    if selection is None:
        return np.arange(topology.n_atoms)
    try:
        chosen = topology.select(selection)
    except (ValueError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
        raise ParameterError(
            f"atom selection {selection!r} is not in MDTraj's language ({reason}): write for instance "
            "'not element H' or 'backbone'"
        ) from error
    if len(chosen) == 0:
        raise ParameterError(f"atom selection {selection!r} takes none of the {topology.n_atoms} atoms")
    return np.asarray(chosen, dtype=np.int64)


def heavy_atoms(topology: mdtraj.Topology) -> NDArray[np.int64]:
    """Return the atoms to align on: all but hydrogen, or all atoms where fewer than three are heavier."""
    heavy = [atom.index for atom in topology.atoms if atom.element is None or atom.element.atomic_number > 1]
    return np.array(heavy if len(heavy) >= 3 else range(topology.n_atoms), dtype=np.int64)


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
