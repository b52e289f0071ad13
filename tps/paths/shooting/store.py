"""Moves on disk: blocks packed into a few npz files per chain, each there whole or not at all.

A file holds the records and paths of consecutive moves together with the chain as the last of them left it, and with
the counts of all its moves so far: what is finished and where to go on from can never disagree, and going on reads a
chain's last file alone. That one is replaced as blocks join it, until it holds enough; then the next one begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tps.arrays import load_arrays, save_arrays
from tps.errors import RunFolderError
from tps.files import whole
from tps.paths.shooting.chain import Block
from tps.paths.shooting.moves import Chain
from tps.paths.shooting.packed import PackedFrames
from tps.paths.shooting.path import ChainPath
from tps.paths.shooting.records import MOVE_RECORD, ChainCounts, Records

_PATTERN = "moves-*.npz"
#: What a file holds when the next one begins: few files after many moves, and little to write anew with every block.
_PACK_MOVES, PACK_BYTES = 1000, 2**23
#: What a pack holds of the moves themselves, and of the chain after the last.
_MOVES = ("records", "shots", "path_lengths", "path_positions")
_STATE = ("chain", "tally", "points", "onward", "born", "counts")
POSITIONS = "path_positions"


def chain_folder(folder: Path, index: int) -> Path:
    """Return where a chain's packs lie."""
    return folder / f"chain-{index:04d}"


def save_block(folder: Path, block: Block) -> Path:
    """Add a block to the chain's last pack, or begin the next one with it; return the file."""
    place = chain_folder(folder, block.chain.index)
    place.mkdir(parents=True, exist_ok=True)
    moves = {
        "records": block.records,
        "shots": block.shots,
        "path_lengths": np.array([len(p) for p in block.paths], dtype=np.int64),
        POSITIONS: np.concatenate([block.shots[:0], *block.paths]),
    }
    counts, last = ChainCounts(), max(place.glob(_PATTERN), default=None)
    file = place / f"moves-{int(block.records['move'][0]):08d}.npz"
    if last is not None:
        counts = _counts(load_arrays(last, "counts")["counts"])
        if (before := _room_in(last)) is not None:
            moves = {name: np.concatenate([before[name], own]) for name, own in moves.items()}
            file = last
    path, tally = block.chain.path, block.chain.tally
    with whole(file) as partial:
        save_arrays(
            partial,
            **moves,
            chain=np.array([block.chain.index, block.chain.move], dtype=np.int64),
            tally=np.empty((0, 2), dtype=np.int64) if tally is None else tally,
            points=path.points,
            onward=path.onward,
            born=path.born,
            counts=_flat(counts.after(block.records)),
        )
    return file


def _room_in(file: Path) -> dict[str, NDArray[Any]] | None:
    """Return the moves of a pack that more can join; None where it is full."""
    if file.stat().st_size >= PACK_BYTES:
        return None
    found = load_arrays(file, *_MOVES)
    return found if len(found["records"]) < _PACK_MOVES else None


def pack_files(folder: Path, index: int) -> list[Path]:
    """Return the files of a chain in the order of the moves."""
    return sorted(chain_folder(folder, index).glob(_PATTERN))


@dataclass(frozen=True, eq=False)
class ChainState:
    """A chain as its last move left it, and the counts of its moves."""

    chain: Chain
    counts: ChainCounts


def last_state(folder: Path, index: int) -> ChainState | None:
    """Return the chain as its last finished block left it, or None if there is none.

    Raises
    ------
    RunFolderError
        If its last file is damaged, something else, or of another version of tps.
    """
    files = pack_files(folder, index)
    if not files:
        return None
    data = _load(files[-1], *_STATE)
    try:
        number, move = (int(x) for x in data["chain"])
        path = ChainPath(data["points"], data["onward"], data["born"])
        tally = data["tally"] if len(data["tally"]) else None
        return ChainState(Chain(number, move, path, tally), _counts(data["counts"]))
    except (ValueError, TypeError) as error:
        raise _no_pack(files[-1], str(error)) from error


def load_records(folder: Path, index: int) -> Records:
    """Return the records of all moves of a chain.

    Raises
    ------
    RunFolderError
        If a file is damaged, or moves are missing between files, or there twice.
    """
    parts, expected = [np.empty(0, dtype=MOVE_RECORD)], 0
    for file in pack_files(folder, index):
        records = _load(file, "records")["records"]
        if records.dtype != MOVE_RECORD or not len(records):
            raise _no_pack(file, "no records of moves")
        moves = records["move"]
        if not np.array_equal(moves, np.arange(expected, expected + len(moves))):
            raise RunFolderError(
                f"chain {index} in {folder} goes on at move {int(moves[0])}, but move {expected} comes next: remove "
                "the files from there on, and go on"
            )
        expected += len(moves)
        parts.append(records)
    return np.concatenate(parts)


def load_shots(folder: Path, index: int) -> NDArray[np.floating]:
    """Return the positions (n_moves, *position) of the shooting frames of a chain."""
    return np.concatenate([_load(file, "shots")["shots"] for file in pack_files(folder, index)])


def made_paths(folder: Path, index: int) -> PackedFrames:
    """Return the positions of the path of every accepted move of a chain, which stay on the disk until asked for."""
    files = pack_files(folder, index)
    return PackedFrames.of_files(files, POSITIONS, [path_lengths(file) for file in files])


def path_lengths(file: Path) -> NDArray[np.int64]:
    """Return the frames (n_paths,) of each path of a pack."""
    return np.asarray(_load(file, "path_lengths")["path_lengths"], dtype=np.int64)


def stored_chains(folder: Path) -> list[int]:
    """Return the indices of the chains with moves."""
    found = {int(file.parent.name.removeprefix("chain-")) for file in folder.glob(f"chain-*/{_PATTERN}")}
    return sorted(found)


def _load(file: Path, *names: str) -> dict[str, NDArray[Any]]:
    try:
        return load_arrays(file, *names)
    except RunFolderError as error:
        raise RunFolderError(f"{error}; to go on without it, remove it and the chain's later files") from None


def _no_pack(file: Path, why: str) -> RunFolderError:
    return RunFolderError(
        f"{file} is not a file of shooting moves ({why}): remove it and the chain's later files, and go on"
    )


def _flat(counts: ChainCounts) -> NDArray[np.int64]:
    """Return counts as one array, their outcomes last."""
    numbers = dict(vars(counts))
    outcomes = numbers.pop("outcomes")
    return np.array([*numbers.values(), *outcomes], dtype=np.int64)


def _counts(flat: NDArray[np.int64]) -> ChainCounts:
    """Undo `_flat`."""
    names = [name for name in vars(ChainCounts()) if name != "outcomes"]
    numbers = dict(zip(names, flat.tolist(), strict=False))
    return ChainCounts(**numbers, outcomes=tuple(flat[len(names) :].tolist()))
