"""How tight a curve must be to lead paths round the regions to avoid: bounds at every point, tried until it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tps.analysis import Metric
from tps.config import GeodesicSection
from tps.dynamics import STABILITY
from tps.errors import ParameterError
from tps.pipeline.constraints import avoided_regions
from tps.pipeline.progress import Progress
from tps.spacetime import EmpiricalFamily, FrameWalk, Geodesic, Passage, anchors, eta_of
from tps.systems import System

#: Share of the paths that must arrive in B and never enter a region, and what counts as no better than another curve.
_WANTED, _AS_GOOD = 0.95, 0.02
#: Points of the curves that are only tried.
_N_POINTS = 24
#: What is tried, loosest first: how far log-SNR may fall below the anchors (None: anywhere), and what divides p_max.
_TRIED = ((None, 1), (None, 100), (1.0, 100), (1.0, 1000), (0.5, 1), (0.5, 100), (0.5, 1000))

#: Maps a section to the geodesic that it asks for.
Solve = Callable[[GeodesicSection], Geodesic]


@dataclass(frozen=True, eq=False)
class Avoidance:
    """What is known of walkers along curves that keep away from regions.

    Attributes
    ----------
    walk : FrameWalk or None
        None where the frames cannot tell.
    n_relaxations : float
        Time of a path, in relaxations at an end.
    note : str
        Why the frames cannot tell.
    """

    walk: FrameWalk | None
    n_relaxations: float
    note: str = ""

    @classmethod
    def of(
        cls,
        system: System,
        section: GeodesicSection,
        empirical: EmpiricalFamily,
        positions: NDArray[np.floating],
        n_steps: int,
    ) -> Avoidance:
        """Prepare for paths of so many steps, each a tenth of the fastest relaxation; see `build_constraints`."""
        values = system.values(positions)
        inside = np.any([r.contains(values) for r in avoided_regions(system, section)], axis=0)
        places = anchors(system.space, system.feature_values(system.ends), section.anchor_level)
        ends = torch.stack([eta_of(empirical.spacetime, place) for place in places])
        try:
            walk = FrameWalk(empirical, inside, system.state_b.region.contains(values), ends)
        except ParameterError as error:
            return cls(
                None, STABILITY * n_steps, f"whether paths stay out of the regions is not known: {error}"
            )
        return cls(walk, STABILITY * n_steps)

    def passage(self, eta: torch.Tensor) -> Passage | None:
        """Return what becomes of paths along a curve (n_points, K); None where the frames cannot tell."""
        return None if self.walk is None else self.walk.passage(eta, self.n_relaxations)

    def settled(self, section: GeodesicSection, solve: Solve, progress: Progress) -> GeodesicSection:
        """Return the section with the loosest bounds that let enough paths stay out and arrive.

        Where none does, the loosest of those that are as good as any. A floor of the user's own is left as it is.
        """
        if self.walk is None or section.min_log_snr is not None or section.max_std is not None:
            return section
        tried: list[tuple[GeodesicSection, Passage]] = []
        with progress.task("curves round the regions to avoid", len(_TRIED)) as advance:
            for number, trial in enumerate(_trials(section)):
                found = solve(trial.model_copy(update={"n_points": min(_N_POINTS, section.n_points)}))
                advance(number + 1)
                if found.converged:
                    tried.append((trial, self.walk.passage(found.curve.eta, self.n_relaxations)))
                    if tried[-1][1].arrived >= _WANTED:
                        return trial
        return _loosest_of_the_best(tried) if tried else section

    def said(self, section: GeodesicSection, eta: torch.Tensor) -> dict[str, Any]:
        """Return what result.json says: the bounds in force and what becomes of paths along the curve."""
        bounds = {"p_max": section.avoid_p_max, "min_log_snr": section.min_log_snr, "note": self.note}
        passage = self.passage(eta)
        return bounds | {"passage": None if passage is None else asdict(passage)}


def with_bounds(section: GeodesicSection, said: dict[str, Any]) -> GeodesicSection:
    """Return the section with the bounds that result.json says are in force."""
    return section.model_copy(update={"avoid_p_max": said["p_max"], "min_log_snr": said["min_log_snr"]})


def avoidance_text(said: dict[str, Any]) -> str:
    """Return what result.json says of regions to avoid, as a text."""
    if said["passage"] is None:
        return str(said["note"])
    floor = "" if said["min_log_snr"] is None else f", log-SNR of at least {said['min_log_snr']:g}"
    found = said["passage"]
    return (
        f"regions to avoid, with p_max {said['p_max']:.1g}{floor}: {found['arrived']:.0%} of the paths are expected in "
        f"B and outside, {found['entered']:.0%} enter; with paths.enforce {found['arrived_walled']:.0%} arrive"
    )


def expected_metrics(solved: Mapping[str, Any]) -> dict[str, Metric]:
    """Return what result.json expects of paths beside regions to avoid; nothing where it is not known."""
    found = solved.get("avoidance", {}).get("passage")
    if found is None:
        return {}
    walkers = "walkers that diffuse over the weighted frames, led along the curve"
    return {
        "expected_out_of_regions": Metric(
            100 * (1 - found["entered"]), None, "%", f"Share of {walkers}, that enter no region to avoid."
        ),
        "expected_arrival": Metric(
            100 * found["arrived"], None, "%", f"Share of {walkers}, that end in B and have entered none."
        ),
        "expected_arrival_walled": Metric(
            100 * found["arrived_walled"],
            None,
            "%",
            f"Share of {walkers}, that end in B if walls keep them out.",
        ),
    }


def avoidance_notes(asked: GeodesicSection, said: dict[str, Any]) -> list[str]:
    """Return what has to be said of the bounds that were taken, and of what they do not reach."""
    found = said["passage"]
    if found is None:
        return [said["note"]]
    notes = []
    if said["p_max"] < asked.avoid_p_max or said["min_log_snr"] != asked.min_log_snr:
        floor = "" if said["min_log_snr"] is None else f" and above log-SNR {said['min_log_snr']:g}"
        notes.append(
            f"the curve keeps below probability {said['p_max']:.1g} of the regions to avoid{floor}: along looser curves"
            " more paths would enter them or not arrive"
        )
    if found["arrived"] < _WANTED:
        walled = found["arrived_walled"]
        remedy = (
            f"paths.enforce keeps all out, and {walled:.0%} arrive"
            if walled >= _WANTED
            else f"with paths.enforce {walled:.0%} arrive; make the regions smaller, or paths longer"
        )
        notes.append(
            f"{found['entered']:.0%} of the paths are expected to enter the regions to avoid, and "
            f"{found['arrived']:.0%} to arrive in B outside them: {remedy}"
        )
    return notes


def _trials(section: GeodesicSection) -> Iterator[GeodesicSection]:
    for below, divisor in _TRIED:
        floor = None if below is None else section.anchor_level - below
        bounds = {"min_log_snr": floor, "avoid_p_max": section.avoid_p_max / divisor}
        yield section.model_copy(update=bounds)


def _loosest_of_the_best(tried: list[tuple[GeodesicSection, Passage]]) -> GeodesicSection:
    arrived = max(passage.arrived for _, passage in tried) - _AS_GOOD
    walled = max(p.arrived_walled for _, p in tried if p.arrived >= arrived) - _AS_GOOD
    return next(s for s, p in tried if p.arrived >= arrived and p.arrived_walled >= walled)
