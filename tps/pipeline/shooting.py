"""The shoot stage: the unbiased transition-path ensemble, from chains that start on the candidates."""

from __future__ import annotations

import itertools
import json
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tps.analysis import channel_name
from tps.errors import RunFolderError
from tps.paths import (
    CommittorChoice,
    FrameChoice,
    ShootingRun,
    ShootingSettings,
    TransitionDynamics,
    TransitionPaths,
    UniformChoice,
    learn_committor,
    load_paths,
    load_shooting,
    save_transition_paths,
    shoot,
)
from tps.pipeline.candidates import path_folder
from tps.pipeline.dynamics import Positions, RunDynamics, load_curve, run_dynamics
from tps.pipeline.folder import RunFolder
from tps.pipeline.geodesic import BASELINES, MAIN
from tps.pipeline.progress import Progress, summed
from tps.pipeline.stage import StageResult

#: Where chains lie in the folder of shooting, and those a committor is learned from.
CHAINS, LEARNING = "chains", "learning"
#: Candidates along each further geodesic, and the most geodesics that give some.
_PER_CHANNEL, _MAX_CHANNELS = 2, 4
#: Moves of each learning chain.
_LEARNING_MOVES = 25
_BLOCK_MOVES = 25
#: Seeds of the stage.
_SEED = 10


def shoot_paths(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Run the chains up to the number of moves asked for, and write the ensemble they have made."""
    section, folder = run.config.shooting, out / "shooting"
    folder.mkdir(exist_ok=True)
    seeds = run.seeds(_SEED, 3)
    with run_dynamics(run, progress) as dynamics:
        flights = dynamics.transition(section.frame_interval_steps)
        names, candidates, n_evaluations = _candidates(run, dynamics, folder, seeds[2], progress)
        settings = ShootingSettings(section.kind, section.max_frames, section.redraw_velocities)
        n_moves = -(-section.n_moves // max(1, len(candidates)))
        if section.frame_selection == "committor":
            choice, n_learning = _learned(run, flights, candidates, dynamics, folder, seeds[1], progress)
            settings = ShootingSettings(section.kind, section.max_frames, section.redraw_velocities, choice)
            n_evaluations += n_learning
        with progress.task("shooting", n_moves * len(candidates)) as advance:
            made = shoot(
                flights,
                candidates,
                settings,
                folder / CHAINS,
                dynamics.executor,
                n_moves=n_moves,
                seed=seeds[0],
                block_moves=_BLOCK_MOVES,
                done=summed(advance),
            )
        _save(run, dynamics, made.paths, folder)
    statistics, paths = made.statistics, made.paths
    notes = [f"candidate {index} could not start a chain: {why}" for index, why in made.refused.items()]
    stuck = sum(end is None for end in statistics.burn_in)
    if stuck and len(paths):
        notes.append(
            f"{stuck} of {len(statistics.burn_in)} chains still share frames with their first path and do not count: "
            "make more moves"
        )
    details = {
        "moves": statistics.n_moves + statistics.n_candidate_moves,
        "accepted": statistics.n_accepted,
        "paths": len(paths),
        "decorrelated": sum(statistics.n_decorrelated),
        "started_in": names,
    }
    failure = ""
    if not len(paths):
        failure = (
            f"none of {len(statistics.burn_in)} chains got away from its candidate in {details['moves']} moves: make "
            "more moves with `tps shoot -n`, or widen the states"
        )
    n_evaluations += statistics.n_steps + int(paths.lengths.sum())
    return StageResult(n_evaluations, dynamics.platform_name, tuple(notes), details, failure)


def load_chains(run: RunFolder) -> ShootingRun:
    """Return all moves of a run's chains.

    Raises
    ------
    RunFolderError
        If there are none.
    """
    return load_shooting(run.path / "shooting" / CHAINS)


def _candidates(
    run: RunFolder, dynamics: RunDynamics, folder: Path, seed: int, progress: Progress
) -> tuple[dict[str, int], list[Positions], int]:
    """Return how many candidates each channel gives, the candidates, and the force evaluations it took.

    They are kept in the folder, so that chains that go on, go on from the same ones.
    """
    key = run.manifest()["stages"]["paths"]["key"]
    file = folder / "candidates.npz"
    if file.is_file():
        with np.load(file) as data:
            if str(data["key"]) == key and int(data["n_chains"]) == run.config.shooting.n_chains:
                n = int(data["n"])
                return (
                    json.loads(str(data["names"])),
                    [data[f"path_{i}"] for i in range(n)],
                    int(data["n_evaluations"]),
                )
    by_channel: dict[str, list[Positions]] = defaultdict(list)
    extra, n_evaluations = _along_other_geodesics(run, dynamics, seed, progress)
    for segment in itertools.chain(_segments(run), extra):
        values = run.system.feature_values(segment)
        unwrapped = np.unwrap(values, axis=0) if run.system.spacetime_kind == "torus" else values
        by_channel[channel_name(run.system, unwrapped)].append(segment)
    rounds = itertools.zip_longest(*by_channel.values())
    chosen = [s for one in rounds for s in one if s is not None][: run.config.shooting.n_chains]
    if not chosen:
        raise RunFolderError(
            f"shooting starts from paths that go from A to B, and {run.path} has none: make paths that do with `tps "
            "paths`, more of them or slower ones"
        )
    names = {
        name: sum(any(s is own for own in segments) for s in chosen) for name, segments in by_channel.items()
    }
    seeds = np.random.SeedSequence(seed).generate_state(len(chosen)).tolist()
    with progress.task("candidates", len(chosen)) as advance:
        fine, n_pulled = dynamics.fine(chosen, seeds, advance)
    n_evaluations += n_pulled
    said: dict[str, Any] = {f"path_{i}": path for i, path in enumerate(fine)}
    said |= {"key": key, "n_chains": run.config.shooting.n_chains, "n": len(fine), "names": json.dumps(names)}
    partial = file.with_suffix(".partial")
    with partial.open("wb") as stream:
        np.savez(stream, n_evaluations=n_evaluations, **said)
    partial.replace(file)
    return names, fine, n_evaluations


def _segments(run: RunFolder) -> Iterator[Positions]:
    """Yield the reactive segments of the main paths, then of the straight lines."""
    for method in (MAIN, *BASELINES):
        if (run.path / path_folder(method)).is_dir():
            ensemble = load_paths(run.path / path_folder(method))
            positions = run.path_positions(path_folder(method), ensemble)
            for index in ensemble.reactive_paths:
                frames = positions[index]
                if frames is not None:
                    yield frames[ensemble.segment(index)]


def _along_other_geodesics(
    run: RunFolder, dynamics: RunDynamics, seed: int, progress: Progress
) -> tuple[list[Positions], int]:
    """Return reactive segments of a few paths along the geodesics that the main paths do not follow."""
    found: list[Positions] = []
    solved = json.loads((run.path / "geodesic" / "result.json").read_text())
    others = [
        number
        for number, channel in enumerate(solved["channels"])
        if channel["status"] == "converged" and number != run.config.geodesic.channel
    ][:_MAX_CHANNELS]
    n_evaluations = 0
    for number in others:
        seeds = np.random.SeedSequence([seed, number]).generate_state(_PER_CHANNEL).tolist()
        with progress.task(f"geodesic {number}", _PER_CHANNEL) as advance:
            ensemble, positions = dynamics.annealed(load_curve(run, f"channels/{number}.npz"), seeds, advance)
        n_evaluations += ensemble.n_evaluations
        for index in ensemble.reactive_paths:
            frames = positions[index]
            if frames is not None:
                found.append(frames[ensemble.segment(index)])
    return found, n_evaluations


def _learned(
    run: RunFolder,
    flights: TransitionDynamics,
    candidates: Sequence[Positions],
    dynamics: RunDynamics,
    folder: Path,
    seed: int,
    progress: Progress,
) -> tuple[FrameChoice, int]:
    """Return a choice of frames by a committor learned from chains of their own, and the steps it took."""
    settings = ShootingSettings("two-way", run.config.shooting.max_frames, choice=UniformChoice())
    with progress.task("learning", _LEARNING_MOVES * len(candidates)) as advance:
        made = shoot(
            flights,
            candidates,
            settings,
            folder / LEARNING,
            dynamics.executor,
            n_moves=_LEARNING_MOVES,
            seed=seed,
            block_moves=_BLOCK_MOVES,
            done=summed(advance),
        )
    return CommittorChoice(learn_committor(flights, made, "network", seed=seed)), made.statistics.n_steps


def _save(run: RunFolder, dynamics: RunDynamics, paths: TransitionPaths, folder: Path) -> None:
    """Replace the ensemble's files; paths.npz comes last, so that it never speaks of files that are not there."""
    (folder / "paths.npz").unlink(missing_ok=True)
    for old in folder.glob("*.dcd"):
        old.unlink()
    if not len(paths):
        return
    cuts = np.cumsum(paths.lengths)[:-1]
    energies = np.split(dynamics.energies(np.concatenate(paths.positions)), cuts)
    values = [run.system.feature_values(p) for p in paths.positions]
    partial = folder / ".ensemble.partial"
    shutil.rmtree(partial, ignore_errors=True)
    save_transition_paths(partial, paths, values, energies, run.system.feature_names)
    for file in sorted(partial.glob("*.dcd")):
        file.rename(folder / file.name)
    (partial / "paths.npz").rename(folder / "paths.npz")
    partial.rmdir()
