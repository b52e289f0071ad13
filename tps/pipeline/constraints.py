"""The run file's constraints as those of the geometry."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tps.config import AvoidPoint, GeodesicSection
from tps.errors import ConfigError
from tps.pipeline.families import named_point
from tps.spacetime import (
    Constraint,
    EmpiricalFamily,
    KLDistance,
    LogSnrFloor,
    RegionProbability,
    Spacetime,
    SpacetimePoint,
    StdCeiling,
    chart_line,
    eta_of,
)
from tps.systems import System, parse_region


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
        If a point to avoid lacks a feature.
    SystemDefinitionError
        If a region to avoid contains an end.
    """
    constraints: list[Constraint] = []
    if section.min_log_snr is not None:
        constraints.append(LogSnrFloor(section.min_log_snr))
    if section.max_std is not None:
        constraints.append(StdCeiling(section.max_std))
    for text in section.avoid:
        region = parse_region(text, system.collective_variables)
        system.check_avoided_region(region)
        if positions is None:
            raise ConfigError("avoiding a region needs the frames' positions")
        inside = torch.as_tensor(region.contains(system.values(positions)))
        constraints.append(RegionProbability(frames, inside, section.avoid_p_max))
    constraints += [
        KLDistance(_avoided_point(system, point), point.min_kl_nats) for point in section.avoid_points
    ]
    return constraints


def via_curves(
    system: System, section: GeodesicSection, spacetime: Spacetime, a: SpacetimePoint, b: SpacetimePoint
) -> dict[str, Tensor]:
    """Return starting curves (n, K) from a to b through the points of `geodesic.via`, at the anchors' log-SNR, by name.

    Raises
    ------
    ConfigError
        If a point cannot be read or lacks a feature.
    """
    curves = {}
    for text in section.via:
        points = [a, *(_via_point(system, part, section.anchor_log_snr) for part in text.split(";")), b]
        legs = [chart_line(spacetime, p, q, section.n_points)[:-1] for p, q in pairwise(points)]
        curves[f"via {text}"] = torch.cat([*legs, eta_of(spacetime, b)[None]])
    return curves


def _via_point(system: System, text: str, log_snr: float) -> SpacetimePoint:
    try:
        values = {name.strip(): float(value) for name, value in (part.split("=") for part in text.split(","))}
    except ValueError:
        raise ConfigError(
            'geodesic.via takes points such as "x=0,y=1" (angles in degrees), several of one curve with ";" between, '
            f"but got {text!r}"
        ) from None
    return named_point(system, values, log_snr, "geodesic.via")


def _avoided_point(system: System, point: AvoidPoint) -> SpacetimePoint:
    torus = system.spacetime_kind == "torus"
    key = "center_degree" if torus else "center"
    if point.center if torus else point.center_degree:
        raise ConfigError(f"geodesic.avoid_points: {system.name} takes {key}, in its own unit")
    values = point.center_degree if torus else point.center
    return named_point(system, values, point.log_snr, f"geodesic.avoid_points {key}")
