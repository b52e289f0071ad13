"""Constraints by an augmented Lagrangian: minimise, press harder where a condition is still broken, repeat."""

from __future__ import annotations

import torch
from torch import Tensor

from tps.spacetime.curve_problem import CurveProblem

_MAX_ROUNDS = 30
_HARDEN, _UPDATE, _GAP = 2.0, 4.0, 1e-3
VERBOSE=False
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
    spent = 0
    finished = torch.zeros(problem.n_curves, dtype=torch.bool)
    loose = _LOOSEST
    for _ in range(_MAX_ROUNDS):
        going = problem.everything[~finished]
        converged, used = problem.descend(going, max_iterations - spent, loose)
        spent += used
        values, pressures = problem.constraint_values(), problem.pressures()
        violation, gap = problem.violations().amax(1), problem.gaps()
        held = (violation <= tolerance / 2) & (gap <= _GAP)
        if loose <= rtol:
            finished[going] = converged & held[going]
        if VERBOSE: print('   ',loose,used,int(problem.n_evaluations[0]),violation.tolist(),gap.tolist(),problem.stiffness.tolist())
        if bool(finished.all()) or spent >= max_iterations:
            break
        problem.update_multipliers(_UPDATE)
        problem.stiffness = torch.where(violation > tolerance / 2, problem.stiffness * _HARDEN, problem.stiffness)
        loose = rtol if bool(held.all()) else max(rtol, min(_LOOSEST, 1e-2 * float(torch.maximum(violation, gap).max())))
    return finished, spent
