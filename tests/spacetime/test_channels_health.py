"""Channels, their merging and ranking; what health reports for true families and for broken ones."""

from __future__ import annotations

import math

import pytest
import torch

from tps.spacetime import (
    DenoiserFamily,
    GaussianFamily,
    GaussianMixtureFamily,
    GridFamily,
    KLDistance,
    LogSnrFloor,
    SpacetimeCurve,
    SpacetimePoint,
    anchor_sensitivity,
    cluster_points,
    curve_health,
    find_channels,
    find_geodesic,
    straight_line,
    winding_numbers,
    winding_starts,
)


@pytest.fixture(scope="module")
def square() -> GaussianMixtureFamily:
    """Wells at the corners of a square: from one to the opposite there are two ways past the others."""
    corners = torch.tensor([[-1.5, -1.5], [-1.5, 1.5], [1.5, -1.5], [1.5, 1.5]])
    return GaussianMixtureFamily(torch.tensor([0.3, 0.25, 0.15, 0.3]), corners, torch.full((4,), 0.05))


def test_each_cluster_gives_its_channel_and_the_shortest_comes_first(square):
    """The middle forbidden, one passes by the left corner and one by the right, which weighs less."""
    a, b = SpacetimePoint(torch.tensor([-1.5, -1.5]), 3.0), SpacetimePoint(torch.tensor([1.5, 1.5]), 3.0)
    via = [SpacetimePoint(m, 2.0) for m in square.means[1:3]]
    middle = KLDistance(SpacetimePoint(torch.zeros(2), 1.0), 1.0)
    channels = find_channels(square, a, b, via=via, constraints=[middle])
    assert [c.geodesic.converged for c in channels] == [True, True]
    lengths = [c.geodesic.length for c in channels]
    assert lengths == sorted(lengths)
    assert lengths[1] > 1.01 * lengths[0]
    passed = {name: c.geodesic.curve.mu[20, :2] for c in channels for name in c.starts if "via" in name}
    # mu_x - mu_y tells the corners apart
    assert float(passed["via 0"][0] - passed["via 0"][1]) < -0.3
    assert float(passed["via 1"][0] - passed["via 1"][1]) > 0.3


def test_equal_curves_are_one_channel(torsion_family):
    """Every winding fades into the same unconstrained geodesic, whose names are all kept."""
    a, b = (
        SpacetimePoint(torch.tensor([math.cos(p), math.sin(p), math.cos(q), math.sin(q)]), 4.0)
        for p, q in ((-1.4, 1.2), (1.1, -0.9))
    )
    channels = find_channels(torsion_family, a, b, frames=torsion_family)
    assert len(channels) == 1
    assert set(channels[0].starts) == {
        "straight",
        "winding 0,0",
        "winding 0,+1",
        "winding -1,0",
        "winding -1,+1",
    }
    assert channels[0].effective_sample_size.shape == (64,)


def test_starts_of_many_torsions_turn_one_at_a_time():
    """Four torsions: the short way and four others, not sixteen."""
    from tps.spacetime import TorusSpacetime

    point = SpacetimePoint(torch.tensor([1.0, 0.0] * 4), 2.0)
    other = SpacetimePoint(torch.tensor([0.0, 1.0] * 4), 2.0)
    starts = winding_starts(TorusSpacetime(4), point, other, 16)
    assert len(starts) == 5
    assert "winding 0,-1,0,0" in starts


def test_cluster_points_find_the_wells():
    """k-means on well-separated frames."""
    from tps.spacetime import EmpiricalFamily, EuclideanSpacetime

    rng = torch.Generator().manual_seed(0)
    centers = torch.tensor([[-3.0, 0.0], [3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    x = (centers[:, None] + 0.2 * torch.randn(3, 200, 2, generator=rng, dtype=torch.float64)).flatten(0, 1)
    statistics = torch.cat([x, x.square().sum(1, keepdim=True)], dim=1)
    frames = EmpiricalFamily(statistics, torch.zeros(600), EuclideanSpacetime(2))
    found = torch.stack([p.center for p in cluster_points(frames, 3, log_snr=2.0, seed=1)])
    # standard error of a cluster's mean 0.2 / sqrt(200) = 0.014
    assert float(torch.cdist(centers, found).amin(1).max()) < 0.06


def test_health_of_a_true_family_is_trivial(square, torsion_family):
    """No negative chord, no asymmetry, constant speed; support where frames are given."""
    a, b = SpacetimePoint(torch.tensor([-1.5, -1.5]), 3.0), SpacetimePoint(torch.tensor([1.5, 1.5]), 3.0)
    health = curve_health(square, find_geodesic(square, a, b).curve)
    assert health.negative_chords == 0
    assert health.jacobian_asymmetry < 1e-12
    assert health.indefinite_points == 0
    assert health.constant_speed == pytest.approx(1, abs=1e-3)
    assert health.supported is None
    line = straight_line(
        torsion_family,
        SpacetimePoint(torch.tensor([1.0, 0, 1, 0]), 6.0),
        SpacetimePoint(torch.tensor([0.0, 1, 1, 0]), 6.0),
    )
    # kappa = e^6: the blur is 0.05 rad wide, less than the distance of 1500 frames on the torus (0.16 rad)
    assert curve_health(torsion_family, line, torsion_family).supported is False


def test_health_sees_a_denoiser_that_is_no_posterior_mean():
    """A rotation makes the Jacobian asymmetric; a wrong sign makes chords negative, and the solver says so."""
    gaussian = GaussianFamily(torch.zeros(2), 1.0)

    def exact(x: torch.Tensor, log_snr: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(log_snr).sqrt()[:, None] * x

    def turned(x: torch.Tensor, log_snr: torch.Tensor) -> torch.Tensor:
        return exact(x, log_snr) @ torch.tensor([[1.0, 0.4], [-0.4, 1.0]], dtype=torch.float64)

    a, b = SpacetimePoint(torch.tensor([-1.0, 0.0]), 2.0), SpacetimePoint(torch.tensor([1.0, 0.0]), 2.0)
    line = straight_line(gaussian, a, b)
    assert curve_health(DenoiserFamily(exact, 2), line).jacobian_asymmetry < 1e-10
    assert curve_health(DenoiserFamily(turned, 2), line).jacobian_asymmetry > 0.1
    backwards = DenoiserFamily(lambda x, log_snr: -exact(x, log_snr), 2)
    assert curve_health(backwards, SpacetimeCurve.from_eta(backwards, line.eta)).negative_chords == 1
    assert "negative" in find_geodesic(backwards, a, b, max_iterations=20).status


def test_anchor_sensitivity_is_that_of_the_wells(square):
    """Deep in wells of variance v each end adds sqrt(D/2) / (1 + e^-l / v) per unit of log-SNR."""
    a, b = SpacetimePoint(square.means[0], 6.0), SpacetimePoint(square.means[3], 6.0)
    expected = 2 * math.sqrt(2 / 2) / (1 + math.exp(-6) / 0.05)
    curve = find_geodesic(square, a, b, n_points=128).curve
    assert anchor_sensitivity(square, curve) == pytest.approx(expected, rel=0.02)


def test_anchor_sensitivity_stays_in_the_channel_it_is_asked_for():
    """Two ways round a torsion: the long way's derivative is that of two solves along it, not of the short way's."""
    angle = torch.linspace(-math.pi, math.pi, 121, dtype=torch.float64)[:-1]
    family = GridFamily([angle], 3 * (2 * angle).cos() + 0.8 * angle.sin(), periodic=True)
    ends = {
        level: [SpacetimePoint(torch.tensor([math.cos(x), math.sin(x)]), level) for x in (0.1, 2.8)]
        for level in (2.75, 3.0, 3.25)
    }
    options = {"constraints": [LogSnrFloor(1.5)], "n_points": 16}
    low, channel, high = (find_geodesic(family, *ends[x], start=(-1,), **options) for x in ends)
    assert winding_numbers(channel.curve) == (-1,)
    along_it = (high.length - low.length) / 0.5
    other = find_geodesic(family, *ends[3.0], start=(0,), **options)
    short, long = (anchor_sensitivity(family, found.curve) for found in (other, channel))
    # constrained solves from different starts agree within 1e-3 of a length of 6.5, and are divided by 0.5
    assert long == pytest.approx(along_it, abs=0.03)
    # and another one is another number: three times as far off as that
    assert abs(short - along_it) > 3 * 0.03
