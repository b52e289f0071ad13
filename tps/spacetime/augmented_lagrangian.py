"""Constraints by an augmented Lagrangian: minimise, press harder where a condition is still broken, repeat."""

from __future__ import annotations

import torch
from torch import Tensor

from tps.spacetime.curve_problem import CurveProblem

_MAX_ROUNDS = 30
_HARDEN, _SHRINK, _MAX_STIFFNESS = 4.0, 0.2, 1e9
_LOOSEST = 1e-3


def solve(problem: CurveProblem, max_iterations: int, rtol: float, tolerance: float) -> tuple[Tensor, int]:
    """Minimise a batch of curves under its constraints, from where it stands.

    Parameters
    ----------
    problem : CurveProblem
        Left at the solution, with its multipliers.
    max_iterations : int
    rtol : float
        Relative decrease of the energy at which to stop.
    tolerance : float
        Largest violation beyond the problem's margins that is accepted, times two.

    Returns
    -------
    Tensor (B,) of bool, int
        Which curves converged, and the iterations spent.

    References
    ----------
    Nocedal and Wright, Numerical Optimization, Algorithm 17.4, with one multiplier per point and condition.
    """
    if not problem.constraints:
        return problem.descend(problem.everything, max_iterations, rtol)
    spent, before = 0, problem.violations()
    finished = torch.zeros(problem.n_curves, dtype=torch.bool)
    loose = _LOOSEST
    for _ in range(_MAX_ROUNDS):
        going = problem.everything[~finished]
        converged, used = problem.descend(going, max_iterations - spent, loose)
        spent += used
        after = problem.violations()
        held = (after <= tolerance / 2).all(1)
        if loose <= rtol:
            finished[going] = converged & held[going]
        if bool(finished.all()) or spent >= max_iterations:
            break
        problem.update_multipliers()
        slow = (after > _SHRINK * before.clamp_min(tolerance)).any(1) & ~held
        harder = (problem.stiffness * _HARDEN).clamp_max(_MAX_STIFFNESS)
        problem.stiffness = torch.where(slow, harder, problem.stiffness)
        before = after
        loose = rtol if bool(held.all()) else max(rtol, min(_LOOSEST, 1e-2 * float(after.max())))
    return finished, spent
