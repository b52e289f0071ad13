"""What a curve must not do: conditions that hold at every point, and penalties that only cost.

A constraint's values are at most zero where it holds. Their unit is named by each class, and the solver's
tolerance is in that unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from tps.errors import ParameterError
from tps.spacetime.curve import SpacetimeCurve
from tps.spacetime.family import Family
from tps.spacetime.information import kl_along_curve
from tps.spacetime.points import Spacetime, SpacetimePoint, eta_of

#: What counts as zero unless told otherwise, in each constraint's own unit.
CONSTRAINT_TOLERANCE = 1e-3


class Constraint(Protocol):
    """A condition on every point of a curve."""

    @property
    def name(self) -> str:
        """How a report calls it."""

    def values(self, family: Family, eta: Tensor, mu: Tensor) -> Tensor:
        """Map the points of one curve, eta and mu (n, K), to (n, n_conditions): at most 0 where it holds."""


@runtime_checkable
class Pointwise(Protocol):
    """A condition that may know each point by itself: then curves need not come one by one."""

    def pointwise(self, family: Family) -> bool:
        """Whether the values at a point of this family depend on that point alone."""


def curve_values(constraint: Constraint, family: Family, eta: Tensor, mu: Tensor) -> Tensor:
    """Map the points of curves, eta and mu (B, N, K), to a constraint's values (B, N, n_conditions)."""
    if isinstance(constraint, Pointwise) and constraint.pointwise(family):
        return constraint.values(family, eta.flatten(0, 1), mu.flatten(0, 1)).unflatten(0, eta.shape[:2])
    return torch.stack([constraint.values(family, *curve) for curve in zip(eta, mu, strict=True)])


@dataclass(frozen=True)
class ConstraintReport:
    """How well a returned curve obeys one constraint.

    Parameters
    ----------
    name : str
    largest : float
        Largest value over the curve; positive is a violation, in the constraint's own unit.
    at_s : float
        Where along the curve.
    tolerance : float
        What counts as zero.
    """

    name: str
    largest: float
    at_s: float
    tolerance: float

    @property
    def satisfied(self) -> bool:
        """Whether the constraint holds at every point to the tolerance."""
        return self.largest <= self.tolerance

    def __str__(self) -> str:
        if self.satisfied:
            return f"{self.name} holds at every point"
        return f"{self.name} is violated by {self.largest:.3g} at s = {self.at_s:.2f}"


@dataclass(frozen=True)
class LogSnrFloor:
    """log_snr >= floor (Karczewski et al., Eq. 21); of angles ln kappa_i >= floor for each.

    Unit: log-SNR.

    Parameters
    ----------
    floor : float
    """

    floor: float

    @property
    def name(self) -> str:
        """How a report calls it."""
        return f"log-SNR floor {self.floor:g}"

    def pointwise(self, family: Family) -> bool:
        """Yes."""
        return True

    def values(self, family: Family, eta: Tensor, mu: Tensor) -> Tensor:
        """Floor - log_snr, to first order: of each angle, and of the features on lines (n, n_conditions)."""
        return family.spacetime.floor_violation(eta, self.floor)


@dataclass(frozen=True)
class StdCeiling:
    """Standard deviation of the posterior at most `ceiling`. Unit: that of the features' scale; rad for angles.

    Parameters
    ----------
    ceiling : float
    """

    ceiling: float

    def __post_init__(self) -> None:
        if not self.ceiling > 0:
            raise ParameterError(f"a standard-deviation ceiling must be positive, but got {self.ceiling}")

    @property
    def name(self) -> str:
        """How a report calls it."""
        return f"standard-deviation ceiling {self.ceiling:g}"

    def pointwise(self, family: Family) -> bool:
        """Yes."""
        return True

    def values(self, family: Family, eta: Tensor, mu: Tensor) -> Tensor:
        """Std - ceiling, of each angle, and of a feature on a line (n, n_conditions)."""
        return family.spacetime.posterior_std(mu) - self.ceiling


class RegionFamily(Protocol):
    """A family that knows how probable a region is: weighted frames and grids (a mask), mixtures (a `Box`)."""

    @property
    def spacetime(self) -> Spacetime:
        """The coordinates of eta."""

    def log_probability(self, eta: Tensor, region: Any, /) -> Tensor:
        """Map natural parameters (n, K) to ln p(region | eta) (n,), differentiable."""


@dataclass(frozen=True, eq=False)
class RegionProbability:
    """p(region | eta) <= p_max. Unit: relative, ln(p / p_max).

    Parameters
    ----------
    frames : RegionFamily
        For instance the weighted frames; need not be the family whose geodesic is sought.
    region : Tensor (n_frames,) of bool, or Box
        Which frames lie in the region, or what else the family takes.
    p_max : float
        In (0, 1).
    """

    frames: RegionFamily
    region: Any
    p_max: float

    def __post_init__(self) -> None:
        if not 0 < self.p_max < 1:
            raise ParameterError(f"p_max must lie between 0 and 1, but got {self.p_max}")
        no_tilt = torch.zeros(1, self.frames.spacetime.n_statistics, dtype=torch.float64)
        self.frames.log_probability(no_tilt, self.region)

    @property
    def name(self) -> str:
        """How a report calls it."""
        return f"region probability at most {self.p_max:g}"

    def pointwise(self, family: Family) -> bool:
        """Yes."""
        return True

    def values(self, family: Family, eta: Tensor, mu: Tensor) -> Tensor:
        """Ln p(region | eta) - ln p_max (n, 1)."""
        return self.frames.log_probability(eta, self.region)[:, None] - math.log(self.p_max)


@dataclass(frozen=True)
class UserConstraint:
    """A condition of the user's own.

    Parameters
    ----------
    name : str
    function : callable
        Maps eta and mu (n, K) to (n,) or (n, n_conditions), differentiable, at most 0 where the condition
        holds; scale it so that the solver's tolerance (1e-3) is small.
    """

    name: str
    function: Callable[[Tensor, Tensor], Tensor] = field(compare=False)

    def values(self, family: Family, eta: Tensor, mu: Tensor) -> Tensor:
        """The function's values (n, n_conditions)."""
        return self.function(eta, mu).reshape(len(eta), -1)


@dataclass(frozen=True)
class UserPenalty:
    """A differentiable cost, averaged over the curve and added to its energy; never violated.

    Parameters
    ----------
    name : str
    function : callable
        Maps eta and mu (n, K) to (n,).
    weight : float
    """

    name: str
    function: Callable[[Tensor, Tensor], Tensor] = field(compare=False)
    weight: float = 1.0

    def cost(self, eta: Tensor, mu: Tensor) -> Tensor:
        """Weight times the mean of the function over the points, a scalar."""
        return self.weight * self.function(eta, mu).mean()


@dataclass(frozen=True)
class KLDistance:
    """KL(p(. | z) || p(. | curve)) >= `at_least` nats (Karczewski et al., Eq. 22): keep away from z.

    Absolute. Where the family has no psi, Eq. 62 is integrated: along the straight line in eta from z to the
    curve's first point, and from there along the curve. Unit: relative, 1 - KL / at_least.

    Parameters
    ----------
    point : SpacetimePoint
        z.
    at_least : float
        Threshold [nats].
    """

    point: SpacetimePoint
    at_least: float

    def __post_init__(self) -> None:
        if not self.at_least > 0:
            raise ParameterError(f"a KL threshold must be positive, but got {self.at_least} nats")

    @property
    def name(self) -> str:
        """How a report calls it."""
        return f"KL distance of {self.at_least:g} nats"

    def pointwise(self, family: Family) -> bool:
        """Where psi is known."""
        return family.has_psi

    def values(self, family: Family, eta: Tensor, mu: Tensor) -> Tensor:
        """1 - KL / at_least (n, 1)."""
        target = eta_of(family.spacetime, self.point)
        return (1 - kl_along_curve(family, target, eta, mu) / self.at_least)[:, None]


def constraint_reports(
    family: Family,
    curve: SpacetimeCurve,
    constraints: Sequence[Constraint],
    tolerance: float = CONSTRAINT_TOLERANCE,
) -> tuple[ConstraintReport, ...]:
    """Return how well a curve obeys each constraint, at its worst point.

    Parameters
    ----------
    family : Family
    curve : SpacetimeCurve
    constraints : sequence of Constraint
    tolerance : float
        What counts as zero, in each constraint's own unit.

    Returns
    -------
    tuple of ConstraintReport
        One for each constraint.
    """
    reports = []
    for constraint in constraints:
        with torch.no_grad():
            worst = constraint.values(family, curve.eta, curve.mu).amax(1)
        at = int(worst.argmax())
        reports.append(ConstraintReport(constraint.name, float(worst[at]), float(curve.s[at]), tolerance))
    return tuple(reports)
