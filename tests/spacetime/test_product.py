"""Angles and features on lines together: charts, exact families, and geodesics of a product of two spaces."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from spaces import feature_space

from tps.errors import CurveError, ParameterError
from tps.spacetime import (
    CURVE_METHODS,
    EuclideanSpacetime,
    GaussianFamily,
    GridFamily,
    LogSnrFloor,
    MethodProblem,
    ProductSpacetime,
    SpacetimePoint,
    StdCeiling,
    TorusDenoiserFamily,
    TorusSpacetime,
    curve_energy,
    eta_of,
    find_channels,
    find_geodesic,
    fisher_metric,
    fisher_rao_length,
    follow,
    geodesic_windings,
    m_geodesic,
    onsager_machlup_path,
    score_metric_geodesic,
    spacetime_of,
    straight_line,
    winding_line,
    winding_numbers,
)

MIXED = ProductSpacetime(TorusSpacetime(2), EuclideanSpacetime(3, 2.5, (1.0, -2.0, 0.5)))
#: ln p0 of an angle is PULL . (cos t, sin t), of a length independent of it -(x - 0.5)^2 / 1.4.
PULL, MEAN, VARIANCE = torch.tensor([1.1, -0.7], dtype=torch.float64), 0.5, 0.7


def angle_grid(n: int) -> torch.Tensor:
    return torch.linspace(-math.pi, math.pi, n + 1, dtype=torch.float64)[:-1]


@pytest.fixture(scope="module")
def independent() -> GridFamily:
    """An angle and a length that do not know each other, on a grid: exact to round-off where tilts are weak."""
    t, x = angle_grid(72), torch.linspace(-8, 8, 161, dtype=torch.float64)
    angle = PULL[0] * t.cos() + PULL[1] * t.sin()
    return GridFamily([t, x], angle[:, None] - 0.5 * (x - MEAN).square() / VARIANCE, periodic=(True, False))


def point(angle: float, x: float, log_snr: float) -> SpacetimePoint:
    return SpacetimePoint(torch.tensor([math.cos(angle), math.sin(angle), x], dtype=torch.float64), log_snr)


def random_eta(spacetime: ProductSpacetime, n: int = 50) -> torch.Tensor:
    """Natural parameters at log-SNR between -6 and 8, the angles' precision apart from it."""
    rng = torch.Generator().manual_seed(1)
    center = torch.randn(n, spacetime.n_features, generator=rng, dtype=torch.float64)
    return spacetime.eta(center, torch.rand(n, generator=rng, dtype=torch.float64) * 14 - 6)


def test_chart_and_split_are_inverted_to_round_off():
    """Each block has its own chart; the log-SNR is that of the lines."""
    eta = random_eta(MIXED)
    assert (MIXED.n_features, MIXED.n_statistics, MIXED.n_circles) == (7, 8, 2)
    assert torch.allclose(MIXED.from_chart(MIXED.to_chart(eta)), eta, rtol=1e-9, atol=1e-12)
    center, log_snr = MIXED.split(eta)
    assert torch.allclose(MIXED.eta(center, log_snr), eta, rtol=1e-12, atol=1e-14)
    assert torch.allclose(log_snr, MIXED.lines.split(eta[:, 4:])[1])
    assert torch.allclose(center[:, 4:], MIXED.lines.split(eta[:, 4:])[0])
    # the angles' own precision is relative to the log-SNR of the lines
    radius = center[:, :4].unflatten(1, (2, 2)).norm(dim=-1)
    assert torch.allclose(MIXED.kappa(eta), log_snr.exp()[:, None] * radius)
    assert torch.equal(MIXED.to_chart(eta)[:, :4], MIXED.torus.to_chart(eta[:, :4]))
    entries = [i for group in MIXED.groups for i in range(group.start, group.stop)]
    assert entries == list(range(8))


def test_positions_and_tilts_are_inverted_to_round_off():
    """Angles, then lines, at one level; a curve's angles do not jump by a turn."""
    s = torch.linspace(0, 1, 40, dtype=torch.float64)[:, None]
    positions = torch.cat([7 * s, 1 - 9 * s, s, -s, 0.3 + s], dim=1)
    found = MIXED.positions(MIXED.tilt(positions, 1.7))
    turns = 2 * math.pi * ((positions - found) / (2 * math.pi)).round()
    assert torch.allclose(found, positions - turns[0], atol=1e-12)
    assert torch.equal(turns[:, 2:], torch.zeros(40, 3).double())
    assert torch.allclose(MIXED.kappa(MIXED.tilt(positions, 1.7)), torch.tensor(math.exp(1.7)).double())
    change = torch.tensor([[4.0, -4.0, 4.0, -4.0, 0.0]], dtype=torch.float64)
    assert torch.allclose(MIXED.nearest(change), change - 2 * math.pi * torch.tensor([[1.0, -1.0, 0, 0, 0]]))


def test_every_space_has_its_spacetime():
    """By which features are angles; eta and centers agree with the space's own, scales and order included."""
    assert spacetime_of(feature_space("aa")) == TorusSpacetime(2)
    assert spacetime_of(feature_space("xx"), 2.0, (0.1, 0.2)) == EuclideanSpacetime(2, 2.0, (0.1, 0.2))
    space = feature_space("xax", scale=0.1)
    spacetime = spacetime_of(space, 3.0)
    assert spacetime == ProductSpacetime(TorusSpacetime(1), EuclideanSpacetime(2, 3.0))
    values, level = np.array([[0.3, -2.0, 0.15], [0.1, 3.0, 0.2]]), 2.0
    center = torch.from_numpy(space.statistic(values)[:, :4])
    eta = spacetime.eta(center, torch.full((2,), level, dtype=torch.float64))
    assert np.allclose(eta, space.eta(values, level), rtol=1e-14)
    # positions hold angles first
    assert np.allclose(spacetime.positions(eta)[0], [-2.0, 3.0, 1.5])
    with pytest.raises(ParameterError, match="2 of the features are none"):
        TorusDenoiserFamily(lambda x, level: x, spacetime)


def exact_parts(eta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """psi, mu and the metric of the independent angle and length, in closed form."""
    kappa = (eta[:, :2] + PULL).norm(dim=1)
    gaussian = GaussianFamily(torch.tensor([MEAN]), VARIANCE)
    psi = torch.special.i0(kappa).log() - torch.special.i0(PULL.norm()).log() + gaussian.psi(eta[:, 2:])
    ratio = torch.special.i1(kappa) / torch.special.i0(kappa)
    along = (eta[:, :2] + PULL) / kappa[:, None]
    mu = torch.cat([ratio[:, None] * along, gaussian.mu(eta[:, 2:])], dim=1)
    metric = torch.zeros(len(eta), 4, 4, dtype=torch.float64)
    outer = along[:, :, None] * along[:, None, :]
    radial, across = 1 - ratio / kappa - ratio.square(), ratio / kappa
    metric[:, :2, :2] = radial[:, None, None] * outer + across[:, None, None] * (torch.eye(2) - outer)
    metric[:, 2:, 2:] = gaussian.metric(eta[:, 2:])
    return psi, mu, metric


def test_independent_angle_and_length_agree_with_closed_forms(independent):
    """Bessel functions and a Gaussian: both quadratures of the grid converge faster than any power."""
    eta = torch.tensor([[1.2, -0.5, 0.3, -0.4], [0.0, 0.0, 0.0, 0.0], [-3.0, 2.0, -1.0, -0.2]]).double()
    psi, mu, metric = exact_parts(eta)
    assert torch.allclose(independent.psi(eta), psi, rtol=0, atol=1e-8)
    assert torch.allclose(independent.mu(eta), mu, rtol=0, atol=1e-8)
    assert torch.allclose(fisher_metric(independent, eta), metric, rtol=0, atol=1e-8)


def test_angle_and_length_that_know_each_other_agree_with_quadrature():
    """ln p0 = cos(t - x) - x^2: Gauss-Legendre on the line and another grid on the circle, at 1e-8."""

    def log_density(t, x):
        return np.cos(t - x) - x**2

    t, x = angle_grid(64), torch.linspace(-7, 7, 181, dtype=torch.float64)
    family = GridFamily(
        [x, t], torch.from_numpy(log_density(t.numpy(), x.numpy()[:, None])), periodic=(False, True)
    )
    nodes, weights = np.polynomial.legendre.leggauss(120)
    fine = np.arange(91) * 2 * math.pi / 91
    grid_t, grid_x = np.meshgrid(fine, 7 * nodes, indexing="ij")
    statistic = np.stack([np.cos(grid_t), np.sin(grid_t), grid_x, grid_x**2], axis=-1)
    eta = np.array([0.8, -1.1, 0.6, -0.3])
    prior = np.exp(log_density(grid_t, grid_x)) * weights
    tilted = prior * np.exp(statistic @ eta)
    z = tilted.sum()
    mean = np.einsum("tx,txk->k", tilted, statistic) / z
    covariance = np.einsum("tx,txk,txl->kl", tilted, statistic - mean, statistic - mean) / z
    given = torch.from_numpy(eta)[None]
    assert float(family.psi(given)) == pytest.approx(math.log(z / prior.sum()), abs=1e-8)
    assert np.allclose(family.mu(given)[0], mean, rtol=0, atol=1e-8)
    assert np.allclose(family.metric(given)[0], covariance, rtol=0, atol=1e-8)
    with pytest.raises(ParameterError, match="each of 2 axes, but got 1"):
        GridFamily([t, t], torch.zeros(64, 64), periodic=[True])


def test_scores_are_gradients_of_the_blurred_density(independent):
    """ln p_l = psi less the spring of the lines, by automatic differentiation."""
    leaf = torch.tensor([[0.4, 1.0], [-2.0, 0.1]], dtype=torch.float64, requires_grad=True)
    spacetime, level = independent.spacetime, 1.3
    eta = spacetime.tilt(leaf, level)
    log_p = independent.psi(eta) - 0.5 * math.exp(level) * leaf[:, 1].square()
    (exact,) = torch.autograd.grad(log_p.sum(), leaf)
    found = spacetime.blurred_score(leaf, level, independent.mu(eta)).detach()
    assert torch.allclose(found, exact, atol=1e-10)


def test_squares_of_lengths_add_up(independent):
    """The metric of independent features is a direct sum, so L^2 is that of the angle plus that of the length."""
    x = torch.linspace(-8, 8, 161, dtype=torch.float64)
    t = angle_grid(72)
    angle = GridFamily([t], PULL[0] * t.cos() + PULL[1] * t.sin(), periodic=True)
    length = GridFamily([x], -0.5 * (x - MEAN).square() / VARIANCE, periodic=False)
    a, b = point(-1.0, -0.8, 2.0), point(1.5, 1.0, 2.5)
    together = find_geodesic(independent, a, b)
    apart = [
        find_geodesic(family, *(SpacetimePoint(p.center[part], p.log_snr) for p in (a, b))).length
        for family, part in ((angle, slice(0, 2)), (length, slice(2, 3)))
    ]
    assert together.status == "converged"
    # chords at 64 points are off by 1e-4
    assert together.length == pytest.approx(math.hypot(*apart), rel=3e-4)
    assert min(apart) > 1


def test_lines_wind_as_told(independent):
    """Angles go round, lengths go straight, and the log-SNR of both is linear."""
    a, b = point(2.5, -1.0, 2.0), point(-2.5, 1.0, 3.0)
    for windings in ((0,), (-1,), (2,)):
        for line in (
            straight_line(independent, a, b, windings=windings, n_points=96),
            winding_line(independent.spacetime, a, b, 96, windings),
        ):
            eta = line if isinstance(line, torch.Tensor) else line.eta
            positions = independent.spacetime.positions(eta)
            short = 2 * math.pi - 5.0
            assert float(positions[-1, 0] - positions[0, 0]) == pytest.approx(
                short + 2 * math.pi * windings[0], abs=1e-12
            )
            assert float(positions.diff(n=2, dim=0).abs().max()) < 1e-12
            assert torch.allclose(independent.spacetime.split(eta)[1], torch.linspace(2, 3, 96).double())
            kappa = independent.spacetime.kappa(eta)[:, 0]
            assert torch.allclose(kappa.log(), torch.linspace(2, 3, 96).double())
        assert winding_numbers(straight_line(independent, a, b, windings=windings)) == windings
    with pytest.raises(CurveError, match="1 angles, but got 2"):
        straight_line(independent, a, b, windings=(0, 0))
    flat = GaussianFamily(torch.zeros(2), 1.0)
    line = winding_line(
        flat.spacetime, SpacetimePoint(torch.zeros(2), 1.0), SpacetimePoint(torch.ones(2), 2.0), 5, ()
    )
    assert torch.allclose(flat.spacetime.split(line)[0][:, 0], torch.linspace(0, 1, 5).double())


def test_a_floor_makes_two_channels_of_the_two_ways_round(independent):
    """The floor holds for the angle and for the lines at every point."""
    a, b = point(0.2, -0.5, 3.0), point(2.9, 1.0, 3.0)
    channels = find_channels(independent, a, b, constraints=[LogSnrFloor(1.5)], n_points=16)
    assert [c.geodesic.status for c in channels] == ["converged", "converged"]
    assert {geodesic_windings(c.geodesic.curve) for c in channels} == {(0,), (-1,)}
    for channel in channels:
        curve = channel.geodesic.curve
        assert float(independent.spacetime.kappa(curve.eta).log().min()) >= 1.5 - 1e-3
        assert float(curve.log_snr.min()) >= 1.5 - 1e-3
    assert geodesic_windings(find_geodesic(independent, a, b, n_points=24).curve, (2,)) == (2,)


def test_a_ceiling_bounds_angles_and_lengths(independent):
    """Both columns: sqrt(1 - |mu|^2) of the angle, sqrt(E x^2 - (E x)^2) of the length."""
    a, b = point(-0.8, -0.8, 3.0), point(1.0, 1.2, 3.0)
    found = find_geodesic(independent, a, b, constraints=[StdCeiling(0.5)], n_points=24)
    mu = found.curve.mu
    assert found.status == "converged"
    assert float((1 - mu[:, :2].square().sum(1)).sqrt().max()) < 0.501
    assert float((mu[:, 3] - mu[:, 2].square()).sqrt().max()) < 0.501
    free = find_geodesic(independent, a, b, n_points=24).curve.mu
    assert float((1 - free[:, :2].square().sum(1)).sqrt().max()) > 0.6


def test_flat_products_are_flat(independent):
    """Without weight the score metric is that of the positions: half the squared distance, with the turns."""
    a, b = point(0.0, 0.0, 2.0), point(2.0, 1.0, 2.0)
    start = straight_line(independent, a, b, n_points=60, windings=(-1,))
    found = score_metric_geodesic(independent, a, b, log_snr=2.0, weight=0.0, start=start, n_points=32)
    assert found.value == pytest.approx(((2 - 2 * math.pi) ** 2 + 1) / 2, rel=1e-6)
    assert winding_numbers(found.curve) == (-1,)
    wide = GridFamily(
        [angle_grid(36), torch.linspace(-9, 9, 91).double()], torch.zeros(36, 91), periodic=(True, False)
    )
    # no force on the angle, none on the length far from the grid's ends: the free action, T = L^2 / 2
    assert onsager_machlup_path(wide, a, b, log_snr=2.0, n_points=32).value == pytest.approx(0.5, rel=1e-5)


def test_m_geodesics_leave_spacetime_where_the_mixture_is_wide(independent):
    """Two ends apart in the length: wider than the data half-way."""
    with pytest.raises(CurveError, match="leaves spacetime at s"):
        m_geodesic(independent, point(0.0, -3.0, 3.0), point(0.1, 3.0, 3.0))


@pytest.mark.parametrize("method", CURVE_METHODS)
def test_every_method_has_a_curve_in_a_product(independent, method):
    """From one end to the other at equal steps; those of one level stay on it."""
    a, b = point(-0.6, 0.0, 2.0), point(0.4, 0.6, 2.0)
    family = independent
    geodesic = find_geodesic(family, a, b, n_points=24)
    problem = MethodProblem(family, a, b, 24, 1.0, geodesic, geodesic_windings(geodesic.curve), frames=family)
    found = follow(method, problem)
    assert found.status == "converged"
    level = 1.0 if float(found.curve.log_snr[0]) == pytest.approx(1.0) else 2.0
    assert (level == 1.0) == (
        method in ("max-flux", "pullback", "score-metric", "score-jacobian", "string", "onsager-machlup")
    )
    if method == "pullback":
        return  # its ends are where the ODE carries the clean ends
    ends = [eta_of(family.spacetime, SpacetimePoint(p.center, level)) for p in (a, b)]
    assert torch.allclose(found.curve.eta[[0, -1]], torch.stack(ends), rtol=1e-9)
    if not method.startswith("straight-line"):
        assert 2 * curve_energy(found.curve) / fisher_rao_length(found.curve) ** 2 == pytest.approx(
            1, abs=1e-3
        )


def test_unknown_methods_are_refused(independent):
    """With the nearest name."""
    with pytest.raises(ParameterError, match=r"'geodesik'; did you mean 'geodesic'"):
        follow("geodesik", None)
