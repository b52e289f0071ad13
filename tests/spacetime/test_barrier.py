"""Free energies along curves against quadrature, their errors against the scatter of many samples, ranks, reuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate
from scipy.special import i0e

from tps.errors import ParameterError
from tps.features import FeatureSpace
from tps.spacetime import (
    DenoiserFamily,
    EuclideanSpacetime,
    GaussianMixtureFamily,
    GridFamily,
    LogSnrFloor,
    ProductSpacetime,
    SpacetimePoint,
    TorusSpacetime,
    anchors,
    empirical_family,
    find_channels,
    free_energy_profile,
    means_place,
    ranked,
    straight_line,
    tethered_free_energy,
)
from tps.systems import load_system

SPACETIMES = [
    TorusSpacetime(2),
    EuclideanSpacetime(2),
    ProductSpacetime(TorusSpacetime(1), EuclideanSpacetime(1)),
]


@pytest.mark.parametrize("spacetime", SPACETIMES, ids=["torus", "lines", "product"])
def test_flat_psi_is_the_integral_of_the_tilt(spacetime):
    """ln of the integral of e^(eta . T), circles over 2 pi, by the trapezoidal rule: spectral for both kinds."""
    position = torch.tensor([[0.4, -0.7]], dtype=torch.float64)
    eta = spacetime.tilt(position, 1.1)
    circles = spacetime.n_circles
    axes = [
        torch.linspace(-math.pi, math.pi, 401, dtype=torch.float64)[:-1]
        if axis < circles
        else torch.linspace(-8, 8, 801, dtype=torch.float64)
        for axis in range(2)
    ]
    space = FeatureSpace(
        ("a", "b"),
        tuple(axis < circles for axis in range(2)),
        tuple("rad" if axis < circles else "" for axis in range(2)),
        (1.0, 1.0),
        np.array([(-math.pi, math.pi)] * circles + [(-8.0, 8.0)] * (2 - circles)),
    )
    points = torch.stack([m.flatten() for m in torch.meshgrid(*axes, indexing="ij")], dim=1)
    tilt = torch.as_tensor(space.statistic(points.numpy())) @ eta[0]
    cell = math.prod(float(axis[1] - axis[0]) for axis in axes) / (2 * math.pi) ** circles
    assert float(spacetime.flat_psi(eta)) == pytest.approx(
        float(tilt.logsumexp(0)) + math.log(cell), abs=1e-9
    )
    # its gradient is the mean of T under the tilt alone
    leaf = eta.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(spacetime.flat_psi(leaf).sum(), leaf)
    mean = torch.softmax(tilt, 0) @ torch.as_tensor(space.statistic(points.numpy()))
    assert torch.allclose(slope[0], mean, atol=1e-8)


def test_free_energy_is_that_of_the_smoothed_density():
    """A mixture of Gaussians stays one when smoothed: -ln p with the variances v + e^-l, in closed form."""
    family = GaussianMixtureFamily(
        torch.tensor([0.7, 0.3], dtype=torch.float64),
        torch.tensor([[-1.0, 0.0], [1.0, 0.3]], dtype=torch.float64),
        torch.tensor([0.05, 0.08], dtype=torch.float64),
    )
    a, b = SpacetimePoint(torch.tensor([-1.0, 0.0]), 4.0), SpacetimePoint(torch.tensor([1.0, 0.3]), 3.0)
    curve = straight_line(family, a, b, n_points=41)
    center, noise = curve.center, (-curve.log_snr).exp()
    parts = []
    for weight, mean, variance in ((0.7, [-1.0, 0.0], 0.05), (0.3, [1.0, 0.3], 0.08)):
        width = variance + noise
        far = (center - torch.tensor(mean, dtype=torch.float64)).square().sum(1)
        parts.append(math.log(weight) - far / (2 * width) - (2 * math.pi * width).log())
    exact = -torch.stack(parts).logsumexp(0)
    assert torch.allclose(tethered_free_energy(family, curve.eta), exact, atol=1e-9)
    found = free_energy_profile(curve)
    assert torch.allclose(found.values, exact - exact[0], atol=1e-9)
    barrier = found.barrier
    assert barrier.index == int(exact.argmax())
    assert barrier.above_b == pytest.approx(float(exact.max() - exact[-1]), abs=1e-9)
    assert barrier.error_a is None


def test_free_energy_of_a_denoiser_is_integrated():
    """Without psi the same profile to second order in the steps: a quarter of the error with half of them."""
    family = GaussianMixtureFamily(
        torch.tensor([0.7, 0.3]), torch.tensor([[-1.0], [1.0]]), torch.tensor([0.1, 0.1])
    )

    def exact(x: torch.Tensor, log_snr: torch.Tensor) -> torch.Tensor:
        eta = family.spacetime.eta(x / torch.sigmoid(log_snr).sqrt()[:, None], log_snr)
        return family.mu(eta)[:, :1]

    a, b = SpacetimePoint(torch.tensor([-1.0]), 3.0), SpacetimePoint(torch.tensor([1.0]), 3.0)
    errors = []
    for n in (41, 81):
        known = free_energy_profile(straight_line(family, a, b, n_points=n))
        bare = free_energy_profile(straight_line(DenoiserFamily(exact, 1), a, b, n_points=n))
        errors.append(float((known.values - bare.values).abs().max()))
    assert errors[1] < 2e-2
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


def test_error_of_a_barrier_is_the_scatter_of_many_samples():
    """100 samples of a double well: their mean error against the scatter of their barriers, 10 blocks each."""
    space = FeatureSpace(("x",), (False,), ("",), (1.0,), np.array([[-3.0, 3.0]]))
    rng, found = np.random.default_rng(0), []
    for _ in range(100):
        side = rng.choice([-1.0, 1.0], size=2000)
        frames = empirical_family(space, (side + 0.5 * rng.normal(size=2000))[:, None], np.zeros(2000))
        a, b = SpacetimePoint(torch.tensor([-1.0]), 3.0), SpacetimePoint(torch.tensor([1.0]), 3.0)
        curve = straight_line(frames, a, b, n_points=21)
        found.append(free_energy_profile(curve, frames).barrier)
    scatter = np.std([barrier.above_a for barrier in found], ddof=1)
    stated = math.sqrt(np.mean([barrier.error_a**2 for barrier in found]))
    # the scatter of 100 is known within 7 %, and the highest of 21 points moves with the sample
    assert stated == pytest.approx(scatter, rel=0.25)


def test_what_the_frames_say_otherwise_is_part_of_the_error():
    """A family with another weight of B: its F is off by the difference, above A, and not between points beyond."""
    a, b = SpacetimePoint(torch.tensor([-1.0]), 4.0), SpacetimePoint(torch.tensor([1.0]), 4.0)
    means, widths = torch.tensor([[-1.0], [1.0]]), torch.tensor([0.04, 0.04])
    family = GaussianMixtureFamily(torch.tensor([0.5, 0.5]), means, widths)
    axis = torch.linspace(-2.5, 2.5, 501, dtype=torch.float64)
    other = torch.tensor([0.8, 0.2], dtype=torch.float64)
    density = (other * torch.exp(-(axis[:, None] - means[:, 0]).square() / 0.08)).sum(1)
    frames = GridFamily([axis], density.log(), periodic=False)
    found = free_energy_profile(straight_line(family, a, b, n_points=33), frames, torch.arange(501) % 2)
    assert float(found.error()[-1]) == pytest.approx(math.log(4), rel=1e-3)
    assert float(found.error(-1)[-2]) < 1e-2


def test_a_weak_tilt_means_no_place():
    """A floor on ln kappa of 1.3 is 30 degrees; on lines what counts is the width against the distance of the ends."""
    torus, lines = TorusSpacetime(1), EuclideanSpacetime(1)
    ends = torus.tilt(torch.tensor([[0.0], [math.pi]], dtype=torch.float64), 4.0)
    levels = [torus.tilt(torch.zeros(1, 1, dtype=torch.float64), level) for level in (1.2, 1.4)]
    assert means_place(torus, torch.cat(levels), ends).tolist() == [False, True]
    for distance in (1.0, 3.0):
        ends = lines.tilt(torch.tensor([[0.0], [distance]], dtype=torch.float64), 9.0)
        # 4 widths e^(-l / 2)
        at = 2 * math.log(4 / distance)
        tilts = [lines.tilt(torch.zeros(1, 1, dtype=torch.float64), at + side) for side in (-0.1, 0.1)]
        assert means_place(lines, torch.cat(tilts), ends).tolist() == [False, True]


def test_the_lowest_channel_comes_first_where_barriers_are_known():
    """A ring whose long way is flat and whose short way leads over a hump: by length the other order."""
    angle = torch.linspace(-math.pi, math.pi, 181, dtype=torch.float64)[:-1]
    hump = 6 * torch.exp(-(angle / 0.35).square())
    family = GridFamily([angle], -hump, periodic=True)
    ends = [SpacetimePoint(torch.tensor([math.cos(x), math.sin(x)]), 4.5) for x in (-1.2, 1.2)]
    options = {"constraints": [LogSnrFloor(3.0)], "n_points": 16}
    channels = find_channels(family, *ends, frames=family, blocks=torch.arange(180) % 2, **options)
    assert len(channels) == 2
    low, high = channels
    assert low.geodesic.length > high.geodesic.length
    assert low.free_energy.barrier.above_a < 0.3
    # on top of the hump kappa is e^3: the density smoothed there; sixteen points miss the top by less than 0.1
    smoothing = torch.softmax(math.exp(3.0) * angle.cos(), 0)
    assert high.free_energy.barrier.above_a == pytest.approx(
        -float((smoothing @ (-hump).exp()).log()), abs=0.1
    )
    by_length, used = ranked(channels, "length")
    assert (by_length, used) == ((high, low), "length")
    assert ranked(channels)[1] == "barrier"
    free = find_channels(family, *ends, n_points=16)
    assert free[0].free_energy.barrier is None
    assert ranked(free)[1] == "length"
    with pytest.raises(ParameterError, match="no barrier"):
        ranked(free, "barrier")


def test_free_energy_of_weighted_frames_is_that_of_a_grid():
    """Alanine's table at 300 K through its lowest pass, 200,000 weighted frames: within 0.3 kJ/mol and the error.

    The grid's own sum is spectral: tilts of e^4 are 7 degrees wide, its spacing is 1.8.
    """
    system = load_system("alanine-surface-300k")
    angles = np.random.default_rng(0).uniform(-np.pi, np.pi, (200_000, 2))
    frames = empirical_family(system.space, angles, -system.energy(angles) / system.kt)
    a, b = anchors(system.space, system.feature_values(system.ends), 4.0)
    curve = straight_line(frames, a, b, n_points=33, windings=(1, -1))
    found = free_energy_profile(curve, frames)
    axes, energies = system.energy_grid(200)
    density = np.exp(-energies / system.kt)
    kappa, free = math.exp(4.0), []
    for center in curve.spacetime.angles(curve.eta).numpy():
        kernels = [
            np.exp(kappa * (np.cos(x - c) - 1)) / i0e(kappa) for x, c in zip(axes, center, strict=True)
        ]
        free.append(-system.kt * math.log(kernels[0] @ density @ kernels[1]))
    gap = np.abs(system.kt * found.values.numpy() - (np.array(free) - free[0]))
    assert (gap <= 0.3 + system.kt * found.error().numpy()).all()
    assert gap.max() > 1e-3
    assert np.argmax(free) == found.barrier.index


def test_free_energy_of_a_double_well_is_its_convolution_with_the_tilt():
    """Against adaptive quadrature: the sum over a grid of 0.009 is spectral for a Gaussian of 0.14, but for its ends.

    There the density is e^-40 of its largest.
    """
    system = load_system("double-well")
    axes, energies = system.energy_grid(400)
    family = empirical_family(system.space, axes[0][:, None], -energies / system.kt)
    a, b = anchors(system.space, system.feature_values(system.ends), 4.0)
    curve = straight_line(family, a, b, n_points=21)

    def exact(center: float) -> float:
        def integrand(x: float) -> float:
            return math.exp(
                -float(system.energy(np.array([x]))) / system.kt - math.exp(4.0) * (x - center) ** 2 / 2
            )

        return -math.log(integrate.quad(integrand, -1.8, 1.8, points=[center], epsrel=1e-11, limit=200)[0])

    free = np.array([exact(float(c)) for c in curve.center[:, 0]])
    assert free_energy_profile(curve).values.numpy() == pytest.approx(free - free[0], abs=1e-8)
