"""The Hessian of what is minimised, from points moved once along each axis, against central differences of all."""

from __future__ import annotations

import pytest
import torch

from tps.spacetime import (
    Family,
    GaussianMixtureFamily,
    KLDistance,
    LogSnrFloor,
    SpacetimePoint,
    StdCeiling,
    UserConstraint,
    chart_line,
)
from tps.spacetime.curvature import hessian
from tps.spacetime.curve_problem import CurveProblem


class Counted:
    """The same family, which keeps account of the points it is asked for."""

    has_psi = False

    def __init__(self, family: Family) -> None:
        self.family, self.spacetime, self.n_asked = family, family.spacetime, 0

    def mu(self, eta: torch.Tensor) -> torch.Tensor:
        self.n_asked += len(eta)
        return self.family.mu(eta)


@pytest.fixture(scope="module")
def family():
    means = torch.tensor([[-1.2, 0.0], [0.3, 0.9], [1.1, -0.2]])
    return GaussianMixtureFamily(torch.tensor([0.5, 0.2, 0.3]), means, torch.tensor([0.1, 0.2, 0.15]))


def problem_of(family, constraints, weight=0.0) -> CurveProblem:
    a, b = (SpacetimePoint(torch.tensor(x), 3.0) for x in ([-1.2, 0.0], [1.1, -0.2]))
    spacetime = family.spacetime
    chart = torch.stack([spacetime.to_chart(chart_line(spacetime, a, b, 8))] * 2)
    chart[:, 1:-1] += 0.1 * torch.sin(torch.arange(36, dtype=torch.float64)).view(2, 6, 3)
    problem = CurveProblem(family, chart, torch.eye(8, dtype=torch.float64), constraints, (), 1e-3)
    problem.free_energy_weight = weight
    problem.weigh(problem.everything)
    return problem


def by_differences(problem: CurveProblem, chart: torch.Tensor, h: float = 1e-5) -> torch.Tensor:
    """Return d gradient / d chart (b, N, K, N, K), each coordinate of each point moved by itself."""
    _, n, k = chart.shape
    hessian = torch.zeros(len(chart), n, k, n, k, dtype=torch.float64)
    for point in range(n):
        for axis in range(k):
            step = torch.zeros_like(chart)
            step[:, point, axis] = h
            up, down = (problem.value_and_gradient(chart + s * step, problem.everything)[1] for s in (1, -1))
            hessian[..., point, axis] = (up - down) / (2 * h)
    return hessian


POINT = SpacetimePoint(torch.tensor([0.3, 0.9]), 2.0)
CASES = {
    "free": ([], 0.0),
    "conditions": ([LogSnrFloor(0.5), StdCeiling(0.6), KLDistance(POINT, 1.0)], 0.0),
    "a user's own condition": ([UserConstraint("own", lambda eta, mu: mu[:, 0].square() - 1)], 0.0),
    "free energy": ([LogSnrFloor(0.5)], 0.6),
}


@pytest.mark.parametrize("name", CASES)
def test_blocks_are_those_of_the_whole_hessian(family, name):
    """Forward differences: first order in 1e-5, against central ones. Blocks farther apart are zero."""
    problem = problem_of(family, *CASES[name])
    chart = problem.chart()
    whole = by_differences(problem, chart)
    diagonal, above = hessian(problem, chart, problem.everything, problem.cost)
    scale = float(whole.abs().max())
    for point in range(8):
        own = whole[:, point, :, point]
        assert torch.allclose(diagonal[:, point], (own + own.mT) / 2, rtol=0, atol=1e-4 * scale)
        for other in range(8):
            if other == point + 1:
                assert torch.allclose(above[:, point], whole[:, point, :, other], rtol=0, atol=1e-4 * scale)
            elif other > point + 1:
                assert float(whole[:, point, :, other].abs().max()) < 1e-6 * scale


def test_evaluations_grow_with_the_axes_alone(family):
    """K moved curves and the one that stands: K + 1, whatever number of neighbours has to stand still."""
    counted = Counted(family)
    problem = problem_of(counted, [StdCeiling(0.6)])
    problem.n_evaluations.zero_()
    chart, counted.n_asked = problem.chart(), 0
    hessian(problem, chart, problem.everything, problem.cost)
    assert counted.n_asked == (problem.width + 1) * chart.shape[0] * chart.shape[1]
    assert problem.n_evaluations.tolist() == [problem.width + 1] * len(chart)
