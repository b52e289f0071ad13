"""What all rounds together say: weights of the frames, the difference of A and B, and the curve within the support."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tps.analysis import LEAST_OVERLAP, FramePool, joining_overlap, ladder_log_ratios, region_log_ratio, weigh
from tps.config import GeodesicSection
from tps.errors import SimulationError
from tps.paths import crossings, lineages
from tps.pipeline.channels import frame_blocks, solve_channels
from tps.pipeline.growth.rounds import GrownFrames, GrownRound
from tps.pipeline.growth.setting import Growth
from tps.spacetime import (
    Constraint,
    EmpiricalFamily,
    SpacetimeCurve,
    Start,
    SupportFloor,
    curve_distance,
    empirical_family,
    find_channels,
    find_geodesic,
    ranked,
)

_N_POINTS = 32


def solved_round(growth: Growth, rounds: Sequence[GrownRound], fresh: GrownRound) -> GrownRound:
    """Weigh all frames that count, and solve for the geodesic within their support."""
    said = fresh.said | {"next_straight": fresh.said["straight"], "length": None, "overlap": None}
    frames, pool = counted_frames(growth, [*rounds, fresh])
    try:
        weights = weigh(pool)
    except SimulationError:
        return GrownRound(fresh.samples, fresh.counts, fresh.curve, said)
    overlap = joining_overlap(pool, weights)
    over = _crossings(growth, [*rounds, fresh])
    difference = _difference(growth, rounds, pool, region_log_ratio(pool, weights), over)
    said |= {"overlap": overlap, "crossings": over} | difference
    if overlap < LEAST_OVERLAP:
        tilted = fresh.samples.windows.eta.any(axis=1)
        if fresh.counts[tilted].all():  # relaxed, and yet apart: windows between them
            said["next_straight"] = 2 * said["straight"] - 1
        return GrownRound(fresh.samples, fresh.counts, fresh.curve, said)
    curve, found = _geodesic(growth, rounds, frames, weights.log_weights)
    said |= found
    if rounds and rounds[-1].said["length"] is not None:
        family = empirical_family(growth.run.system.space, frames.values, weights.log_weights)
        before = SpacetimeCurve.from_eta(family, torch.as_tensor(rounds[-1].curve))
        said["moved"] = curve_distance(before, SpacetimeCurve.from_eta(family, curve.eta))
        said["curve_error"] = _curve_error(growth, frames, pool, curve, family)
    return GrownRound(fresh.samples, fresh.counts, curve.eta.numpy(), said)


def counted_frames(growth: Growth, rounds: Sequence[GrownRound]) -> tuple[GrownFrames, FramePool]:
    """Return the frames of all windows that count and of the basins, and their pool.

    The first half of the rounds is left out: ladders go on from round to round, and it took them that long to relax.
    Where plain dynamics is p0 its frames come too, and no round is left out: ladders started from them, relaxed.
    """
    untilted = growth.plain.untilted
    parts = [growth.plain.basins] if untilted is None else [growth.plain.basins, untilted]
    frames = GrownFrames.joined([*(grown.frames for grown in _relaxed(growth, rounds)), *parts])
    return frames, frames.pool(growth.run.system)


def _relaxed(growth: Growth, rounds: Sequence[GrownRound]) -> Sequence[GrownRound]:
    return rounds[len(rounds) // 2 :] if growth.plain.untilted is None else rounds


def _crossings(growth: Growth, rounds: Sequence[GrownRound]) -> list[int] | None:
    """Return how often walkers went from A to B and back in the rounds pooled; None where nothing rests on that.

    Nothing does where plain dynamics is p0, and where no window that counts has two humps.
    """
    relaxed = _relaxed(growth, rounds)
    if growth.plain.untilted is not None or not any(
        (lineages(grown.samples, growth.from_b).humps & grown.counts).any() for grown in relaxed
    ):
        return None
    return [int(n) for n in np.sum([crossings(grown.samples) for grown in relaxed], axis=0)]


def _difference(
    growth: Growth,
    rounds: Sequence[GrownRound],
    pool: FramePool,
    log_ratio: float,
    over: Sequence[int] | None,
) -> dict[str, Any]:
    """Return F(B) - F(A) of the regions [kT], its error, and how ladders from A and from B differ.

    The error is the scatter of independent ladders, and by how much the last round has moved the difference: ladders
    that relax together drift together, which no scatter shows. Nor does more of them bring together those from A and
    from B: half of what these differ by belongs to it too. Where windows have two humps it is known no better than two
    rates of as many events as walkers went over, from A to B and from B to A.
    """
    before = rounds[-1].said.get("difference") if rounds else None
    drift = 0.0 if before is None else -log_ratio - before
    alone = -ladder_log_ratios(pool)
    n = len(alone)
    sides = [alone[growth.from_b == side] for side in (False, True)]
    hysteresis = float(sides[1].mean() - sides[0].mean())
    error = math.hypot(float(alone.std(ddof=1)) / math.sqrt(n), drift, hysteresis / 2)
    if over is not None:
        error = max(error, math.sqrt(sum(1 / n_over if n_over else math.inf for n_over in over)))
    return {
        "difference": -log_ratio,
        "drift": drift,
        "difference_error": error,
        "by_ladder": [None if math.isnan(x) else float(x) for x in alone],
        "hysteresis": hysteresis,
        "hysteresis_error": float(
            math.sqrt(sum(side.var(ddof=1) / len(side) if len(side) > 1 else 0.0 for side in sides))
        ),
    }


def _geodesic(
    growth: Growth, rounds: Sequence[GrownRound], frames: GrownFrames, log_weights: NDArray[np.float64]
) -> tuple[SpacetimeCurve, dict[str, Any]]:
    """Return the first channel within the support, from all starts at first, then from the last curve too."""
    system, floor = growth.run.system, growth.section.min_support
    family = empirical_family(system.space, frames.values, log_weights)
    blocks = frame_blocks(frames.weighted(log_weights), False)
    constraints: list[Constraint] = [SupportFloor(family, floor)]
    if rounds and rounds[-1].said["length"] is not None:
        starts: dict[str, Start] = {"last": torch.as_tensor(rounds[-1].curve), "straight": growth.line.eta}
        channels = find_channels(
            family,
            *growth.ends,
            starts=starts,
            frames=family,
            blocks=blocks,
            n_points=_N_POINTS,
            constraints=constraints,
        )
    else:
        section = GeodesicSection(anchor_log_snr=growth.level, min_support=floor, n_points=_N_POINTS)
        channels = solve_channels(
            system, section, family, growth.ends, constraints, family, blocks, growth.progress
        )
    best = ranked(channels)[0][0].geodesic
    return best.curve, {
        "length": best.length,
        "status": best.status,
        "channels": len(channels),
        "support": float(family.effective_sample_size(best.curve.eta).min()),
    }


def _curve_error(
    growth: Growth, frames: GrownFrames, pool: FramePool, curve: SpacetimeCurve, family: EmpiricalFamily
) -> float | None:
    """Return how far the curves of either half of the ladders are apart, over 2; None where a half carries none."""
    n, halves = growth.section.n_ladders, []
    floor = growth.section.min_support / 2
    for half in (0, 1):
        kept = (frames.ladder // (2 if n >= 4 else 1)) % 2 == half
        try:
            weights = weigh(pool.of(kept))
        except SimulationError:  # half of the windows' frames do not overlap
            return None
        part = empirical_family(growth.run.system.space, frames.values[kept], weights.log_weights)
        if float(part.effective_sample_size(curve.eta).min()) < floor:
            return None
        found = find_geodesic(
            part, *growth.ends, start=curve.eta, n_points=_N_POINTS, constraints=[SupportFloor(part, floor)]
        )
        halves.append(SpacetimeCurve.from_eta(family, found.curve.eta))
    return curve_distance(*halves) / 2
