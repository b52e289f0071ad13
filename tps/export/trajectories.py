"""Write the paths of a run as trajectories that other programs open."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import mdtraj
import numpy as np
from numpy.typing import NDArray

from tps.errors import ParameterError, RunFolderError
from tps.export.folder import check_folder
from tps.export.formats import TrajectoryFormat, check_cell, find_format
from tps.export.record import (
    RECORD_FILE,
    TOPOLOGY_FILE,
    ExportedPath,
    ExportRecord,
    read_record,
    write_record,
)
from tps.export.source import PathSource, check_indices, heavy_atoms, open_paths, select_atoms, structure
from tps.lock import scratch_beside
from tps.quiet import silent_stdout
from tps.systems import MolecularSystem
from tps.systems.imaging import image_molecules, superpose

_OUR_FILES = re.compile(r"(path_\d+|state_\w+|topology)\.[\w.]+|view\.(pml|vmd\.tcl|cxc)")


def export_paths(
    run: str | Path,
    out: str | Path,
    system: MolecularSystem,
    *,
    format: str = "dcd",
    atoms: str | None = None,
    reactive_only: bool = False,
    which: Sequence[int] | None = None,
    align: bool = True,
    source: str = "paths",
    force: bool = False,
) -> ExportRecord:
    """Write paths of a run into folder `out`: path_NNNN.<format>, topology.pdb, the end states and export.json.

    In a periodic system molecules are whole, those of the solute in the middle, and every frame has the unit cell.
    Superposed frames are turned against it: leave `align` out where images of molecules matter.

    Formats that keep a time (XTC, TRR, NetCDF, HDF5, GRO) get frame index times frame interval, counted
    from the start of the whole path also for reactive segments. It is the time of the protocol, not physical
    time: a generated path is a candidate. MDTraj converts lengths to the unit of the format (nm in XTC, TRR,
    GRO and HDF5, angstrom in the others).

    Parameters
    ----------
    run : str or Path
        Run folder.
    out : str or Path
        Folder to write, made when missing.
    system : MolecularSystem
        The run's; its end structures are written as state_<name>.pdb.
    format : str
        A name in `tps.export.FORMATS`.
    atoms : str, optional
        MDTraj atom selection, such as "all"; the solute by default.
    reactive_only : bool
        Write only the frames from the last one in A to the first following one in B.
    which : sequence of int, optional
        Indices of the paths to write.
    align : bool
        Superpose every frame on the solute's heavy atoms in end structure A.
    source : str
        Where in the run folder the paths are.
    force : bool
        Replace an earlier export in `out`.

    Raises
    ------
    ParameterError
        If a format, selection, index or name of a state cannot be used.
    RunFolderError
        If the stage has not been run, nothing is left to write, or `out` is not empty.
    TrajectoryError
        If a stored path is damaged.
    """
    run, out = Path(run), Path(out)
    written_as = find_format(format)
    check_cell(written_as, system.box)
    paths = open_paths(run, source, system)
    chosen = select_atoms(system, atoms)
    indices = check_indices(which, paths.n_paths)
    reference = structure(system, system.positions_a)
    states = _end_structures(reference, system, align)
    spans = {index: paths.frames(index, reactive_only=reactive_only) for index in indices}
    left_out = {index: span for index, span in spans.items() if isinstance(span, str)}
    if len(left_out) == len(spans):
        raise RunFolderError(f"nothing to export from {run}: {_count_reasons(left_out)}")
    with scratch_beside(out) as scratch:
        check_folder(out, force)
        _write(reference.atom_slice(chosen), scratch / TOPOLOGY_FILE, find_format("pdb"))
        for label, end in states.items():
            _write(end.atom_slice(chosen), scratch / f"state_{label}.pdb", find_format("pdb"))
        written = tuple(
            _export_one(paths, index, span, chosen, reference if align else None, scratch, written_as)
            for index, span in spans.items()
            if not isinstance(span, str)
        )
        record = ExportRecord(
            format=written_as.name,
            n_atoms=len(chosen),
            atoms=atoms,
            aligned=align,
            reactive_only=reactive_only,
            dynamical=paths.dynamical,
            periodic=system.box is not None,
            frame_interval_ps=paths.frame_interval_ps,
            paths=written,
            end_states={label: f"state_{label}.pdb" for label in states},
            left_out=left_out,
        )
        write_record(record, scratch)
        _move_into_place(scratch, out, record)
    return record


def _export_one(
    paths: PathSource,
    index: int,
    span: tuple[int, int],
    chosen: NDArray[np.int64],
    reference: mdtraj.Trajectory | None,
    folder: Path,
    written_as: TrajectoryFormat,
) -> ExportedPath:
    """Write frames `span` (inclusive) of one path, superposed on the reference where one is given."""
    first, last = span
    segment, solute = paths.load(index)[first : last + 1], np.asarray(paths.system.solute)
    image_molecules(segment, solute)
    if reference is not None:
        superpose(segment, reference, heavy_atoms(segment.topology, solute))
    file = f"path_{index:04d}{written_as.suffix}"
    _write(segment.atom_slice(chosen), folder / file, written_as)
    highest = paths.potential_energy[index][first : last + 1].max()
    return ExportedPath(
        index=index,
        file=file,
        n_frames=segment.n_frames,
        first_frame=first,
        potential_energy_max=float(highest) if np.isfinite(highest) else None,
    )


def _end_structures(
    reference: mdtraj.Trajectory, system: MolecularSystem, align: bool
) -> dict[str, mdtraj.Trajectory]:
    """Return one frame for each end state, aligned like the paths."""
    found = {}
    ends = {system.state_a.name: system.positions_a, system.state_b.name: system.positions_b}
    for label, positions in ends.items():
        if not re.fullmatch(r"\w+", label):
            raise ParameterError(f"the name of a state goes into a file name, but {label!r} is not a word")
        found[label] = structure(system, positions)
        if align:
            solute = np.asarray(system.solute)
            superpose(found[label], reference, heavy_atoms(reference.topology, solute))
    return found


def _write(frames: mdtraj.Trajectory, file: Path, written_as: TrajectoryFormat) -> None:
    with warnings.catch_warnings(), silent_stdout():
        warnings.simplefilter("ignore")  # MDTraj advises another NetCDF package
        getattr(frames, written_as.saver)(str(file))


def _count_reasons(left_out: Mapping[int, str]) -> str:
    counts: dict[str, int] = {}
    for reason in left_out.values():
        counts[reason] = counts.get(reason, 0) + 1
    return f"of {len(left_out)} paths, " + "; ".join(f"{count}: {why}" for why, count in counts.items())


def _move_into_place(scratch: Path, out: Path, record: ExportRecord) -> None:
    """Rename the new files into `out`, the record last, and drop what an earlier export left there."""
    out.mkdir(exist_ok=True)
    with suppress(RunFolderError):  # no earlier export, or one that cannot be read
        stale = set(read_record(out).files) - set(record.files) | {"view.pml", "view.vmd.tcl", "view.cxc"}
        (out / RECORD_FILE).unlink()
        for name in stale:
            if _OUR_FILES.fullmatch(name):
                (out / name).unlink(missing_ok=True)
    for name in (*record.files, RECORD_FILE):
        (scratch / name).replace(out / name)
