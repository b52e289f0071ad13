"""The other curves people draw: probability flow, score metrics, strings, actions, each against an exact answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_bvp

from tps.errors import CurveError, ParameterError
from tps.spacetime import (
    EmpiricalFamily,
    GaussianFamily,
    GaussianMixtureFamily,
    GridFamily,
    SpacetimeCurve,
    SpacetimePoint,
    TorusSpacetime,
    minimum_free_energy_path,
    noise_metric,
    onsager_machlup_path,
    probability_flow,
    pullback_geodesic,
    score,
    score_jacobian_geodesic,
    score_metric_geodesic,
    straight_line,
    winding_numbers,
)


@pytest.fixture(scope="module")
def bent() -> GaussianMixtureFamily:
    """Wells along a half circle: a curved band of data."""
    angle = torch.linspace(0, math.pi, 9, dtype=torch.float64)
    means = torch.stack([angle.cos(), angle.sin()], dim=1)
    return GaussianMixtureFamily(torch.ones(9), means, torch.full((9,), 0.04))


ENDS = SpacetimePoint(torch.tensor([1.0, 0.0]), 3.0), SpacetimePoint(torch.tensor([-1.0, 0.0]), 3.0)


def test_score_is_the_gradient_of_the_blurred_density(bent):
    """Tweedie against the derivative of the mixture convolved with the noise."""
    level = 2.0
    c = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_(
        True
    )
    variance = 0.04 + math.exp(-level)
    log_p = torch.logsumexp(-0.5 * torch.cdist(c, bent.means).square() / variance, dim=1)
    (exact,) = torch.autograd.grad(log_p.sum(), c)
    assert torch.allclose(score(bent, c.detach(), level), exact, atol=1e-10)


def test_probability_flow_of_a_gaussian_is_exact():
    """Centers keep (c - m) / sqrt(v + e^-l); fourth order: the error falls by 16 when the step is halved."""
    family = GaussianFamily(torch.tensor([0.5, -1.0]), 0.7)
    start = torch.tensor([[2.0, 0.3], [-1.0, 1.0]], dtype=torch.float64)
    ratio = math.sqrt((0.7 + math.exp(-6)) / (0.7 + math.exp(4)))
    exact = family.mean + ratio * (start - family.mean)
    errors = [
        float((probability_flow(family, start, log_snr_from=-4, log_snr_to=6, n_steps=n) - exact).abs().max())
        for n in (20, 40)
    ]
    assert errors[1] < 1e-5
    assert math.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.3)


def test_probability_flow_runs_both_ways(bent):
    """Encode and decode again."""
    start = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = probability_flow(bent, start, log_snr_from=6, log_snr_to=-4, n_steps=400)
    assert torch.allclose(
        probability_flow(bent, noise, log_snr_from=-4, log_snr_to=6, n_steps=400), start, atol=1e-4
    )
    with pytest.raises(ParameterError, match="0"):
        probability_flow(bent, start, log_snr_from=0, log_snr_to=1, n_steps=0)


def test_pullback_geodesic_decodes_to_a_straight_segment(bent):
    """However bent the data: the deterministic decoder carries its geodesic to the segment between the ends."""
    curve = pullback_geodesic(bent, *ENDS, log_snr=-1.0, data_log_snr=7.0, n_points=21, n_steps=400)
    assert torch.allclose(curve.log_snr, torch.tensor(-1.0).double())
    decoded = probability_flow(bent, curve.center, log_snr_from=-1.0, log_snr_to=7.0, n_steps=400)
    segment = torch.lerp(ENDS[0].center, ENDS[1].center, torch.linspace(0, 1, 21).double()[:, None])
    assert torch.allclose(decoded, segment, atol=1e-3)
    # which is not straight in the noise
    assert float(curve.center[:, 1].abs().max()) > 0.05


def test_noise_metric_of_a_gaussian_is_exact():
    """Cov[f | x] = v / (1 + v e^l) whatever x, so the metric is (alpha / sigma**2)**2 of that at every level."""
    variance, x = 0.7, torch.tensor([[2.0, 0.3], [-1.0, 1.0]]).double()
    family = GaussianFamily(torch.tensor([0.5, -1.0]), variance)
    for level in (-6.0, 0.0, 4.0):
        snr = math.exp(level)
        exact = snr * (1 + snr) * variance / (1 + variance * snr)
        expected = (exact * torch.eye(2).double()).expand(2, 2, 2)
        assert torch.allclose(noise_metric(family, x, level), expected, rtol=1e-12, atol=0)


def test_noise_forgets_the_data_at_the_rate_of_their_covariance(bent):
    """Cov[f | x] = Cov[f] + kappa_3[f] . eta + ..., eta = e^(l/2) x: the metric over e^l is Cov[f] to order 1/2."""
    weights, means = bent.log_weights.exp(), bent.means
    apart = means - weights @ means
    covariance = torch.einsum("k,ki,kj->ij", weights, apart, apart) + 0.04 * torch.eye(2).double()
    third = torch.einsum(
        "k,ki,kj,kl->ijl", weights, apart, apart, apart
    )  # Gaussians of one width add nothing
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    left, after = [], []
    for level in (-10.0, -10.0 - 2 * math.log(2)):
        snr = math.exp(level)
        change = noise_metric(bent, x, level) / snr - covariance
        left.append(float(change.abs().max()))
        after.append(float((change - math.sqrt(snr) * torch.einsum("ijl,nl->nij", third, x)).abs().max()))
    assert math.log2(left[0] / left[1]) == pytest.approx(1, abs=0.05)
    assert math.log2(after[0] / after[1]) == pytest.approx(2, abs=0.05)


def test_noise_metric_of_angles_tends_to_the_covariance_of_their_vectors():
    """Two opposite frames on a circle: (cos, sin) = (+-1, 0), Cov = diag(1, 0), and only that direction is left."""
    frames = torch.tensor([[0.0], [math.pi]], dtype=torch.float64)
    family = EmpiricalFamily(
        torch.cat([frames.cos(), frames.sin()], dim=1), torch.zeros(2), TorusSpacetime(1)
    )
    x = torch.tensor([[0.3, 1.2], [-2.0, 0.1]]).double()
    level = -9.0
    snr = math.exp(level)
    exact = snr * (1 + snr) / torch.cosh(math.sqrt(snr * (1 + snr)) * x[:, 0]).square()
    found = noise_metric(family, x, level)
    assert torch.allclose(found[:, 0, 0], exact, rtol=1e-10)
    assert float(found[:, 1].abs().max()) < 1e-12 * snr


def test_score_metric_geodesic_of_a_gaussian_in_one_dimension():
    """D = 1: metric 1 + w x^2 / v^2 is a change of variable, so the curve has equal steps of its arc length."""
    family, level, weight = GaussianFamily(torch.zeros(1), 0.5), 2.0, 3.0
    a, b = SpacetimePoint(torch.tensor([-1.0]), level), SpacetimePoint(torch.tensor([2.0]), level)
    found = score_metric_geodesic(family, a, b, log_snr=level, weight=weight, n_points=201)
    k = math.sqrt(weight) / (0.5 + math.exp(-level))

    def arc(x: np.ndarray) -> np.ndarray:
        return 0.5 * (x * np.sqrt(1 + (k * x) ** 2) + np.arcsinh(k * x) / k)

    assert found.status == "converged"
    assert found.value == pytest.approx(0.5 * (arc(2.0) - arc(-1.0)) ** 2, rel=1e-3)
    steps = np.diff(arc(found.curve.center[:, 0].numpy()))
    assert steps.max() / steps.min() < 1.05
    with pytest.raises(ParameterError, match="-1"):
        score_metric_geodesic(family, a, b, log_snr=level, weight=-1.0)


def test_without_weight_the_score_metric_is_euclidean(bent):
    """And with it the curve avoids regions of strong score: it stays nearer to the band."""
    straight = score_metric_geodesic(bent, *ENDS, log_snr=3.0, weight=0.0)
    assert float(straight.curve.center[:, 1].abs().max()) < 1e-6
    assert straight.value == pytest.approx(2.0, rel=1e-9)


def test_score_jacobian_geodesic_follows_the_data(bent):
    """From the straight start between the ends of a half circle it moves onto the band; J = -I/v is Euclidean."""
    found = score_jacobian_geodesic(bent, *ENDS, log_snr=3.0)
    assert found.status == "converged"
    radius = found.curve.center.norm(dim=1)
    assert float((radius - 1).abs().max()) < 0.3
    family = GaussianFamily(torch.zeros(2), 1.0)
    flat = score_jacobian_geodesic(family, *ENDS, log_snr=3.0, ridge=0.0)
    # s = -c / (1 + e^-3), and the unit is e^3
    assert flat.value == pytest.approx(2.0 / (1 + math.exp(-3)) ** 2 * math.exp(-6), rel=1e-6)


def test_string_finds_the_band_and_its_barriers(bent):
    """A symmetric bent valley: the path is its ridge line, the free energy that of the blurred density."""
    start = torch.linspace(0, math.pi, 64, dtype=torch.float64)
    arc = torch.stack([start.cos(), 0.7 * start.sin()], dim=1)
    guess = SpacetimeCurve.from_eta(bent, bent.spacetime.eta(arc, torch.full((64,), 3.0).double()))
    found = minimum_free_energy_path(bent, *ENDS, log_snr=3.0, start=guess)
    assert found.status == "converged"
    c = found.curve.center
    variance = 0.04 + math.exp(-3)
    log_p = torch.logsumexp(-0.5 * torch.cdist(c, bent.means).square() / variance, dim=1)
    assert torch.allclose(found.free_energy, log_p[0] - log_p, atol=1e-10)
    # the definition: no force across the path
    force = score(bent, c, 3.0)[1:-1]
    tangent = (c[2:] - c[:-2]) / (c[2:] - c[:-2]).norm(dim=1, keepdim=True)
    across = force - (force * tangent).sum(1, keepdim=True) * tangent
    assert float(across.norm(dim=1).max()) * math.exp(-1.5) < 2e-3
    # mirror symmetry
    assert torch.allclose(c, c.flip(0) * torch.tensor([-1.0, 1.0]), atol=5e-3)


def test_string_on_a_torus_goes_through_the_saddle():
    """U = -(cos 2 phi + cos 2 psi) kT: straight valleys, a saddle at pi/2, and the kernel estimate's barrier."""
    angle = torch.linspace(-math.pi, math.pi, 121, dtype=torch.float64)[:-1]
    potential = -2 * ((2 * angle).cos()[:, None] + (2 * angle).cos()[None, :])
    family = GridFamily([angle, angle], -potential, periodic=True)
    a = SpacetimePoint(torch.tensor([1.0, 0.0, 1.0, 0.0]), 5.0)
    b = SpacetimePoint(torch.tensor([-1.0, 1e-6, 1.0, 0.0]), 5.0)
    found = minimum_free_energy_path(family, a, b, log_snr=5.0)
    assert found.status == "converged"
    angles = family.spacetime.angles(found.curve.eta)
    assert float(angles[:, 1].abs().max()) < 0.02
    top = family.psi(
        family.spacetime.eta_from_angles(
            torch.tensor([[math.pi / 2, 0.0]]).double(), torch.tensor(math.exp(5.0))
        )
    )
    # 64 images have one within 0.025 rad of the saddle
    assert float(found.free_energy.max()) == pytest.approx(float(found.curve.psi[0] - top), abs=0.01)


def test_onsager_machlup_path_of_a_harmonic_well_is_exact():
    """x'' = k^2 x: x = (x_b sinh k t + x_a sinh k (T - t)) / sinh k T, second order in the time step."""
    family, level, time = GaussianFamily(torch.zeros(1), 0.5), 2.0, 1.2
    k = 1 / (0.5 + math.exp(-level))
    a, b = SpacetimePoint(torch.tensor([-1.0]), level), SpacetimePoint(torch.tensor([1.5]), level)
    errors = []
    for n in (51, 101):
        found = onsager_machlup_path(family, a, b, log_snr=level, duration=time, n_points=n, rtol=1e-10)
        t = np.linspace(0, time, n)
        exact = (1.5 * np.sinh(k * t) - np.sinh(k * (time - t))) / np.sinh(k * time)
        errors.append(np.abs(found.curve.center[:, 0].numpy() - exact).max())
    assert errors[1] < 1e-3
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.2)


def test_onsager_machlup_path_between_two_wells_solves_its_euler_lagrange_equation():
    """Against scipy's collocation solver for x'' = d/dx (|s|^2 / 2 + s'), one dimension, two wells."""
    family = GaussianMixtureFamily(torch.ones(2), torch.tensor([[-1.0], [1.0]]), torch.full((2,), 0.3))
    level, time = 3.0, 2.0
    a, b = SpacetimePoint(torch.tensor([-1.0]), level), SpacetimePoint(torch.tensor([1.0]), level)
    found = onsager_machlup_path(family, a, b, log_snr=level, duration=time, n_points=201, rtol=1e-9)

    def force(x: np.ndarray) -> np.ndarray:
        leaf = torch.from_numpy(x)[:, None].requires_grad_(True)
        s = score(family, leaf, level)
        (slope,) = torch.autograd.grad(s.sum(), leaf, create_graph=True)
        (total,) = torch.autograd.grad((s.square() / 2 + slope).sum(), leaf)
        return total[:, 0].numpy()

    t = np.linspace(0, time, 201)
    guess = np.stack([found.curve.center[:, 0].numpy(), np.gradient(found.curve.center[:, 0].numpy(), t)])
    exact = solve_bvp(
        lambda t, y: np.stack([y[1], force(y[0])]),
        lambda p, q: np.array([p[0] + 1, q[0] - 1]),
        t,
        guess,
        tol=1e-6,
    )
    assert exact.success
    assert np.abs(found.curve.center[:, 0].numpy() - exact.sol(t)[0]).max() < 2e-3
    with pytest.raises(ParameterError, match="are the ends the same"):
        onsager_machlup_path(family, a, a, log_snr=level)


@pytest.fixture(scope="module")
def circle() -> GridFamily:
    """Two wells on a circle, 1.6 and 2.5 rad deep enough to be felt."""
    angle = torch.linspace(-math.pi, math.pi, 241, dtype=torch.float64)[:-1]
    return GridFamily([angle], 2 * (2 * angle).cos() + 0.5 * angle.sin(), periodic=True)


def on_circle(angle: float, log_snr: float = 3.0) -> SpacetimePoint:
    return SpacetimePoint(torch.tensor([math.cos(angle), math.sin(angle)]), log_snr)


def angular_score(family: GridFamily, angles: np.ndarray, log_snr: float) -> np.ndarray:
    """d psi / d angle at stiffness e^l, by automatic differentiation of psi."""
    leaf = torch.from_numpy(angles)[:, None].requires_grad_(True)
    eta = family.spacetime.eta_from_angles(leaf, torch.full_like(leaf, math.exp(log_snr)))
    return torch.autograd.grad(family.psi(eta).sum(), leaf)[0][:, 0].numpy()


@pytest.mark.parametrize("windings", [(0,), (-1,), (1,)])
def test_score_metric_on_a_circle_measures_the_way_its_start_takes(circle, windings):
    """One torsion: the energy is half the squared integral of sqrt(1 + w s^2) over the angles passed, either way."""
    level, weight, a, b = 3.0, 0.1, 0.3, 2.6
    start = straight_line(circle, on_circle(a), on_circle(b), windings=windings)
    options = {"log_snr": level, "n_points": 257, "start": start}
    found = score_metric_geodesic(circle, on_circle(a), on_circle(b), weight=weight, **options)
    fine = np.linspace(a, b + 2 * math.pi * windings[0], 20001)
    exact = np.trapezoid(np.sqrt(1 + weight * angular_score(circle, fine, level) ** 2), fine)
    assert found.status == "converged"
    assert winding_numbers(found.curve) == windings
    assert found.value == pytest.approx(exact**2 / 2, rel=2e-3)
    assert torch.allclose(found.curve.log_snr, torch.tensor(level).double())


def test_uniform_torsions_are_flat(circle):
    """No score: every functional is that of a straight line with the turns of its start, T = L^2 / 2 as duration."""
    angle = torch.linspace(-math.pi, math.pi, 37, dtype=torch.float64)[:-1]
    family = GridFamily([angle, angle], torch.zeros(36, 36), periodic=True)
    a, b = (SpacetimePoint(torch.tensor([1.0, 0.0, math.cos(x), math.sin(x)]), 2.0) for x in (0.0, 2.0))
    start = straight_line(family, a, b, n_points=90, windings=(1, -1))
    squared = (2 * math.pi) ** 2 + (2 - 2 * math.pi) ** 2
    options = {"log_snr": 2.0, "start": start, "n_points": 40}
    metric = score_metric_geodesic(family, a, b, **options)
    assert metric.value == pytest.approx(squared / 2, rel=1e-6)
    jacobian = score_jacobian_geodesic(family, a, b, ridge=0.5, **options)
    assert jacobian.value == pytest.approx(squared / 4, rel=1e-6)
    assert onsager_machlup_path(family, a, b, **options).value == pytest.approx(0.5, rel=1e-6)
    path = minimum_free_energy_path(family, a, b, **options)
    assert path.status == "converged"
    for found in (metric, jacobian, path):
        assert winding_numbers(found.curve) == (1, -1)


def test_string_winds_as_its_start_does(circle):
    """The other way round crosses the other barrier, whose height is psi's difference."""
    a, b = 0.0, math.pi - 1e-6
    tops = []
    for windings in ((0,), (-1,)):
        start = straight_line(circle, on_circle(a), on_circle(b), windings=windings)
        found = minimum_free_energy_path(
            circle, on_circle(a), on_circle(b), log_snr=3.0, start=start, n_points=129
        )
        assert winding_numbers(found.curve) == windings
        angles = torch.linspace(a, b + 2 * math.pi * windings[0], 2001, dtype=torch.float64)[:, None]
        psi = circle.psi(circle.spacetime.eta_from_angles(angles, torch.tensor(math.exp(3.0)).double()))
        # images are 0.025 rad apart: half a step off the top, at a curvature of 8 kT/rad^2, costs 6e-4 kT
        assert float(found.free_energy.max()) == pytest.approx(float(psi[0] - psi.min()), abs=2e-3)
        tops.append(float(found.free_energy.max()))
    assert abs(tops[0] - tops[1]) > 0.5


def jacobian_energy(family: GaussianMixtureFamily, center: torch.Tensor, level: float, ridge: float) -> float:
    """(N - 1)/2 sum e^(-2 l) |ds|**2 + ridge |dc|**2 over the points as they are."""
    change, steps = score(family, center, level).diff(dim=0), center.diff(dim=0)
    return (
        0.5 * len(steps) * float(math.exp(-2 * level) * change.square().sum() + ridge * steps.square().sum())
    )


def test_starts_lead_to_other_valleys_and_must_fit(bent):
    """Wells on a half circle: from the band's mirror image the curve ends below; starts that miss are refused."""
    angle = torch.linspace(0, math.pi, 50, dtype=torch.float64)
    levels = torch.full((50,), 3.0, dtype=torch.float64)
    arcs = [
        SpacetimeCurve.from_eta(
            bent, bent.spacetime.eta(torch.stack([angle.cos(), sign * angle.sin()], dim=1), levels)
        )
        for sign in (1, -1)
    ]
    ring = GaussianMixtureFamily(
        torch.ones(18), torch.cat([bent.means, bent.means * torch.tensor([1, -1])]), torch.full((18,), 0.04)
    )
    ridge, rtol, n_points = 1e-3, 1e-12, 64
    options = {"log_snr": 3.0, "ridge": ridge, "rtol": rtol, "n_points": n_points}
    above, below = (score_jacobian_geodesic(ring, *ENDS, start=arc, **options) for arc in arcs)
    assert above.status == below.status == "converged"
    assert float(above.curve.center[32, 1]) > 0.7
    # The solver stops when the decrease it predicts is rtol of the start's energy. It predicts by an inverse Hessian
    # that knows the softest wave last, 5 to 20 times too little here: 100 times that is what the value may miss the
    # minimum by. There E rises by h d²/2, and nothing but the ridge keeps points from sliding along the band:
    # h = ridge π²/(n - 1) for their slowest wave. So either curve misses by d = sqrt(2 E/h) at most, 2e-4, a square
    # root of what its value does; the two are 2 apart.
    missed = 100 * rtol * jacobian_energy(ring, arcs[0].center, 3.0, ridge)
    slid = math.sqrt(2 * missed / (ridge * math.pi**2 / (n_points - 1)))
    assert above.value == pytest.approx(below.value, rel=0, abs=missed)
    assert torch.allclose(above.curve.center * torch.tensor([1, -1]), below.curve.center, atol=2 * slid)
    with pytest.raises(CurveError, match="misses the end points by 2 over a length of 3"):
        onsager_machlup_path(bent, *reversed(ENDS), log_snr=3.0, start=arcs[0])


def test_onsager_machlup_path_takes_frames_on_a_torus(circle):
    """Weighted frames differentiate three times: the stationary path has no first variation, by finite differences."""
    a, b, level = on_circle(0.3), on_circle(2.6), 2.0
    found = onsager_machlup_path(circle, a, b, log_snr=level, duration=2.0, n_points=41, rtol=1e-10)
    assert found.status == "converged"
    assert isinstance(found.curve.spacetime, TorusSpacetime)
    angles = np.unwrap(circle.spacetime.angles(found.curve.eta)[:, 0].numpy())

    def action(x: np.ndarray) -> float:
        dt, h = 2.0 / 40, 1e-5
        s = angular_score(circle, x, level)
        slope = (angular_score(circle, x + h, level) - angular_score(circle, x - h, level)) / (2 * h)
        rate = s**2 / 4 + slope / 2
        return (np.diff(x) ** 2).sum() / (4 * dt) + dt * (rate[1:] + rate[:-1]).sum() / 2

    assert found.value == pytest.approx(action(angles), rel=1e-7)
    bump = np.sin(np.linspace(0, math.pi, 41))
    for wave in (bump, bump * np.cos(np.linspace(0, 2 * math.pi, 41))):
        variation = (action(angles + 1e-3 * wave) - action(angles - 1e-3 * wave)) / 2e-3
        curvature = (action(angles + 1e-2 * wave) + action(angles - 1e-2 * wave) - 2 * found.value) / 1e-4
        # the distance to the minimum along this wave
        assert abs(variation / curvature) < 1e-4
