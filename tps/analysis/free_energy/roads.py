"""The roads to one free-energy difference other than the windows': work, the model, the weighted frames, the grid.

All of them give F(η_B) - F(η_A) = -kT (ψ(η_B) - ψ(η_A)) of the two anchored states, or F(B) - F(A) of the states as
regions, which `tps.analysis.agreement` sets beside one another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.analysis.free_energy.frames import frames_anchored_difference, frames_region_difference
from tps.analysis.free_energy.windows import spring_profile
from tps.analysis.free_energy.work import work_differences
from tps.analysis.metrics import Metric, Metrics
from tps.conformations import Conformations
from tps.features import FeatureSpace
from tps.paths import PathEnsemble
from tps.systems import System

#: Titles of the two differences.
DIFFERENCES = {
    "anchored": "F(B) - F(A) of the anchored states",
    "regions": "F(B) - F(A) of the states as regions",
}
#: The road that every difference has, and those that stand on simulations of another road.
WINDOWS, WINDOWS_BY_MEANS, MODEL = "windows (MBAR)", "windows, integration of μ", "ψ of the model"
_WORKS = {
    "bar": "both ways (BAR)",
    "jarzynski_forward": "from A (Jarzynski)",
    "jarzynski_backward": "from B (Jarzynski)",
}
_FEWEST_WORKS = 2


def work_roads(
    system: System, forward: PathEnsemble, backward: PathEnsemble, named: str = "straight pulls"
) -> dict[str, Metric]:
    """Return the roads from the work of paths along one curve, from A and from B; none for fewer than two of each."""
    works = [paths.cumulative_work[paths.completed, -1] for paths in (forward, backward)]
    if min(len(work) for work in works) < _FEWEST_WORKS:
        return {}
    found = work_differences(works[0], works[1], system.kt, unit=system.energy_unit)
    return {f"{named}{', ' if name == 'bar' else ' '}{text}": found[name] for name, text in _WORKS.items()}


def without_one_way(roads: Metrics) -> dict[str, Metric]:
    """Return the roads without those by work one way, where the same work both ways gives a number.

    They are biased where work is dissipated, and the acceptance ratio makes the most of the same paths.
    """
    both, *one_way = _WORKS.values()
    known = {
        road.rsplit(", ", 1)[0]
        for road, m in roads.items()
        if road.endswith(f", {both}") and m.value is not None
    }
    biased = {f"{named} {way}" for named in known for way in one_way}
    return {road: metric for road, metric in roads.items() if road not in biased}


def independent(roads: Metrics) -> dict[str, Metric]:
    """Return the roads that share no simulation: of windows MBAR, of work that both ways, and the weighted frames."""
    one_way = tuple(f" {_WORKS[name]}" for name in _WORKS if name != "bar")
    return {
        road: metric
        for road, metric in roads.items()
        if road not in (WINDOWS_BY_MEANS, MODEL) and not road.endswith(one_way)
    }


def model_road(system: System, difference: Metric) -> dict[str, Metric]:
    """Return what the model says of the anchored states: `model_difference` [kT] in the system's unit."""
    return {MODEL: in_unit(difference, system.kt, system.energy_unit)}


def in_unit(metric: Metric, kt: float, unit: str) -> Metric:
    """Return a number given in kT in another unit, in which kT is `kt`; what is withheld stays withheld."""
    value, error = (None if number is None else kt * number for number in (metric.value, metric.error))
    return replace(metric, value=value, error=error, unit=unit)


def anchored_frames_road(
    system: System,
    frames: Conformations,
    eta_a: ArrayLike,
    eta_b: ArrayLike,
    *,
    made_by: str,
    on_grid: bool = False,
) -> dict[str, Metric]:
    """Return what the weighted frames say of the anchored states.

    Parameters
    ----------
    system : MolecularSystem or SurfaceSystem
    frames : Conformations
    eta_a, eta_b : (K,) arrays
    made_by : str
        What made the frames: the road's name.
    on_grid : bool
        Whether they are the points of a grid, whose sum has no sampling error.
    """
    statistics = system.space.statistic(frames.values)
    found = frames_anchored_difference(frames, statistics, eta_a, eta_b, system.kt, unit=system.energy_unit)
    if on_grid:
        return {"grid": _exact(found, "-kT (ψ(η_B) - ψ(η_A)) by summing the grid.")}
    return {made_by: found}


def region_frames_road(
    system: System,
    frames: Conformations,
    values: Mapping[str, NDArray[np.float64]],
    *,
    made_by: str,
    on_grid: bool = False,
) -> dict[str, Metric]:
    """Return what the weighted frames say of the states as regions; `values` are `system.values` of the frames."""
    in_a, in_b = (state.region.contains(values) for state in (system.state_a, system.state_b))
    found = frames_region_difference(frames, in_a, in_b, system.kt, unit=system.energy_unit)
    return {"grid": _exact(found, "-kT ln(p(B)/p(A)) by summing the grid.")} if on_grid else {made_by: found}


def spring_difference(space: FeatureSpace, eta_a: ArrayLike, eta_b: ArrayLike) -> float:
    """Return what the anchors' springs add to F(η_B) - F(η_A) [kT], which η·T leaves out: 0 on circles."""
    return float(spring_profile(space, np.stack([eta_a, eta_b]))[-1])


def with_springs(roads: Mapping[str, Metric], spring: float) -> dict[str, Metric]:
    """Return the roads with the springs' own free energy, `spring_difference` times kT in the roads' unit."""
    return {
        name: road if road.value is None else replace(road, value=road.value + spring)
        for name, road in roads.items()
    }


def _exact(metric: Metric, definition: str) -> Metric:
    return replace(metric, error=None, definition=definition)
