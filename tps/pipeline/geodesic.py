"""The geodesic stage: channels, the curve that the paths follow, its support and health, and straight lines."""

from __future__ import annotations

from collections.abc import Sequence
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
from tps.pipeline.avoidance import avoidance_notes, with_bounds
from tps.pipeline.channels import CURVE_LAYOUT, channel_file, channel_said, read_channels
from tps.pipeline.constraints import check_anchors
from tps.pipeline.folder import RunFolder, write_json
from tps.pipeline.geodesic_inputs import GeodesicInputs
from tps.pipeline.geodesic_said import geodesic_said, geodesic_warnings
from tps.pipeline.progress import Progress
from tps.said import SaidGeodesic
from tps.spacetime import (
    Channel,
    Family,
    SpacetimeCurve,
    constraint_reports,
    empirical_family,
    follow,
    integrated_psi,
    ranked,
    support_warning,
)
from tps.stored import read_json
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
    return read_json(run / "geodesic" / "result.json", SaidGeodesic)


def load_curve(run: RunFolder, method: str = MAIN) -> StoredCurve:
    """Return the curve of a method, or "channels/0" and so on, of a run folder.

    Raises
    ------
    RunFolderError
        If the file is missing, damaged, or of other features.
    """
    file = run.path / "geodesic" / curve_file(method)
    curve = StoredCurve(**load_arrays(file, layout=CURVE_LAYOUT))
    run.check_columns(file, curve.eta.shape[1], run.system.space.n_statistics)
    return curve


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
    given = GeodesicInputs(
        system, frames, positions, empirical if family is None else family, empirical, grid
    )
    check_anchors(system, section, given.family, given.constraints(section)[0])
    asked, avoidance = section, given.avoidance(section, n_steps)
    if avoidance is not None:
        section = (
            avoidance.settled(section, given.first, progress)
            if kept is None
            else with_bounds(section, load_solved(kept)["avoidance"])
        )
    constraints, notes = given.constraints(section)
    found = (
        given.channels(section, progress)
        if kept is None
        else read_channels(kept, given.family, empirical, given.blocks)
    )
    channels, rank = ranked(found, section.rank)
    problem = given.problem(section, constraints, _chosen(channels, section).geodesic)
    main = follow(section.method, problem)
    curves = {MAIN: main.curve, STRAIGHT: problem.line(), WITH_PROFILE: problem.line_with_profile()}
    reports = problem.geodesic.constraints
    if section.method != "geodesic":
        reports = constraint_reports(given.family, main.curve, constraints)
    result = {
        **geodesic_said(section, problem, main, reports),
        "rank": rank,
        "n_gradient_evaluations": sum(c.geodesic.n_gradient_evaluations for c in channels),
        "channels": [channel_said(channel, system, given.needed) for channel in channels],
        "curves": {name: given.curve_said(curve) for name, curve in curves.items()},
    }
    if avoidance is not None:
        result["avoidance"] = avoidance.said(section, main.curve.eta)
        notes += avoidance_notes(asked, result["avoidance"])
    warnings = notes + geodesic_warnings(section, problem, main, reports)
    warnings += support_warning(result["curves"][MAIN], system.space.n_features, grid)
    return SolvedGeodesic(curves, channels, result, tuple(warnings))


def _chosen(channels: Sequence[Channel], section: GeodesicSection) -> Channel:
    if section.channel >= len(channels):
        raise ConfigError(
            f"geodesic.channel = {section.channel} was asked for, but only {len(channels)} geodesics were found "
            "(counted from 0): start more curves with geodesic.via, or take another"
        )
    return channels[section.channel]


def _save_curve(file: Path, curve: SpacetimeCurve) -> None:
    save_arrays(file, **vars(StoredCurve.of(curve)))
