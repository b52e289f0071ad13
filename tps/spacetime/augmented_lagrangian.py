"""Constraints by an augmented Lagrangian: minimise, move the multipliers to what the constraints press with, repeat."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tps.spacetime.curve_problem import CurveProblem
from tps.spacetime.descent import descend

_MAX_ROUNDS = 30
#: Stiffness grows by this factor while a condition is broken; multipliers change by at most this one a round.
_HARDEN, _UPDATE = 2.0, 4.0
#: Rounds end when multipliers times slack are below this fraction of the energy; the second for starts of finer curves.
_GAP, _ROUGH_GAP = 1e-3, 5e-3
_LOOSEST = 1e-3
#: A curve is given up after so many rounds in a row, ever harder pressed, that leave more than this fraction of the
#: least violation it has had: it stands where the violation itself is stationary.
_IN_VAIN, _LEFT = 4, 0.8


def solve(
    problem: CurveProblem,
    index: Tensor,
    budget: Tensor,
    rtol: float,
    tolerance: float,
    progress: Callable[[int], None] = lambda done: None,
    *,
    feasible: bool = False,
    rough: bool = False,
) -> tuple[Tensor, Tensor]:
    """Minimise curves under their constraints, from where they stand.

    The terms are a barrier inside and a parabola outside (see `CurveProblem`), so a start that obeys the constraints
    keeps obeying them, and one that does not is pushed back.

    Parameters
    ----------
    problem : CurveProblem
        Left at the solution, with its multipliers.
    index : Tensor (b,)
        Which of its curves.
    budget : Tensor (b,)
        Iterations for each.
    rtol : float
        Relative decrease of the energy at which to stop.
    tolerance : float
        Twice the largest violation, beyond the problem's margins, that is accepted.
    progress : callable
        Told after every round how many curves are done.
    feasible : bool
        The curves have been inside the constraints already, for another cost: none is given up.
    rough : bool
        A start for finer curves is all that is asked for: rounds end where the constraints hold, stalled or not.

    Returns
    -------
    Tensor (b,) of bool, Tensor (b,) of int
        Which curves converged, and the iterations spent: fewer than the budget where a curve was given up too.

    References
    ----------
    Ben-Tal and Zibulevsky, SIAM J. Optim. 7, 347 (1997): penalty/barrier multiplier methods.
    """
    if not problem.constraints:
        found = descend(problem, index, budget, torch.full((len(index),), rtol, dtype=torch.float64))
        progress(len(index))
        return found
    spent = torch.zeros(len(index), dtype=torch.int64)
    finished = torch.zeros(len(index), dtype=torch.bool)
    loose = torch.full((len(index),), max(rtol, _LOOSEST), dtype=torch.float64)
    least = torch.full((len(index),), torch.inf, dtype=torch.float64)
    in_vain = torch.zeros(len(index), dtype=torch.int64)
    for _ in range(_MAX_ROUNDS):
        hopeful = (in_vain < _IN_VAIN) | feasible
        going = torch.nonzero(~finished & (spent < budget) & hopeful)[:, 0]
        progress(len(index) - len(going))
        if len(going) == 0:
            break
        curves = index[going]
        converged, used = descend(problem, curves, (budget - spent)[going], loose[going])
        spent[going] += used
        violation, hidden = problem.violations(curves).amax(1), problem.gaps(curves)
        held = (violation <= tolerance / 2) & (hidden <= (_ROUGH_GAP if rough else _GAP))
        finished[going] = (converged | rough) & held & (loose[going] <= rtol)
        if bool(finished[going].all()):
            continue
        problem.update_multipliers(_UPDATE, curves[~finished[going]])
        broken = violation > tolerance / 2
        same = broken & (violation > _LEFT * least[going])
        in_vain[going] = torch.where(same, in_vain[going] + 1, 0)
        least[going] = torch.where(same, least[going], violation)
        problem.stiffness[curves[broken]] *= _HARDEN
        far = (1e-2 * torch.maximum(violation, hidden)).clamp(rtol, max(rtol, _LOOSEST))
        loose[going] = torch.where(held, rtol, far)
    return finished, spent
