"""Preconditioned L-BFGS for many small problems side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

#: Maps positions (b, n) of the problems `index` (b,) to values (b,) and gradients (b, n).
Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
#: Maps gradients (b, n) of the problems `index` (b,) to steps (b, n): an inverse Hessian.
Precondition = Callable[[Tensor, Tensor], Tensor]

_ARMIJO = 1e-4
_CURVATURE = 1e-10
_MAX_BACKTRACKS = 15
_NOISE = 100.0


@dataclass(frozen=True)
class Minimum:
    """Where the problems ended: position (B, n), value, converged, n_evaluations and n_iterations (B,)."""

    position: Tensor
    value: Tensor
    converged: Tensor
    n_evaluations: Tensor
    n_iterations: Tensor


class _Memory:
    """The last m steps and gradient changes of every problem."""

    def __init__(self, n_problems: int, size: int) -> None:
        self.size = size
        self.entries: list[tuple[Tensor, Tensor, Tensor]] = []
        self.scale = torch.ones(n_problems, 1, dtype=torch.float64)

    def add(self, step: Tensor, change: Tensor, precondition: Precondition, index: Tensor) -> None:
        """Store steps and gradient changes (B, n), zero where nothing moved; negative curvature is dropped."""
        curvature = (step * change).sum(-1, keepdim=True)
        keep = curvature > _CURVATURE * step.norm(dim=-1, keepdim=True) * change.norm(dim=-1, keepdim=True)
        inverse = torch.where(keep, 1 / torch.where(keep, curvature, 1.0), 0.0)
        self.entries = [*self.entries, (step, change, inverse)][-self.size :]
        stretch = (change[index] * precondition(change[index], index)).sum(-1, keepdim=True)
        fresh = torch.where(keep[index], curvature[index] / stretch.clamp_min(1e-300), self.scale[index])
        self.scale[index] = fresh.clamp(1e-3, 1e3)

    def direction(self, gradient: Tensor, precondition: Precondition, index: Tensor) -> Tensor:
        """Return the two-loop step (b, n) of the problems `index`."""
        q, alphas = gradient.clone(), []
        for step, change, inverse in reversed(self.entries):
            alpha = inverse[index] * (step[index] * q).sum(-1, keepdim=True)
            q -= alpha * change[index]
            alphas.append(alpha)
        r = self.scale[index] * precondition(q, index)
        for (step, change, inverse), alpha in zip(self.entries, reversed(alphas), strict=True):
            beta = inverse[index] * (change[index] * r).sum(-1, keepdim=True)
            r += (alpha - beta) * step[index]
        return -r

    def forget(self, index: Tensor) -> None:
        """Drop what is known of the problems `index`."""
        for _, _, inverse in self.entries:
            inverse[index] = 0.0
        self.scale[index] = 1.0


def minimise(
    objective: Objective,
    position: Tensor,
    precondition: Precondition,
    *,
    tolerance: Tensor | float,
    max_iterations: int,
    largest_decrease: Tensor | float = float("inf"),
    longest_step: Precondition | None = None,
    memory: int = 30,
) -> Minimum:
    """Minimise many functions by L-BFGS with backtracking, each until its predicted decrease is small.

    Parameters
    ----------
    objective : Objective
    position : Tensor (B, n)
        Starts.
    precondition : Precondition
        A positive definite inverse Hessian, roughly; a good one makes the unit step acceptable.
    tolerance : Tensor (B,) or float
        Stop when half of |gradient . step|, the predicted decrease, is below this twice in a row.
    max_iterations : int
    largest_decrease : Tensor (B,) or float
        Steps are shortened so that the predicted decrease stays below this: a trust region.
    longest_step : callable, optional
        Maps steps (b, n) of the problems `index` (b,) to the largest fraction of each that may be taken (b,).
    memory : int
        Pairs kept.
    """
    n_problems = len(position)
    x = position.clone()
    active = torch.arange(n_problems)
    value, gradient = objective(x, active)
    value, gradient = value.clone(), gradient.clone()
    limit = torch.as_tensor(tolerance, dtype=torch.float64).expand(n_problems)
    trust = torch.as_tensor(largest_decrease, dtype=torch.float64).expand(n_problems)
    evaluations = torch.ones(n_problems, dtype=torch.int64)
    converged = torch.zeros(n_problems, dtype=torch.bool)
    calm = torch.zeros(n_problems, dtype=torch.int64)
    stuck = torch.zeros(n_problems, dtype=torch.bool)
    past = _Memory(n_problems, memory)
    iterations = torch.zeros(n_problems, dtype=torch.int64)
    for _ in range(max_iterations):
        if len(active) == 0:
            break
        iterations[active] += 1
        step = past.direction(gradient[active], precondition, active)
        slope = (gradient[active] * step).sum(-1)
        uphill = ~(slope < 0)
        if bool(uphill.any()):
            past.forget(active[uphill])
            step[uphill] = -precondition(gradient[active[uphill]], active[uphill])
            slope[uphill] = (gradient[active[uphill]] * step[uphill]).sum(-1)
        small = -slope / 2 <= limit[active]
        calm[active] = torch.where(small, calm[active] + 1, 0)
        converged[active] = calm[active] >= 2
        going = ~converged[active]
        active, step, slope = active[going], step[going], slope[going]
        if len(active) == 0:
            break
        moved, change = torch.zeros_like(x), torch.zeros_like(x)
        size = (trust[active] / (-slope / 2)).clamp_max(1)
        if longest_step is not None:
            size = torch.minimum(size, longest_step(step, active))
        open_ = torch.arange(len(active))
        for _ in range(_MAX_BACKTRACKS):
            problems = active[open_]
            trial = x[problems] + size[open_, None] * step[open_]
            new_value, new_gradient = objective(trial, problems)
            evaluations[problems] += 1
            bound = value[problems] + _ARMIJO * size[open_] * slope[open_]
            noise = 1e-13 * value[problems].abs()
            good = torch.isfinite(new_value) & (new_value <= bound + noise)
            done = problems[good]
            moved[done] = trial[good] - x[done]
            change[done] = new_gradient[good] - gradient[done]
            x[done], value[done], gradient[done] = trial[good], new_value[good], new_gradient[good]
            stuck[done] = False
            t, rise = size[open_], new_value - value[problems]
            guess = -slope[open_] * t.square() / (2 * (rise - slope[open_] * t))
            guess = torch.where(torch.isfinite(guess), guess, 0.1 * t)
            size[open_] = torch.minimum(torch.maximum(guess, 0.1 * t), 0.5 * t)
            open_ = open_[~good]
            if len(open_) == 0:
                break
        failed = active[open_]
        past.forget(failed[~stuck[failed]])
        given_up = failed[stuck[failed]]
        # no step found, and little was promised: this is as exact as the function is (single precision)
        promised = -slope[open_] / 2 <= _NOISE * limit[failed]
        converged[failed[promised]] = True
        given_up = torch.unique(torch.cat([given_up, failed[promised]]))
        stuck[failed] = True
        past.add(moved, change, precondition, active)
        if len(given_up):
            active = active[~torch.isin(active, given_up)]
    return Minimum(x, value, converged, evaluations, iterations)
