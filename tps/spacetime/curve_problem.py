"""What the solver minimises: the energy of a batch of curves, with penalties and augmented-Lagrangian terms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tps.spacetime.barrier import free_energies
from tps.spacetime.constraints import Constraint, Pointwise, UserPenalty, curve_values
from tps.spacetime.family import Family
from tps.spacetime.penalty_barrier import barrier, barrier_slope
from tps.spacetime.points import Chart
from tps.spacetime.preconditioner import least_squares

#: Negative squared chords cost this times their square over the mean; from this many times the mean, chords are leaps.
_NEGATIVE_CHORD = 25.0
_LONG_CHORD = 3.0
#: The clamp at zero is rounded over this fraction of the mean squared chord, so that it has a gradient everywhere.
_ROUNDED = 0.05
#: The barrier's stiffness to begin with, and the multipliers in units of the energy.
_INITIAL_STIFFNESS = 100.0
_STRONG_PRESSURE, _WEAK_PRESSURE = 2.0, 0.01
#: Largest violation at the start, in units of 1 / stiffness.
_FARTHEST = 2.0


@dataclass
class Trust:
    """What sequential quadratic programming learns of every curve (B,).

    Attributes
    ----------
    damping : Tensor
        How much its models are held back, in units of the metric.
    price, highest_price : Tensor
        Of what is broken.
    """

    damping: Tensor
    price: Tensor
    highest_price: Tensor


class CurveProblem:
    """A batch of B curves between fixed ends, as coefficients c of chart points y = A c.

    Parameters
    ----------
    family : Family
    start : Tensor (B, N, K)
        Chart points; the ends stay.
    design : Tensor (N, n_coefficients)
        A, whose first and last coefficients are the ends.
    constraints : sequence of Constraint
    penalties : sequence of UserPenalty
    margin : float
        How far inside the constraints to aim.
    clamped : bool
        Whether the energy counts no negative term of any coordinate: for models that are no true family.
    chart : Chart, optional
        Of the spacetime unless given.
    """

    def __init__(
        self,
        family: Family,
        start: Tensor,
        design: Tensor,
        constraints: Sequence[Constraint],
        penalties: Sequence[UserPenalty],
        margin: float,
        *,
        clamped: bool = False,
        chart: Chart | None = None,
    ) -> None:
        self.family, self.spacetime, self.clamped = family, family.spacetime, clamped
        self.coordinates: Chart = family.spacetime if chart is None else chart
        self.constraints, self.penalties = constraints, penalties
        self.moving = design[:, 1:-1]
        self.n_points, self.n_curves, self.width = len(design), len(start), start.shape[-1]
        self.everything = torch.arange(self.n_curves)
        self.fixed = design[:, :1] * start[:, None, 0] + design[:, -1:] * start[:, None, -1]
        self.coefficients = least_squares(self.moving, start - self.fixed).flatten(1)
        self.n_evaluations = torch.zeros(self.n_curves, dtype=torch.int64)
        self.typical_chord = self.mean_chord()
        self.free_energy_weight = 0.0
        self.reference = torch.zeros(self.n_curves, dtype=torch.float64)
        shape = (self.n_curves, len(constraints), self.n_points)
        self.margin = torch.full(shape, margin, dtype=torch.float64)
        self.ceiling = torch.full(shape[:2], torch.inf, dtype=torch.float64)
        self.stiffness = torch.ones(self.n_curves, dtype=torch.float64)
        self.multipliers: list[Tensor] = []
        self.trust: Trust | None = None
        self.press_anew()

    def press_anew(self) -> None:
        """Hold back curves that obey the constraints; lead those that do not gently back."""
        if not self.constraints:
            return
        self.trust = None
        worst = self.violations(self.everything).amax(1)
        obeys = worst <= 0
        self.stiffness = torch.where(
            obeys, _INITIAL_STIFFNESS, (_FARTHEST / worst.clamp_min(1e-12)).clamp_max(_INITIAL_STIFFNESS)
        ).double()
        energy = (0.5 * (self.n_points - 1) ** 2 * self.typical_chord).clamp_min(1.0)
        pressure = energy * torch.where(obeys, _STRONG_PRESSURE, _WEAK_PRESSURE)
        self.multipliers = [
            pressure[:, None, None].expand_as(v).clone() for v in self.constraint_values(self.everything)
        ]

    def chart(self, coefficients: Tensor | None = None, index: Tensor | None = None) -> Tensor:
        """Map coefficients (b, n) of the curves `index`, all unless given, to chart points (b, N, K)."""
        coefficients = self.coefficients if coefficients is None else coefficients
        index = self.everything if index is None else index
        return self.fixed[index] + self.moving @ coefficients.unflatten(1, (-1, self.width))

    def evaluate(self, chart: Tensor) -> tuple[Tensor, Tensor]:
        """Map chart points (b, N, K) to eta and mu (b, N, K)."""
        eta = self.coordinates.from_chart(chart.flatten(0, 1))
        mu = self.family.mu(eta)
        mu = mu if chart.requires_grad else mu.detach()
        return eta.unflatten(0, chart.shape[:2]), mu.unflatten(0, chart.shape[:2])

    def constraint_values(self, index: Tensor) -> list[Tensor]:
        """Values (b, N, n_conditions) of each constraint on the curves `index`, margins not added."""
        with torch.no_grad():
            eta, mu = self.evaluate(self.chart(self.coefficients[index], index))
            return [curve_values(c, self.family, eta, mu) for c in self.constraints]

    def violations(self, index: Tensor) -> Tensor:
        """Largest value of each constraint on each of the curves `index` (b, n_constraints), margins added."""
        found = self.constraint_values(index)
        return torch.stack(
            [self.aimed(number, v, index).amax((1, 2)) for number, v in enumerate(found)], dim=1
        )

    def gaps(self, index: Tensor) -> Tensor:
        """Return |mean of pressure * value| over the energy (b,): what the multipliers may still hide."""
        energy = 0.5 * (self.n_points - 1) ** 2 * self.mean_chord(index)
        hidden = torch.zeros_like(energy)
        for number, value in enumerate(self.constraint_values(index)):
            aimed = self.aimed(number, value, index)
            hidden += (self._pressure(number, value, index) * aimed).abs().sum((1, 2))
        return hidden / (self.n_points * energy)

    def update_multipliers(self, limit: float, index: Tensor) -> None:
        """Move the multipliers of the curves `index` towards the pressures, by at most a factor `limit`."""
        for number, value in enumerate(self.constraint_values(index)):
            old, new = self.multipliers[number][index], self._pressure(number, value, index)
            self.multipliers[number][index] = torch.minimum(torch.maximum(new, old / limit), old * limit)

    def aimed(self, number: int, value: Tensor, index: Tensor) -> Tensor:
        """Values (b, N, n_conditions) of a constraint, margin added: at most zero where the curve is to be."""
        return value + self.margin[index, number, :, None]

    def scaled(self, number: int, value: Tensor, index: Tensor) -> Tensor:
        """Values (b, N, n_conditions) of a constraint, margin added, in units of 1 / stiffness."""
        return self.aimed(number, value, index) * self.stiffness[index, None, None]

    def _pressure(self, number: int, value: Tensor, index: Tensor) -> Tensor:
        """What a constraint presses with at each point of the curves `index` (b, N, n_conditions)."""
        return self.multipliers[number][index] * barrier_slope(self.scaled(number, value, index))

    def parts(self, chart: Tensor) -> list[Tensor]:
        """Map chart points (b, N, K) to what the cost is made of, point by point, each (b, N, m).

        eta, mu, the values of constraints that know each point by itself, and F where it does and is asked for.
        """
        eta, mu = self.evaluate(chart)
        found = [
            eta,
            mu,
            *(curve_values(c, self.family, eta, mu) for c in self.constraints if self.by_point(c)),
        ]
        if self.free_energy_weight and self.family.has_psi:
            found.append(free_energies(self.family, eta, mu)[..., None])
        return found

    def by_point(self, constraint: Constraint) -> bool:
        """Whether a constraint knows each point by itself."""
        return isinstance(constraint, Pointwise) and constraint.pointwise(self.family)

    def cost(self, parts: Sequence[Tensor], index: Tensor) -> Tensor:
        """Map the parts of the curves `index`, see `parts`, to what is minimised (b,)."""
        value = self.energy(parts, index)
        return value + self._barriers(parts, index) if self.constraints else value

    def energy(self, parts: Sequence[Tensor], index: Tensor) -> Tensor:
        """The same without the constraints: the guarded energy, what F adds, and penalties (b,)."""
        eta, mu = parts[:2]
        terms, typical = eta.diff(dim=1) * mu.diff(dim=1), self.typical_chord[index, None]
        value = 0.5 * (self.n_points - 1) * self._guarded(terms, typical).sum(-1)
        if self.free_energy_weight:
            free = parts[-1][..., 0] if self.family.has_psi else free_energies(self.family, eta, mu)
            value = value + self._climb(free, terms.sum(-1), index)
        for penalty in self.penalties:
            value = value + torch.stack([penalty.cost(*curve) for curve in zip(eta, mu, strict=True)])
        return value

    def lagrangian(self, parts: Sequence[Tensor], index: Tensor) -> Tensor:
        """The energy and, of constraints that know each point by itself, the mean of multiplier * value (b,)."""
        total = self.energy(parts, index)
        for number, value in enumerate(parts[2 : 2 + len(self.constraints)]):
            total = total + (self.multipliers[number][index] * value).sum((1, 2)) / self.n_points
        return total

    def value_and_gradient(self, chart: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Map chart points (b, N, K) of the curves `index` to what is minimised (b,) and its gradient (b, N, K)."""
        leaf = chart.detach().requires_grad_(True)
        with torch.enable_grad():
            value = self.cost(self.parts(leaf), index)
            (gradient,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach(), gradient

    def _guarded(self, terms: Tensor, typical: Tensor) -> Tensor:
        """Map the terms of squared chords (b, N - 1, K) to what they cost: dear where they are negative or leap.

        Neither happens on a geodesic, whose chords are equal. But only the error of a model makes chords negative,
        and unchecked it is exploited without limit; and a leap passes unseen over what a constraint forbids.
        """
        chords = terms.sum(-1)
        below = chords.clamp_max(0).square() * (_NEGATIVE_CHORD / typical)
        if self.clamped:
            rounded = _ROUNDED * typical[..., None]
            chords = ((terms + (terms.square() + rounded.square()).sqrt()) / 2).sum(-1)
        leap = (chords / typical - _LONG_CHORD).clamp_min(0).square() * typical
        return chords + below + leap

    def _climb(self, free: Tensor, chords: Tensor, index: Tensor) -> Tensor:
        """What the conformal metric e^(2wF) G adds (b,): L0 [sum of e^(w(F - F0)) dl - sum of dl], zero at w = 0.

        L0 is the length where the descent began. The energy less L0 times the length only spaces the points evenly,
        whatever w is: evenly in G, so that no chord leaps over a barrier, and both ends of each are weighed.
        """
        height = self.free_energy_weight * (free - self.reference[index, None])
        weight = height.exp()
        step = chords.clamp_min(1e-3 * self.typical_chord[index, None]).sqrt()
        length = (self.n_points - 1) * self.typical_chord[index].sqrt()
        return length * (((weight[:, 1:] + weight[:, :-1]) / 2 - 1) * step).sum(-1)

    def weigh(self, index: Tensor) -> None:
        """Choose F0 of the curves `index` (b,) such that their weighted length is their length."""
        if not self.free_energy_weight:
            return
        with torch.no_grad():
            eta, mu = self.evaluate(self.chart(self.coefficients[index], index))
            step = (eta.diff(dim=1) * mu.diff(dim=1)).sum(-1).clamp_min(1e-300).sqrt()
            height = self.free_energy_weight * free_energies(self.family, eta, mu)
            total = torch.logaddexp(height[:, 1:], height[:, :-1]) - math.log(2)
            total = (total + step.log()).logsumexp(1) - step.sum(1).log()
        self.reference[index] = total / self.free_energy_weight

    def _barriers(self, parts: Sequence[Tensor], index: Tensor) -> Tensor:
        """For each constraint the mean over points of multiplier * barrier / stiffness (b,)."""
        eta, mu, *known = parts
        total = torch.zeros(len(index), dtype=torch.float64)
        for number, constraint in enumerate(self.constraints):
            value = (
                known.pop(0) if self.by_point(constraint) else curve_values(constraint, self.family, eta, mu)
            )
            scaled = self.scaled(number, value, index)
            cost = (self.multipliers[number][index] * barrier(scaled)).sum((1, 2))
            beyond = scaled.detach().amax((1, 2)) > self.ceiling[index, number]
            total = total + cost / (self.stiffness[index] * self.n_points)
            total = total.masked_fill(beyond, torch.inf)
        return total

    def objective(self, coefficients: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """The same for coefficients (b, n), counted."""
        value, gradient = self.value_and_gradient(self.chart(coefficients, index), index)
        self.n_evaluations[index] += 1
        return value, (self.moving.T @ gradient).flatten(1)

    def mean_chord(self, index: Tensor | None = None) -> Tensor:
        """Mean absolute squared chord (b,) of the curves `index`, all unless given; clamped where the energy is."""
        index = self.everything if index is None else index
        with torch.no_grad():
            eta, mu = self.evaluate(self.chart(self.coefficients[index], index))
        terms = eta.diff(dim=1) * mu.diff(dim=1)
        chords = terms.clamp_min(0).sum(-1) if self.clamped else terms.sum(-1).abs()
        return chords.mean(1).clamp_min(1e-14)
