"""The roads to one free-energy difference other than the windows': work, the model, the weighted frames."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tps.analysis import (
    Metric,
    frames_anchored_difference,
    frames_region_difference,
    integrated_psi,
    number_metric,
    work_differences,
)
from tps.conformations import Conformations
from tps.features import TorsionFeatures
from tps.paths import load_paths
from tps.pipeline.candidates import path_folder
from tps.pipeline.dynamics import Advance, RunDynamics, load_curve
from tps.pipeline.folder import RunFolder
from tps.pipeline.geodesic import MAIN, STRAIGHT, curve_file
from tps.systems import SurfaceSystem, System

#: Titles of the two differences.
DIFFERENCES = {
    "anchored": "F(B) - F(A) of the anchored states",
    "regions": "F(B) - F(A) of the states as regions",
}
_WORKS_SEED = 15
_FEWEST_WORKS = 2


def value_statistics(system: System, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map feature values (n, d), as `System.feature_values` gives them, to T (n, n_statistics)."""
    if isinstance(system, SurfaceSystem):
        return system.statistics(values)
    return TorsionFeatures.from_system(system).values(values)


def works(run: RunFolder, dynamics: RunDynamics, advance: Advance) -> tuple[dict[str, Metric], int]:
    """Return the roads from the work along the straight line, both ways, and what they cost."""
    system, n_backward = run.system, run.config.free_energy.n_backward_paths
    folder = run.path / path_folder(STRAIGHT)
    if not n_backward or not folder.is_dir():
        return {}, 0
    seeds = run.seeds(_WORKS_SEED, n_backward)
    backward, _ = dynamics.annealed(load_curve(run, curve_file(STRAIGHT)), seeds, advance, backward=True)
    forward = load_paths(folder)
    works = [e.cumulative_work[e.completed, -1] for e in (forward, backward)]
    if min(len(w) for w in works) < _FEWEST_WORKS:
        return {}, backward.n_evaluations
    found = work_differences(works[0], works[1], system.kt, unit=system.energy_unit)
    spoken = {
        "bar": "straight pulls, both ways (BAR)",
        "jarzynski_forward": "straight pulls from A (Jarzynski)",
        "jarzynski_backward": "straight pulls from B (Jarzynski)",
    }
    return {text: found[name] for name, text in spoken.items()}, backward.n_evaluations


def other_roads(run: RunFolder, frames: Conformations) -> dict[str, Metric]:
    """Return what the model and the weighted frames say of the anchored states."""
    kt, unit = run.system.kt, run.system.energy_unit
    with np.load(run.path / "geodesic" / curve_file(MAIN)) as data:
        eta, mu, psi = data["eta"], data["mu"], data["psi"]
    found = {}
    if not (run.path / "model" / "frames.json").is_file():
        change = psi[-1] - psi[0] if np.isfinite(psi).all() else integrated_psi(eta, mu)[-1]
        found["ψ of the model"] = number_metric(
            -float(change), kt, "-kT (ψ(η_B) - ψ(η_A)) of the diffusion model.", unit=unit
        )
    if run.on_grid:
        value = frames_anchored_difference(
            frames, value_statistics(run.system, frames.torsions), eta[0], eta[-1], kt, unit=unit
        )
        found["grid"] = replace(value, error=None, definition="-kT (ψ(η_B) - ψ(η_A)) by summing the grid.")
    else:
        found[_frames_name(run)] = frames_anchored_difference(
            frames, value_statistics(run.system, frames.torsions), eta[0], eta[-1], kt, unit=unit
        )
    return found


def _frames_name(run: RunFolder) -> str:
    method = run.config.conformations.method
    if method == "auto":
        return "metadynamics"
    return {"import": "imported frames", "md": "plain dynamics"}.get(method, method)


def region_roads(run: RunFolder, frames: Conformations) -> dict[str, Metric]:
    """Return what the weighted frames say of the states as regions."""
    system = run.system
    values = system.values(run.frame_positions(frames))
    inside = [state.region.contains(values) for state in (system.state_a, system.state_b)]
    found = frames_region_difference(frames, inside[0], inside[1], system.kt, unit=system.energy_unit)
    if run.on_grid:
        return {"grid": replace(found, error=None, definition="-kT ln(p(B)/p(A)) by summing the grid.")}
    return {_frames_name(run): found}


def with_springs(run: RunFolder, roads: Mapping[str, Metric]) -> dict[str, Metric]:
    """Return the roads with the springs' own free energy, which η·T leaves out in a plane: see `delta_spring`."""
    solved = json.loads((run.path / "geodesic" / "result.json").read_text())
    spring = run.system.kt * solved["curves"][MAIN].get("delta_spring", 0.0)
    return {
        name: road if road.value is None else replace(road, value=road.value + spring)
        for name, road in roads.items()
    }
