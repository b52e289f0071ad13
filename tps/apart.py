"""Trajectories whose readers crash on damaged files (XTC, TRR) or run what they hold (HDF5), read in a process apart.

`python -m tps.apart FILE FIRST STRIDE BYTES > OUT` writes frames as arrays one after another, few at a time; a crash
there, or memory without end, ends that process alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import mdtraj
import numpy as np
from numpy.typing import NDArray

from tps.files import check_fold

#: By suffix; PyTables unpickles attributes of HDF5 files, and the C code of the others reads beyond damaged frames.
SUFFIXES = (".xtc", ".trr", *(_HDF5 := (".h5", ".lh5", ".hdf5")))
#: Any honest file is read in so much time on a busy machine, and by so many bytes a second from a slow disk.
_SECONDS, _BYTES_PER_SECOND = 600.0, 1e6
#: Frames are read so many at a time [bytes], and what reads them takes no more memory: its libraries take a tenth.
_CHUNK, _ROOM = 2**26, 2**32
#: Frames may take this share of the memory of the machine: they are copied where molecules are made whole, and put
#: together.
_SHARE = 0.25


def load_apart(
    file: Path, topology: mdtraj.Topology, first: int = 0, stride: int = 1
) -> tuple[mdtraj.Trajectory, int]:
    """Return every stride-th frame of a trajectory of one of `SUFFIXES`, and how many frames the file has.

    XTC and TRR take the given topology, HDF5 files have their own.

    Parameters
    ----------
    file : Path
    topology : mdtraj.Topology
    first : int
        The first frame that is kept.
    stride : int

    Raises
    ------
    OSError
        If it cannot be read, with what the reader says, if the reader crashed, or the frames take too much memory.
    """
    with tempfile.TemporaryFile() as out:  # of no name, so a kill leaves nothing
        numbers = (first, stride, room_for_frames())
        command = [sys.executable, "-W", "ignore", "-m", "tps.apart", str(file.resolve()), *map(str, numbers)]
        places = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        try:
            done = subprocess.run(
                command,
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                timeout=_SECONDS + file.stat().st_size / _BYTES_PER_SECOND,
                env={**os.environ, **threads, "PYTHONPATH": os.pathsep.join(filter(None, places))},
            )
        except subprocess.TimeoutExpired:
            raise OSError("its reader never ends: the file is damaged, or the disk very slow") from None
        if done.returncode == -signal.SIGKILL:
            raise OSError("its reader was killed: is there memory for it?")
        if done.returncode < 0:
            raise OSError(f"its reader crashed with signal {-done.returncode}: the file is damaged")
        if done.returncode > 0:
            raise OSError((done.stderr.strip().splitlines() or ["no frames"])[-1])
        out.seek(0)
        return _loaded(out, topology)


def room_for_frames() -> int:
    """Return what frames may take of the memory of the machine, or of that which this program may have [bytes]."""
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in map(Path, ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        if file.is_file() and (limit := file.read_text().strip()).isdecimal():
            most = min(most, int(limit))
    return int(_SHARE * most)


def check_room(n_bytes: int, most: int) -> None:
    """Check that frames take no more than they may.

    Raises
    ------
    OSError
        If they do.
    """
    if n_bytes > most:
        raise OSError(
            f"its frames take more than {most / 1e9:.1f} GB, {_SHARE:.0%} of the memory here: keep fewer of them"
        )


def _loaded(out: IO[bytes], topology: mdtraj.Topology) -> tuple[mdtraj.Trajectory, int]:
    """Return what `_write` has written: pairs of positions and cells, and then elements and the number of frames."""
    pairs = []
    while (found := np.load(out, allow_pickle=False)).ndim == 3:
        pairs.append((found, np.load(out, allow_pickle=False)))
    if not pairs:
        raise OSError("it has no frames")
    xyz, vectors = map(np.concatenate, zip(*pairs, strict=True))
    loaded = mdtraj.Trajectory(xyz, _topology(found) if len(found) else topology)
    if vectors.any():
        loaded.unitcell_vectors = vectors
    return loaded, int(np.load(out, allow_pickle=False))


def _topology(symbols: np.ndarray) -> mdtraj.Topology:
    """Return a topology of atoms of these elements, "" for none."""
    topology = mdtraj.Topology()
    residue = topology.add_residue("UNK", topology.add_chain())
    for symbol in symbols.tolist():
        element = mdtraj.element.Element.getBySymbol(symbol) if symbol else None
        topology.add_atom(symbol or "X", element, residue)
    return topology


def _frames(file: Path) -> Iterator[tuple[NDArray[np.float32], Any]]:
    """Yield positions [nm] and cells (n, 3, 3) or None, some frames at a time, of an XTC or TRR file."""
    kind = (
        mdtraj.formats.XTCTrajectoryFile
        if file.suffix.lower() == ".xtc"
        else mdtraj.formats.TRRTrajectoryFile
    )
    with kind(str(file), "r") as opened:
        n = 1
        while len((found := opened.read(n))[0]):
            yield found[0], found[3]
            n = _many(found[0].shape[1])


def _frames_of_hdf5(file: Path, symbols: list[str]) -> Iterator[tuple[NDArray[np.float32], Any]]:
    """Yield the same of an HDF5 file, without running what it may have pickled; `symbols` become its elements."""
    import tables.attributeset

    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("an attribute is a pickle")

    tables.attributeset.pickle = types.SimpleNamespace(loads=refuse, dumps=refuse)
    with mdtraj.formats.HDF5TrajectoryFile(str(file), "r") as opened:
        if opened.topology is None:
            raise OSError("it names no atoms, so MDTraj did not write it")
        symbols += [atom.element.symbol if atom.element else "" for atom in opened.topology.atoms]
        while len(found := opened.read_as_traj(_many(len(symbols)))):
            yield found.xyz, found.unitcell_vectors


def _many(n_atoms: int) -> int:
    return max(_CHUNK // (12 * max(n_atoms, 1)), 1)


def _write(out: IO[bytes], file: Path, first: int, stride: int, most: int) -> None:
    """Write the frames that are kept, their cells, the number of all frames, and elements where the file has them.

    Raises
    ------
    OSError
        If those kept are larger than `most` bytes, or all of them than such a file can hold.
    """
    symbols: list[str] = []
    n_frames = n_bytes = 0
    hdf5 = file.suffix.lower() in _HDF5
    for xyz, vectors in _frames_of_hdf5(file, symbols) if hdf5 else _frames(file):
        check_fold(file, (n_frames + len(xyz)) * xyz[0].nbytes)
        kept = slice((first - n_frames) % stride, None, stride)
        n_frames, n_bytes = n_frames + len(xyz), n_bytes + xyz[kept].nbytes
        check_room(n_bytes, most)
        np.save(out, xyz[kept])
        np.save(out, np.zeros((0, 3, 3), dtype=np.float32) if vectors is None else vectors[kept])
    np.save(out, np.array(symbols, dtype=str))
    np.save(out, np.array(n_frames))


def _main(file: str, *numbers: str) -> int:
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (_ROOM, _ROOM))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # what readers print is no frames
        try:
            _write(out, Path(file), *map(int, numbers))
        except MemoryError:
            print(f"it asks for more than {_ROOM / 1e9:.1f} GB at once: it is damaged", file=sys.stderr)
            return 1
        except Exception as reason:  # MDTraj's readers raise whatever a damaged file leads them to
            kind = "" if isinstance(reason, OSError) else f"{type(reason).__name__}: "
            said = str(reason).rpartition("End of HDF5 error back trace")[2]  # C code's lines stand before
            print(f"{kind}{' '.join(said.split())}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
