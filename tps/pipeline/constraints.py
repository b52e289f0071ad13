"""The run file's constraints as those of the geometry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tps.config import GeodesicSection
from tps.conformations import Conformations
from tps.errors import ConfigError
from tps.spacetime import (
    Bound,
    Constraint,
    EmpiricalFamily,
    Family,
    KLDistance,
    LogSnrFloor,
    RegionProbability,
    StdCeiling,
    SupportFloor,
    TetherBox,
    TetherDistance,
    TetherProbability,
    anchors,
    eta_of,
    named_point,
)
from tps.spacetime.constraints import CONSTRAINT_TOLERANCE
from tps.systems import Region, System, parse_region

#: How far, and in which steps, anchors are tried that obey a constraint where those asked for do not.
_FARTHEST_ANCHOR, _ANCHOR_STEP = 6.0, 0.1


def in_force(section: GeodesicSection) -> str:
    """Return which constraints a section asks for, as a text; a constraint once given stays in the run file."""
    said = [
        f"{key} = {getattr(section, key):g}"
        for key in ("min_log_snr", "max_std", "min_support")
        if getattr(section, key) is not None
    ]
    said += [f"avoid {text!r} (p_max {section.avoid_p_max:g})" for text in section.avoid]
    said += [
        "avoid_points "
        + ",".join(f"{name}={value:g}" for name, value in point.center.items())
        + f" at log-SNR {point.log_snr:g} by {point.min_kl_nats:g} nats"
        for point in section.avoid_points
    ]
    return "; ".join(said) or "none"


def avoided_regions(system: System, section: GeodesicSection) -> list[Region]:
    """Return the regions that the section wants avoided.

    Raises
    ------
    SystemDefinitionError
        If one cannot be read or contains an end, or they leave no way from A to B.
    """
    regions = [parse_region(text, system.collective_variables) for text in section.avoid]
    system.check_avoided_regions(regions)
    return regions


def build_constraints(
    system: System,
    section: GeodesicSection,
    frames: Conformations,
    empirical: EmpiricalFamily,
    positions: NDArray[np.floating] | None,
) -> tuple[list[Constraint], list[str]]:
    """Translate the section into constraints on every point of the curve.

    Parameters
    ----------
    system : MolecularSystem or SurfaceSystem
    section : GeodesicSection
    frames : Conformations
    empirical : EmpiricalFamily
        The weighted frames, of which the share in a region is its probability.
    positions : array or None
        Of the frames, as `system.values` takes them; needed where regions are to be avoided.

    Returns
    -------
    list of Constraint, list of str
        The constraints, and a sentence for each half of one that cannot be.

    Raises
    ------
    ConfigError
        If a point to avoid lacks a feature, or nothing is known of a region to avoid.
    SystemDefinitionError
        If a region to avoid contains an end, or they leave no way from A to B.
    """
    constraints: list[Constraint] = []
    notes: list[str] = []
    if section.min_log_snr is not None:
        constraints.append(LogSnrFloor(section.min_log_snr))
    if section.max_std is not None:
        constraints.append(StdCeiling(section.max_std))
    if section.min_support is not None:
        constraints.append(SupportFloor(empirical, section.min_support))
    ends = _anchored(system, section.anchor_level, empirical)
    for text, region in zip(section.avoid, avoided_regions(system, section), strict=True):
        if positions is None:
            raise ConfigError("avoiding a region needs the frames' positions")
        inside = region.contains(system.values(positions))
        tether = _tether_probability(system, section, frames, text, region, ends)
        notes += _half_known(system, text, region, bool(inside.any()), tether is not None)
        if tether is not None:
            constraints.append(tether)
            notes += _beside(text, tether.box.probability(ends), section.avoid_p_max)
        if inside.any():
            indicator = torch.as_tensor(inside)
            constraints.append(RegionProbability(empirical, indicator, section.avoid_p_max, text, ends))
    for point in section.avoid_points:
        place = named_point(system.space, point.center, point.log_snr, "geodesic.avoid_points center")
        constraints.append(TetherDistance(place, point.min_kl_nats))
        constraints.append(KLDistance(place, point.min_kl_nats))
    return constraints, notes


def check_anchors(
    system: System, section: GeodesicSection, family: Family, constraints: Sequence[Constraint]
) -> None:
    """Check that both anchored ends obey every constraint.

    Raises
    ------
    ConfigError
        Naming the end, the constraint, and the nearest anchor_log_snr with which it holds at both ends.
    """
    for constraint in constraints:
        worst = _at_anchors(system, section.anchor_level, family, constraint)
        broken = np.flatnonzero(worst > CONSTRAINT_TOLERANCE)
        if not len(broken):
            continue
        end = broken[0]
        number = ""
        if isinstance(constraint, Bound):
            number = f" ({constraint.number(float(worst[end])):.3g} {constraint.unit}".rstrip() + ")"
        level = _nearest_level(system, section.anchor_level, family, constraint)
        remedy = (
            f"relax it: no level within {_FARTHEST_ANCHOR:g} of this one obeys it"
            if level is None
            else f"anchor at geodesic.anchor_log_snr = {level:.1f}, the nearest at which both ends obey it, or relax it"
        )
        raise ConfigError(
            f"end {'AB'[end]}, anchored at log-SNR {section.anchor_level:g}, itself breaks '{constraint.name}'"
            f"{number}: {remedy}"
        )


def _tether_probability(
    system: System, section: GeodesicSection, frames: Conformations, text: str, region: Region, ends: Tensor
) -> TetherProbability | None:
    """Return the tether's share of the constraint; None where the region names what is no feature."""
    space = system.space
    if not region.ranges.keys() <= set(space.names):
        return None
    seen = np.stack([frames.values.min(axis=0), frames.values.max(axis=0)], axis=1)
    support = space.ranges(frames.values)
    support = np.stack([np.minimum(support[:, 0], seen[:, 0]), np.maximum(support[:, 1], seen[:, 1])], axis=1)
    return TetherProbability(TetherBox(space, region.ranges, support), section.avoid_p_max, text, ends)


def _beside(text: str, probabilities: Tensor, p_max: float) -> list[str]:
    """Return what is to be said of ends, anchored beside a region, whose own tethers reach into it."""
    return [
        f"end {name} lies so close to the region to avoid {text!r} that its own tether has probability {p:.2g} of it: "
        f"more than {p_max:g} is allowed beside that end"
        for name, p in zip("AB", probabilities.tolist(), strict=True)
        if p > p_max
    ]


def _anchored(system: System, level: float, family: Family) -> Tensor:
    """Return the natural parameters of both ends (2, K), anchored at a log-SNR."""
    ends = anchors(system.space, system.feature_values(system.ends), level)
    return torch.stack([eta_of(family.spacetime, end) for end in ends])


def _half_known(system: System, text: str, region: Region, sampled: bool, tethered: bool) -> list[str]:
    """Return what is to be said where one of the two probabilities of a region cannot be bounded.

    Raises
    ------
    ConfigError
        If neither can.
    """
    if not sampled and not tethered:
        raise ConfigError(
            f"none of the weighted frames lies in the region to avoid {text!r}, and not all it names are features: so "
            "its probability on a curve is not known; sample it, widen it, or take it out of geodesic.avoid"
        )
    if not sampled:
        return [
            f"none of the weighted frames lies in the region to avoid {text!r}: the tether's own probability of it is "
            "bounded, the molecule's is not known"
        ]
    if not tethered:
        other = next(name for name in region.ranges if name not in system.space.names)
        return [
            f"the region to avoid {text!r} names {other}, which is no feature: only the molecule's probability of it "
            "is bounded, which asks little of a region that transitions cross; paths.enforce keeps out of it"
        ]
    return []


def _at_anchors(system: System, level: float, family: Family, constraint: Constraint) -> NDArray[np.float64]:
    """Return the largest value of a constraint at each end (2,), anchored at a log-SNR."""
    eta = _anchored(system, level, family)
    with torch.no_grad():
        found: NDArray[np.float64] = constraint.values(family, eta, family.mu(eta)).amax(1).numpy()
    return found


def _nearest_level(system: System, start: float, family: Family, constraint: Constraint) -> float | None:
    """Return the log-SNR nearest to `start`, on a grid, at which both ends obey a constraint."""
    first = round(start / _ANCHOR_STEP)
    for step in range(round(_FARTHEST_ANCHOR / _ANCHOR_STEP) + 1):
        for number in (first + step, first - step):
            level = number * _ANCHOR_STEP
            if (_at_anchors(system, level, family, constraint) <= 0).all():
                return level
    return None
