"""What a solve ends with: a curve, how far to trust it, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tps.spacetime.constraints import ConstraintReport, constraint_reports
from tps.spacetime.curve import SpacetimeCurve, clamped_energy, curve_energy, fisher_rao_length
from tps.spacetime.doubt import doubtful_share
from tps.spacetime.family import Family
from tps.spacetime.solver_settings import SolverSettings

#: A violation, in tolerances, that can be mended by aiming further inside.
MENDABLE = 20.0
#: What round-off may leave of the energy between two ends that are the same.
_ROUND_OFF = 1e-12


@dataclass(frozen=True, eq=False)
class Geodesic:
    """A shortest curve, and how far to trust it.

    Parameters
    ----------
    curve : SpacetimeCurve
        At equal Fisher-Rao steps.
    length : float
        Sum of its chords sqrt(d eta . d mu).
    curve_energy : float
        (N - 1)/2 sum d eta . d mu; length**2 / 2 at constant speed.
    status : str
        "converged", or why not.
    n_gradient_evaluations : int
        Evaluations of mu along a whole curve of n_points with derivatives, those for the metric included.
    constraints : tuple of ConstraintReport
    n_iterations : int
    clamped_energy : float
        The energy without the negative terms of single coordinates: what is minimised where the model is no true
        family.
    doubtful : float
        Share of the length that the model's own error could have made; 0 for a true family.
    warning : str
        What that means, in a sentence; empty where nothing is doubtful.
    """

    curve: SpacetimeCurve
    length: float
    curve_energy: float
    status: str
    n_gradient_evaluations: int
    constraints: tuple[ConstraintReport, ...] = ()
    n_iterations: int = 0
    clamped_energy: float = 0.0
    doubtful: float = 0.0
    warning: str = ""

    @property
    def converged(self) -> bool:
        """Whether the status is "converged"."""
        return self.status == "converged"


def judged(
    family: Family,
    curve: SpacetimeCurve,
    done: bool,
    spent: int,
    n_evaluations: int,
    settings: SolverSettings,
    *,
    clamped: bool,
) -> Geodesic:
    """Say how far to trust a curve: `done` where its solver converged, `spent` the iterations that it took."""
    reports, energy = held_constraints(family, curve, settings), curve_energy(curve)
    without = clamped_energy(curve)
    doubtful = doubtful_share(family, curve) if clamped else 0.0
    # no step lowers the energy of a noisy model: as exact as it gets
    done = done or (clamped and spent < settings.max_iterations)
    return Geodesic(
        curve=curve,
        length=fisher_rao_length(curve),
        curve_energy=energy,
        status=_status(done, spent, settings, reports, energy),
        n_gradient_evaluations=n_evaluations,
        constraints=reports,
        n_iterations=spent,
        clamped_energy=without,
        doubtful=doubtful,
        warning=_warning(doubtful, energy, without) if clamped else "",
    )


def held_constraints(
    family: Family, curve: SpacetimeCurve, settings: SolverSettings
) -> tuple[ConstraintReport, ...]:
    """Say of every constraint whether a curve obeys it."""
    return constraint_reports(family, curve, settings.hard, settings.constraint_tolerance)


def _warning(doubtful: float, energy: float, without: float) -> str:
    return (
        f"{doubtful:.0%} of the length is doubtful: the model is no true family here, and its error could have made "
        f"it (energy {energy:.3g}, {without:.3g} without negative terms); train longer, or a conservative model"
    )


def _status(
    converged: bool, spent: int, settings: SolverSettings, reports: Sequence[ConstraintReport], energy: float
) -> str:
    broken = [str(r) for r in reports if not r.satisfied]
    if broken and converged:
        return "; ".join(broken) + ", between the points where it was solved for: raise n_points"
    if broken:
        far = max(r.largest for r in reports) > MENDABLE * settings.constraint_tolerance
        given_up = far and spent < settings.max_iterations
        return ("no feasible curve was found from this start: " if given_up else "") + "; ".join(broken)
    if energy < -_ROUND_OFF:
        return f"the energy is negative ({energy:.3g}): the model is nowhere near a true family here; train again"
    if not converged and spent >= settings.max_iterations:
        return f"stopped after {spent} iterations while the energy was still falling; raise max_iterations"
    if not converged:
        return f"stopped after {spent} iterations: no step lowers the energy, yet its gradient is not small"
    return "converged"
