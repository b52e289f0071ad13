"""Banded sums over the few points that a coefficient moves, against dense matrices."""

from __future__ import annotations

import pytest
import torch

from tps.spacetime.preconditioner import CurvePreconditioner, least_squares
from tps.spacetime.solver_settings import spline_design

DESIGNS = {
    "spline": spline_design(32, 16),
    "few points": spline_design(5, 4),
    "as many as points": spline_design(16, 16),
    "free points": torch.eye(7, dtype=torch.float64),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_steps_solve_the_projected_hessian(name):
    """A' H A step = gradient, with H block tridiagonal and written out: to round-off."""
    design, k, rng = DESIGNS[name][:, 1:-1], 3, torch.Generator().manual_seed(0)
    n = len(design)
    root = torch.randn(2, n, k, k, generator=rng, dtype=torch.float64)
    diagonal = root @ root.mT + 4 * torch.eye(k)
    above = 0.3 * torch.randn(2, n - 1, k, k, generator=rng, dtype=torch.float64)
    hessian = torch.zeros(2, n * k, n * k, dtype=torch.float64)
    for p in range(n):
        here, after = slice(p * k, p * k + k), slice(p * k + k, p * k + 2 * k)
        hessian[:, here, here] = diagonal[:, p]
        if p < n - 1:
            hessian[:, here, after], hessian[:, after, here] = above[:, p], above[:, p].mT
    wide = torch.kron(design.contiguous(), torch.eye(k, dtype=torch.float64))
    gradient = torch.randn(2, design.shape[1], k, generator=rng, dtype=torch.float64)
    exact = torch.linalg.solve(wide.T @ hessian @ wide, gradient.flatten(1)).unflatten(1, (-1, k))
    step = CurvePreconditioner(design, diagonal, above)(gradient, torch.arange(2))
    # a ridge of 1e-9 of the mean diagonal keeps the factors safe
    assert torch.allclose(step, exact, rtol=0, atol=1e-6 * float(exact.abs().max()))


@pytest.mark.parametrize("name", DESIGNS)
def test_fitted_coefficients_are_the_least_squares_ones(name):
    """Against the singular value decomposition."""
    design = DESIGNS[name][:, 1:-1]
    points = torch.randn(3, len(design), 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    exact = torch.linalg.lstsq(design.expand(3, -1, -1), points, driver="gelsd").solution
    assert torch.allclose(least_squares(design, points), exact, atol=1e-10)
