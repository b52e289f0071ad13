"""Read back the paths that OpenPathSampling made from an export, as a transition-path ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tps.arrays import misfit, read_npz
from tps.errors import ParameterError, TrajectoryError, reason_of
from tps.paths import TransitionPaths
from tps.paths.shooting.records import MOVE_RECORD, Records
from tps.systems import MolecularSystem

#: What ops_paths.npz holds: see `tps.arrays.load_arrays`.
_LAYOUT = {
    "positions": "f f a x",
    "lengths": "n p",
    "accepted": "b m",
    "n_frames_flown": "n m",
    "frame_time_ps": "f",
}


@dataclass(frozen=True, eq=False)
class OpsPaths:
    """What chains of OPS have made.

    Attributes
    ----------
    paths : TransitionPaths
        After burn-in: from where on a chain's path holds no frame of the trajectory it started from.
    n_moves, n_accepted : int
        Of all chains, burn-in included.
    n_frames_flown : int
        Those of rejected trials included.
    n_wrong : int
        Paths left out because they do not go from A to B by the states of the system.
    unfinished : tuple of Path
        Files of chains that are still in burn-in.
    """

    paths: TransitionPaths
    n_moves: int
    n_accepted: int
    n_frames_flown: int
    n_wrong: int
    unfinished: tuple[Path, ...]


@dataclass(frozen=True, eq=False)
class _Chain:
    """One ops_paths.npz: the path it started from, and those of its accepted moves."""

    positions: list[NDArray[np.float32]]
    accepted: NDArray[np.bool_]
    n_frames_flown: int
    frame_time: float

    def records(self, index: int) -> Records:
        """Return the moves as `TransitionPaths.from_chains` takes them, its paths traced by their positions.

        A frame that stays on the path through a move keeps its positions to the last bit.
        """
        born = {frame.tobytes(): -1 for frame in self.positions[0]}
        oldest, path, records = -1, 0, np.zeros(len(self.accepted), dtype=MOVE_RECORD)
        for move, accepted in enumerate(self.accepted.tolist()):
            if accepted:
                path += 1
                oldest = min(born.setdefault(frame.tobytes(), move) for frame in self.positions[path])
            records[move]["oldest"] = oldest
        records["chain"], records["move"] = index, np.arange(len(records))
        records["accepted"] = self.accepted
        return records


def read_ops_paths(files: Sequence[Path], system: MolecularSystem) -> OpsPaths:
    """Return the ensemble in files that setup_ops.py wrote, one chain each.

    Parameters
    ----------
    files : sequence of Path
    system : MolecularSystem
        Whose states and number of atoms are checked.

    Raises
    ------
    TrajectoryError
        If a file is of another kind or molecule, is damaged, or has frames further apart than another.
    """
    chains = [_read(file, system.n_atoms) for file in files]
    frame_time = chains[0].frame_time
    for file, chain in zip(files, chains, strict=True):
        if not np.isclose(chain.frame_time, frame_time):
            raise TrajectoryError(
                f"{file} has a frame every {chain.frame_time:g} ps, and {files[0]} every {frame_time:g} ps: import "
                "only chains of one frame spacing"
            )
    records = [chain.records(index) for index, chain in enumerate(chains)]
    made = [chain.positions[1:] for chain in chains]
    paths = TransitionPaths.from_chains(list(zip(records, made, strict=True)), frame_time)
    right = np.array([_from_a_to_b(system, positions) for positions in paths.positions], dtype=bool)
    return OpsPaths(
        paths.select(right),
        n_moves=sum(len(chain.accepted) for chain in chains),
        n_accepted=sum(int(chain.accepted.sum()) for chain in chains),
        n_frames_flown=sum(chain.n_frames_flown for chain in chains),
        n_wrong=int((~right).sum()),
        unfinished=tuple(file for file, r in zip(files, records, strict=True) if r["oldest"].max() < 0),
    )


def _read(file: Path, n_atoms: int) -> _Chain:
    try:
        data = read_npz(file)
        data = {name: data[name] for name in _LAYOUT}
        if wrong := misfit(data, _LAYOUT):
            raise ParameterError(f"its {wrong}")
    except (KeyError, ParameterError, OSError) as error:
        raise TrajectoryError(
            f"{file} is not an ops_paths.npz ({reason_of(error)}): give the .npz file that setup_ops.py "
            "writes beside the OPS storage"
        ) from error
    positions = data["positions"].astype(np.float32)
    lengths, accepted = data["lengths"], data["accepted"]
    if positions.shape[1:] != (n_atoms, 3):
        raise TrajectoryError(
            f"{file} should hold finite positions (n_frames, {n_atoms}, 3), but has {positions.shape}: is it of "
            "another run, or did the dynamics fail?"
        )
    if not len(accepted) or len(lengths) != 1 + accepted.sum() or lengths.sum() != len(positions):
        raise TrajectoryError(
            f"{file} says {accepted.sum()} of {len(accepted)} moves were accepted, but holds {len(lengths)} paths of "
            f"{lengths.sum()} frames and {len(positions)} positions: it is damaged, sample again"
        )
    if not data["frame_time_ps"] > 0:
        raise TrajectoryError(f"{file} has a frame every {data['frame_time_ps']:g} ps: sample again")
    flown = int(data["n_frames_flown"].sum())
    return _Chain(np.split(positions, np.cumsum(lengths)[:-1]), accepted, flown, float(data["frame_time_ps"]))


def _from_a_to_b(system: MolecularSystem, positions: NDArray[np.floating]) -> bool:
    values = system.values(positions)
    in_a, in_b = (state.region.contains(values) for state in (system.state_a, system.state_b))
    return bool(in_a[0] and in_b[-1] and not in_a[1:].any() and not in_b[:-1].any())
