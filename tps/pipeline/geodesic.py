"""The geodesic stage: anchors, constraints, the solution, its support and health, and the straight lines beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tps.config import AvoidPoint, GeodesicSection
from tps.conformations import Conformations
from tps.diffusion import LogPartitionNetwork, ModelSettings, Network, torsion_statistics
from tps.errors import ConfigError, ModelError
from tps.spacetime import (
    Constraint,
    EmpiricalFamily,
    Family,
    Geodesic,
    KLDistance,
    LogPartitionFamily,
    LogSnrFloor,
    RegionProbability,
    SpacetimeCurve,
    SpacetimePoint,
    StdCeiling,
    TorusDenoiserFamily,
    TorusSpacetime,
    curve_health,
    find_geodesic,
    straight_line,
)
from tps.spacetime.health import SUPPORTED_FRAMES
from tps.systems import MolecularSystem, parse_region

GEODESIC = "geodesic"
BASELINES = ("straight_line", "straight_line_with_profile")


@dataclass(frozen=True, eq=False)
class SolvedGeodesic:
    """The geodesic, the straight lines, and what result.json says of them."""

    curves: dict[str, SpacetimeCurve]
    result: dict[str, Any]
    warnings: tuple[str, ...]

    def save(self, folder: Path) -> None:
        """Write curve.npz, one npz per straight line, and result.json."""
        folder.mkdir(parents=True)
        for method, curve in self.curves.items():
            name = "curve" if method == GEODESIC else method
            psi = np.full(curve.n_points, np.nan) if curve.psi is None else curve.psi.numpy()
            np.savez(
                folder / f"{name}.npz",
                eta=curve.eta.numpy(),
                center=curve.center.numpy(),
                log_snr=curve.log_snr.numpy(),
                mu=curve.mu.numpy(),
                psi=psi,
                s=curve.s.numpy(),
            )
        (folder / "result.json").write_text(json.dumps(self.result, indent=1) + "\n")


def solve_geodesic(
    system: MolecularSystem,
    section: GeodesicSection,
    frames: Conformations,
    positions: NDArray[np.float32] | None,
    network: Network,
    model: ModelSettings,
    seed: int,
) -> SolvedGeodesic:
    """Solve for the geodesic between the anchored end structures.

    Parameters
    ----------
    system : MolecularSystem
    section : GeodesicSection
    frames : Conformations
    positions : (n_frames, n_atoms, 3) array or None
        Of the frames [nm]; needed where regions are to be avoided.
    network, model
        The trained model.
    seed : int
        Of random probes, where the family needs them.

    Raises
    ------
    ModelError
        If the model is one of other torsions.
    SystemDefinitionError
        If a region to avoid contains an end structure.
    """
    if model.feature_names != system.feature_names:
        raise ModelError(
            f"the model knows the torsions {', '.join(model.feature_names)}, but {system.name} has "
            f"{', '.join(system.feature_names)}: train again"
        )
    torch.manual_seed(seed)
    spacetime = TorusSpacetime(len(system.feature_names))
    family = model_family(network, spacetime)
    empirical = empirical_family(frames)
    ends = [anchor(system, x, section.anchor_log_snr) for x in (system.positions_a, system.positions_b)]
    constraints = build_constraints(system, section, empirical, positions)
    found = _shortest(family, ends[0], ends[1], section, constraints)
    curve = found.curve
    lines = {
        "straight_line": straight_line(family, *ends, n_points=section.n_points),
        "straight_line_with_profile": straight_line(family, *ends, log_snr=curve.log_snr),
    }
    curves = {GEODESIC: curve, **lines}
    health = curve_health(family, curve)
    result: dict[str, Any] = {
        "status": found.status,
        "length": found.length,
        "curve_energy": found.curve_energy,
        "constant_speed": health.constant_speed,
        "n_gradient_evaluations": found.n_gradient_evaluations,
        "anchor_log_snr": section.anchor_log_snr,
        "constraints": [
            {
                "name": report.name,
                "largest": report.largest,
                "at_s": report.at_s,
                "tolerance": report.tolerance,
                "satisfied": report.satisfied,
            }
            for report in found.constraints
        ],
        "curves": {name: _support(c, empirical) for name, c in curves.items()},
        "health": {
            "negative_chords": health.negative_chords,
            "jacobian_asymmetry": health.jacobian_asymmetry,
            "indefinite_points": health.indefinite_points,
        },
    }
    warnings = [] if found.status == "converged" else [f"geodesic: {found.status}"]
    support = result["curves"][GEODESIC]
    if support["min_effective_sample_size"] < SUPPORTED_FRAMES:
        warnings.append(
            f"the geodesic passes where only {support['min_effective_sample_size']:.0f} effective frames carry the "
            f"data (at s = {support['min_effective_sample_size_at_s']:.2f}): the model is a guess there; sample more"
        )
    return SolvedGeodesic(curves, result, tuple(warnings))


def model_family(network: Network, spacetime: TorusSpacetime) -> Family:
    """Return the family of a trained network, in float64."""
    network = network.double()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    if isinstance(network, LogPartitionNetwork):
        return LogPartitionFamily(network, spacetime)
    return TorusDenoiserFamily(network, spacetime.n_torsions)


def empirical_family(frames: Conformations) -> EmpiricalFamily:
    """Return the family of the weighted frames themselves."""
    return EmpiricalFamily(
        torsion_statistics(torch.as_tensor(frames.torsions)),
        torch.as_tensor(frames.log_weights),
        TorusSpacetime(frames.torsions.shape[1]),
    )


def anchor(system: MolecularSystem, positions: NDArray[np.float64], log_snr: float) -> SpacetimePoint:
    """Return the spacetime point of a structure (n_atoms, 3) [nm]."""
    angles = [system.collective_variables[name].values(positions[None])[0] for name in system.feature_names]
    return SpacetimePoint(torsion_statistics(torch.tensor(angles, dtype=torch.float64)), log_snr)


def build_constraints(
    system: MolecularSystem,
    section: GeodesicSection,
    empirical: EmpiricalFamily,
    positions: NDArray[np.float32] | None,
) -> list[Constraint]:
    """Translate the section into constraints on every point of the curve."""
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
        constraints.append(RegionProbability(empirical, inside, section.avoid_p_max))
    constraints += [
        KLDistance(_avoided_point(system, point), point.min_kl_nats) for point in section.avoid_points
    ]
    return constraints


def _avoided_point(system: MolecularSystem, point: AvoidPoint) -> SpacetimePoint:
    if set(point.center_degree) != set(system.feature_names):
        raise ConfigError(
            f"geodesic.avoid_points needs center_degree for each of {', '.join(system.feature_names)}, but got "
            f"{', '.join(point.center_degree) or 'none'}"
        )
    angles = [np.deg2rad(point.center_degree[name]) for name in system.feature_names]
    return SpacetimePoint(torsion_statistics(torch.tensor(angles, dtype=torch.float64)), point.log_snr)


def _shortest(
    family: Family,
    a: SpacetimePoint,
    b: SpacetimePoint,
    section: GeodesicSection,
    constraints: list[Constraint],
) -> Geodesic:
    """Return the shortest converged geodesic over the starting curves; without any, the first.

    Under constraints, curves that wind differently round the torus may end in different local minima, so the solver
    starts from the short way and from each torsion turned the other way.
    """
    starts: list[tuple[int, ...] | None] = [None]
    if section.windings is not None:
        starts = [section.windings]
    elif constraints:
        starts += _other_ways(a, b)
    found = [
        find_geodesic(
            family,
            a,
            b,
            n_points=section.n_points,
            start=start,
            representation=section.representation,
            constraints=constraints,
            max_iterations=section.max_iterations,
        )
        for start in starts
    ]
    converged = [geodesic for geodesic in found if geodesic.converged]
    return min(converged, key=lambda geodesic: geodesic.length) if converged else found[0]


def _other_ways(a: SpacetimePoint, b: SpacetimePoint) -> list[tuple[int, ...]]:
    """Return windings in which one torsion goes the long way and the others the short way."""
    angles = [torch.atan2(point.center[1::2], point.center[0::2]) for point in (a, b)]
    short = torch.remainder(angles[1] - angles[0] + torch.pi, 2 * torch.pi) - torch.pi
    n = len(short)
    turns = [-1 if step > 0 else 1 for step in short.tolist()]
    return [tuple(turn if i == j else 0 for j in range(n)) for i, turn in enumerate(turns)]


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
    reference = empirical.psi(curve.eta)
    out["delta_psi_frames"] = float(reference[-1] - reference[0])
    if curve.psi is not None:
        gap = (curve.psi - curve.psi[0]) - (reference - reference[0])
        out["delta_psi_model"] = float(curve.psi[-1] - curve.psi[0])
        out["max_psi_error"] = float(gap.abs().max())
    else:
        out["delta_psi_model"] = float((0.5 * (curve.mu[1:] + curve.mu[:-1]) * curve.eta.diff(dim=0)).sum())
    return out
