"""The solves that curves take: clamped where the model is no true family, free ones first, on finer splines last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from tps.spacetime import sequential_quadratic
from tps.spacetime.coarse_to_fine import COARSE_POINTS, Asked, coarse_to_fine
from tps.spacetime.curve import negative_chord_fraction
from tps.spacetime.curve_points import problem_of
from tps.spacetime.doubt import dipping_lines, is_symmetric
from tps.spacetime.solution import Geodesic, held_constraints
from tps.spacetime.starts import starting_chart


def solve_batch(asked: Asked, progress: Callable[[int], None]) -> list[Geodesic]:
    """Find geodesics between checked pairs of points, side by side; see `find_geodesics`.

    Where the model turns out to be no true family, the energy is clamped: see `CurveProblem`.
    """
    family = asked.family
    lines = [dipping_lines(family.spacetime, a, b, COARSE_POINTS) for a, b in asked.pairs]
    if not all(is_symmetric(family, torch.cat(row)) for row in lines):
        return coarse_to_fine(asked, progress, clamped=True)
    found = _found(asked, progress)
    untrue = [k for k, one in enumerate(found) if negative_chord_fraction(one.curve) > 0]
    if untrue:
        found = _with(found, untrue, coarse_to_fine(asked.of(untrue), clamped=True))
    return _bent_more(asked, found)


def _found(asked: Asked, progress: Callable[[int], None]) -> list[Geodesic]:
    """Solve for the curves of a true family: first without constraints where those are dear, and they may hold unasked.

    A free curve that obeys all constraints is the one asked for, and the multiplier method takes twenty times as long
    to say so.
    """
    settings = asked.settings
    if not settings.hard or _newton(asked):
        return coarse_to_fine(asked, progress)
    free = replace(asked, settings=replace(settings, constraints=tuple(settings.soft)))
    found = [
        replace(one, constraints=held_constraints(asked.family, one.curve, settings))
        for one in coarse_to_fine(free)
    ]
    held = [one.converged and all(report.satisfied for report in one.constraints) for one in found]
    pressed = [k for k, obeys in enumerate(held) if not obeys]
    n_done = 2 * (len(found) - len(pressed))
    progress(n_done)
    if pressed:
        again = coarse_to_fine(asked.of(pressed), lambda done: progress(n_done + done))
        found = _with(found, pressed, again)
    return found


def _newton(asked: Asked) -> bool:
    """Return whether second derivatives are cheap, and constraints with them."""
    family, settings = asked.family, asked.settings
    chart = settings.chart(family)
    start = starting_chart(family, *asked.pairs[0], None, settings.n_points, settings.hard, chart)
    return sequential_quadratic.applies(problem_of(family, start[None], settings, clamped=False))


def _bent_more(asked: Asked, found: list[Geodesic]) -> list[Geodesic]:
    """Solve those again, on a finer spline and with the iterations left, that did not converge under constraints."""
    finer, tried = asked.settings.finer, list(found)
    for k, one in enumerate(found):
        left = asked.settings.max_iterations - one.n_iterations
        if finer is None or one.converged or left <= 0:
            continue
        (again,) = coarse_to_fine(replace(asked.of([k]), settings=replace(finer, max_iterations=left)))
        tried[k] = replace(
            again if again.converged else one,
            n_iterations=one.n_iterations + again.n_iterations,
            n_gradient_evaluations=one.n_gradient_evaluations + again.n_gradient_evaluations,
        )
    return tried


def _with(found: list[Geodesic], which: Sequence[int], others: list[Geodesic]) -> list[Geodesic]:
    """Return the curves found, others in the place of some."""
    put = dict(zip(which, others, strict=True))
    return [put.get(k, one) for k, one in enumerate(found)]
