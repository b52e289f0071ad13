"""What all rounds of growing stand on: basins, anchors that they carry, and the straight way between those."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tps.config import GrowSection
from tps.errors import RunFolderError
from tps.paths import Windows, WindowSettings
from tps.pipeline.dynamics import RunDynamics
from tps.pipeline.folder import RunFolder
from tps.pipeline.growth.rounds import GrownFrames, RoundsFolder
from tps.pipeline.progress import Progress
from tps.spacetime import (
    SUPPORTED_FRAMES,
    EmpiricalFamily,
    SpacetimeCurve,
    SpacetimePoint,
    anchors,
    empirical_family,
    straight_line,
    tether_lengths,
    tightest_anchor,
)

_N_POINTS, _LEVEL_STEP = 512, 0.1


@dataclass(frozen=True, eq=False)
class Growth:
    """Everything rounds stand on.

    Attributes
    ----------
    run, dynamics, folder, progress
    basins : GrownFrames
    level : float
        Log-SNR of the anchors.
    line : SpacetimeCurve
        The straight way between them; s by the length of the tether alone.
    n_straight : int
        Windows on it that are a `window_distance` of the tether apart.
    """

    run: RunFolder
    dynamics: RunDynamics
    folder: RoundsFolder
    progress: Progress
    basins: GrownFrames
    level: float
    line: SpacetimeCurve
    n_straight: int

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
        return WindowSettings(n - thrown, interval, thrown, keep_positions=True)

    def cost(self, windows: Windows) -> int:
        """Return the steps of a round."""
        settings = self.settings
        rounds = settings.n_frames + settings.n_equilibration_frames
        return self.section.n_ladders * windows.n_windows * rounds * settings.frame_interval


def begun(
    run: RunFolder, dynamics: RunDynamics, folder: RoundsFolder, progress: Progress
) -> tuple[Growth, int]:
    """Sample the basins, unless they are there, and lay out the straight way between anchors that they carry."""
    section, system = run.config.grow, run.system
    if (there := folder.basins()) is None:
        plain = run.config.conformations.model_copy(
            update={
                "method": "md",
                "n_sample_steps": section.n_basin_steps,
                "frame_interval_steps": section.basin_interval_steps,
            }
        )
        sampled = dynamics.conformations(plain)
        folder.save_basins(sampled.frames, sampled.positions, sampled.n_evaluations)
        there = folder.basins()
        assert there is not None
    frames, positions, n_steps = there
    basins = GrownFrames.of_basins(system, frames, positions, section.n_ladders)
    for inside, name in zip(basins.inside, "AB", strict=True):
        if not inside.any():
            raise RunFolderError(
                f"no frame of plain dynamics lies in state {name}: its structure leaves it at once; widen the "
                "state, or give another structure"
            )
    families = [
        empirical_family(system.space, basins.values[inside], np.zeros(int(inside.sum())))
        for inside in basins.inside
    ]
    ends = system.feature_values(system.ends)
    level = tightest_anchor(
        system.space, ends, families, highest=section.max_anchor_log_snr, frames=SUPPORTED_FRAMES
    )
    line, length = _line(run, families[0], level)
    while (n_straight := n_windows(length, section.window_distance)) > section.max_windows:
        level -= _LEVEL_STEP
        line, length = _line(run, families[0], level)
    progress.say(
        f"anchored at log-SNR {level:.1f}: {n_straight} windows of {section.n_ladders} ladders along the straight way"
    )
    return Growth(run, dynamics, folder, progress, basins, level, line, n_straight), n_steps


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
