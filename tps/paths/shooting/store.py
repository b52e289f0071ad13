"""Blocks on disk: one npz file per chain and block, there whole or not at all, so a killed chain goes on.

A block's file holds its records and paths together with the chain as its last move left it. So what is finished and
where to go on from can never disagree.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tps.arrays import load_arrays, save_arrays
from tps.errors import RunFolderError
from tps.files import whole
from tps.paths.shooting.chain import Block
from tps.paths.shooting.moves import Chain
from tps.paths.shooting.path import ChainPath

_PATTERN = "moves-*.npz"


def chain_folder(folder: Path, index: int) -> Path:
    """Return where a chain's blocks lie."""
    return folder / f"chain-{index:04d}"


def save_block(folder: Path, block: Block) -> Path:
    """Write a block under its first move's number, and return its file."""
    place = chain_folder(folder, block.chain.index)
    place.mkdir(parents=True, exist_ok=True)
    file = place / f"moves-{int(block.records['move'][0]):08d}.npz"
    path = block.chain.path
    with whole(file) as partial:
        save_arrays(
            partial,
            records=block.records,
            shots=block.shots,
            path_lengths=np.array([len(p) for p in block.paths], dtype=np.int64),
            path_positions=np.concatenate([block.shots[:0], *block.paths]),
            chain=np.array([block.chain.index, block.chain.move], dtype=np.int64),
            tally=np.empty((0, 2), dtype=np.int64) if block.chain.tally is None else block.chain.tally,
            points=path.points,
            onward=path.onward,
            born=path.born,
        )
    return file


def load_block(file: Path) -> Block:
    """Read what `save_block` wrote.

    Raises
    ------
    RunFolderError
        If the file is damaged, something else, or of another version of tps.
    """
    try:
        data = load_arrays(file)
    except RunFolderError as error:
        raise RunFolderError(
            f"{error}; to go on without it, remove it and the chain's later blocks"
        ) from None
    try:
        index, move = (int(x) for x in data["chain"])
        cuts = np.cumsum(data["path_lengths"])[:-1]
        path = ChainPath(data["points"], data["onward"], data["born"])
        return Block(
            records=data["records"],
            shots=data["shots"],
            paths=np.split(data["path_positions"], cuts) if len(data["path_lengths"]) else [],
            chain=Chain(index, move, path, data["tally"] if len(data["tally"]) else None),
        )
    except (KeyError, ValueError) as error:
        raise RunFolderError(
            f"{file} is not a block of shooting moves ({error}): remove it and the chain's later blocks, and go on"
        ) from error


def block_files(folder: Path, index: int) -> list[Path]:
    """Return the block files of a chain in the order of the moves."""
    return sorted(chain_folder(folder, index).glob(_PATTERN))


def load_chain(folder: Path, index: int) -> list[Block]:
    """Read all blocks of a chain.

    Raises
    ------
    RunFolderError
        If moves are missing between blocks, or there twice.
    """
    blocks = [load_block(file) for file in block_files(folder, index)]
    expected = 0
    for block in blocks:
        moves = block.records["move"]
        if not np.array_equal(moves, np.arange(expected, expected + len(moves))):
            raise RunFolderError(
                f"chain {index} in {folder} goes on at move {int(moves[0])}, but move {expected} comes next: remove "
                "the blocks from there on, and go on"
            )
        expected += len(moves)
    return blocks


def last_chain(folder: Path, index: int) -> Chain | None:
    """Return the chain as its last finished block left it, or None if there is none."""
    files = block_files(folder, index)
    return load_block(files[-1]).chain if files else None


def stored_chains(folder: Path) -> list[int]:
    """Return the indices of the chains with blocks."""
    found = {int(file.parent.name.removeprefix("chain-")) for file in folder.glob(f"chain-*/{_PATTERN}")}
    return sorted(found)
