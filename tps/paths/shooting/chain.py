"""Blocks of moves: what chains make between two visits to the disk."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tps.dynamics.transition import TransitionDynamics
from tps.paths.shooting.moves import Chain, ShootingSettings, shooting_move
from tps.paths.shooting.records import Records


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive moves of one chain.

    Attributes
    ----------
    records : (n_moves,) array of MOVE_RECORD
    shots : (n_moves, *position) array
        Positions of the shooting frames.
    paths : list of (n_frames, *position) arrays
        Positions of every path that a move of this block made, in the order of the accepted moves.
    chain : Chain
        After the last move: all that the next block needs.
    """

    records: Records
    shots: NDArray[np.floating]
    paths: list[NDArray[np.floating]]
    chain: Chain


@dataclass(frozen=True, eq=False)
class BlockTask:
    """One block of some chains, picklable; a chain's moves do not depend on which chains run beside it."""

    dynamics: TransitionDynamics
    chains: tuple[Chain, ...]
    settings: ShootingSettings
    seed: int
    n_moves: int


def run_block(task: BlockTask) -> list[Block]:
    """Make `n_moves` moves of every chain and return one block per chain."""
    dynamics = copy(task.dynamics)  # tasks that run in threads share the original, and a context is for one
    chains: Sequence[Chain] = task.chains
    records, shots = [], []
    paths: list[list[NDArray[np.floating]]] = [[] for _ in chains]
    for _ in range(task.n_moves):
        chains, record, shot = shooting_move(dynamics, chains, task.settings, task.seed)
        records.append(record)
        shots.append(shot)
        for row in np.flatnonzero(record["accepted"]).tolist():
            paths[row].append(dynamics.positions(chains[row].path.points))
    return [
        Block(np.array([r[row] for r in records]), np.stack([s[row] for s in shots]), paths[row], chain)
        for row, chain in enumerate(chains)
    ]
