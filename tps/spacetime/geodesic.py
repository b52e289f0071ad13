"""The solver: shortest spacetime curves between anchored states, under constraints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from scipy.interpolate import BSpline
from torch import Tensor

from tps.errors import CurveError, ParameterError
from tps.spacetime.constraints import Constraint, ConstraintReport, UserPenalty
from tps.spacetime.coordinates import Spacetime, SpacetimePoint, TorusSpacetime, eta_of
from tps.spacetime.curve import SpacetimeCurve, curve_energy, fisher_rao_length, negative_chord_fraction, resample
from tps.spacetime.family import Family, fisher_metric
from tps.spacetime.lbfgs import minimise
from tps.spacetime.preconditioner import (
    MAX_FULL_METRIC,
    MAX_NEWTON,
    CurvePreconditioner,
    GroupedPreconditioner,
    chord_blocks,
    clip_metric,
)
from tps.spacetime.starts import chart_line, winding_line

Representation = Literal["spline", "points"]

#: Iterations between two looks at the metric.
_REFRESH = 12
#: Rounds of the augmented Lagrangian, and how it hardens when a violation shrinks too slowly.
_MAX_ROUNDS = 24
_INITIAL_STIFFNESS = 4.0
_HARDEN = 4.0
_SHRINK = 0.2
_MAX_STIFFNESS = 1e8
_PROBES = 2
_DIFFERENCE = 1e-5
#: Negative chords cost this times their square over the mean chord; a step may promise at most this part of the energy.
_BARRIER = 25.0
_TRUST = 1.0


@dataclass(frozen=True, eq=False)
class Geodesic:
    """A shortest curve, and how far to trust it.

    Parameters
    ----------
    curve : SpacetimeCurve
        At equal Fisher-Rao steps.
    length : float
        Sum of its chords sqrt(d eta . d mu).
    curve_energy : float
        (N - 1)/2 sum d eta . d mu; length**2 / 2 at constant speed.
    status : str
        "converged", or why not.
    n_gradient_evaluations : int
        Evaluations of mu along the whole curve with derivatives, those for the metric included.
    constraints : tuple of ConstraintReport
    n_iterations : int
    """

    curve: SpacetimeCurve
    length: float
    curve_energy: float
    status: str
    n_gradient_evaluations: int
    constraints: tuple[ConstraintReport, ...] = field(default=())
    n_iterations: int = 0

    @property
    def converged(self) -> bool:
        """Whether the status is "converged"."""
        return self.status == "converged"


def spline_design(n_points: int, n_coefficients: int) -> Tensor:
    """Return the cubic B-spline design matrix (n_points, n_coefficients), clamped at both ends."""
    inner = torch.linspace(0, 1, n_coefficients - 2, dtype=torch.float64)
    knots = torch.cat([torch.zeros(3), inner, torch.ones(3)]).double().numpy()
    where = torch.linspace(0, 1, n_points, dtype=torch.float64).numpy()
    return torch.from_numpy(BSpline.design_matrix(where, knots, 3).toarray())


class _Problem:
    """A batch of curves between fixed ends, with the multipliers of their constraints."""

    def __init__(
        self,
        family: Family,
        start: Tensor,
        design: Tensor,
        constraints: Sequence[Constraint],
        penalties: Sequence[UserPenalty],
        tolerance: float,
    ) -> None:
        self.family, self.spacetime = family, family.spacetime
        self.constraints, self.penalties = constraints, penalties
        self.design, self.moving = design, design[:, 1:-1]
        self.n_points, self.n_curves = len(design), len(start)
        self.fixed = design[:, :1] * start[:, None, 0] + design[:, -1:] * start[:, None, -1]
        self.shape = (self.moving.shape[1], start.shape[-1])
        self.coefficients = torch.linalg.lstsq(
            self.moving.expand(self.n_curves, -1, -1), start - self.fixed
        ).solution.flatten(1)
        self.margin = torch.full((self.n_curves, len(constraints)), tolerance, dtype=torch.float64)
        self.n_evaluations = torch.zeros(self.n_curves, dtype=torch.int64)
        self.stiffness = torch.ones(self.n_curves, dtype=torch.float64)
        self.typical_chord = torch.ones(self.n_curves, dtype=torch.float64)
        self.multipliers: list[list[Tensor]] = []
        self._inverse: CurvePreconditioner | GroupedPreconditioner | None = None

    def chart(self, coefficients: Tensor, index: Tensor) -> Tensor:
        """Map coefficients (b, n) of the curves `index` to chart points (b, N, K)."""
        return self.fixed[index] + self.moving @ coefficients.unflatten(1, self.shape)

    def evaluate(self, chart: Tensor) -> tuple[Tensor, Tensor]:
        """Map chart points (b, N, K) to eta and mu (b, N, K)."""
        eta = self.spacetime.from_chart(chart.flatten(0, 1))
        mu = self.family.mu(eta)
        return eta.unflatten(0, chart.shape[:2]), mu.unflatten(0, chart.shape[:2])

    def values(self, eta: Tensor, mu: Tensor, curve: int) -> list[Tensor]:
        """Constraint values of one curve, (N, K) -> list of (N, n_conditions)."""
        return [c.values(self.family, eta, mu) for c in self.constraints]

    def objective(self, coefficients: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Energy, penalties and augmented Lagrangian, with gradients."""
        value, gradient = self._value_and_gradient(self.chart(coefficients, index), index)
        self.n_evaluations[index] += 1
        return value, (self.moving.T @ gradient).flatten(1)

    def _value_and_gradient(self, chart: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """The same with respect to chart points (b, N, K)."""
        leaf = chart.detach().requires_grad_(True)
        with torch.enable_grad():
            eta, mu = self.evaluate(leaf)
            value = self._energy(eta, mu, index)
            if self.constraints or self.penalties:
                value = value + torch.stack(
                    [self._terms(eta[row], mu[row], curve) for row, curve in enumerate(index.tolist())]
                )
            (gradient,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach(), gradient

    def _energy(self, eta: Tensor, mu: Tensor, index: Tensor) -> Tensor:
        """Curve energies (b,), made to grow with negative chords, which only the error of a model can have."""
        chords = (eta.diff(dim=1) * mu.diff(dim=1)).sum(-1)
        below = chords.clamp_max(0).square() * (_BARRIER / self.typical_chord[index, None])
        return 0.5 * (self.n_points - 1) * (chords + below).sum(-1)

    def _terms(self, eta: Tensor, mu: Tensor, curve: int) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for penalty in self.penalties:
            total = total + penalty.cost(eta, mu)
        stiffness = self.stiffness[curve]
        for number, value in enumerate(self.values(eta, mu, curve)):
            shifted = value + self.margin[curve, number]
            pressed = (self.multipliers[curve][number] + stiffness * shifted).clamp_min(0)
            total = total + (pressed.square() - self.multipliers[curve][number].square()).sum() / (
                2 * stiffness * self.n_points
            )
        return total

    def precondition(self, gradient: Tensor, index: Tensor) -> Tensor:
        """Apply the inverse Gauss-Newton Hessian."""
        assert self._inverse is not None
        return self._inverse(gradient.unflatten(1, self.shape), index).flatten(1)

    def refresh(self) -> None:
        """Look at the metric and the active constraints where the curves are now."""
        everything = torch.arange(self.n_curves)
        chart = self.chart(self.coefficients, everything).flatten(0, 1)
        shape = (self.n_curves, self.n_points)
        with torch.enable_grad():
            leaf = chart.detach().requires_grad_(True)
            eta = self.spacetime.from_chart(leaf)
        width = chart.shape[-1]
        extra = self._active() if self.constraints else None
        if width <= MAX_FULL_METRIC:
            metric = fisher_metric(self.family, eta.detach())
            self.n_evaluations += width
            jacobian = torch.stack(
                [torch.autograd.grad(eta[:, i].sum(), leaf, retain_graph=True)[0] for i in range(width)], dim=1
            )
            metric = clip_metric(jacobian.mT @ metric @ jacobian).unflatten(0, shape)
            diagonal, above = chord_blocks(metric)
            if extra is not None:
                diagonal = diagonal + torch.einsum("bnci,bncj->bnij", extra, extra)
            newton = self._hessian(chart.unflatten(0, shape)) if width <= MAX_NEWTON else None
            self._inverse = CurvePreconditioner(self.moving, diagonal, above, newton)
            return
        groups = self.spacetime.groups
        scales = torch.zeros(len(chart), len(groups), dtype=torch.float64)
        generator = torch.Generator().manual_seed(0)
        with torch.enable_grad():
            mu = self.family.mu(eta)
            for number, group in enumerate(groups):
                size = group.stop - group.start
                probes = min(_PROBES, size)
                for _ in range(probes):
                    probe = torch.zeros_like(chart)
                    probe[:, group] = torch.randint(0, 2, (size,), generator=generator).double() * 2 - 1
                    pushed = torch.autograd.functional.jvp(self.spacetime.from_chart, chart, probe)[1]
                    (product,) = torch.autograd.grad(mu, leaf, pushed, retain_graph=True)
                    scales[:, number] += (product * probe).sum(-1) / (probes * size)
                    self.n_evaluations += 1
        extra_scales = None
        if extra is not None:
            extra_scales = torch.stack(
                [extra[..., g].square().sum((-2, -1)) / (g.stop - g.start) for g in groups], -1
            )
        self._inverse = GroupedPreconditioner(self.moving, scales.unflatten(0, shape), groups, extra_scales)

    def _hessian(self, chart: Tensor) -> tuple[Tensor, Tensor]:
        """Return the Hessian's blocks (j, j) and (j, j + 1) at the points, by differences of 3 K gradients.

        Points three apart do not see each other, so every third point is moved at once.
        """
        everything = torch.arange(self.n_curves)
        n_points, width = chart.shape[1:]
        reference = self._value_and_gradient(chart, everything)[1]
        diagonal = torch.zeros(*chart.shape, width, dtype=torch.float64)
        above = torch.zeros(len(chart), n_points - 1, width, width, dtype=torch.float64)
        for colour in range(3):
            moved = torch.arange(colour, n_points, 3)
            for axis in range(width):
                trial = chart.clone()
                trial[:, moved, axis] += _DIFFERENCE
                change = (self._value_and_gradient(trial, everything)[1] - reference) / _DIFFERENCE
                diagonal[:, moved, :, axis] = change[:, moved]
                later = moved[moved > 0]
                above[:, later - 1, :, axis] = change[:, later - 1]
        self.n_evaluations += 3 * width + 1
        return (diagonal + diagonal.mT) / 2, above

    def _active(self) -> Tensor:
        """Return the active constraints' gradients times sqrt(stiffness / N) (B, N, n_conditions, K)."""
        rows = []
        for curve in range(self.n_curves):
            index = torch.tensor([curve])
            chart = self.chart(self.coefficients[index], index).detach().requires_grad_(True)
            gradients = []
            with torch.enable_grad():
                eta, mu = self.evaluate(chart)
                for number, value in enumerate(self.values(eta[0], mu[0], curve)):
                    pressed = self.multipliers[curve][number] + self.stiffness[curve] * (
                        value.detach() + self.margin[curve, number]
                    )
                    for column in range(value.shape[1]):
                        (g,) = torch.autograd.grad(value[:, column].sum(), chart, retain_graph=True)
                        gradients.append(torch.where(pressed[:, column, None] > 0, g[0], 0.0))
                        self.n_evaluations[curve] += 1
            rows.append(torch.stack(gradients, dim=1) * (self.stiffness[curve] / self.n_points).sqrt())
        return torch.stack(rows)

    def descend(self, max_iterations: int, rtol: float) -> tuple[Tensor, int]:
        """Minimise from the present coefficients; return converged (B,) and the iterations spent."""
        spent, converged = 0, torch.zeros(self.n_curves, dtype=torch.bool)
        while spent < max_iterations and not bool(converged.all()):
            self.typical_chord = self._mean_chord()
            self.refresh()
            value, _ = self.objective(self.coefficients, torch.arange(self.n_curves))
            found = minimise(
                self.objective,
                self.coefficients,
                self.precondition,
                tolerance=rtol * value.abs().clamp_min(1e-12),
                largest_decrease=0.5 * (self.n_points - 1) ** 2 * self.typical_chord * _TRUST,
                max_iterations=min(_REFRESH, max_iterations - spent),
            )
            stalled = bool((found.value >= value - rtol * value.abs()).all()) and spent > 0
            self.coefficients, converged = found.position, found.converged
            spent += found.n_iterations
            if stalled:
                break
        return converged, spent

    def _mean_chord(self) -> Tensor:
        """Mean absolute squared chord of each curve (B,)."""
        with torch.no_grad():
            eta, mu = self.evaluate(self.chart(self.coefficients, torch.arange(self.n_curves)))
            chords = (eta.diff(dim=1) * mu.diff(dim=1)).sum(-1)
        return chords.abs().mean(1).clamp_min(1e-14)

    def largest(self) -> Tensor:
        """Return the largest value of each constraint on each curve (B, n_constraints), margins not added."""
        with torch.no_grad():
            eta, mu = self.evaluate(self.chart(self.coefficients, torch.arange(self.n_curves)))
            return torch.stack(
                [
                    torch.stack([v.max() for v in self.values(eta[b], mu[b], b)])
                    for b in range(self.n_curves)
                ]
            )

    def update_multipliers(self) -> None:
        """Move the multipliers to what the constraints press with now."""
        with torch.no_grad():
            eta, mu = self.evaluate(self.chart(self.coefficients, torch.arange(self.n_curves)))
            for curve in range(self.n_curves):
                for number, value in enumerate(self.values(eta[curve], mu[curve], curve)):
                    shifted = value + self.margin[curve, number]
                    old = self.multipliers[curve][number]
                    self.multipliers[curve][number] = (old + self.stiffness[curve] * shifted).clamp_min(0)

    def start_multipliers(self) -> None:
        """Begin with no pressure, and a stiffness of the order of the energy."""
        with torch.no_grad():
            eta, mu = self.evaluate(self.chart(self.coefficients, torch.arange(self.n_curves)))
            chords = (eta.diff(dim=1) * mu.diff(dim=1)).sum((1, 2))
            self.stiffness = _INITIAL_STIFFNESS * (0.5 * (self.n_points - 1) * chords).abs().clamp_min(1.0)
            self.multipliers = [
                [torch.zeros_like(v) for v in self.values(eta[b], mu[b], b)] for b in range(self.n_curves)
            ]


def _solve(problem: _Problem, max_iterations: int, rtol: float, tolerance: float) -> tuple[Tensor, int]:
    """Minimise under constraints by an augmented Lagrangian; return converged (B,) and the iterations spent."""
    if not problem.constraints:
        return problem.descend(max_iterations, rtol)
    if not problem.multipliers:
        problem.start_multipliers()
    spent, before = 0, problem.largest() + problem.margin
    converged = torch.zeros(problem.n_curves, dtype=torch.bool)
    loose = max(rtol, 1e-3)
    for _ in range(_MAX_ROUNDS):
        converged, used = problem.descend(max_iterations - spent, loose)
        spent += used
        after = problem.largest() + problem.margin
        held = (after <= tolerance / 2).all(1)
        if (bool(held.all()) and loose <= rtol) or spent >= max_iterations:
            break
        problem.update_multipliers()
        slow = (after > _SHRINK * before.clamp_min(tolerance)).any(1) & ~held
        problem.stiffness = torch.where(slow, problem.stiffness * _HARDEN, problem.stiffness).clamp_max(
            _MAX_STIFFNESS
        )
        before = after
        loose = rtol if bool(held.all()) else max(rtol, min(1e-3, 1e-2 * float(after.max())))
    return converged & held, spent


def _reports(
    family: Family, curve: SpacetimeCurve, constraints: Sequence[Constraint], tolerance: float
) -> tuple[ConstraintReport, ...]:
    reports = []
    for constraint in constraints:
        with torch.no_grad():
            worst = constraint.values(family, curve.eta, curve.mu).amax(1)
        at = int(worst.argmax())
        reports.append(ConstraintReport(constraint.name, float(worst[at]), float(curve.s[at]), tolerance))
    return tuple(reports)


def _status(converged: bool, spent: int, limit: int, reports: Sequence[ConstraintReport], bad_chords: float) -> str:
    broken = [str(r) for r in reports if not r.satisfied]
    if broken:
        return "; ".join(broken)
    if bad_chords > 0:
        return f"{bad_chords:.0%} of the chords are negative: the model's Jacobian is not that of a true family here"
    if not converged and spent >= limit:
        return f"stopped after {spent} iterations while the energy was still falling; raise max_iterations"
    if not converged:
        return f"stopped after {spent} iterations: no step lowers the energy, though the gradient is not small"
    return "converged"


def _check_ends(family: Family, eta: Tensor, constraints: Sequence[Constraint], tolerance: float) -> None:
    with torch.no_grad():
        mu = family.mu(eta)
    if not bool(torch.isfinite(mu).all()):
        raise CurveError("the family's mu is not finite at an end point; lower its log_snr or move it into the data")
    for constraint in constraints:
        with torch.no_grad():
            worst = constraint.values(family, eta, mu).amax(1)
        for name, value in zip("AB", worst.tolist(), strict=True):
            if value > tolerance:
                raise CurveError(
                    f"end point {name} itself violates the constraint '{constraint.name}' by {value:.3g}: "
                    "move the end point or relax the constraint"
                )


def find_geodesics(
    family: Family,
    pairs: Sequence[tuple[SpacetimePoint, SpacetimePoint]],
    *,
    starts: Sequence[Tensor | None] | None = None,
    n_points: int = 64,
    representation: Representation = "spline",
    n_coefficients: int | None = None,
    constraints: Sequence[Constraint | UserPenalty] = (),
    constraint_tolerance: float = 1e-3,
    rtol: float = 1e-6,
    max_iterations: int = 500,
) -> tuple[Geodesic, ...]:
    """Find geodesics between many pairs of points at once; parameters as for `find_geodesic`.

    Parameters
    ----------
    pairs : sequence of (SpacetimePoint, SpacetimePoint)
    starts : sequence of Tensor (n, K) or None, optional
        One starting curve in natural parameters, or None, for each pair.

    Returns
    -------
    tuple of Geodesic
    """
    if n_points < 4:
        raise ParameterError(f"a geodesic needs n_points >= 4, but got {n_points}")
    if not rtol > 0 or not constraint_tolerance > 0:
        raise ParameterError(f"tolerances must be positive, but got rtol {rtol} and {constraint_tolerance}")
    if representation not in ("spline", "points"):
        raise ParameterError(f"representation must be 'spline' or 'points', but got {representation!r}")
    if starts is not None and len(starts) != len(pairs):
        raise ParameterError(f"give one start for each of {len(pairs)} pairs, or none; got {len(starts)}")
    if len(pairs) == 0:
        return ()
    hard: list[Constraint] = [c for c in constraints if not isinstance(c, UserPenalty)]
    soft = [c for c in constraints if isinstance(c, UserPenalty)]
    spacetime = family.spacetime
    given = starts if starts is not None else [None] * len(pairs)
    charts = []
    for (a, b), start in zip(pairs, given, strict=True):
        ends = torch.stack([eta_of(spacetime, a), eta_of(spacetime, b)])
        _check_ends(family, ends, hard, constraint_tolerance)
        charts.append(_start_chart(family, a, b, start, n_points, hard))
    if representation == "spline":
        default = max(6, min(n_points // 2, 24))
        design = spline_design(n_points, n_coefficients if n_coefficients is not None else default)
    else:
        design = torch.eye(n_points, dtype=torch.float64)
    problem = _Problem(family, torch.stack(charts), design, hard, soft, constraint_tolerance)
    converged, spent = _solve(problem, max_iterations, rtol, constraint_tolerance)
    curves = _finish(problem, pairs)
    for _ in range(4):
        if not hard or spent >= max_iterations:
            break
        worst = torch.tensor([[r.largest for r in _reports(family, c, hard, constraint_tolerance)] for c in curves])
        if bool((worst <= constraint_tolerance).all()):
            break
        problem.margin = problem.margin + 1.2 * worst.double().clamp_min(0)
        converged, used = _solve(problem, max_iterations - spent, rtol, constraint_tolerance)
        spent += used
        curves = _finish(problem, pairs)
    found = []
    for number, curve in enumerate(curves):
        reports = _reports(family, curve, hard, constraint_tolerance)
        found.append(
            Geodesic(
                curve=curve,
                length=fisher_rao_length(curve),
                curve_energy=curve_energy(curve),
                status=_status(bool(converged[number]), spent, max_iterations, reports, negative_chord_fraction(curve)),
                n_gradient_evaluations=int(problem.n_evaluations[number]),
                constraints=reports,
                n_iterations=spent,
            )
        )
    return tuple(found)


def _finish(problem: _Problem, pairs: Sequence[tuple[SpacetimePoint, SpacetimePoint]]) -> list[SpacetimeCurve]:
    charts = problem.chart(problem.coefficients, torch.arange(problem.n_curves))
    curves = []
    for (a, b), chart in zip(pairs, charts, strict=True):
        eta = problem.spacetime.from_chart(chart)
        eta[0], eta[-1] = eta_of(problem.spacetime, a), eta_of(problem.spacetime, b)
        curves.append(resample(problem.family, SpacetimeCurve.from_eta(problem.family, eta)))
    return curves


def _start_chart(
    family: Family,
    a: SpacetimePoint,
    b: SpacetimePoint,
    start: Tensor | None,
    n_points: int,
    constraints: Sequence[Constraint],
) -> Tensor:
    """Return the starting curve in the chart (n_points, K)."""
    spacetime = family.spacetime
    if start is None:
        eta = chart_line(spacetime, a, b, n_points)
        if constraints and isinstance(spacetime, TorusSpacetime):
            with torch.no_grad():
                mu = family.mu(eta)
                broken = any(bool((c.values(family, eta, mu) > 0).any()) for c in constraints)
            if broken:
                eta = winding_line(spacetime, a, b, n_points, [0] * spacetime.n_torsions)
        return spacetime.to_chart(eta)
    eta = torch.as_tensor(start, dtype=torch.float64).detach()
    if eta.ndim != 2 or eta.shape[1] != spacetime.n_statistics or len(eta) < 2 or not bool(eta.isfinite().all()):
        raise CurveError(
            f"a starting curve needs finite natural parameters (n >= 2, {spacetime.n_statistics}), but got "
            f"{tuple(eta.shape)}; take them from SpacetimeCurve.eta"
        )
    chart = spacetime.to_chart(eta)
    if len(chart) != n_points:
        place = torch.linspace(0, len(chart) - 1, n_points, dtype=torch.float64)
        low = place.floor().long().clamp_max(len(chart) - 2)
        chart = torch.lerp(chart[low], chart[low + 1], (place - low)[:, None])
    ends = spacetime.to_chart(torch.stack([eta_of(spacetime, a), eta_of(spacetime, b)]))
    gap = (chart[[0, -1]] - ends).norm(dim=1)
    scale = max(1.0, float(ends.abs().max()))
    if bool((gap > 0.05 * scale).any()):
        raise CurveError(
            f"the starting curve misses the end points by {float(gap.max()):.3g} in the solver's chart; start it at A "
            "and end it at B"
        )
    chart[0], chart[-1] = ends[0], ends[1]
    return chart


def find_geodesic(
    family: Family,
    a: SpacetimePoint,
    b: SpacetimePoint,
    *,
    n_points: int = 64,
    start: Tensor | SpacetimeCurve | Sequence[int] | None = None,
    representation: Representation = "spline",
    n_coefficients: int | None = None,
    constraints: Sequence[Constraint | UserPenalty] = (),
    constraint_tolerance: float = 1e-3,
    rtol: float = 1e-6,
    max_iterations: int = 500,
) -> Geodesic:
    """Find a shortest curve from a to b: a local minimum of the curve energy near the start.

    Parameters
    ----------
    family : Family
    a, b : SpacetimePoint
    n_points : int
        Points of the curve, at equal Fisher-Rao steps.
    start : optional
        A curve, or its natural parameters (n, K), or on a torus one winding number per torsion. A straight line in the
        solver's chart unless given; on a torus, when constraints forbid that, the short way at constant stiffness.
    representation : "spline" or "points"
        Cubic B-spline in the solver's chart, or every point free.
    n_coefficients : int, optional
        Of the spline; n_points / 2 and at most 24 unless given.
    constraints : sequence
        From `tps.spacetime`: LogSnrFloor, StdCeiling, RegionProbability, KLDistance, UserConstraint, UserPenalty.
    constraint_tolerance : float
        What counts as zero at every point of the returned curve, in each constraint's own unit.
    rtol : float
        Stop when the predicted decrease of the energy is below this fraction of it.
    max_iterations : int

    Returns
    -------
    Geodesic
        With status "converged", or a sentence that says why not.

    Raises
    ------
    CurveError
        If an end point or the start cannot be used, or an end point violates a constraint.
    ParameterError
        If a number is out of range.

    References
    ----------
    Karczewski et al., ICLR 2026, Eq. 14-16 and 21-23.
    """
    curve: Tensor | None
    if start is None or isinstance(start, Tensor):
        curve = start
    elif isinstance(start, SpacetimeCurve):
        curve = start.eta
    else:
        if not isinstance(family.spacetime, TorusSpacetime):
            raise CurveError("winding numbers start a curve only on a torus; give a curve instead")
        curve = winding_line(family.spacetime, a, b, n_points, list(start))
    return find_geodesics(
        family,
        [(a, b)],
        starts=[curve],
        n_points=n_points,
        representation=representation,
        n_coefficients=n_coefficients,
        constraints=constraints,
        constraint_tolerance=constraint_tolerance,
        rtol=rtol,
        max_iterations=max_iterations,
    )[0]
