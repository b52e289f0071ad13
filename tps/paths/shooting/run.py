"""Many chains over the cores, block by block: start, go on after a kill, or run longer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.dynamics.transition import TransitionDynamics
from tps.errors import ParameterError, RunFolderError, SimulationError
from tps.lock import locked
from tps.paths.shooting.chain import Block, BlockTask, run_block
from tps.paths.shooting.claim import claim, read_claim
from tps.paths.shooting.moves import Chain, ShootingSettings
from tps.paths.shooting.packed import Frames, joined_frames
from tps.paths.shooting.paths import TransitionPaths
from tps.paths.shooting.records import ChainCounts, Records, ShootingStatistics, shooting_statistics
from tps.paths.shooting.store import (
    last_state,
    load_records,
    load_shots,
    made_paths,
    save_block,
    stored_chains,
)


@dataclass(frozen=True, eq=False)
class ShootingRun:
    """All that chains have made so far; moves and paths stay on the disk until they are asked for.

    Attributes
    ----------
    folder : Path
    counts : mapping of int to ChainCounts
        Of each chain.
    frame_time : float
        [ps; of a surface: its squared unit].
    refused : mapping of int to str
        Candidates from which no chain could start, and why.
    """

    folder: Path
    counts: Mapping[int, ChainCounts]
    frame_time: float
    refused: Mapping[int, str] = field(default_factory=dict)

    @property
    def n_paths(self) -> int:
        """Paths of the ensemble."""
        return sum(own.n_paths for own in self.counts.values())

    @property
    def records(self) -> list[Records]:
        """Records of each chain's moves, (n_moves,) arrays of MOVE_RECORD."""
        return [self._records(index) for index in self.counts]

    @property
    def shots(self) -> list[NDArray[np.floating]]:
        """Positions of each chain's shooting frames, (n_moves, *position)."""
        return [load_shots(self.folder, index)[: own.all_moves] for index, own in self.counts.items()]

    @cached_property
    def paths(self) -> TransitionPaths:
        """The transition-path ensemble, burn-in left out."""
        return TransitionPaths.from_chains(map(self._made, self.counts), self.frame_time)

    def first_paths(self, n_moves: int) -> TransitionPaths:
        """Return what each chain's first moves have made, burn-in included; a candidate itself does not count."""
        positions: list[Frames] = []
        columns: list[list[NDArray[np.int64]]] = [[], [], []]
        for index in self.counts:
            records, made = self._made(index)
            rows = np.flatnonzero(records["accepted"])
            early = rows[rows < n_moves]
            positions.append(made[: len(early)])
            until = np.append(rows[1:], len(records))[: len(early)]
            chain = np.full(len(early), index)
            for column, values in zip(
                columns, (np.minimum(until, n_moves) - early, chain, early), strict=True
            ):
                column.append(values)
        counts, chains, moves = (np.concatenate([np.empty(0, np.int64), *column]) for column in columns)
        return TransitionPaths(
            joined_frames(positions),
            counts,
            chains,
            moves,
            np.zeros(len(counts), dtype=bool),
            self.frame_time,
        )

    @property
    def statistics(self) -> ShootingStatistics:
        """Acceptance, burn-in, decorrelated paths and cost."""
        return shooting_statistics(list(self.counts.values()))

    def _records(self, index: int) -> Records:
        return load_records(self.folder, index)[: self.counts[index].all_moves]

    def _made(self, index: int) -> tuple[Records, Frames]:
        records = self._records(index)
        return records, made_paths(self.folder, index)[: int(records["accepted"].sum())]


def shoot(
    dynamics: TransitionDynamics,
    candidates: Sequence[ArrayLike],
    settings: ShootingSettings,
    folder: Path,
    executor: Executor,
    *,
    n_moves: int,
    seed: int,
    block_moves: int = 50,
    done: Callable[[int], None] = lambda n: None,
    stop: Callable[[], bool] = lambda: False,
) -> ShootingRun:
    """Run one chain per candidate until all have made `n_moves` together, going on from the blocks in the folder.

    Parameters
    ----------
    dynamics : TransitionDynamics
    candidates : sequence of (n_frames, *position) arrays
        One path each, whose first reactive segment starts a chain; it need not be dynamical. Until a two-way move from
        it succeeds, any trial from A to B is accepted: the ratio of lengths means nothing there. With `settings.drawn`
        they are transition paths of the ensemble, and each is its chain's first path.
    settings : ShootingSettings
    folder : Path
        Made if it is not there; holds a few files per chain.
    executor : concurrent.futures.Executor
        Processes for OpenMM's Reference platform: see `tps.engine.executor_kind`.
    n_moves : int
        Of all chains together, those in the folder included, shared out evenly: the first chains make one more where
        it does not divide. A larger number later runs the same chains longer.
    seed : int
        The same seed gives the same chains, however they are cut into blocks and spread over workers.
    block_moves : int
        Moves between two visits to the disk: what a kill may cost.
    done : callable
        Called with the number of moves made, block after block; first with those found in the folder.
    stop : callable
        Asked after each block: where it says so no more are begun, and the chains stay shorter than asked for.

    Returns
    -------
    ShootingRun

    Raises
    ------
    ParameterError
        If no candidate can start a chain, or there are fewer moves than chains.
    RunFolderError
        If the folder holds chains with other settings, another seed or another system, or is damaged; or another
        program shoots into it.
    SimulationError
        If a worker process dies; what was written stays.
    """
    if n_moves < 1 or block_moves < 1:
        raise ParameterError(f"shooting needs at least one move and one per block: {n_moves}, {block_moves}")
    with _alone_in(folder):
        chains, refused = _starting_chains(dynamics, candidates, folder)
        if not chains:
            why = next(iter(refused.values()), "none were given")
            raise ParameterError(f"none of the {len(candidates)} candidates can start a chain: {why}")
        n_moves_per_chain = shares(n_moves, [chain.index for chain in chains])
        claim(folder, dynamics, settings, seed, candidates, refused)
        done(sum(chain.move for chain in chains))
        tasks = [
            BlockTask(dynamics, tuple(group), settings, seed, min(block_moves, left))
            for group, left in _groups(dynamics, chains, n_moves_per_chain)
        ]
        for block, task in _finished_blocks(executor, tasks, n_moves_per_chain, block_moves, stop):
            save_block(folder, block)
            done(task.n_moves)
        return load_shooting(folder)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other programs out of a folder, which is made if it is not there, and not left behind empty."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder):
            yield
    finally:
        with suppress(OSError):  # it holds something
            folder.rmdir()


def shares(n_moves: int, chains: Sequence[int]) -> dict[int, int]:
    """Return the moves of each chain, which sum to `n_moves` and differ by one at most.

    Raises
    ------
    ParameterError
        If there are fewer moves than chains.
    """
    each, more = divmod(n_moves, len(chains))
    if each < 1:
        raise ParameterError(f"{len(chains)} chains need at least as many moves, but got n_moves = {n_moves}")
    return {index: each + (place < more) for place, index in enumerate(chains)}


def load_shooting(folder: Path) -> ShootingRun:
    """Open the finished moves of a folder: a chain's last file is read, the others when they are asked for.

    Raises
    ------
    RunFolderError
        If there are none, or they are damaged.
    """
    said = read_claim(folder)
    states = {index: last_state(folder, index) for index in stored_chains(folder)}
    if said is None or not states:
        raise RunFolderError(f"there are no shooting moves in {folder}: shoot first")
    counts = {index: state.counts for index, state in states.items() if state is not None}
    refused = {int(index): str(why) for index, why in said["refused"].items()}
    return ShootingRun(folder, counts, float(said["frame_time"]), refused)


def _starting_chains(
    dynamics: TransitionDynamics, candidates: Sequence[ArrayLike], folder: Path
) -> tuple[list[Chain], dict[int, str]]:
    chains, refused = [], {}
    for index, candidate in enumerate(candidates):
        state = last_state(folder, index)
        if state is not None:
            chains.append(state.chain)
            continue
        try:
            chains.append(Chain.from_candidate(index, dynamics, candidate))
        except ParameterError as error:  # one candidate fails alone
            refused[index] = str(error)
    return chains, refused


def _groups(
    dynamics: TransitionDynamics, chains: Iterable[Chain], n_moves_per_chain: Mapping[int, int]
) -> list[tuple[list[Chain], int]]:
    """Return which chains move together, and how many moves they have left.

    Where it is faster to move many at once, those at the same move and with as many left.
    """
    groups: dict[tuple[int, ...], list[Chain]] = defaultdict(list)
    for chain in chains:
        left = n_moves_per_chain[chain.index] - chain.move
        if left > 0:
            groups[(left, chain.move) if dynamics.batched else (left, chain.move, chain.index)].append(chain)
    return [(group, key[0]) for key, group in groups.items()]


def _finished_blocks(
    executor: Executor,
    tasks: Sequence[BlockTask],
    n_moves_per_chain: Mapping[int, int],
    block_moves: int,
    stop: Callable[[], bool],
) -> Iterator[tuple[Block, BlockTask]]:
    """Yield blocks as they are finished; a chain starts its next one when the last is done, until `stop` says so."""
    running: dict[Future[list[Block]], BlockTask] = {executor.submit(run_block, task): task for task in tasks}
    try:
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                task, blocks = running.pop(future), future.result()
                chains = tuple(block.chain for block in blocks)
                left = n_moves_per_chain[chains[0].index] - chains[0].move
                if left > 0 and not stop():
                    following = BlockTask(
                        task.dynamics, chains, task.settings, task.seed, min(block_moves, left)
                    )
                    running[executor.submit(run_block, following)] = following
                for block in blocks:
                    yield block, task
    except BrokenExecutor as error:
        raise SimulationError(
            "a worker process died before its block was done (out of memory?): what was finished is kept, so run "
            "again with fewer workers"
        ) from error
    finally:
        for future in running:
            future.cancel()
