"""The geodesic stage: channels, the curve that the paths follow, its support and health, and straight lines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tps.arrays import load_arrays, save_arrays
from tps.config import GeodesicSection, PathsSection
from tps.conformations import Conformations
from tps.errors import ConfigError
from tps.pipeline.avoidance import Avoidance, avoidance_notes, with_bounds
from tps.pipeline.channels import (
    channel_file,
    channel_said,
    frame_blocks,
    free_energy_said,
    read_channels,
    reports_said,
    solve_channels,
)
from tps.pipeline.constraints import build_constraints, check_anchors
from tps.pipeline.folder import read_json, write_json
from tps.pipeline.progress import Progress, Silent
from tps.spacetime import (
    CONSTRAINED,
    Channel,
    Family,
    Geodesic,
    MethodProblem,
    SpacetimeCurve,
    anchor_sensitivity,
    anchors,
    clamped_energy,
    constraint_reports,
    curve_energy,
    curve_health,
    curve_support,
    empirical_family,
    fisher_rao_length,
    follow,
    free_energy_profile,
    geodesic_windings,
    integrated_psi,
    needed_support,
    ranked,
    support_warning,
)
from tps.systems import System

#: The curve that the paths follow, whatever its method, and what is always run beside it.
MAIN = "paths"
STRAIGHT, WITH_PROFILE = "straight_line", "straight_line_with_profile"
#: The main curve again in equal Fisher-Rao steps, where the paths follow another clock.
FISHER_CLOCK = "fisher_clock"
BASELINES = (STRAIGHT, WITH_PROFILE, FISHER_CLOCK)


@dataclass(frozen=True, eq=False)
class StoredCurve:
    """A curve on disk.

    Attributes
    ----------
    s, log_snr, psi : (n_points,) arrays
        psi is NaN where the model knows mu alone.
    eta, mu : (n_points, n_statistics) arrays
    center : (n_points, n_center) array
    """

    s: NDArray[np.float64]
    eta: NDArray[np.float64]
    center: NDArray[np.float64]
    log_snr: NDArray[np.float64]
    mu: NDArray[np.float64]
    psi: NDArray[np.float64]

    @classmethod
    def of(cls, curve: SpacetimeCurve) -> StoredCurve:
        """Return a curve as numbers."""
        psi = np.full(curve.n_points, np.nan) if curve.psi is None else curve.psi.numpy()
        return cls(
            s=curve.s.numpy(),
            eta=curve.eta.numpy(),
            center=curve.center.numpy(),
            log_snr=curve.log_snr.numpy(),
            mu=curve.mu.numpy(),
            psi=psi,
        )

    @property
    def psi_from_a(self) -> NDArray[np.float64]:
        """What psi rises by from the first point on (n_points,): the model's own, or by integrating its mu."""
        if np.isfinite(self.psi).all():
            return self.psi - self.psi[0]
        return integrated_psi(torch.as_tensor(self.eta), torch.as_tensor(self.mu)).numpy()


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
            _save_curve(folder / channel_file(number), channel.geodesic.curve)
        write_json(folder / "result.json", self.result)


def curve_file(method: str) -> str:
    """Return the name of a method's curve in geodesic/."""
    return "curve.npz" if method in (MAIN, FISHER_CLOCK) else f"{method}.npz"


def load_solved(run: Path) -> dict[str, Any]:
    """Return what result.json of a run folder says of its curves."""
    return read_json(run / "geodesic" / "result.json")


def load_curve(run: Path, method: str = MAIN) -> StoredCurve:
    """Return the curve of a method, or "channels/0" and so on, of a run folder."""
    return StoredCurve(**load_arrays(run / "geodesic" / curve_file(method)))


def solve_geodesic(
    system: System,
    section: GeodesicSection,
    frames: Conformations,
    positions: NDArray[np.floating] | None,
    family: Family | None,
    seed: int,
    progress: Progress,
    *,
    grid: bool = False,
    kept: Path | None = None,
    n_steps: int = PathsSection.model_fields["n_steps"].default,
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
    progress : Progress
    grid : bool
        Whether the frames are the points of a grid.
    kept : path, optional
        Run folder whose channels were solved with these very inputs: they are taken from there.
    n_steps : int
        Of a path: how long it has to stay out of regions to avoid.

    Raises
    ------
    ConfigError
        If the channel asked for was not found, a point cannot be read, or an end breaks a constraint.
    SystemDefinitionError
        If a region to avoid contains an end, or they leave no way from A to B.
    ParameterError
        If channels are to be ranked by barriers that they do not have.
    """
    torch.manual_seed(seed)
    empirical = empirical_family(system.space, frames.values, frames.log_weights)
    family = empirical if family is None else family
    a, b = anchors(system.space, system.feature_values(system.ends), section.anchor_level)
    blocks = frame_blocks(frames, grid)

    def solved(asked: GeodesicSection, shown: Progress) -> tuple[Channel, ...]:
        found = build_constraints(system, asked, frames, empirical, positions)[0]
        return solve_channels(system, asked, family, (a, b), found, empirical, blocks, shown)

    check_anchors(
        system, section, family, build_constraints(system, section, frames, empirical, positions)[0]
    )
    asked, avoidance = section, None
    if section.avoid and positions is not None:
        avoidance = Avoidance.of(system, section, empirical, positions, n_steps)
        if kept is None:
            section = avoidance.settled(
                section, lambda trial: _first(solved(trial, Silent()), trial), progress
            )
        else:
            section = with_bounds(section, load_solved(kept)["avoidance"])
    constraints, notes = build_constraints(system, section, frames, empirical, positions)
    channels = solved(section, progress) if kept is None else read_channels(kept, family, empirical, blocks)
    channels, rank = ranked(channels, section.rank)
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
        log_snr=section.anchor_level if section.method_log_snr is None else section.method_log_snr,
        geodesic=found,
        windings=geodesic_windings(found.curve, section.windings),
        constraints=tuple(constraints),
        frames=empirical,
    )
    main = follow(section.method, problem)
    curves = {
        MAIN: main.curve,
        STRAIGHT: problem.line(),
        WITH_PROFILE: problem.line_with_profile(),
    }
    knows, needed = section.method in CONSTRAINED, needed_support(system.space.n_features, grid)
    own = section.method == "geodesic"
    reports = found.constraints if own else constraint_reports(family, main.curve, constraints)
    health = curve_health(family, main.curve)
    result: dict[str, Any] = {
        "method": section.method,
        "status": main.status,
        "length": fisher_rao_length(main.curve),
        "geodesic_length": found.length,
        "curve_energy": curve_energy(main.curve),
        "constant_speed": health.constant_speed,
        "n_gradient_evaluations": sum(c.geodesic.n_gradient_evaluations for c in channels),
        "anchor_log_snr": section.anchor_level,
        "free_energy_weight": section.metric_weight,
        "windings": problem.windings,
        "constraints": reports_said(reports),
        "channel": section.channel,
        "rank": rank,
        "channels": [channel_said(channel, system, needed) for channel in channels],
        "curves": {
            name: curve_support(c, empirical, system.space)
            | free_energy_said(
                free_energy_profile(c, empirical, blocks),
                c,
                system,
                empirical.effective_sample_size(c.eta),
                needed,
            )
            for name, c in curves.items()
        },
        "health": {
            "negative_chords": health.negative_chords,
            "jacobian_asymmetry": health.jacobian_asymmetry,
            "indefinite_points": health.indefinite_points,
            "doubtful": health.doubtful,
            "clamped_energy": clamped_energy(main.curve),
            # only the length of a geodesic of the plain metric is stationary
            "anchor_sensitivity": None if section.metric_weight else anchor_sensitivity(family, found.curve),
        },
    }
    if avoidance is not None:
        result["avoidance"] = avoidance.said(section, main.curve.eta)
        notes += avoidance_notes(asked, result["avoidance"])
    warnings = notes + ([] if main.status == "converged" else [f"{section.method}: {main.status}"])
    if found.warning:
        warnings.append(f"geodesic: {found.warning}")
    if not knows:
        warnings += [
            f"the {section.method} does not know constraints: {r}" for r in reports if not r.satisfied
        ]
    warnings += support_warning(result["curves"][MAIN], system.space.n_features, grid)
    return SolvedGeodesic(curves, channels, result, tuple(warnings))


def _first(channels: tuple[Channel, ...], section: GeodesicSection) -> Geodesic:
    """Return the geodesic that the section chooses, or the last one where there are fewer."""
    return ranked(channels)[0][min(section.channel, len(channels) - 1)].geodesic


def _save_curve(file: Path, curve: SpacetimeCurve) -> None:
    save_arrays(file, **vars(StoredCurve.of(curve)))
