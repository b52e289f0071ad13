"""Quadratic programs against their conditions of optimality, and constrained curves by two independent methods."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tps.spacetime import (
    GaussianMixtureFamily,
    KLDistance,
    LogSnrFloor,
    SpacetimePoint,
    StdCeiling,
    UserConstraint,
    UserPenalty,
    augmented_lagrangian,
    find_geodesic,
    sequential_quadratic,
)
from tps.spacetime.curve_problem import CurveProblem
from tps.spacetime.quadratic_program import BandedProjection, QuadraticProgram
from tps.spacetime.solver_settings import spline_design
from tps.spacetime.starts import starting_chart

WIDTH = 3
DESIGNS = {
    "spline": spline_design(32, 16),
    "few points": spline_design(5, 4),
    "free points": torch.eye(7).double(),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_projection_is_the_dense_product(name):
    """A' D A with D written out, to round-off."""
    design, rng = DESIGNS[name][:, 1:-1].numpy(), np.random.default_rng(0)
    blocks = rng.normal(size=(len(design), WIDTH, WIDTH))
    blocks = blocks + blocks.transpose(0, 2, 1)
    dense = np.einsum("pn,pij,pm->nimj", design, blocks, design).reshape([design.shape[1] * WIDTH] * 2)
    band = BandedProjection(design, WIDTH)(blocks)
    for below, diagonal in enumerate(band):
        n = len(diagonal) - below
        assert diagonal[:n] == pytest.approx(np.diagonal(dense, -below)[:n], abs=1e-12)
    assert np.abs(np.tril(dense, -len(band))).max() < 1e-12


def program(name: str, offset: float, rng: np.random.Generator) -> tuple[QuadraticProgram, np.ndarray]:
    """Return a random convex program, two conditions a point, and its dense Hessian."""
    project = BandedProjection(DESIGNS[name][:, 1:-1].numpy(), WIDTH)
    root = rng.normal(size=(len(project.design), WIDTH, WIDTH))
    band = project(root @ root.transpose(0, 2, 1) + np.eye(WIDTH))
    size = band.shape[1]
    dense = np.zeros((size, size))
    for below, diagonal in enumerate(band[:size]):
        dense += np.diag(diagonal[: size - below], -below)
    dense = dense + np.tril(dense, -1).T
    values = offset + rng.normal(size=(len(project.design), 2))
    slopes = rng.normal(size=(len(project.design), 2, WIDTH))
    return QuadraticProgram(project, band, rng.normal(size=size), values, slopes, 3.0), dense


@pytest.mark.parametrize("offset", [-3.0, 0.0, 2.0], ids=["loose", "tight", "more than can be met"])
@pytest.mark.parametrize("name", DESIGNS)
def test_programs_are_solved_to_their_conditions_of_optimality(name, offset):
    """Stationary, multipliers between 0 and the price, and a condition broken only where its multiplier is the price.

    Each product of a multiplier and its slack is positive and their sum below the gap, and so is what is left of it.
    """
    problem, dense = program(name, offset, np.random.default_rng(1))
    gap = 1e-9
    found = problem.solve(np.zeros_like(problem.values), gap)
    left = dense @ found.step + problem.gradient + problem.pull(found.multipliers)
    assert np.abs(left).max() < 1e-7 * np.abs(problem.gradient).max()
    value, price = problem.values + problem.push(found.step), problem.price
    assert (found.multipliers >= 0).all()
    assert (found.multipliers <= price).all()
    assert (np.clip(-value, 0, None) * found.multipliers).sum() < 2 * gap
    assert (np.clip(value, 0, None) * (price - found.multipliers)).sum() < 2 * gap
    assert found.curvature == pytest.approx(found.step @ dense @ found.step, rel=1e-6)
    if offset > 0:
        assert value.max() > 0.1


@pytest.fixture(scope="module")
def plane():
    """Three wells in two dimensions, K = 3."""
    means = torch.tensor([[-1.5, 0.0], [1.3, 0.4], [0.1, 0.3]])
    family = GaussianMixtureFamily(torch.tensor([0.5, 0.4, 0.1]), means, torch.tensor([0.1, 0.15, 0.05]))
    return family, SpacetimePoint(means[0], 4.0), SpacetimePoint(means[1], 4.0)


CASES = {
    "floor": [LogSnrFloor(1.5)],
    "ceiling": [StdCeiling(0.45)],
    "both and a point": [
        LogSnrFloor(1.0),
        StdCeiling(0.5),
        KLDistance(SpacetimePoint(torch.tensor([0.1, 0.1]), 1.5), 0.4),
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_both_methods_find_the_same_curve(plane, name):
    """The augmented Lagrangian knows gradients alone, and its multipliers hide at most 1e-3 of the energy."""
    family, a, b = plane
    chart = starting_chart(family, a, b, None, 48, CASES[name])
    energies, steps = [], []
    for method in (sequential_quadratic, augmented_lagrangian):
        problem = CurveProblem(family, chart[None], spline_design(48, 20), CASES[name], [], 1e-3)
        assert sequential_quadratic.applies(problem)
        budget = torch.tensor([500])
        done, used = method.solve(problem, problem.everything, budget, 1e-7, 1e-3)
        assert bool(done.all())
        assert float(problem.violations(problem.everything).max()) <= 5e-4
        energies.append(0.5 * 47**2 * float(problem.mean_chord()))
        steps.append(int(used))
    assert energies[0] == pytest.approx(energies[1], rel=2e-3)
    assert steps[0] < steps[1] / 2


def test_it_is_for_few_statistics_and_conditions_of_single_points(plane):
    """A user's own condition may look at a whole curve, and many features have no cheap Hessian."""
    family, a, b = plane
    wide = GaussianMixtureFamily(torch.ones(2), torch.randn(2, 8).double(), torch.full((2,), 0.1))
    own = UserConstraint("own", lambda eta, mu: eta[:, 0] - 100)
    for known, ends, constraint, expected in (
        (family, (a, b), LogSnrFloor(1.0), True),
        (family, (a, b), own, False),
        (wide, [SpacetimePoint(mean, 4.0) for mean in wide.means], LogSnrFloor(1.0), False),
    ):
        chart = starting_chart(known, *ends, None, 16)
        problem = CurveProblem(known, chart[None], spline_design(16, 8), [constraint], [], 1e-3)
        assert sequential_quadratic.applies(problem) == expected


def test_a_penalty_beside_a_constraint_is_paid(plane):
    """Of the same curve under a floor: the cost falls where it is asked to, and the length rises."""
    family, a, b = plane
    high = UserPenalty("high", lambda eta, mu: mu[:, 1], 30.0)
    plain = find_geodesic(family, a, b, constraints=[LogSnrFloor(1.5)])
    paid = find_geodesic(family, a, b, constraints=[LogSnrFloor(1.5), high])
    assert plain.converged
    assert paid.converged
    assert high.cost(paid.curve.eta, paid.curve.mu) < high.cost(plain.curve.eta, plain.curve.mu)
    assert paid.length > plain.length
