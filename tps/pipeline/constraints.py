"""The run file's constraints as those of the geometry."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tps.config import GeodesicSection
from tps.errors import ConfigError
from tps.spacetime import (
    Constraint,
    EmpiricalFamily,
    KLDistance,
    LogSnrFloor,
    RegionProbability,
    StdCeiling,
    named_point,
)
from tps.systems import Region, System, parse_region


def avoided_regions(system: System, section: GeodesicSection) -> list[Region]:
    """Return the regions that the section wants avoided."""
    return [parse_region(text, system.collective_variables) for text in section.avoid]


def build_constraints(
    system: System, section: GeodesicSection, frames: EmpiricalFamily, positions: NDArray[np.floating] | None
) -> list[Constraint]:
    """Translate the section into constraints on every point of the curve.

    Parameters
    ----------
    system : MolecularSystem or SurfaceSystem
    section : GeodesicSection
    frames : EmpiricalFamily
        The weighted frames, of which the share in a region is its probability.
    positions : array or None
        Of the frames, as `system.values` takes them; needed where regions are to be avoided.

    Raises
    ------
    ConfigError
        If a point to avoid lacks a feature, or no frame lies in a region to avoid.
    SystemDefinitionError
        If a region to avoid contains an end.
    """
    constraints: list[Constraint] = []
    if section.min_log_snr is not None:
        constraints.append(LogSnrFloor(section.min_log_snr))
    if section.max_std is not None:
        constraints.append(StdCeiling(section.max_std))
    for text, region in zip(section.avoid, avoided_regions(system, section), strict=True):
        system.check_avoided_region(region)
        if positions is None:
            raise ConfigError("avoiding a region needs the frames' positions")
        inside = torch.as_tensor(region.contains(system.values(positions)))
        if not inside.any():
            raise ConfigError(
                f"none of the {frames.n_frames} weighted frames lies in the region to avoid {text!r}, so its "
                "probability on a curve is not known: sample it, widen it, or take it out of geodesic.avoid"
            )
        constraints.append(RegionProbability(frames, inside, section.avoid_p_max))
    for point in section.avoid_points:
        place = named_point(system.space, point.center, point.log_snr, "geodesic.avoid_points center")
        constraints.append(KLDistance(place, point.min_kl_nats))
    return constraints
