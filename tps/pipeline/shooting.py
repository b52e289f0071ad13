"""The shoot stage: the unbiased transition-path ensemble, from chains that start on the candidates."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tps.analysis import channel_name, reweighted_channel_weights, reweighted_transition_time
from tps.arrays import load_arrays, save_arrays
from tps.dynamics import TransitionDynamics
from tps.errors import RunFolderError
from tps.files import whole
from tps.paths import (
    CommittorChoice,
    PathNumbers,
    ReweightedPaths,
    ShootingRun,
    ShootingSettings,
    add_numbers,
    learn_committor,
    load_paths,
    load_shooting,
    save_table,
    shoot,
    with_numbers,
)
from tps.pipeline.candidates import path_folder
from tps.pipeline.dynamics import Positions, RunDynamics, run_dynamics
from tps.pipeline.folder import Chance, RunFolder, write_json
from tps.pipeline.frame_shots import FRAME_SHOTS, UNKNOWN_SELECTION, frame_shots, shots_key
from tps.pipeline.geodesic import BASELINES, MAIN, load_curve, load_solved
from tps.pipeline.progress import Progress, summed
from tps.pipeline.stage import StageResult
from tps.pipeline.stopping import block_by_block
from tps.pipeline.withheld import weightless

#: Where chains lie in the folder of shooting, and those a committor is learned from.
CHAINS, LEARNING = "chains", "learning"
#: The table of the ensemble's paths.
TABLE = "paths.npz"
#: What shots from the weighted frames say of the ensemble, and where chains start.
FROM_FRAMES, _CANDIDATES = "from_frames.json", "candidates.npz"
#: Candidates along each further geodesic, and the most geodesics that give some.
_PER_CHANNEL, _MAX_CHANNELS = 2, 4
#: Moves of each learning chain.
_LEARNING_MOVES_PER_CHAIN = 25
_BLOCK_MOVES = 25


def shoot_paths(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Run the chains up to the number of moves asked for, and write the ensemble they have made."""
    section, folder = run.config.shooting, out / "shooting"
    folder.mkdir(exist_ok=True)
    chain_seed, learning_seed, candidate_seed = run.seeds(Chance.SHOOTING, 4)[:3]
    settings = ShootingSettings(section.kind, section.max_frames, section.redraw_velocities)
    with run_dynamics(run, progress) as dynamics:
        flights = dynamics.transition(section.frame_interval_steps)
        candidates = _kept(run, folder)
        if candidates is None:
            independent = _from_frames(run, dynamics, flights, folder, progress)
            candidates = _candidates(run, dynamics, flights, independent, candidate_seed, progress)
            _keep(run, folder, candidates)
        shooting = _Shooting(flights, candidates.positions, dynamics, progress)
        n_evaluations = candidates.n_evaluations
        settings = replace(
            settings, drawn=candidates.drawn and settings.kind == "two-way" and settings.redraw_velocities
        )
        if section.frame_selection == "committor":
            n_learning = _LEARNING_MOVES_PER_CHAIN * len(candidates.positions)
            uniform = ShootingSettings("two-way", section.max_frames, drawn=candidates.drawn)
            made = shooting.run("learning", uniform, folder / LEARNING, n_learning, learning_seed)
            model = learn_committor(shooting.flights, made, "network", seed=learning_seed)
            n_evaluations += made.statistics.n_steps
            settings = replace(settings, choice=CommittorChoice(model))
        made = shooting.run("shooting", settings, folder / CHAINS, section.n_moves, chain_seed)
        _save(run, dynamics, made, folder)
    n_evaluations += made.statistics.n_steps + sum(own.n_frames for own in made.counts.values())
    no_shares = "" if (folder / FROM_FRAMES).is_file() else _why_no_shares(run, folder)
    return _result(made, candidates, no_shares, n_evaluations, dynamics.platform_name)


def load_chains(run: RunFolder) -> ShootingRun:
    """Return all moves of a run's chains.

    Raises
    ------
    RunFolderError
        If there are none.
    """
    return load_shooting(run.path / "shooting" / CHAINS)


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Paths to start chains from, how many of each channel, the force evaluations they took, and if they are drawn."""

    positions: list[Positions]
    channels: dict[str, int]
    n_evaluations: int
    drawn: bool = False


@dataclass(frozen=True, eq=False)
class _Shooting:
    """Chains from the same candidates."""

    flights: TransitionDynamics
    candidates: list[Positions]
    dynamics: RunDynamics
    progress: Progress

    def run(
        self, what: str, settings: ShootingSettings, folder: Path, n_moves: int, seed: int
    ) -> ShootingRun:
        """Run the chains until they have made `n_moves` together, or the program is to stop."""
        with self.progress.task(what, n_moves) as advance, block_by_block() as stop:
            return shoot(
                self.flights,
                self.candidates,
                settings,
                folder,
                self.dynamics.executor,
                n_moves=n_moves,
                seed=seed,
                block_moves=_BLOCK_MOVES,
                done=summed(advance),
                stop=stop,
            )


def _result(
    made: ShootingRun, candidates: _Candidates, no_shares: str, n_evaluations: int, platform: str | None
) -> StageResult:
    statistics = made.statistics
    n_moves = statistics.n_moves + statistics.n_candidate_moves
    notes = [f"candidate {index} could not start a chain: {why}" for index, why in made.refused.items()]
    stuck, failure = sum(end is None for end in statistics.burn_in), ""
    if not made.n_paths:
        failure = (
            f"none of {len(statistics.burn_in)} chains got away from its candidate in {n_moves} moves: make more moves "
            "with `tps shoot -n`, or widen the states"
        )
    elif stuck:
        notes.append(
            f"{stuck} of {len(statistics.burn_in)} chains still share frames with their first path and do not count: "
            "make more moves"
        )
    if no_shares and len(candidates.channels) > 1:
        notes.append(
            f"{no_shares}, so the shares of the channels come from the chains, and are worth what their switches of "
            "channel make them"
        )
    details = {
        "moves": n_moves,
        "accepted": statistics.n_accepted,
        "paths": made.n_paths,
        "decorrelated": sum(statistics.n_decorrelated),
        "started_in": candidates.channels,
    }
    return StageResult(n_evaluations, platform, tuple(notes), details, failure)


def _why_no_shares(run: RunFolder, folder: Path) -> str:
    """Return why shots from frames say nothing of the channels."""
    if not run.config.shooting.n_frame_shots:
        return "no shots from the weighted frames were asked for (shooting.n_frame_shots = 0)"
    if not (folder / FRAME_SHOTS).is_file():
        return UNKNOWN_SELECTION
    n_shots = run.config.shooting.n_frame_shots
    return f"none of {n_shots} shots from the weighted frames went from one state to the other"


def _key(run: RunFolder) -> str:
    """Return what the candidates depend on."""
    section = run.config.shooting
    return f"{run.manifest()['stages']['paths']['key']} {section.n_chains} {section.n_frame_shots}"


def _kept(run: RunFolder, folder: Path) -> _Candidates | None:
    """Return the candidates that chains have started from before, if they are those of the present settings."""
    file = folder / _CANDIDATES
    if not file.is_file():
        return None
    data = load_arrays(file)
    if str(data["key"]) != _key(run):
        return None
    channels = json.loads(str(data["channels"]))
    kept = [data[f"path_{i}"] for i in range(sum(channels.values()))]
    drawn = bool(data.get("drawn", False))
    return _Candidates(kept, channels, int(data["n_evaluations"]), drawn)


def _keep(run: RunFolder, folder: Path, candidates: _Candidates) -> None:
    """Keep the candidates, so that chains that go on go on from the same ones."""
    arrays: dict[str, Any] = {f"path_{i}": path for i, path in enumerate(candidates.positions)}
    arrays |= {
        "key": _key(run),
        "channels": json.dumps(candidates.channels),
        "n_evaluations": candidates.n_evaluations,
        "drawn": candidates.drawn,
    }
    with whole(folder / _CANDIDATES) as partial:
        save_arrays(partial, **arrays)


def _from_frames(
    run: RunFolder,
    dynamics: RunDynamics,
    flights: TransitionDynamics,
    folder: Path,
    progress: Progress,
) -> ReweightedPaths | None:
    """Shoot from the weighted frames and write each channel's share; None where their distribution is not known."""
    for old in (FROM_FRAMES, FRAME_SHOTS):
        (folder / old).unlink(missing_ok=True)
    found = frame_shots(run, dynamics, run.config.shooting.n_frame_shots, progress)
    if found is None:
        return None
    found.shots.save(folder / FRAME_SHOTS, key=shots_key(run))
    if len(found):
        doubt = weightless(run, run.load_frames())
        said = {
            "channels": reweighted_channel_weights(run.system, found),
            "metrics": {
                "transition_time_from_frames": reweighted_transition_time(
                    found, flights.frame_time, run.system.time_unit
                )
            },
        }
        content = {
            key: {name: metric.unless(doubt).as_dict() for name, metric in metrics.items()}
            for key, metrics in said.items()
        }
        write_json(folder / FROM_FRAMES, content)
    return found


def _candidates(
    run: RunFolder,
    dynamics: RunDynamics,
    flights: TransitionDynamics,
    independent: ReweightedPaths | None,
    seed: int,
    progress: Progress,
) -> _Candidates:
    """Return a start for every chain: independent transitions, or candidates of each channel by its share.

    Where shots from the weighted frames found as many transitions as there are chains, chains start from those: they
    are draws from the unbiased ensemble, so that chains have no burn-in. Where they found fewer, a channel of which
    there is no candidate starts from the path they found; where none, candidates of all channels take turns.
    """
    n_chains = run.config.shooting.n_chains
    if independent is not None and independent.effective_paths >= n_chains:
        starts = list(independent.spread(n_chains, flights.features))
        in_channels = Counter(_channel(run, path) for path in starts)
        return _Candidates(starts, dict(in_channels), independent.shots.n_steps, drawn=True)
    by_channel: dict[str, list[Positions]] = defaultdict(list)
    others, n_evaluations = _along_other_geodesics(run, dynamics, seed, progress)
    for segment in itertools.chain(_segments(run), others):
        by_channel[_channel(run, segment)].append(segment)
    made = itertools.zip_longest(*by_channel.values())
    chosen = [segment for one in made for segment in one if segment is not None][:n_chains]
    if not chosen:
        raise RunFolderError(
            f"shooting starts from paths that go from A to B, and {run.path} has none: make paths that do with `tps "
            "paths`, more of them or slower ones"
        )
    ready: list[Positions] = []
    if independent is not None:
        n_evaluations += independent.shots.n_steps
    if independent is not None and len(independent):
        paths = independent.spread(n_chains, flights.features)
        turns = {name: itertools.cycle(segments) for name, segments in by_channel.items()}
        names = [_channel(run, path) for path in paths]
        chosen = [next(turns[name]) for name in names if name in turns]
        ready = [path for name, path in zip(names, paths, strict=True) if name not in turns]
    seeds = np.random.SeedSequence(seed).generate_state(max(1, len(chosen))).tolist()[: len(chosen)]
    with progress.task("candidates", len(chosen)) as advance:
        fine, n_pulled = dynamics.fine(chosen, seeds, advance)
    channels = Counter(_channel(run, segment) for segment in [*chosen, *ready])
    return _Candidates([*fine, *ready], dict(channels), n_evaluations + n_pulled)


def _channel(run: RunFolder, segment: Positions) -> str:
    return channel_name(run.system, run.system.space.unwrap(run.system.feature_values(segment)))


def _segments(run: RunFolder) -> Iterator[Positions]:
    """Yield the reactive segments of the main paths, then of the straight lines."""
    for method in (MAIN, *BASELINES):
        if (run.path / path_folder(method)).is_dir():
            ensemble = load_paths(run.path / path_folder(method))
            yield from ensemble.segments(run.path_positions(path_folder(method), ensemble))


def _along_other_geodesics(
    run: RunFolder, dynamics: RunDynamics, seed: int, progress: Progress
) -> tuple[list[Positions], int]:
    """Return reactive segments of a few paths along the geodesics that the main paths do not follow."""
    found: list[Positions] = []
    numbers = [
        number
        for number, channel in enumerate(load_solved(run.path)["channels"])
        if channel["status"] == "converged" and number != run.config.geodesic.channel
    ]
    n_evaluations = 0
    for number in numbers[:_MAX_CHANNELS]:
        seeds = np.random.SeedSequence([seed, number]).generate_state(_PER_CHANNEL).tolist()
        with progress.task(f"geodesic {number}", _PER_CHANNEL) as advance:
            curve = load_curve(run, f"channels/{number}")
            ensemble, positions = dynamics.annealed(curve, seeds, advance)
        n_evaluations += ensemble.n_evaluations
        found += ensemble.segments(positions)
    return found, n_evaluations


def _save(run: RunFolder, dynamics: RunDynamics, made: ShootingRun, folder: Path) -> None:
    """Look at the new paths, and replace the table of the ensemble."""
    system = run.system

    def look(paths: Sequence[Positions]) -> PathNumbers:
        values = [system.feature_values(path) for path in paths]
        cuts = np.cumsum([len(path) for path in paths])[:-1]
        energies = np.split(dynamics.energies(np.concatenate(paths)), cuts)
        return PathNumbers(values, energies, [channel_name(system, system.space.unwrap(v)) for v in values])

    add_numbers(folder / CHAINS, look)
    if not made.n_paths:
        (folder / TABLE).unlink(missing_ok=True)
        return
    save_table(folder, with_numbers(made.paths), system.feature_names, time_unit=system.time_unit)
