"""Constraints by sequential quadratic programming: exact second derivatives, a trust region, an exact penalty.

Every step minimises a quadratic model of the Lagrangian under linear models of the constraints, so it knows which of
them will hold it back before it gets there. What is minimised is the energy and, at every point, `price` times what a
constraint is broken by: where the price is high enough its least value obeys them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tps.spacetime.curve_problem import CurveProblem, Trust
from tps.spacetime.preconditioner import MAX_NEWTON
from tps.spacetime.quadratic_model import QuadraticModel, Trial
from tps.spacetime.quadratic_program import BandedProjection

#: The price to begin with, in units of the energy, falls with the largest violation above a hundredth: curves that obey
#: keep obeying, and the farther others are out, the more gently they are led back. And the highest price.
_PRICE, _GENTLE, _HIGHEST_PRICE = 30.0, 1e-2, 3e3
#: The price of what is broken rises by this factor where less than this fraction of the energy is to be gained, or
#: after so many steps that leave more than this fraction of the least violation so far.
_DEARER, _LITTLE = 3.0, 1e-2
_IN_VAIN, _LEFT = 15, 0.9
#: The damping to begin with falls, stays or rises with how much of the promised decrease is kept.
_DAMPING = 10.0
_KEPT, _HALF_KEPT = 0.7, 0.3
_LOOSER, _TIGHTER, _MUCH_TIGHTER = 4.0, 2.0, 4.0
#: Below this damping the step is nearly Newton's, and what it promises tells how far the end is.
_FREE = 1.0
_MAX_TRIALS = 12
#: Where no step lowers anything, this many times the decrease to stop at is as exact as the function is.
_NOISE = 100.0
_LEAST_ENERGY = 1e-12


def applies(problem: CurveProblem) -> bool:
    """Whether second derivatives are exact and cheap: few statistics, constraints of single points, a true family."""
    precise = getattr(problem.family, "dtype", torch.float64) == torch.float64
    few = problem.width <= MAX_NEWTON and precise and not problem.clamped
    return few and bool(problem.constraints) and all(problem.by_point(c) for c in problem.constraints)


def solve(
    problem: CurveProblem,
    index: Tensor,
    budget: Tensor,
    rtol: float,
    tolerance: float,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[Tensor, Tensor]:
    """Minimise curves under their constraints, from where they stand, whether they obey them or not.

    Parameters
    ----------
    problem : CurveProblem
        One that this `applies` to; left at the solution, with its multipliers.
    index : Tensor (b,)
        Which of its curves.
    budget : Tensor (b,)
        Iterations for each.
    rtol : float
        Relative decrease of the energy at which to stop.
    tolerance : float
        Twice the largest violation, beyond the problem's margins, that is accepted.
    progress : callable
        Told after every step how many curves are done.

    Returns
    -------
    Tensor (b,) of bool, Tensor (b,) of int
        Which curves converged, and the iterations spent: fewer than the budget where a curve was given up too.

    References
    ----------
    Fletcher, Practical Methods of Optimization, 2nd ed. (1987), section 14.4; Nocedal and Wright, Numerical
    Optimization, 2nd ed. (2006), section 18.5.
    """
    if problem.trust is None:
        problem.trust = _first_trust(problem)
    trust, project = problem.trust, BandedProjection(problem.moving.numpy(), problem.width)
    spent = torch.zeros(len(index), dtype=torch.int64)
    done, lost = torch.zeros(len(index), dtype=torch.bool), torch.zeros(len(index), dtype=torch.bool)
    in_vain, least = torch.zeros_like(spent), torch.full((len(index),), torch.inf, dtype=torch.float64)
    while True:
        going = torch.nonzero(~(done | lost) & (spent < budget))[:, 0]
        progress(len(index) - len(going))
        if len(going) == 0:
            return done, spent
        curves = index[going]
        model = QuadraticModel(problem, curves, project)
        calm, moved, gain = _advance(problem, model, trust, rtol)
        spent[going] += 1
        worst = model.values.amax((1, 2))
        held = worst <= tolerance / 2
        done[going] = calm & held
        better = worst <= _LEFT * least[going]
        in_vain[going] = torch.where(held | better, 0, in_vain[going] + 1)
        least[going] = torch.where(better, worst, least[going])
        stuck = ~held & ((gain <= _LITTLE * model.energy.abs()) | (in_vain[going] >= _IN_VAIN))
        trust.price[curves[stuck]] *= _DEARER
        in_vain[going[stuck]] = 0
        lost[going] = ~done[going] & (~moved | (trust.price[curves] > trust.highest_price[curves]))


def _first_trust(problem: CurveProblem) -> Trust:
    """Trust little; no constraint presses."""
    energy = (0.5 * (problem.n_points - 1) ** 2 * problem.mean_chord()).clamp_min(1.0)
    problem.multipliers = [torch.zeros_like(m) for m in problem.multipliers]
    outside = problem.violations(problem.everything).amax(1)
    price = energy * _PRICE / (outside / _GENTLE).clamp_min(1.0)
    return Trust(torch.full_like(energy, _DAMPING), price, _HIGHEST_PRICE * energy)


def _advance(
    problem: CurveProblem, model: QuadraticModel, trust: Trust, rtol: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Take the step of every curve, damped until the model's promise is kept.

    Returns
    -------
    Tensor (b,) of bool, Tensor (b,) of bool, Tensor (b,)
        Where nearly Newton's step promised less than `rtol`, where a step was taken, and what the first one promised.
    """
    rows = torch.arange(len(model.index))
    damping, enough = trust.damping[model.index], rtol * model.energy.abs().clamp_min(_LEAST_ENERGY)
    calm, moved = torch.zeros(len(rows), dtype=torch.bool), torch.zeros(len(rows), dtype=torch.bool)
    first: Tensor = torch.empty(0)
    for number in range(_MAX_TRIALS):
        trial = Trial(problem, model, trust, rows, damping, enough)
        good = trial.good(enough)
        if not bool(good.all()):
            # the constraints bend: once more, with what they are at the end of the step
            again = Trial(problem, model, trust, rows[~good], damping, enough, trial.bent[~good])
            trial.replace(~good, again)
            good = trial.good(enough)
        first = first if number else trial.promise
        small = trial.promise <= enough[rows]
        calm[rows] = small & (damping[rows] <= _FREE)
        moved[rows] = good
        trial.take(problem, model, good)
        # of little that is promised, what is kept is round-off
        looser, tighter = small | (trial.kept > _KEPT), trial.kept < _HALF_KEPT
        change = torch.where(looser, 1 / _LOOSER, torch.where(tighter, _TIGHTER, 1.0))
        damping[rows] *= torch.where(good, change, _MUCH_TIGHTER)
        rows = rows[~good]
        if len(rows) == 0:
            break
    trust.damping[model.index] = damping
    # no step lowers anything, and little was promised: as exact as the function is
    return calm | (~moved & (first <= _NOISE * enough)), moved, first
