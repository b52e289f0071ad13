"""Trajectories whose readers crash on damaged files (XTC, TRR) or run what they hold (HDF5), read in a process apart.

`python -m tps.apart FILE > OUT` writes frames to an npz file; a crash there ends that process alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np

#: By suffix; PyTables unpickles attributes of HDF5 files, and the C code of the others reads beyond damaged frames.
SUFFIXES = (".xtc", ".trr", ".h5", ".lh5")
_SECONDS = 3600.0


def load_apart(file: Path, topology: mdtraj.Topology) -> mdtraj.Trajectory:
    """Return a trajectory of one of `SUFFIXES`; XTC and TRR take the given topology, HDF5 files have their own.

    Raises
    ------
    OSError
        If it cannot be read, with what the reader says, or if the reader crashed.
    """
    with tempfile.TemporaryFile() as out:  # of no name, so a kill leaves nothing
        command = [sys.executable, "-W", "ignore", "-m", "tps.apart", str(file.resolve())]
        places = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        done = subprocess.run(
            command,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))},
        )
        if done.returncode < 0:
            raise OSError(f"its reader crashed with signal {-done.returncode}: the file is damaged")
        if done.returncode > 0:
            raise OSError((done.stderr.strip().splitlines() or ["no frames"])[-1])
        out.seek(0)
        with np.load(out, allow_pickle=False) as found:
            return _trajectory(dict(found), topology)


def _trajectory(found: dict[str, Any], topology: mdtraj.Topology) -> mdtraj.Trajectory:
    own = _topology(found["symbols"]) if "symbols" in found else topology
    loaded = mdtraj.Trajectory(found["xyz"], own)
    if "vectors" in found:
        loaded.unitcell_vectors = found["vectors"]
    return loaded


def _topology(symbols: np.ndarray) -> mdtraj.Topology:
    """Return a topology of atoms of these elements, "" for none."""
    topology = mdtraj.Topology()
    residue = topology.add_residue("UNK", topology.add_chain())
    for symbol in symbols.tolist():
        element = mdtraj.element.Element.getBySymbol(symbol) if symbol else None
        topology.add_atom(symbol or "X", element, residue)
    return topology


def _read(file: Path) -> dict[str, Any]:
    """Return the frames of a trajectory as arrays: xyz [nm], the cell where it has one, and the elements it names."""
    if file.suffix.lower() in (".h5", ".lh5"):
        return _of(_load_hdf5(file))
    kind = (
        mdtraj.formats.XTCTrajectoryFile
        if file.suffix.lower() == ".xtc"
        else mdtraj.formats.TRRTrajectoryFile
    )
    with kind(str(file), "r") as opened:
        xyz, _, _, box = opened.read()[:4]
    return {"xyz": xyz} | ({"vectors": box} if box is not None and np.any(box) else {})


def _load_hdf5(file: Path) -> mdtraj.Trajectory:
    """Read an HDF5 file without running what it may have pickled in its attributes."""
    import tables.attributeset

    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("an attribute is a pickle")

    tables.attributeset.pickle = types.SimpleNamespace(loads=refuse, dumps=refuse)
    return mdtraj.load(str(file))


def _of(loaded: mdtraj.Trajectory) -> dict[str, Any]:
    symbols = np.array([atom.element.symbol if atom.element else "" for atom in loaded.topology.atoms])
    cell = {} if loaded.unitcell_vectors is None else {"vectors": loaded.unitcell_vectors}
    return {"xyz": loaded.xyz, "symbols": symbols, **cell}


def _main(file: str) -> int:
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # what readers print is no frames
        try:
            np.savez(out, **_read(Path(file)))
        except Exception as reason:  # MDTraj's readers raise whatever a damaged file leads them to
            print(f"{type(reason).__name__}: {' '.join(str(reason).split())}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
