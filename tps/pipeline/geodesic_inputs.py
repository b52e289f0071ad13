"""What the geodesic stage is given, and what each section of a run file makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tps.config import GeodesicSection
from tps.conformations import Conformations
from tps.pipeline.avoidance import Avoidance
from tps.pipeline.channels import frame_blocks, free_energy_said, solve_channels
from tps.pipeline.constraints import build_constraints
from tps.pipeline.progress import Progress, Silent
from tps.spacetime import (
    Channel,
    Constraint,
    EmpiricalFamily,
    Family,
    Geodesic,
    MethodProblem,
    SpacetimeCurve,
    SpacetimePoint,
    anchors,
    curve_support,
    free_energy_profile,
    geodesic_windings,
    needed_support,
    ranked,
)
from tps.systems import System


@dataclass(frozen=True, eq=False)
class GeodesicInputs:
    """What the geodesic stage is given, and what it makes of a section; see `solve_geodesic` for the attributes."""

    system: System
    frames: Conformations
    positions: NDArray[np.floating] | None
    family: Family
    empirical: EmpiricalFamily
    grid: bool

    @property
    def needed(self) -> float:
        """The effective number of frames that a point needs."""
        return needed_support(self.system.space.n_features, self.grid)

    @cached_property
    def blocks(self) -> torch.Tensor:
        """Independent blocks of the frames."""
        return frame_blocks(self.frames, self.grid)

    def ends(self, section: GeodesicSection) -> tuple[SpacetimePoint, SpacetimePoint]:
        """The anchored ends."""
        return anchors(self.system.space, self.system.feature_values(self.system.ends), section.anchor_level)

    def constraints(self, section: GeodesicSection) -> tuple[list[Constraint], list[str]]:
        """The constraints of a section, and what has to be said of them."""
        return build_constraints(self.system, section, self.frames, self.empirical, self.positions)

    def avoidance(self, section: GeodesicSection, n_steps: int) -> Avoidance | None:
        """What is known of paths beside regions to avoid; None without such."""
        if not section.avoid or self.positions is None:
            return None
        return Avoidance.of(self.system, section, self.empirical, self.positions, n_steps)

    def channels(self, section: GeodesicSection, progress: Progress) -> tuple[Channel, ...]:
        """Solve for the channels of a section."""
        return solve_channels(
            self.system,
            section,
            self.family,
            self.ends(section),
            self.constraints(section)[0],
            self.empirical,
            self.blocks,
            progress,
        )

    def first(self, section: GeodesicSection) -> Geodesic:
        """Return the geodesic that a section chooses, or the last one where there are fewer."""
        channels = ranked(self.channels(section, Silent()))[0]
        return channels[min(section.channel, len(channels) - 1)].geodesic

    def problem(
        self, section: GeodesicSection, constraints: list[Constraint], geodesic: Geodesic
    ) -> MethodProblem:
        """What the methods may use."""
        a, b = self.ends(section)
        level = section.anchor_level if section.method_log_snr is None else section.method_log_snr
        return MethodProblem(
            family=self.family,
            a=a,
            b=b,
            n_points=section.n_points,
            log_snr=level,
            geodesic=geodesic,
            windings=geodesic_windings(geodesic.curve, section.windings),
            constraints=tuple(constraints),
            frames=self.empirical,
        )

    def curve_said(self, curve: SpacetimeCurve) -> dict[str, Any]:
        """Return what result.json says of the support of a curve, and of the free energy along it."""
        profile = free_energy_profile(curve, self.empirical, self.blocks)
        size = self.empirical.effective_sample_size(curve.eta)
        return curve_support(curve, self.empirical, self.system.space) | free_energy_said(
            profile, curve, self.system, size, self.needed
        )
