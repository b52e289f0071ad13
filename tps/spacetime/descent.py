"""Descent of a batch of curves: L-BFGS, preconditioned by a look at the metric every few iterations."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from tps.spacetime.curvature import curvature
from tps.spacetime.curve_problem import CurveProblem
from tps.spacetime.lbfgs import minimise
from tps.spacetime.preconditioner import CurvePreconditioner, GroupedPreconditioner

#: Iterations between two looks at the metric; constraints change what it has to know more often.
_REFRESH, _REFRESH_FREE = 4, 30
#: A condition is broken by at most this over the stiffness, and is up against that from this fraction of it.
_CEILING, _PRESSED = 0.9, 0.95
#: Under constraints no point moves farther than this Fisher-Rao distance in one step, lest it leap over a hole.
_LONGEST_MOVE = 1.0


def descend(problem: CurveProblem, index: Tensor, budget: Tensor, rtol: Tensor) -> tuple[Tensor, Tensor]:
    """Minimise the curves `index` (b,) from where they are, each in at most `budget` (b,) iterations.

    A curve ends as well where no step lowers what is minimised, or where it presses against the ceiling that no step
    may cross: its multipliers have to move first.

    Returns
    -------
    Tensor (b,) of bool, Tensor (b,) of int
        Which converged, to `rtol` (b,), and the iterations spent.
    """
    spent = torch.zeros(len(index), dtype=torch.int64)
    done, stalled = torch.zeros(len(index), dtype=torch.bool), torch.zeros(len(index), dtype=torch.bool)
    refresh = _REFRESH if problem.constraints else _REFRESH_FREE
    if problem.constraints:
        # no step may lead across what is forbidden
        stiffness = problem.stiffness[index, None]
        problem.ceiling[index] = (1.5 * problem.violations(index) * stiffness).clamp_min(_CEILING)
    while bool((open_ := ~(done | stalled) & (spent < budget)).any()):
        going = torch.nonzero(open_)[:, 0]
        curves = index[going]
        problem.typical_chord[curves] = problem.mean_chord(curves)
        problem.weigh(curves)
        # the metric alone is enough for most free curves, and the true Hessian costs K gradients
        newton = bool(problem.constraints) or bool((spent[going] > 0).all())
        precondition, metric = curvature(problem, curves, newton=newton)
        before, _ = problem.value_and_gradient(problem.chart(problem.coefficients[curves], curves), curves)
        found = minimise(
            partial(_objective_of, problem, curves),
            problem.coefficients[curves],
            partial(_step_of, precondition, problem.width),
            tolerance=rtol[going] * before.abs().clamp_min(1e-12),
            largest_decrease=0.5 * (problem.n_points - 1) ** 2 * problem.typical_chord[curves],
            longest_step=partial(_longest_step, problem, metric) if problem.constraints else None,
            max_iterations=min(refresh, int((budget - spent)[going].max())),
        )
        problem.coefficients[curves] = found.position
        stalled[going] = (found.value >= before - rtol[going] * before.abs()) & (spent[going] > 0)
        if problem.constraints:
            pressed = problem.violations(curves) * problem.stiffness[curves, None]
            stalled[going] |= (pressed > _PRESSED * problem.ceiling[curves]).any(1)
        done[going] = found.converged
        spent[going] += found.n_iterations
    return done, spent


def _longest_step(problem: CurveProblem, metric: Tensor, step: Tensor, index: Tensor) -> Tensor:
    """Return the fraction (b,) of a step after which some point has moved as far as it may in one go."""
    moved = problem.moving @ step.unflatten(1, (-1, problem.width))
    far = torch.einsum("bni,bnij,bnj->bn", moved, metric[index], moved).amax(1).sqrt()
    return _LONGEST_MOVE / far.clamp_min(1e-300)


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
