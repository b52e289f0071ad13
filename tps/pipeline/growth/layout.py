"""Where the windows of a round lie, and where their replicas start."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tps.analysis import weigh
from tps.config import PathsSection
from tps.errors import SimulationError
from tps.paths import Windows, WindowSamples, starts_along
from tps.pipeline.folder import Chance
from tps.pipeline.geodesic import StoredCurve
from tps.pipeline.growth.rounds import GrownFrames, GrownRound
from tps.pipeline.growth.setting import Growth, n_windows

#: Tilts no farther apart are one; a bridge's strongest window is two to this power tighter than the anchors.
_SAME, _MAX_DOUBLINGS = 1e-8, 4


def next_windows(growth: Growth, rounds: Sequence[GrownRound]) -> tuple[Windows, int]:
    """Return the windows of the next round: along the last curve, the first way, p0 itself, and so many bridges."""
    s, eta = growth.way.s.numpy(), growth.way.eta.numpy()
    if not rounds:
        return Windows.along(s, eta, growth.n_way), 0
    last = rounds[-1]
    straight = Windows.along(s, eta, last.said["next_straight"], untilted=False)
    bridges = _bridges(growth, last)
    others = np.concatenate([np.zeros((1, eta.shape[1])), bridges])
    if last.said["length"] is None:
        return straight.with_bridge(others), len(bridges)
    n = n_windows(last.said["length"], growth.section.window_distance)
    along = Windows.along(np.linspace(0.0, 1.0, len(last.curve)), last.curve, n, untilted=False)
    return along.with_bridge(np.concatenate([straight.eta[1:-1], others])), len(bridges)


def _bridges(growth: Growth, last: GrownRound) -> NDArray[np.float64]:
    """Return tilts (n, K) off the curves: those there are, and one twice as tight beside each that does not count.

    A straight way may meet a wall where a window has two humps, one for chains from A and one for those from B. The
    tighter the window, the nearer the humps, until they are one, into which both flow.
    """
    there = last.samples.windows.eta
    bridge = np.zeros(len(there), dtype=np.bool_)
    bridge[len(there) - last.said["bridges"] :] = True
    loose = ~last.counts & there.any(axis=1)
    if last.said["curved"]:
        loose &= np.isnan(last.samples.windows.s)
    tighter = 2 * there[loose]
    levels = growth.line.spacetime.split(torch.as_tensor(tighter))[1].numpy()
    tighter = tighter[levels < growth.level + (_MAX_DOUBLINGS + 0.5) * math.log(2)]
    new = [eta for eta in tighter if np.abs(there - eta).max(axis=1).min() > _SAME]
    return np.concatenate([there[bridge], np.array(new).reshape(-1, there.shape[1])])


def next_starts(
    growth: Growth, rounds: Sequence[GrownRound], windows: Windows
) -> tuple[NDArray[np.float64], int]:
    """Return starts (n_ladders, n_windows, ...) and the steps they took.

    First from annealed paths along the straight way, out of A for every other ladder and out of B for the rest; then
    where the ladder's own windows ended, or in new ones a frame of the ladder's own, drawn by its weight there. Where
    plain dynamics is p0, all start from such frames.
    """
    if not rounds and growth.plain.untilted is None:
        return _pulled(growth, windows)
    system = growth.run.system
    frames, log_weights = _weighed_all(growth, rounds)
    rng = np.random.default_rng(growth.run.seeds(Chance.GROWTH_STARTS, len(rounds) + 1)[-1])
    starts = np.empty((growth.section.n_ladders, windows.n_windows, *system.ends.shape[1:]))
    tilts = windows.eta @ system.space.statistic(frames.values).T
    for ladder, window in np.ndindex(starts.shape[:2]):
        if rounds and (end := _end_of(rounds[-1].samples, ladder, windows.eta[window])) is not None:
            starts[ladder, window] = end
            continue
        own = np.flatnonzero(frames.ladder == ladder)
        chance = log_weights[own] + tilts[window, own]
        chance = np.exp(chance - chance.max())
        starts[ladder, window] = frames.positions[rng.choice(own, p=chance / chance.sum())]
    return starts, 0


def _end_of(last: WindowSamples, ladder: int, eta: NDArray[np.float64]) -> NDArray[np.floating] | None:
    """Return where a ladder's window of this tilt ended; None where there was none, or it failed."""
    same = np.flatnonzero(np.abs(last.windows.eta - eta).max(axis=1) < _SAME)
    if not len(same) or not last.valid[ladder, -1, same[0]]:
        return None
    assert last.positions is not None
    return last.positions[ladder, -1, same[0]]


def _weighed_all(growth: Growth, rounds: Sequence[GrownRound]) -> tuple[GrownFrames, NDArray[np.float64]]:
    """Return the frames of the last round's windows, whether they count or not, and of p0, and their log-weights."""
    plain = growth.plain
    parts = [grown.all_frames for grown in rounds[-1:]] + [plain.basins]
    frames = GrownFrames.joined(parts if plain.untilted is None else [*parts, plain.untilted])
    log_weights = weigh(frames.pool(growth.run.system)).log_weights
    drawn = np.isfinite(frames.eta[:, 0])
    return frames.of(drawn), log_weights[drawn]


def _pulled(growth: Growth, windows: Windows) -> tuple[NDArray[np.float64], int]:
    system, section = growth.run.system, growth.section
    found: dict[int, NDArray[np.float64]] = {}
    n_evaluations = 0
    for backward in (False, True):
        ladders = np.flatnonzero(growth.from_b == backward)
        seeds = growth.run.seeds(Chance.GROWTH_STARTS, section.n_ladders + 1)
        with growth.progress.task("pulls", len(ladders)) as advance:
            paths, positions = growth.dynamics.annealed(
                StoredCurve.of(growth.line),
                [seeds[1 + ladder] for ladder in ladders],
                advance,
                backward=backward,
                section=_pull_section(section.n_pull_steps),
            )
        n_evaluations += paths.n_evaluations
        for ladder, frames in zip(ladders, positions, strict=True):
            if frames is None:
                raise SimulationError(
                    "a pull along the straight way left the numbers: take a shorter time step"
                )
            statistics = system.space.statistic(system.feature_values(frames))
            found[int(ladder)] = starts_along(windows, paths.s, frames, statistics)
    return np.stack([found[ladder] for ladder in range(section.n_ladders)]), n_evaluations


def _pull_section(n_steps: int) -> PathsSection:
    n_frames = max(1, n_steps // 200)
    return PathsSection(n_steps=200 * n_frames, n_frames=n_frames, n_equilibration_steps=1000)
