"""Constraints by an augmented Lagrangian: minimise, move the multipliers to what the constraints press with, repeat."""

from __future__ import annotations

import torch
from torch import Tensor

from tps.spacetime.curve_problem import CurveProblem
from tps.spacetime.descent import descend

_MAX_ROUNDS = 30
#: Stiffness grows by this factor while a condition is broken; multipliers change by at most this one a round.
_HARDEN, _UPDATE = 2.0, 4.0
#: Rounds end when multipliers times slack are below this fraction of the energy.
_GAP = 1e-3
_LOOSEST = 1e-3


def solve(problem: CurveProblem, max_iterations: int, rtol: float, tolerance: float) -> tuple[Tensor, int]:
    """Minimise a batch of curves under its constraints, from where it stands.

    The terms are a barrier inside and a parabola outside (see `CurveProblem`), so a start that obeys the constraints
    keeps obeying them, and one that does not is pushed back.

    Parameters
    ----------
    problem : CurveProblem
        Left at the solution, with its multipliers.
    max_iterations : int
    rtol : float
        Relative decrease of the energy at which to stop.
    tolerance : float
        Twice the largest violation, beyond the problem's margins, that is accepted.

    Returns
    -------
    Tensor (B,) of bool, int
        Which curves converged, and the iterations spent.

    References
    ----------
    Ben-Tal and Zibulevsky, SIAM J. Optim. 7, 347 (1997): penalty/barrier multiplier methods.
    """
    if not problem.constraints:
        return descend(problem, problem.everything, max_iterations, rtol)
    spent, loose = 0, max(rtol, _LOOSEST)
    finished = torch.zeros(problem.n_curves, dtype=torch.bool)
    for _ in range(_MAX_ROUNDS):
        going = problem.everything[~finished]
        converged, used = descend(problem, going, max_iterations - spent, loose)
        spent += used
        violation, gap = problem.violations().amax(1), problem.gaps()
        held = (violation <= tolerance / 2) & (gap <= _GAP)
        if loose <= rtol:
            finished[going] = converged & held[going]
        if bool(finished.all()) or spent >= max_iterations:
            break
        problem.update_multipliers(_UPDATE)
        harder = problem.stiffness * _HARDEN
        problem.stiffness = torch.where(violation > tolerance / 2, harder, problem.stiffness)
        far = 1e-2 * float(torch.maximum(violation, gap)[~finished].max())
        loose = rtol if bool(held[~finished].all()) else max(rtol, min(_LOOSEST, far))
    return finished, spent
