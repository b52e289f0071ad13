"""The loop of growing: round after round until the curve stands still or the budget ends."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tps.analysis import weigh
from tps.arrays import save_arrays
from tps.paths import lineages
from tps.pipeline.dynamics import RunDynamics
from tps.pipeline.folder import Chance, RunFolder, digest, write_json
from tps.pipeline.growth.layout import next_starts, next_windows
from tps.pipeline.growth.rounds import GROWTH, IN_PROGRESS, ROUNDS, GrownFrames, GrownRound, RoundsFolder
from tps.pipeline.growth.setting import Growth, begun
from tps.pipeline.growth.verdict import doubt_of, ended_because, round_sentence
from tps.pipeline.growth.weights import counted_frames, solved_round
from tps.pipeline.progress import Progress
from tps.pipeline.sample import SampledConformations

#: What ends growing without a bearing on what a round finds.
_BUDGET = ("max_rounds", "max_steps", "max_minutes")


def grow_conformations(
    run: RunFolder, dynamics: RunDynamics, out: Path, progress: Progress
) -> SampledConformations:
    """Grow weighted frames; write what the rounds and the whole say into conformations/ of `out` as well.

    Raises
    ------
    RunFolderError
        If plain dynamics leaves no frame in A or B.
    CurveError
        If no anchor has frames about it.
    SimulationError
        If the windows do not overlap at all.
    """
    started = time.monotonic()
    torch.set_num_threads(1)
    folder = RoundsFolder.opened(
        run.path / IN_PROGRESS, run.path / "conformations" / ROUNDS, run.system, _key(run)
    )
    growth = begun(run, dynamics, folder, progress)
    rounds = folder.rounds()
    spent = sum(grown.said["seconds"] for grown in rounds)
    while not (ended := ended_because(growth, rounds, spent + time.monotonic() - started)):
        clock = time.monotonic()
        grown = _next_round(growth, rounds)
        grown.said["seconds"] = round(time.monotonic() - clock, 1)
        folder.save(len(rounds), grown)
        rounds.append(grown)
        progress.say(f"round {len(rounds)}: {round_sentence(grown.said)}")
    return _finished(growth, rounds, ended, out)


def _key(run: RunFolder) -> str:
    """Return what the rounds depend on."""
    config = run.config.model_dump(mode="json")
    grow = {key: value for key, value in config["grow"].items() if key not in _BUDGET}
    basis = {key: config["run"][key] for key in ("seed", "timestep_ps", "friction_per_ps")}
    said = [basis, config["conformations"], grow, run.system_digest]
    return digest(json.dumps(said, sort_keys=True).encode())


def _next_round(growth: Growth, rounds: Sequence[GrownRound]) -> GrownRound:
    """Sample the next windows and solve for the curve that all rounds give."""
    windows, n_bridges = next_windows(growth, rounds)
    starts, n_steps = next_starts(growth, rounds, windows)
    n_ladders = growth.section.n_ladders
    seeds = growth.run.seeds(Chance.GROWING, (len(rounds) + 2) * n_ladders)[-n_ladders:]
    samples = growth.dynamics.windows(windows, starts, growth.settings, seeds)
    judged = lineages(samples, growth.from_b)
    # walkers that start from p0 have nothing to forget
    counts = judged.counts if growth.plain.untilted is None else judged.agree
    said: dict[str, Any] = {
        "windows": windows.n_windows,
        "on_curve": windows.on_curve,
        "straight": growth.n_way if not rounds else rounds[-1].said["next_straight"],
        "bridges": n_bridges,
        "curved": bool(rounds) and rounds[-1].said["length"] is not None,
        "counted": int(counts.sum()),
        "gap": judged.gap.tolist(),
        "passages": judged.passages.tolist(),
        "memory": judged.memory.tolist(),
        "acceptance": samples.acceptance.tolist(),
        "failed": samples.n_failed,
        "steps": samples.n_evaluations + n_steps,
    }
    fresh = GrownRound(samples, counts, growth.line.eta.numpy(), said)
    return solved_round(growth, rounds, fresh)


def _finished(growth: Growth, rounds: Sequence[GrownRound], ended: str, out: Path) -> SampledConformations:
    """Weigh the frames that count, or all where those do not join A and B, and write what was found."""
    doubt = doubt_of(rounds[-1].said)
    frames, pool = counted_frames(growth, rounds)
    if doubt:
        frames = GrownFrames.joined(
            [*(grown.all_frames for grown in rounds[len(rounds) // 2 :]), growth.plain.basins]
        )
        pool = frames.pool(growth.run.system)
    weights = weigh(pool)
    folder = out / "conformations"
    folder.mkdir(parents=True)
    save_arrays(folder / "selection.npz", eta=pool.eta, log_strength=weights.log_strength)
    n_steps = growth.plain.n_steps + sum(grown.said["steps"] for grown in rounds)
    content = {
        "ended": ended,
        "doubt": doubt,
        "plain": growth.plain.said,
        "anchor_log_snr": growth.level,
        "steps": n_steps,
        "rounds": [grown.said for grown in rounds],
    }
    write_json(folder / GROWTH, content)
    growth.folder.path.rename(folder / ROUNDS)
    molecular = growth.run.surface is None
    return SampledConformations(
        frames.weighted(weights.log_weights),
        frames.positions.astype(np.float32) if molecular else None,
        n_steps,
        (*growth.plain.notes, f"frames grew in {len(rounds)} rounds: {ended}"),
        box=growth.run.box,
    )
