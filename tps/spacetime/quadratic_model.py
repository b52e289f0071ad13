"""Quadratic models of constrained curves where they stand, and the steps that they suggest."""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import LinAlgError, cholesky_banded
from torch import Tensor

from tps.spacetime.curvature import chart_metric, hessian
from tps.spacetime.curve_problem import CurveProblem, Trust
from tps.spacetime.preconditioner import hessian_bands
from tps.spacetime.quadratic_program import Array, BandedProjection, QuadraticProgram, QuadraticStep

#: No point moves farther than this Fisher-Rao distance in one step, lest it leap over a hole.
_LONGEST_MOVE = 1.5
#: Damping grows by this factor until the model is convex, and by the second at least until its step is short.
_CONVEX, _SHORTER, _MUCH_SHORTER, _LARGEST_DAMPING = 3.0, 2.0, 10.0, 1e15
#: Active constraints are held this firmly, in units of their pressure: it makes the model convex, not another solution.
_FIRMNESS = 1e3
#: A constraint broken by more than this does not bend the model.
_BROKEN_FAR = 1e-2
#: Complementarity that the quadratic program leaves, in units of the decrease to stop at.
_GAP = 0.1
#: Steps count from this part of the promised decrease on.
_LEAST_KEPT = 0.1
_ROUND_OFF = 1e-12


class QuadraticModel:
    """Quadratic and linear models of the curves `index` (b,) where they stand."""

    def __init__(self, problem: CurveProblem, index: Tensor, project: BandedProjection) -> None:
        problem.typical_chord[index] = problem.mean_chord(index)
        problem.weigh(index)
        self.index, self.start = index, problem.coefficients[index].clone()
        chart = problem.chart(self.start, index)
        self.energy, gradient, self.values, self.slopes = _slopes(problem, chart, index)
        for known, value in zip(problem.multipliers, _split(problem, self.values), strict=True):
            known[index] = torch.where(value > _BROKEN_FAR, 0.0, known[index])
        self.pressure = torch.cat([m[index] for m in problem.multipliers], dim=-1)
        self.metric = chart_metric(problem, chart, index)
        self.project = project
        self.gradient = (problem.moving.T @ gradient).flatten(1).numpy()
        blocks, above = hessian(problem, chart, index, problem.lagrangian)
        firm = _FIRMNESS / problem.n_points * self.pressure
        blocks = blocks + torch.einsum("bnmi,bnm,bnmj->bnij", self.slopes, firm, self.slopes)
        self.bands = hessian_bands(problem.moving, blocks, above).numpy()
        self.damper = [self.project(metric) for metric in self.metric.numpy()]

    def convex(self, row: int, damping: float) -> Array | None:
        """The Hessian's band, damped; None where that is not positive definite."""
        band: Array = self.bands[row].copy()
        band[: len(self.damper[row])] += damping * self.damper[row]
        try:
            cholesky_banded(band, lower=True, check_finite=False)
        except LinAlgError:
            return None
        return band

    def step(
        self, row: int, values: Array, damping: float, price: float, gap: float
    ) -> tuple[QuadraticStep, float]:
        """Return the step of one curve, its constraints `values` (N, m), and the damping that makes it short."""
        n_points, stay = self.values.shape[1], np.zeros_like(self.gradient[row])
        while damping < _LARGEST_DAMPING:
            band = self.convex(row, damping)
            if band is None:
                damping *= _CONVEX
                continue
            program = QuadraticProgram(
                self.project,
                band,
                self.gradient[row],
                values,
                self.slopes[row].numpy(),
                price / n_points,
            )
            found = program.solve(self.pressure[row].numpy() / n_points, gap)
            far = self.farthest(row, found.step)
            if far <= _LONGEST_MOVE:
                return found, damping
            damping *= min(max(far, _SHORTER), _MUCH_SHORTER)
        return QuadraticStep(stay, self.pressure[row].numpy() / n_points, 0.0), damping

    def farthest(self, row: int, step: Array) -> float:
        """The largest Fisher-Rao distance by which a point moves."""
        moved = torch.from_numpy(self.project.forth(step))
        return float(torch.einsum("ni,nij,nj->n", moved, self.metric[row], moved).amax().sqrt())


class Trial:
    """Steps of the curves `rows` (b,) of a model, what they promise, and what is kept of it.

    Parameters
    ----------
    problem : CurveProblem
    model : QuadraticModel
    trust : Trust
    rows : Tensor (b,)
        Which of the model's curves.
    damping : Tensor (n,)
        Of all the model's curves; raised where a step would be long.
    enough : Tensor (n,)
        Decrease at which each of them may stop.
    values : Tensor (b, N, m), optional
        What linear models of the constraints start from; the model's own values unless given.

    Attributes
    ----------
    bent : Tensor (b, N, m)
        What linear models must start from to be right at the end of the step.
    promise, kept : Tensor (b,)
        By how much what is minimised should fall, and what part of that it does.
    """

    def __init__(
        self,
        problem: CurveProblem,
        model: QuadraticModel,
        trust: Trust,
        rows: Tensor,
        damping: Tensor,
        enough: Tensor,
        values: Tensor | None = None,
    ) -> None:
        self.rows, index, gap = rows, model.index[rows], _GAP * enough[rows]
        price, values = trust.price[index], model.values[rows] if values is None else values
        found = []
        for place, row in enumerate(rows.tolist()):
            known = values[place].numpy(), float(damping[row]), float(price[place]), float(gap[place])
            one, damping[row] = model.step(row, *known)
            found.append(one)
        step = torch.from_numpy(np.stack([one.step for one in found]))
        curvature = torch.tensor([one.curvature for one in found], dtype=torch.float64)
        self.pressure = torch.from_numpy(np.stack([one.multipliers for one in found])) * problem.n_points
        self.position = model.start[rows] + step
        energy, there = _looked_at(problem, self.position, index)
        moved = problem.moving @ step.unflatten(1, (-1, problem.width))
        change = torch.einsum("bnmk,bnk->bnm", model.slopes[rows], moved)
        self.bent = there - change
        broken, foreseen, met = (
            price * v.clamp_min(0).sum((1, 2)) / problem.n_points
            for v in (model.values[rows], values + change, there)
        )
        slope = (torch.from_numpy(model.gradient)[rows] * step).sum(1)
        self.promise = broken - foreseen - slope - 0.5 * curvature
        before = model.energy[rows] + broken
        kept = (before - energy - met + _ROUND_OFF * before.abs()) / torch.maximum(self.promise, gap)
        self.kept = torch.where(kept.isfinite() & (step != 0).any(1), kept, -torch.inf)

    def good(self, enough: Tensor) -> Tensor:
        """Which steps are worth taking (b,): less matters where less than `enough` is promised."""
        return (self.kept > _LEAST_KEPT) | ((self.promise <= enough[self.rows]) & (self.kept > -1))

    def replace(self, which: Tensor, other: Trial) -> None:
        """Put the steps of another trial in the place of some that are worse."""
        places = torch.nonzero(which)[:, 0]
        better = other.kept > self.kept[places]
        for name in ("pressure", "position", "promise", "kept"):
            getattr(self, name)[places[better]] = getattr(other, name)[better]

    def take(self, problem: CurveProblem, model: QuadraticModel, which: Tensor) -> None:
        """Go where some of the steps lead, with the multipliers there."""
        curves = model.index[self.rows[which]]
        problem.coefficients[curves] = self.position[which]
        for known, new in zip(problem.multipliers, _split(problem, self.pressure[which]), strict=True):
            known[curves] = new


def _slopes(problem: CurveProblem, chart: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return energies (b,), gradients (b, N, K), constraints (b, N, m), margins added, and slopes (b, N, m, K)."""
    leaf = chart.detach().requires_grad_(True)
    with torch.enable_grad():
        parts = problem.parts(leaf)
        energy = problem.energy(parts, index)
        (gradient,) = torch.autograd.grad(energy.sum(), leaf, retain_graph=True)
        values = _values(problem, parts, index)
        slopes = [
            torch.autograd.grad(values[..., column].sum(), leaf, retain_graph=True)[0]
            for column in range(values.shape[-1])
        ]
    problem.n_evaluations[index] += 1 + len(slopes)
    return energy.detach(), gradient, values.detach(), torch.stack(slopes, dim=2)


def _looked_at(problem: CurveProblem, position: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Return energies (b,) and constraints (b, N, m), margins added, of coefficients (b, n) of the curves `index`."""
    with torch.no_grad():
        parts = problem.parts(problem.chart(position, index))
        found = problem.energy(parts, index), _values(problem, parts, index)
    problem.n_evaluations[index] += 1
    return found


def _values(problem: CurveProblem, parts: list[Tensor], index: Tensor) -> Tensor:
    """Return the constraints of the curves `index` (b, N, m), margins added."""
    known = parts[2 : 2 + len(problem.constraints)]
    return torch.cat([problem.aimed(number, v, index) for number, v in enumerate(known)], dim=-1)


def _split(problem: CurveProblem, values: Tensor) -> tuple[Tensor, ...]:
    """Return numbers of all constraints (..., m) as those of each."""
    return torch.split(values, [m.shape[-1] for m in problem.multipliers], dim=-1)
