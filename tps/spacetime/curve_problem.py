"""What the solver minimises: the energy of a batch of curves, with penalties and augmented-Lagrangian terms."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from tps.spacetime.constraints import Constraint, UserPenalty
from tps.spacetime.family import Family, fisher_metric
from tps.spacetime.lbfgs import minimise
from tps.spacetime.preconditioner import (
    MAX_FULL_METRIC,
    MAX_NEWTON,
    CurvePreconditioner,
    GroupedPreconditioner,
    chord_blocks,
    clip_metric,
)

#: Iterations between two looks at the metric.
_REFRESH = 12
#: Negative squared chords cost this times their square over the mean; from this many times the mean, chords are leaps.
_NEGATIVE_CHORD = 25.0
_LONG_CHORD = 3.0
#: The barrier's stiffness to begin with, and the multipliers in units of the energy.
_INITIAL_STIFFNESS = 100.0
_STRONG_PRESSURE, _WEAK_PRESSURE = 1.0, 0.01
_CEILING = 0.9
#: Under constraints no point moves farther than this Fisher-Rao distance in one step, lest it leap over a hole.
_LONGEST_MOVE = 1.0
#: Largest violation at the start, in units of 1 / stiffness.
_FARTHEST = 2.0
_PROBES = 2
_DIFFERENCE = 1e-5
#: Points evaluated in one call while the Hessian is taken by differences.
_BLOCK = 20_000


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
    """

    def __init__(
        self,
        family: Family,
        start: Tensor,
        design: Tensor,
        constraints: Sequence[Constraint],
        penalties: Sequence[UserPenalty],
        margin: float,
    ) -> None:
        self.family, self.spacetime = family, family.spacetime
        self.constraints, self.penalties = constraints, penalties
        self.moving = design[:, 1:-1]
        self.n_points, self.n_curves, self.width = len(design), len(start), start.shape[-1]
        self.everything = torch.arange(self.n_curves)
        self.fixed = design[:, :1] * start[:, None, 0] + design[:, -1:] * start[:, None, -1]
        # the default driver, gelsy, differs in the last bit from run to run
        fit = torch.linalg.lstsq(
            self.moving.expand(self.n_curves, -1, -1), start - self.fixed, driver="gelsd"
        )
        self.coefficients = fit.solution.flatten(1)
        self.n_evaluations = torch.zeros(self.n_curves, dtype=torch.int64)
        self.metric = torch.empty(0)
        self.typical_chord = self._mean_chord()
        self.margin = torch.full((self.n_curves, len(constraints)), margin, dtype=torch.float64)
        self.ceiling = torch.full_like(self.margin, torch.inf)
        self.stiffness = torch.ones(self.n_curves, dtype=torch.float64)
        self.multipliers: list[list[Tensor]] = [[] for _ in range(self.n_curves)]
        if constraints:
            self._start_multipliers()

    def _start_multipliers(self) -> None:
        """Hold back a start that obeys the constraints; lead one that does not gently back."""
        worst = self.violations().amax(1)
        obeys = worst <= 0
        self.stiffness = torch.where(
            obeys, _INITIAL_STIFFNESS, (_FARTHEST / worst.clamp_min(1e-12)).clamp_max(_INITIAL_STIFFNESS)
        ).double()
        energy = (0.5 * (self.n_points - 1) ** 2 * self.typical_chord).clamp_min(1.0)
        pressure = energy * torch.where(obeys, _STRONG_PRESSURE, _WEAK_PRESSURE)
        self.multipliers = [
            [torch.full_like(v, float(p)) for v in row]
            for p, row in zip(pressure, self.constraint_values(), strict=True)
        ]

    def chart(self, coefficients: Tensor | None = None, index: Tensor | None = None) -> Tensor:
        """Map coefficients (b, n) of the curves `index`, all unless given, to chart points (b, N, K)."""
        coefficients = self.coefficients if coefficients is None else coefficients
        index = self.everything if index is None else index
        return self.fixed[index] + self.moving @ coefficients.unflatten(1, (-1, self.width))

    def evaluate(self, chart: Tensor) -> tuple[Tensor, Tensor]:
        """Map chart points (b, N, K) to eta and mu (b, N, K)."""
        eta = self.spacetime.from_chart(chart.flatten(0, 1))
        mu = self.family.mu(eta)
        return eta.unflatten(0, chart.shape[:2]), mu.unflatten(0, chart.shape[:2])

    def constraint_values(self) -> list[list[Tensor]]:
        """Values (N, n_conditions) of each constraint on each curve, margins not added."""
        if not self.constraints:
            return [[] for _ in range(self.n_curves)]
        with torch.no_grad():
            pairs = zip(*self.evaluate(self.chart()), strict=True)
            return [[c.values(self.family, eta, mu) for c in self.constraints] for eta, mu in pairs]

    def violations(self) -> Tensor:
        """Largest value of each constraint on each curve (B, n_constraints), margins added."""
        return (
            torch.stack([torch.stack([v.max() for v in row]) for row in self.constraint_values()])
            + self.margin
        )

    def pressures(self) -> list[list[Tensor]]:
        """What each constraint presses with at each point (N, n_conditions) of each curve."""
        return [
            [self._pressure(curve, number, value) for number, value in enumerate(row)]
            for curve, row in enumerate(self.constraint_values())
        ]

    def gaps(self) -> Tensor:
        """Return |mean of pressure * value| over the energy (B,): what the multipliers may still hide."""
        energy = 0.5 * (self.n_points - 1) ** 2 * self._mean_chord()
        rows = zip(self.constraint_values(), self.pressures(), self.margin, strict=True)
        gaps = [
            sum(float((p * (v + m)).abs().sum()) for v, p, m in zip(row, pressure, margin, strict=True))
            for row, pressure, margin in rows
        ]
        return torch.tensor(gaps, dtype=torch.float64) / (self.n_points * energy)

    def update_multipliers(self, limit: float) -> None:
        """Move the multipliers towards the pressures, by at most a factor `limit`."""
        for old, new in zip(self.multipliers, self.pressures(), strict=True):
            old[:] = [
                torch.minimum(torch.maximum(n, o / limit), o * limit) for o, n in zip(old, new, strict=True)
            ]

    def _scaled(self, curve: int, number: int, value: Tensor) -> Tensor:
        return (value + self.margin[curve, number]) * self.stiffness[curve]

    def _pressure(self, curve: int, number: int, value: Tensor) -> Tensor:
        return self.multipliers[curve][number] * _barrier_slope(self._scaled(curve, number, value))

    def value_and_gradient(self, chart: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Map chart points (b, N, K) of the curves `index` to what is minimised (b,) and its gradient (b, N, K)."""
        leaf = chart.detach().requires_grad_(True)
        with torch.enable_grad():
            eta, mu = self.evaluate(leaf)
            chords = (eta.diff(dim=1) * mu.diff(dim=1)).sum(-1)
            value = 0.5 * (self.n_points - 1) * self._guarded(chords, self.typical_chord[index, None]).sum(-1)
            if self.constraints or self.penalties:
                rows = enumerate(index.tolist())
                value = value + torch.stack([self._terms(eta[row], mu[row], curve) for row, curve in rows])
            (gradient,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach(), gradient

    @staticmethod
    def _guarded(chords: Tensor, typical: Tensor) -> Tensor:
        """Squared chords (b, N - 1), made dear where they are negative or leap.

        Neither happens on a geodesic, whose chords are equal. But only the error of a model makes chords negative,
        and unchecked it is exploited without limit; and a leap passes unseen over what a constraint forbids.
        """
        below = chords.clamp_max(0).square() * (_NEGATIVE_CHORD / typical)
        leap = (chords / typical - _LONG_CHORD).clamp_min(0).square() * typical
        return chords + below + leap

    def _terms(self, eta: Tensor, mu: Tensor, curve: int) -> Tensor:
        """Penalties, and for each constraint the mean over points of multiplier * barrier / stiffness."""
        total = torch.zeros((), dtype=torch.float64)
        for penalty in self.penalties:
            total = total + penalty.cost(eta, mu)
        for number, constraint in enumerate(self.constraints):
            scaled = self._scaled(curve, number, constraint.values(self.family, eta, mu))
            cost = (self.multipliers[curve][number] * _barrier(scaled)).sum()
            if float(scaled.detach().amax()) > self.ceiling[curve, number]:
                cost = cost + torch.inf
            total = total + cost / (self.stiffness[curve] * self.n_points)
        return total

    def objective(self, coefficients: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """The same for coefficients (b, n), counted."""
        value, gradient = self.value_and_gradient(self.chart(coefficients, index), index)
        self.n_evaluations[index] += 1
        return value, (self.moving.T @ gradient).flatten(1)

    def descend(self, index: Tensor, max_iterations: int, rtol: float) -> tuple[Tensor, int]:
        """Minimise the curves `index` (b,) from where they are; return converged (b,) and the iterations spent."""
        spent, done = 0, torch.zeros(len(index), dtype=torch.bool)
        stalled = torch.zeros(len(index), dtype=torch.bool)
        if self.constraints:
            # no step may lead across what is forbidden
            self.ceiling = (1.5 * self.violations() * self.stiffness[:, None]).clamp_min(_CEILING)
        while spent < max_iterations and not bool((done | stalled).all()):
            going = torch.nonzero(~(done | stalled))[:, 0]
            curves = index[going]
            self.typical_chord = self._mean_chord()
            precondition = self._preconditioner(curves)
            before, _ = self.value_and_gradient(self.chart(self.coefficients[curves], curves), curves)
            found = minimise(
                partial(_objective_of, self, curves),
                self.coefficients[curves],
                partial(_step_of, precondition, self.width),
                tolerance=rtol * before.abs().clamp_min(1e-12),
                largest_decrease=0.5 * (self.n_points - 1) ** 2 * self.typical_chord[curves],
                longest_step=self._longest_step if self.constraints else None,
                max_iterations=min(_REFRESH, max_iterations - spent),
            )
            self.coefficients[curves] = found.position
            stalled[going] = (found.value >= before - rtol * before.abs()) & (spent > 0)
            done[going] = found.converged
            spent += found.n_iterations
        return done, spent

    def _longest_step(self, step: Tensor, index: Tensor) -> Tensor:
        """Return the fraction (b,) of a step after which some point has moved as far as it may in one go."""
        moved = self.moving @ step.unflatten(1, (-1, self.width))
        far = torch.einsum("bni,bnij,bnj->bn", moved, self.metric[index], moved).amax(1).sqrt()
        return _LONGEST_MOVE / far.clamp_min(1e-300)

    def _mean_chord(self) -> Tensor:
        """Mean absolute squared chord of each curve (B,)."""
        with torch.no_grad():
            eta, mu = self.evaluate(self.chart())
        return (eta.diff(dim=1) * mu.diff(dim=1)).sum(-1).abs().mean(1).clamp_min(1e-14)

    def _preconditioner(self, index: Tensor) -> CurvePreconditioner | GroupedPreconditioner:
        """Look at the metric, the active constraints and, where it is cheap, the true Hessian."""
        chart = self.chart(self.coefficients[index], index)
        shape, flat = chart.shape[:2], chart.flatten(0, 1)
        extra = self._active(chart, index) if self.constraints else None
        if self.width > MAX_FULL_METRIC:
            return self._grouped(flat, shape, extra, index)
        with torch.enable_grad():
            leaf = flat.detach().requires_grad_(True)
            eta = self.spacetime.from_chart(leaf)
            rows = [
                torch.autograd.grad(eta[:, i].sum(), leaf, retain_graph=True)[0] for i in range(self.width)
            ]
        jacobian = torch.stack(rows, dim=1)
        metric = jacobian.mT @ fisher_metric(self.family, eta.detach()) @ jacobian
        self.n_evaluations[index] += self.width
        self.metric = clip_metric(metric).unflatten(0, shape)
        diagonal, above = chord_blocks(self.metric)
        if extra is not None:
            diagonal = diagonal + extra.mT @ extra
        newton = self._hessian(chart, index) if self.width <= MAX_NEWTON else None
        return CurvePreconditioner(self.moving, diagonal, above, newton)

    def _grouped(
        self, flat: Tensor, shape: torch.Size, extra: Tensor | None, index: Tensor
    ) -> GroupedPreconditioner:
        """One number per point and group of chart entries, from random probes that are the same every time."""
        groups, generator = self.spacetime.groups, torch.Generator().manual_seed(0)
        scales = torch.zeros(len(flat), len(groups), dtype=torch.float64)
        with torch.enable_grad():
            leaf = flat.detach().requires_grad_(True)
            mu = self.family.mu(self.spacetime.from_chart(leaf))
            for number, group in enumerate(groups):
                size = group.stop - group.start
                probes = min(_PROBES, size)
                for _ in range(probes):
                    probe = torch.zeros_like(flat)
                    probe[:, group] = 2 * torch.randint(0, 2, (size,), generator=generator).double() - 1
                    pushed = torch.autograd.functional.jvp(self.spacetime.from_chart, flat, probe)[1]
                    (product,) = torch.autograd.grad(mu, leaf, pushed, retain_graph=True)
                    scales[:, number] += (product * probe).sum(-1) / (probes * size)
                    self.n_evaluations[index] += 1
        added = None
        if extra is not None:
            means = [extra[..., g].square().sum((-2, -1)) / (g.stop - g.start) for g in groups]
            added = torch.stack(means, dim=-1)
        each = [scales[:, g : g + 1].expand(-1, group.stop - group.start) for g, group in enumerate(groups)]
        self.metric = torch.diag_embed(torch.cat(each, dim=1).abs()).unflatten(0, shape)
        return GroupedPreconditioner(self.moving, scales.unflatten(0, shape), groups, added)

    def _hessian(self, chart: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the Hessian's blocks (j, j) and (j, j + 1) at points (b, N, K), by differences of 3 K gradients.

        Points three apart do not see each other, so every third point is moved at once.
        """
        trials = chart.expand(3 * self.width + 1, *chart.shape).clone()
        for number in range(3 * self.width):
            colour, axis = divmod(number, self.width)
            trials[number, :, colour::3, axis] += _DIFFERENCE
        step = max(1, _BLOCK // (len(index) * self.n_points))
        gradients = torch.cat(
            [
                self.value_and_gradient(part.flatten(0, 1), index.repeat(len(part)))[1]
                for part in trials.split(step)
            ]
        ).unflatten(0, (len(trials), len(index)))
        self.n_evaluations[index] += len(trials)
        change = ((gradients[:-1] - gradients[-1]) / _DIFFERENCE).unflatten(0, (3, self.width))
        diagonal = torch.zeros(*chart.shape, self.width, dtype=torch.float64)
        above = torch.zeros(len(index), self.n_points - 1, self.width, self.width, dtype=torch.float64)
        for colour in range(3):
            moved = torch.arange(colour, self.n_points, 3)
            diagonal[:, moved] = change[colour][:, :, moved].permute(1, 2, 3, 0)
            later = moved[moved > 0]
            above[:, later - 1] = change[colour][:, :, later - 1].permute(1, 2, 3, 0)
        return (diagonal + diagonal.mT) / 2, above

    def _active(self, chart: Tensor, index: Tensor) -> Tensor:
        """Return the active constraints' gradients times sqrt(stiffness / N) (b, N, n_conditions, K)."""
        rows = []
        for row, curve in enumerate(index.tolist()):
            leaf = chart[row : row + 1].detach().requires_grad_(True)
            gradients = []
            with torch.enable_grad():
                eta, mu = self.evaluate(leaf)
                for number, constraint in enumerate(self.constraints):
                    value = constraint.values(self.family, eta[0], mu[0])
                    scaled = self._scaled(curve, number, value.detach())
                    weight = self.multipliers[curve][number] * _barrier_curvature(scaled)
                    for column in range(value.shape[1]):
                        (g,) = torch.autograd.grad(value[:, column].sum(), leaf, retain_graph=True)
                        gradients.append(weight[:, column, None].sqrt() * g[0])
                        self.n_evaluations[curve] += 1
            rows.append(torch.stack(gradients, dim=1) * (self.stiffness[curve] / self.n_points).sqrt())
        return torch.stack(rows)


def _objective_of(
    problem: CurveProblem, curves: Tensor, coefficients: Tensor, index: Tensor
) -> tuple[Tensor, Tensor]:
    """The objective of some curves, numbered among themselves."""
    return problem.objective(coefficients, curves[index])


def _step_of(
    inverse: CurvePreconditioner | GroupedPreconditioner, width: int, gradient: Tensor, index: Tensor
) -> Tensor:
    """The preconditioner on flat coefficients."""
    return inverse(gradient.unflatten(1, (-1, width)), index).flatten(1)


def _barrier(t: Tensor) -> Tensor:
    """Return -ln(1 - t) up to t = 1/2, and beyond it the parabola that continues it smoothly."""
    inside = -torch.log1p(-t.clamp_max(0.5))
    over = (t - 0.5).clamp_min(0)
    return inside + 2 * over + 2 * over.square()


def _barrier_slope(t: Tensor) -> Tensor:
    return 1 / (1 - t.clamp_max(0.5)) + 4 * (t - 0.5).clamp_min(0)


def _barrier_curvature(t: Tensor) -> Tensor:
    return 1 / (1 - t.clamp_max(0.5)).square()
