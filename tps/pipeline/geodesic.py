"""The geodesic stage: channels, the curve that the paths follow, its support and health, and straight lines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tps.config import GeodesicSection
from tps.conformations import Conformations
from tps.errors import ConfigError
from tps.pipeline.constraints import build_constraints, via_curves
from tps.pipeline.families import anchors, empirical_family
from tps.pipeline.methods import MethodProblem, follow, geodesic_windings
from tps.spacetime import (
    Channel,
    Constraint,
    ConstraintReport,
    EmpiricalFamily,
    Family,
    SpacetimeCurve,
    SpacetimePoint,
    TorusSpacetime,
    anchor_sensitivity,
    curve_energy,
    curve_health,
    find_channels,
    fisher_rao_length,
    winding_line,
)
from tps.spacetime.constraints import constraint_reports
from tps.spacetime.health import SUPPORTED_FRAMES
from tps.spacetime.solver_settings import SolverSettings
from tps.systems import System

#: The curve that the paths follow, whatever its method, and what is always run beside it.
MAIN = "paths"
STRAIGHT = "straight_line"
BASELINES = (STRAIGHT, "straight_line_with_profile")

#: Grid points that carry a Gaussian as wide as the spacing, per axis: with fewer the grid is too coarse.
_GRID_POINTS_PER_AXIS = float(np.sqrt(4 * np.pi))


@dataclass(frozen=True, eq=False)
class SolvedGeodesic:
    """The main curve, the straight lines and the channels, and what result.json says of them."""

    curves: dict[str, SpacetimeCurve]
    channels: tuple[Channel, ...]
    result: dict[str, Any]
    warnings: tuple[str, ...]

    def save(self, folder: Path) -> None:
        """Write curve.npz, one npz per straight line, one per channel, and result.json."""
        (folder / "channels").mkdir(parents=True)
        for method, curve in self.curves.items():
            _save_curve(folder / curve_file(method), curve)
        for number, channel in enumerate(self.channels):
            _save_curve(folder / "channels" / f"{number}.npz", channel.geodesic.curve)
        (folder / "result.json").write_text(json.dumps(self.result, indent=1) + "\n")


def curve_file(method: str) -> str:
    """Return the name of a method's curve in geodesic/."""
    return "curve.npz" if method == MAIN else f"{method}.npz"


def solve_geodesic(
    system: System,
    section: GeodesicSection,
    frames: Conformations,
    positions: NDArray[np.floating] | None,
    family: Family | None,
    seed: int,
    *,
    grid: bool = False,
) -> SolvedGeodesic:
    """Solve for the geodesics between the anchored ends, and for the curve of the method asked for.

    Parameters
    ----------
    system : MolecularSystem or SurfaceSystem
    section : GeodesicSection
    frames : Conformations
    positions : array or None
        Of the frames, as `system.values` takes them; needed where regions are to be avoided.
    family : Family or None
        Of the trained model; None: that of the frames themselves.
    seed : int
        Of random probes, where the family needs them.
    grid : bool
        Whether the frames are the points of a grid.

    Raises
    ------
    ConfigError
        If the channel asked for was not found, or a point cannot be read.
    SystemDefinitionError
        If a region to avoid contains an end.
    """
    torch.manual_seed(seed)
    empirical = empirical_family(system, frames)
    family = empirical if family is None else family
    a, b = anchors(system, section.anchor_log_snr)
    constraints = build_constraints(system, section, empirical, positions)
    channels = _channels(system, section, family, a, b, constraints, empirical)
    if section.channel >= len(channels):
        raise ConfigError(
            f"geodesic.channel = {section.channel} was asked for, but only {len(channels)} geodesics were found "
            "(counted from 0): start more curves with geodesic.via, or take another"
        )
    found = channels[section.channel].geodesic
    problem = MethodProblem(
        family=family,
        a=a,
        b=b,
        n_points=section.n_points,
        log_snr=section.anchor_log_snr if section.method_log_snr is None else section.method_log_snr,
        geodesic=found,
        windings=geodesic_windings(found.curve, section.windings),
    )
    main = follow(section.method, problem)
    curves = {
        MAIN: main.curve,
        STRAIGHT: problem.line(),
        "straight_line_with_profile": problem.line_with_profile(),
    }
    if section.method == "geodesic":
        reports = found.constraints
    else:
        reports = constraint_reports(family, main.curve, constraints, SolverSettings.constraint_tolerance)
    health = curve_health(family, main.curve)
    result: dict[str, Any] = {
        "method": section.method,
        "status": main.status,
        "length": fisher_rao_length(main.curve),
        "geodesic_length": found.length,
        "curve_energy": curve_energy(main.curve),
        "constant_speed": health.constant_speed,
        "n_gradient_evaluations": sum(c.geodesic.n_gradient_evaluations for c in channels),
        "anchor_log_snr": section.anchor_log_snr,
        "windings": problem.windings,
        "constraints": [_report(report) for report in reports],
        "channels": [_channel(channel) for channel in channels],
        "curves": {name: _support(c, empirical) for name, c in curves.items()},
        "health": {
            "negative_chords": health.negative_chords,
            "jacobian_asymmetry": health.jacobian_asymmetry,
            "indefinite_points": health.indefinite_points,
            "anchor_sensitivity": _sensitivity(section, family, a, b, constraints, found.curve),
        },
    }
    warnings = [] if main.status == "converged" else [f"{section.method}: {main.status}"]
    if section.method != "geodesic":
        warnings += [
            f"the {section.method} does not know constraints: {r}" for r in reports if not r.satisfied
        ]
    warnings += _support_warning(result["curves"][MAIN], len(system.feature_names), grid)
    return SolvedGeodesic(curves, channels, result, tuple(warnings))


def _channels(
    system: System,
    section: GeodesicSection,
    family: Family,
    a: SpacetimePoint,
    b: SpacetimePoint,
    constraints: list[Constraint],
    empirical: EmpiricalFamily,
) -> tuple[Channel, ...]:
    """Return the distinct geodesics, the converged ones first, then by length."""
    starts = via_curves(system, section, family.spacetime, a, b)
    if section.windings is not None:
        if not isinstance(family.spacetime, TorusSpacetime):
            raise ConfigError(f"geodesic.windings needs angles, but the axes of {system.name} are none")
        name = "winding " + ",".join(f"{w:+d}" if w else "0" for w in section.windings)
        starts[name] = winding_line(family.spacetime, a, b, section.n_points, section.windings)
    return find_channels(
        family,
        a,
        b,
        starts=starts or None,
        frames=empirical,
        n_points=section.n_points,
        representation=section.representation,
        constraints=constraints,
        max_iterations=section.max_iterations,
    )


def _support(curve: SpacetimeCurve, empirical: EmpiricalFamily) -> dict[str, Any]:
    """Compare a curve with the weighted frames: how many carry it, and how far the model's ψ and μ are from theirs."""
    size = empirical.effective_sample_size(curve.eta)
    worst = int(size.argmin())
    out: dict[str, Any] = {
        "min_effective_sample_size": float(size[worst]),
        "min_effective_sample_size_at_s": float(curve.s[worst]),
        "effective_sample_size": [round(float(value), 1) for value in size],
        "mean_mu_error": float((curve.mu - empirical.mu(curve.eta)).norm(dim=1).mean()),
    }
    if not isinstance(curve.spacetime, TorusSpacetime):
        # eta . T is the spring -e^l |x - center|**2 / 2 less e^l |center|**2 / 2, which its free energy has to have
        spring = 0.5 * curve.log_snr.exp() * curve.center.square().sum(1)
        out["delta_spring"] = float(spring[-1] - spring[0])
    reference = empirical.psi(curve.eta)
    out["delta_psi_frames"] = float(reference[-1] - reference[0])
    if curve.psi is not None:
        gap = (curve.psi - curve.psi[0]) - (reference - reference[0])
        out["delta_psi_model"] = float(curve.psi[-1] - curve.psi[0])
        out["max_psi_error"] = float(gap.abs().max())
    else:
        out["delta_psi_model"] = float((0.5 * (curve.mu[1:] + curve.mu[:-1]) * curve.eta.diff(dim=0)).sum())
    return out


def _support_warning(support: dict[str, Any], n_features: int, grid: bool) -> list[str]:
    size, s = support["min_effective_sample_size"], support["min_effective_sample_size_at_s"]
    if grid and size < _GRID_POINTS_PER_AXIS**n_features:
        return [
            f"only {size:.0f} points of the grid carry the curve at s = {s:.2f}: the grid is too coarse for so strong "
            "a tilt; raise conformations.n_grid_points or lower anchor_log_snr"
        ]
    if not grid and size < SUPPORTED_FRAMES:
        return [
            f"the curve passes where only {size:.0f} effective frames carry the data (at s = {s:.2f}): the model is a "
            "guess there; sample more"
        ]
    return []


def _sensitivity(
    section: GeodesicSection,
    family: Family,
    a: SpacetimePoint,
    b: SpacetimePoint,
    constraints: list[Constraint],
    curve: SpacetimeCurve,
) -> float:
    """Return d length / d log-SNR of the anchors, in the channel of `curve`."""
    return anchor_sensitivity(
        family,
        a,
        b,
        start=curve,
        n_points=section.n_points,
        representation=section.representation,
        constraints=constraints,
        max_iterations=section.max_iterations,
    )


def _channel(channel: Channel) -> dict[str, Any]:
    curve, size = channel.geodesic.curve, channel.effective_sample_size
    return {
        "length": channel.geodesic.length,
        "status": channel.geodesic.status,
        "starts": list(channel.starts),
        "min_log_snr": float(curve.log_snr.min()),
        "min_effective_sample_size": None if size is None else float(size.min()),
    }


def _report(report: ConstraintReport) -> dict[str, Any]:
    return {
        "name": report.name,
        "largest": report.largest,
        "at_s": report.at_s,
        "tolerance": report.tolerance,
        "satisfied": report.satisfied,
    }


def _save_curve(file: Path, curve: SpacetimeCurve) -> None:
    psi = np.full(curve.n_points, np.nan) if curve.psi is None else curve.psi.numpy()
    np.savez(
        file,
        eta=curve.eta.numpy(),
        center=curve.center.numpy(),
        log_snr=curve.log_snr.numpy(),
        mu=curve.mu.numpy(),
        psi=psi,
        s=curve.s.numpy(),
    )
