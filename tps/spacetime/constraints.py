"""What a curve must not do: conditions that hold at every point, and penalties that only cost.

A constraint's values are at most zero where it holds. Their unit is named by each class, and the solver's
tolerance is in that unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from tps.errors import ParameterError
from tps.spacetime.curve import SpacetimeCurve
from tps.spacetime.empirical import EmpiricalFamily
from tps.spacetime.family import Family

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


@runtime_checkable
class Bound(Protocol):
    """A constraint that bounds one number."""

    @property
    def unit(self) -> str:
        """Of that number; empty for none."""

    def number(self, value: float) -> float:
        """Return the number that a value of the constraint stands for."""


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
    number : float or None
        What is bounded, at its worst; None where the constraint is not a `Bound`.
    unit : str
        Of `number`.
    """

    name: str
    largest: float
    at_s: float
    tolerance: float
    number: float | None = None
    unit: str = ""

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

    @property
    def unit(self) -> str:
        """That of the features' scale."""
        return ""

    def number(self, value: float) -> float:
        """Return the standard deviation."""
        return value + self.ceiling

    def values(self, family: Family, eta: Tensor, mu: Tensor) -> Tensor:
        """Std - ceiling, of each angle, and of a feature on a line (n, n_conditions)."""
        return family.spacetime.posterior_std(mu) - self.ceiling


@dataclass(frozen=True, eq=False)
class SupportFloor:
    """At least `floor` effective frames carry every point: no curve leaves the data. Unit: relative, ln(floor / n).

    Parameters
    ----------
    frames : EmpiricalFamily
        The weighted frames; need not be the family whose geodesic is sought.
    floor : float
        Least effective number of frames (Kish).
    """

    frames: EmpiricalFamily
    floor: float

    def __post_init__(self) -> None:
        if not 0 < self.floor <= self.frames.n_frames:
            raise ParameterError(
                f"a floor of support must lie between 0 and the number of frames, {self.frames.n_frames}, but got "
                f"{self.floor:g}"
            )

    @property
    def name(self) -> str:
        """How a report calls it."""
        return f"support of {self.floor:g} effective frames"

    @property
    def unit(self) -> str:
        """Frames."""
        return "frames"

    def number(self, value: float) -> float:
        """Return the effective number of frames."""
        return self.floor * math.exp(-value)

    def pointwise(self, family: Family) -> bool:
        """Yes."""
        return True

    def values(self, family: Family, eta: Tensor, mu: Tensor) -> Tensor:
        """Ln floor - ln of the effective number of frames (n, 1)."""
        return math.log(self.floor) - self.frames.log_effective_sample_size(eta)[:, None]


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
        value = float(worst[at])
        bound = (constraint.number(value), constraint.unit) if isinstance(constraint, Bound) else (None, "")
        reports.append(ConstraintReport(constraint.name, value, float(curve.s[at]), tolerance, *bound))
    return tuple(reports)
