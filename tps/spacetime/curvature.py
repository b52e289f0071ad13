"""How a batch of curves bends the objective: metrics, constraints and Hessians, made into preconditioners."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tps.spacetime.constraints import curve_values
from tps.spacetime.curve_problem import CurveProblem
from tps.spacetime.family import fisher_metric
from tps.spacetime.penalty_barrier import barrier_curvature
from tps.spacetime.preconditioner import (
    MAX_FULL_METRIC,
    MAX_NEWTON,
    CurvePreconditioner,
    GroupedPreconditioner,
    chord_blocks,
    clip_metric,
)

#: Maps the parts of curves, see `CurveProblem.parts`, and their index (b,) to a cost of each (b,).
Cost = Callable[[list[Tensor], Tensor], Tensor]

_PROBES = 2
_DIFFERENCE = 1e-5
#: Points evaluated in one call while the Hessian is taken by differences.
_BLOCK = 20_000


def curvature(
    problem: CurveProblem, index: Tensor, *, newton: bool = True
) -> tuple[CurvePreconditioner | GroupedPreconditioner, Tensor]:
    """Look at the metric, the constraints and, where asked for and cheap, the true Hessian of the curves `index` (b,).

    Returns
    -------
    CurvePreconditioner or GroupedPreconditioner
        An inverse Hessian of their coefficients.
    Tensor (b, N, K, K)
        Positive definite metric in the chart at their points; for many features a diagonal one, and empty where no
        constraint needs it.
    """
    chart = problem.chart(problem.coefficients[index], index)
    shape, flat = chart.shape[:2], chart.flatten(0, 1)
    extra = _constraint_gradients(problem, chart, index) if problem.constraints else None
    if problem.width > MAX_FULL_METRIC:
        return _grouped(problem, flat, shape, extra, index)
    full = chart_metric(problem, chart, index)
    diagonal, above = chord_blocks(full)
    if extra is not None:
        diagonal = diagonal + extra.mT @ extra
    precise = getattr(problem.family, "dtype", torch.float64) == torch.float64
    true = None
    if newton and problem.width <= MAX_NEWTON and precise:
        true = hessian(problem, chart, index, problem.cost)
    return CurvePreconditioner(problem.moving, diagonal, above, true), full


def chart_metric(problem: CurveProblem, chart: Tensor, index: Tensor) -> Tensor:
    """Return the metric in the chart (b, N, K, K), positive definite, at points (b, N, K) of the curves `index`."""
    with torch.enable_grad():
        leaf = chart.detach().flatten(0, 1).requires_grad_(True)
        eta = problem.coordinates.from_chart(leaf)
        rows = [torch.autograd.grad(eta[:, i].sum(), leaf, retain_graph=True)[0] for i in range(eta.shape[1])]
    jacobian = torch.stack(rows, dim=1)
    metric = jacobian.mT @ fisher_metric(problem.family, eta.detach()) @ jacobian
    problem.n_evaluations[index] += problem.width
    return clip_metric(metric).unflatten(0, chart.shape[:2])


def hessian(problem: CurveProblem, chart: Tensor, index: Tensor, cost: Cost) -> tuple[Tensor, Tensor]:
    """Return the blocks of `_hessian` for as many curves at a time as fit."""
    step = max(1, _BLOCK // (problem.n_points * problem.width))
    few = zip(chart.split(step), index.split(step), strict=True)
    diagonals, aboves = zip(*(_hessian(problem, *these, cost) for these in few), strict=True)
    return torch.cat(diagonals), torch.cat(aboves)


def _grouped(
    problem: CurveProblem, flat: Tensor, shape: torch.Size, extra: Tensor | None, index: Tensor
) -> tuple[GroupedPreconditioner, Tensor]:
    """One number per point and group of chart entries, from random probes that are the same every time."""
    groups, generator = problem.coordinates.groups, torch.Generator().manual_seed(0)
    scales = torch.zeros(len(flat), len(groups), dtype=torch.float64)
    with torch.enable_grad():
        leaf = flat.detach().requires_grad_(True)
        mu = problem.family.mu(problem.coordinates.from_chart(leaf))
        for number, group in enumerate(groups):
            size = group.stop - group.start
            probes = min(_PROBES, size)
            for _ in range(probes):
                probe = torch.zeros_like(flat)
                probe[:, group] = 2 * torch.randint(0, 2, (size,), generator=generator).double() - 1
                pushed = torch.autograd.functional.jvp(problem.coordinates.from_chart, flat, probe)[1]
                (product,) = torch.autograd.grad(mu, leaf, pushed, retain_graph=True)
                scales[:, number] += (product * probe).sum(-1) / (probes * size)
                problem.n_evaluations[index] += 1
    added = None
    if extra is not None:
        means = [extra[..., g].square().sum((-2, -1)) / (g.stop - g.start) for g in groups]
        added = torch.stack(means, dim=-1)
    inverse = GroupedPreconditioner(problem.moving, scales.unflatten(0, shape), groups, added)
    if not problem.constraints:
        return inverse, torch.empty(0)
    each = [scales[:, g : g + 1].expand(-1, group.stop - group.start) for g, group in enumerate(groups)]
    return inverse, torch.diag_embed(torch.cat(each, dim=1).abs()).unflatten(0, shape)


def _hessian(problem: CurveProblem, chart: Tensor, index: Tensor, cost: Cost) -> tuple[Tensor, Tensor]:
    """Return the cost's Hessian blocks (j, j) and (j, j + 1) at points (b, N, K), by differences of gradients.

    Every point is moved along each of its K axes once, which costs K evaluations of the family along the curve. Which
    neighbours stand still meanwhile is a matter of the cost alone: points three apart do not see each other.
    """
    width = problem.width
    trials = chart.expand(width, *chart.shape) + _DIFFERENCE * torch.eye(width).double()[:, None, None]
    leaf, still = trials.requires_grad_(True), chart.detach().requires_grad_(True)
    with torch.enable_grad():
        # not in one call: what a family remembers of the points that stand is found again
        resting = problem.parts(still)
        moved = [part.unflatten(0, (width, len(index))) for part in problem.parts(leaf.flatten(0, 1))]
    problem.n_evaluations[index] += width + 1
    base, there = [p.detach() for p in resting], [p.detach() for p in moved]
    pull = _pull(cost, base, index)
    gradient = _through(resting, still, pull)
    own, beside = ([torch.zeros_like(part) for part in there] for _ in range(2))
    for colour in range(3):
        here = torch.arange(colour, problem.n_points, 3)
        before = here[here > 0] - 1
        mixed = [part.expand_as(other).clone() for part, other in zip(base, there, strict=True)]
        for part, other in zip(mixed, there, strict=True):
            part[:, :, here] = other[:, :, here]
        pulled = _pull(cost, [part.flatten(0, 1) for part in mixed], index.repeat(width))
        for number, part in enumerate(pulled):
            part = part.unflatten(0, (width, len(index)))
            own[number][:, :, here] = part[:, :, here]
            beside[number][:, :, before] = (part - pull[number])[:, :, before] / _DIFFERENCE
    at_moved = _through(moved, leaf, own)
    diagonal = ((at_moved - gradient) / _DIFFERENCE).permute(1, 2, 3, 0)
    felt = [_through(resting, still, [part[axis] for part in beside]) for axis in range(width)]
    above = torch.stack(felt, dim=-1)[:, :-1]
    return (diagonal + diagonal.mT) / 2, above


def _pull(cost: Cost, parts: list[Tensor], index: Tensor) -> list[Tensor]:
    """Return the derivatives of the cost with respect to its parts."""
    leaves = [part.detach().requires_grad_(True) for part in parts]
    with torch.enable_grad():
        return list(torch.autograd.grad(cost(leaves, index).sum(), leaves))


def _through(parts: list[Tensor], leaf: Tensor, pull: list[Tensor]) -> Tensor:
    """Return the derivative of what pulls at the parts with respect to the points that they are of."""
    with torch.enable_grad():
        work = torch.stack([(part * by).sum() for part, by in zip(parts, pull, strict=True)]).sum()
    return torch.autograd.grad(work, leaf, retain_graph=True)[0]


def _constraint_gradients(problem: CurveProblem, chart: Tensor, index: Tensor) -> Tensor:
    """Return constraint gradients g (b, N, n_conditions, K), scaled so that their terms' Hessian is about g' g."""
    leaf, gradients = chart.detach().requires_grad_(True), []
    with torch.enable_grad():
        eta, mu = problem.evaluate(leaf)
        for number, constraint in enumerate(problem.constraints):
            value = curve_values(constraint, problem.family, eta, mu)
            scaled = problem.scaled(number, value.detach(), index)
            weight = problem.multipliers[number][index] * barrier_curvature(scaled)
            for column in range(value.shape[-1]):
                (g,) = torch.autograd.grad(value[..., column].sum(), leaf, retain_graph=True)
                gradients.append(weight[..., column, None].sqrt() * g)
                problem.n_evaluations[index] += 1
    scale = (problem.stiffness[index] / problem.n_points).sqrt()
    return torch.stack(gradients, dim=2) * scale[:, None, None, None]
