"""What all rounds of growing stand on: basins, anchors that they carry, and the straight way between those."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tps.config import GrowSection
from tps.paths import Windows, WindowSettings
from tps.pipeline.dynamics import RunDynamics
from tps.pipeline.folder import RunFolder
from tps.pipeline.growth.plain import PlainFrames, plain_frames
from tps.pipeline.growth.rounds import GrownFrames, RoundsFolder
from tps.pipeline.progress import Progress
from tps.spacetime import (
    SUPPORTED_FRAMES,
    EmpiricalFamily,
    SpacetimeCurve,
    SpacetimePoint,
    anchors,
    empirical_family,
    squared_chords,
    straight_line,
    tether_lengths,
    tightest_anchor,
)
from tps.systems import System

_N_POINTS, _LEVEL_STEP = 512, 0.1


@dataclass(frozen=True, eq=False)
class Growth:
    """Everything rounds stand on.

    Attributes
    ----------
    run, dynamics, folder, progress
    plain : PlainFrames
    level : float
        Log-SNR of the anchors.
    line : SpacetimeCurve
        The straight way between them; s by the length of the tether alone.
    way : SpacetimeCurve
        Where windows lie before there is a geodesic, and ever after beside it: the straight way, or, where plain
        dynamics is p0, that through no tilt at all, s by its Fisher-Rao length.
    n_way : int
        Windows on it that are a `window_distance` apart.
    """

    run: RunFolder
    dynamics: RunDynamics
    folder: RoundsFolder
    progress: Progress
    plain: PlainFrames
    level: float
    line: SpacetimeCurve
    way: SpacetimeCurve
    n_way: int

    @property
    def section(self) -> GrowSection:
        """[grow]."""
        return self.run.config.grow

    @property
    def ends(self) -> tuple[SpacetimePoint, SpacetimePoint]:
        """The anchored states."""
        system = self.run.system
        return anchors(system.space, system.feature_values(system.ends), self.level)

    @property
    def from_b(self) -> NDArray[np.bool_]:
        """Which ladders start from B."""
        return np.arange(self.section.n_ladders) % 2 == 1

    @property
    def settings(self) -> WindowSettings:
        """Of one round."""
        interval = self.run.config.conformations.frame_interval_steps
        n = max(2, self.section.n_window_steps // interval)
        thrown = round(self.section.equilibration_share * n)
        return WindowSettings(n - thrown, interval, thrown, n_positions=n - thrown)

    def cost(self, windows: Windows) -> int:
        """Return the steps of a round."""
        settings = self.settings
        rounds = settings.n_frames + settings.n_equilibration_frames
        return self.section.n_ladders * windows.n_windows * rounds * settings.frame_interval


def begun(run: RunFolder, dynamics: RunDynamics, folder: RoundsFolder, progress: Progress) -> Growth:
    """Sample plain dynamics, unless it is there, and lay out the way between anchors that it carries."""
    section, system = run.config.grow, run.system
    plain = plain_frames(run, dynamics, folder)
    basins = plain.basins
    families = [
        empirical_family(system.space, basins.values[inside], np.zeros(int(inside.sum())))
        for inside in basins.inside
    ]
    ends = system.feature_values(system.ends)
    level = tightest_anchor(
        system.space, ends, families, highest=section.max_anchor_log_snr, frames=SUPPORTED_FRAMES
    )
    line, length = _line(run, families[0], level)
    while n_windows(length, section.window_distance) > section.max_windows:
        level -= _LEVEL_STEP
        line, length = _line(run, families[0], level)
    way, name = line, "the straight way"
    if plain.untilted is not None:
        progress.say(f"plain dynamics is a window of its own: {plain.said}")
        way, length = _through_p0(system, plain.untilted, line)
        name = "the way through no tilt"
    n_way = n_windows(length, section.window_distance)
    progress.say(
        f"anchored at log-SNR {level:.1f}: {n_way} windows of {section.n_ladders} ladders along {name}"
    )
    return Growth(run, dynamics, folder, progress, plain, level, line, way, n_way)


def _through_p0(system: System, untilted: GrownFrames, line: SpacetimeCurve) -> tuple[SpacetimeCurve, float]:
    """Return the way on which the tilt of A fades out and that of B comes in, and its length by the frames of p0."""
    strength = torch.linspace(1.0, 0.0, _N_POINTS // 2, dtype=torch.float64)[:, None]
    eta = torch.cat([strength * line.eta[0], strength.flip(0)[1:] * line.eta[-1]])
    family = empirical_family(system.space, untilted.values, np.zeros(untilted.n_frames))
    way = SpacetimeCurve.from_eta(family, eta)
    length = torch.cat([eta.new_zeros(1), squared_chords(way).clamp_min(0).sqrt().cumsum(0)])
    return SpacetimeCurve.from_eta(family, eta, length / length[-1]), float(length[-1])


def _line(run: RunFolder, family: EmpiricalFamily, level: float) -> tuple[SpacetimeCurve, float]:
    """Return the straight way between the ends anchored at a level, and the tether's length along it, which s tells."""
    system = run.system
    ends = anchors(system.space, system.feature_values(system.ends), level)
    line = straight_line(family, *ends, n_points=_N_POINTS)
    length = tether_lengths(line.spacetime, line.eta)
    return SpacetimeCurve.from_eta(family, line.eta, length / length[-1]), float(length[-1])


def n_windows(length: float, distance: float) -> int:
    """Return how many windows are so far apart on a curve, ends included."""
    return max(3, math.ceil(length / distance) + 1)
