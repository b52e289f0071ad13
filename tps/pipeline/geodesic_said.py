"""What result.json says of the curve that the paths follow, and what has to be said of it beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tps.config import GeodesicSection
from tps.pipeline.channels import reports_said
from tps.spacetime import (
    CONSTRAINED,
    ConstraintReport,
    MethodCurve,
    MethodProblem,
    anchor_sensitivity,
    clamped_energy,
    curve_energy,
    curve_health,
    fisher_rao_length,
)


def geodesic_said(
    section: GeodesicSection, problem: MethodProblem, main: MethodCurve, reports: Sequence[ConstraintReport]
) -> dict[str, Any]:
    """Return what result.json says of a method's curve, its constraints and its health."""
    found, health = problem.geodesic, curve_health(problem.family, main.curve)
    # only the length of a geodesic of the plain metric is stationary
    sensitivity = None if section.metric_weight else anchor_sensitivity(problem.family, found.curve)
    return {
        "method": section.method,
        "status": main.status,
        "length": fisher_rao_length(main.curve),
        "geodesic_length": found.length,
        "curve_energy": curve_energy(main.curve),
        "constant_speed": health.constant_speed,
        "anchor_log_snr": section.anchor_level,
        "free_energy_weight": section.metric_weight,
        "windings": problem.windings,
        "constraints": reports_said(reports),
        "channel": section.channel,
        "health": {
            "negative_chords": health.negative_chords,
            "jacobian_asymmetry": health.jacobian_asymmetry,
            "indefinite_points": health.indefinite_points,
            "doubtful": health.doubtful,
            "clamped_energy": clamped_energy(main.curve),
            "anchor_sensitivity": sensitivity,
        },
    }


def geodesic_warnings(
    section: GeodesicSection, problem: MethodProblem, main: MethodCurve, reports: Sequence[ConstraintReport]
) -> list[str]:
    """Return what is not as it should be: a status, doubtful lengths, constraints that a method does not know."""
    warnings = [] if main.status == "converged" else [f"{section.method}: {main.status}"]
    if problem.geodesic.warning:
        warnings.append(f"geodesic: {problem.geodesic.warning}")
    if section.method not in CONSTRAINED:
        broken = [report for report in reports if not report.satisfied]
        warnings += [f"the {section.method} does not know constraints: {report}" for report in broken]
    return warnings
