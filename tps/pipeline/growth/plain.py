"""Frames without a tilt from both ends: how p0 looks in A and in B, and p0 itself where plain dynamics goes over."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tps.conformations import judge_frames
from tps.errors import RunFolderError
from tps.paths import Windows, WindowSamples, WindowSettings
from tps.pipeline.dynamics import RunDynamics
from tps.pipeline.folder import Chance, RunFolder
from tps.pipeline.growth.rounds import GrownFrames, RoundsFolder
from tps.pipeline.sample import SampledConformations


@dataclass(frozen=True, eq=False)
class PlainFrames:
    """What dynamics without a tilt gave, a walker or a ladder of temperatures to each ladder.

    Attributes
    ----------
    basins : GrownFrames
        p0 restricted to A and to B: frames that lie there.
    untilted : GrownFrames or None
        Frames of p0 itself, where the walkers went over and back by themselves.
    n_steps : int
        All that was taken.
    said : str
        What walkers did who went on after the basins, because one of them had gone over; empty where none had.
    notes : tuple of str
        What whoever sampled the basins has to say.
    """

    basins: GrownFrames
    untilted: GrownFrames | None
    n_steps: int
    said: str
    notes: tuple[str, ...] = ()


def plain_frames(run: RunFolder, dynamics: RunDynamics, folder: RoundsFolder) -> PlainFrames:
    """Sample the basins, and go on where a walker went from A to B or back by itself, unless all this is there.

    Walkers who went on are judged as plain dynamics is anywhere. Where at least half of them went over and back, their
    frames are p0: a window without a tilt. What came before they went on is the basins' alone, since it remembers
    where it started. Replicas that exchange temperatures go over by heat, which says nothing of plain dynamics: nobody
    goes on after them.

    Raises
    ------
    RunFolderError
        If no frame lies in A, or in B.
    """
    section, system = run.config.grow, run.system
    if (there := folder.basins()) is None:
        folder.save_basins(_sampled_basins(run, dynamics))
        there = folder.basins()
        assert there is not None
    plain, n_steps = GrownFrames.of_plain(system, there), there.n_evaluations
    for within, name in zip(plain.inside, "AB", strict=True):
        if not within.any():
            raise RunFolderError(
                f"no frame of dynamics from either end lies in state {name}: its structure leaves it at once; widen "
                "the state, or give another structure"
            )
    basins = plain.basins(section.n_ladders)
    if section.basin_method != "md":
        return PlainFrames(basins, None, n_steps, "", there.notes)
    if (more := folder.untilted()) is None:
        seen = judge_frames(plain.walker, plain.inside[0], plain.inside[1], "plain")
        share = section.plain_share if seen.a_to_b + seen.b_to_a else 0.0
        n_frames = int(share * section.max_steps) // section.n_ladders // _interval(run)
        last = [np.flatnonzero(plain.walker == walker)[-1] for walker in np.unique(plain.walker)]
        if n_frames < 2 or len(last) < section.n_ladders:
            return PlainFrames(basins, None, n_steps, "")
        more = _continued(run, dynamics, plain.positions[last], n_frames)
        folder.save_untilted(more)
    untilted, n_steps = GrownFrames.of_windows(more), n_steps + more.n_evaluations
    seen = judge_frames(untilted.walker, untilted.inside[0], untilted.inside[1], "plain")
    if seen.connected:
        same = replace(untilted, walker=section.n_ladders + untilted.walker)  # who were in the basins before
        return PlainFrames(basins, same, n_steps, seen.sentence)
    both = GrownFrames.joined([plain, untilted])
    return PlainFrames(both.basins(section.n_ladders), None, n_steps, seen.sentence)


def _interval(run: RunFolder) -> int:
    return run.config.conformations.frame_interval_steps


def _sampled_basins(run: RunFolder, dynamics: RunDynamics) -> SampledConformations:
    """Return frames that need no weights: those of plain dynamics, or of the lowest temperature."""
    section = run.config.grow
    plain = run.config.conformations.model_copy(
        update={
            "method": section.basin_method,
            "n_walkers": section.n_ladders,
            "n_sample_steps": section.n_basin_steps,
            "frame_interval_steps": section.basin_interval_steps,
        }
    )
    return dynamics.conformations(plain).at_own_temperature()


def _continued(
    run: RunFolder, dynamics: RunDynamics, starts: NDArray[np.floating], n_frames: int
) -> WindowSamples:
    """Return what walkers see who go on from starts (n_ladders, ...) without a tilt."""
    settings = WindowSettings(n_frames, _interval(run), 0, exchange=False, n_positions=n_frames)
    seeds = run.seeds(Chance.GROWING, run.config.grow.n_ladders)
    return dynamics.windows(Windows.untilted(run.system.space.n_statistics), starts[:, None], settings, seeds)
