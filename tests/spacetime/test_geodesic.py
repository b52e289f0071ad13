"""The solver on frames over two torsions: status, constant speed, constraints, windings, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tps.errors import CurveError
from tps.spacetime import (
    GaussianFamily,
    GaussianMixtureFamily,
    KLDistance,
    LogSnrFloor,
    RegionProbability,
    SpacetimeCurve,
    SpacetimePoint,
    StdCeiling,
    UserConstraint,
    UserPenalty,
    eta_of,
    find_geodesic,
    find_geodesics,
    fisher_rao_length,
    kl_divergence,
    resample,
    squared_chords,
    straight_line,
    winding_line,
    winding_numbers,
)
from tps.spacetime.starts import starting_chart


def torsion_point(phi: float, psi: float, log_snr: float) -> SpacetimePoint:
    """Return a point over two torsions [rad]."""
    return SpacetimePoint(torch.tensor([math.cos(phi), math.sin(phi), math.cos(psi), math.sin(psi)]), log_snr)


A, B = torsion_point(-1.4, 1.2, 4.0), torsion_point(1.1, -0.9, 4.0)


@pytest.fixture(scope="module")
def geodesic(torsion_family):
    """The unconstrained geodesic."""
    return find_geodesic(torsion_family, A, B)


def test_converges_at_constant_speed_with_few_evaluations(geodesic):
    """2 E / length^2 = 1 at constant speed; a good preconditioner needs tens of evaluations."""
    assert geodesic.status == "converged"
    assert 2 * geodesic.curve_energy / geodesic.length**2 == pytest.approx(1, abs=1e-4)
    assert geodesic.n_gradient_evaluations < 150
    assert float(geodesic.curve.s[-1]) == 1
    assert float(geodesic.curve.s.diff().max()) * 63 == pytest.approx(1, abs=0.03)


def test_another_start_and_another_representation_find_the_same(torsion_family, geodesic):
    """64 free points and 24 spline coefficients, from another start of the same winding."""
    other = find_geodesic(torsion_family, A, B, start=(0, 0), representation="points")
    assert other.length == pytest.approx(geodesic.length, rel=1e-3)


def test_no_small_change_of_the_curve_shortens_it(torsion_family, geodesic):
    """A minimum: bumps of either sign in every chart direction make the curve longer."""
    spacetime = torsion_family.spacetime
    chart = spacetime.to_chart(geodesic.curve.eta)
    bump = torch.sin(math.pi * geodesic.curve.s)[:, None]
    for axis in range(4):
        for sign in (-0.2, 0.2):
            moved = chart + sign * bump * torch.eye(4, dtype=torch.float64)[axis]
            curve = type(geodesic.curve).from_eta(torsion_family, spacetime.from_chart(moved))
            assert fisher_rao_length(curve) > geodesic.length


def test_geodesic_is_shorter_than_its_baselines(torsion_family, geodesic):
    """The straight line at constant stiffness, and with the geodesic's profile."""
    constant = straight_line(torsion_family, A, B)
    assert torch.allclose(constant.log_snr, torch.tensor(4.0).double())
    profile = straight_line(torsion_family, A, B, log_snr=geodesic.curve.log_snr)
    assert torch.allclose(profile.log_snr, geodesic.curve.log_snr)
    assert geodesic.length < fisher_rao_length(profile) < fisher_rao_length(constant)


def test_straight_line_crosses_the_seam_the_short_way(torsion_family):
    """From 170 to -170 degrees: 20 degrees through 180, never through 0."""
    a, b = torsion_point(math.radians(170), 0.0, 2.0), torsion_point(math.radians(-170), 0.0, 2.0)
    angles = torsion_family.spacetime.angles(straight_line(torsion_family, a, b).eta)
    # the points are given in single precision
    assert float(angles[:, 0].cos().max()) == pytest.approx(math.cos(math.radians(170)), rel=1e-7)


def test_straight_line_winds_as_told(torsion_family):
    """Full turns added to the short way, with a geodesic's profile too; windings are read back from the curve."""
    spacetime, short = torsion_family.spacetime, torch.tensor([2.5, -2.1], dtype=torch.float64)
    profile = torch.linspace(4, 4, 96).double() - 2 * torch.sin(torch.linspace(0, math.pi, 96)).double()
    for windings in ((0, 0), (-1, 0), (1, 2)):
        line = straight_line(torsion_family, A, B, log_snr=profile, windings=windings)
        angles = torch.from_numpy(np.unwrap(spacetime.angles(line.eta).numpy(), axis=0))
        turned = short + 2 * math.pi * torch.tensor(windings)
        assert torch.allclose(angles[-1] - angles[0], turned, atol=1e-12)
        # linear in s
        assert float(angles.diff(n=2, dim=0).abs().max()) < 1e-12
        assert torch.allclose(line.log_snr, profile)
        assert winding_numbers(line) == windings
    with pytest.raises(CurveError, match="2 angles, but got 1"):
        straight_line(torsion_family, A, B, windings=(1,))
    with pytest.raises(CurveError, match=r"whole, but got \[0\.5, 0\]"):
        straight_line(torsion_family, A, B, windings=(0.5, 0))
    flat = GaussianFamily(torch.zeros(4), 1.0)
    with pytest.raises(CurveError, match="windings need angles"):
        straight_line(flat, A, B, windings=(0, 0, 0, 0))
    assert winding_numbers(straight_line(flat, A, B)) == ()


@pytest.mark.parametrize("representation", ["spline", pytest.param("points", marks=pytest.mark.slow)])
def test_constraints_hold_at_every_returned_point(torsion_family, torsion_angles, representation):
    """Floor, ceiling, region and KL distance, each active, each obeyed; the price is length."""
    region = torch.from_numpy((abs(torsion_angles) < 0.6).all(1))
    spacetime, free = torsion_family.spacetime, find_geodesic(torsion_family, A, B).length
    for constraint, largest in [
        (LogSnrFloor(math.log(6)), lambda c: float((math.log(6) - spacetime.kappa(c.eta).log()).max())),
        (StdCeiling(0.6), lambda c: float(spacetime.posterior_std(c.mu).max()) - 0.6),
        (
            RegionProbability(torsion_family, region, 0.01),
            lambda c: math.log(float(torsion_family.probability(c.eta, region).max()) / 0.01),
        ),
        (
            UserConstraint("cos phi", lambda eta, mu: mu[:, 0] - 0.45),
            lambda c: float(c.mu[:-1, 0].max()) - 0.45,
        ),
    ]:
        a, b = A, B
        if isinstance(constraint, UserConstraint):
            b = torsion_point(2.0, -0.9, 4.0)
        found = find_geodesic(torsion_family, a, b, constraints=[constraint], representation=representation)
        assert found.status == "converged", constraint.name
        assert largest(found.curve) <= 1e-3
        assert found.constraints[0].satisfied
        assert not isinstance(constraint, LogSnrFloor) or found.length > free


def test_kl_distance_is_absolute(torsion_family):
    """Every returned point is at least 4 nats from z, by the definition of KL."""
    z = torsion_point(0.0, 0.0, 2.0)
    found = find_geodesic(torsion_family, A, B, constraints=[KLDistance(z, 4.0)])
    target = eta_of(torsion_family.spacetime, z)[None].expand(64, -1)
    assert found.status == "converged"
    assert float(kl_divergence(torsion_family, target, found.curve.eta).min()) >= 4 * (1 - 1e-3)


def test_impossible_constraint_is_named_with_its_violation(torsion_family):
    """No curve has a standard deviation of at most 0.6 rad and a log-SNR below 0.5 half-way."""
    conflict = UserConstraint("weak half-way", lambda eta, mu: (eta.norm(dim=1) - 3) * mid(eta))

    def mid(eta: torch.Tensor) -> torch.Tensor:
        s = torch.linspace(-1, 1, len(eta)).double()
        return torch.exp(-20 * s.square()) * (1 - s.square())

    found = find_geodesic(torsion_family, A, B, constraints=[LogSnrFloor(3.0), conflict], max_iterations=60)
    assert "is violated by" in found.status
    assert not found.converged


def test_penalty_pushes_without_being_a_condition(torsion_family, geodesic):
    """A cost on phi near zero lowers its mean along the curve."""
    cost = UserPenalty("near zero", lambda eta, mu: mu[:, 0].square(), weight=50.0)
    found = find_geodesic(torsion_family, A, B, constraints=[cost])
    assert float(found.curve.mu[:, 0].square().mean()) < float(geodesic.curve.mu[:, 0].square().mean())


def test_pairs_solved_together_equal_pairs_solved_alone(torsion_family):
    """A batch of three, one of them trivial (both ends the same)."""
    c = torsion_point(-2.6, 2.8, 4.0)
    together = find_geodesics(torsion_family, [(A, B), (A, c), (c, c)])
    for pair, found in zip([(A, B), (A, c)], together, strict=False):
        assert found.length == pytest.approx(find_geodesic(torsion_family, *pair).length, rel=1e-4)
        assert found.status == "converged"
    assert together[2].length == pytest.approx(0, abs=1e-12)
    assert together[2].status == "converged"


@pytest.mark.parametrize("constraints", [[], [LogSnrFloor(1.0)]], ids=["free", "floor"])
@pytest.mark.parametrize("n_points", [16, 48])
def test_progress_ends_at_twice_the_number_of_curves(torsion_family, constraints, n_points):
    """Each curve once on few points, where there are more, and once on all."""
    told: list[int] = []
    find_geodesics(
        torsion_family, [(A, B), (B, A)], n_points=n_points, constraints=constraints, progress=told.append
    )
    assert told == sorted(told)
    assert told[-1] == 4


def test_progress_never_goes_back_where_curves_are_solved_free_first():
    """Ten features: constraints are dear, and both curves break this one while they are free."""
    means = 1.4 * torch.eye(10, dtype=torch.float64)[:2]
    family = GaussianMixtureFamily(torch.tensor([0.5, 0.5]), means, torch.tensor([0.09, 0.09]))
    a, b = (SpacetimePoint(mean, 4.0) for mean in means)
    told: list[int] = []
    found = find_geodesics(family, [(a, b), (b, a)], constraints=[LogSnrFloor(3.0)], progress=told.append)
    assert all(one.converged for one in found)
    assert told == sorted(told)
    assert told[-1] == 4


def test_starts_are_laid_out_in_equal_steps(torsion_family):
    """The same way round, from end to end, in equal Fisher-Rao steps."""
    spacetime = torsion_family.spacetime
    line = winding_line(spacetime, A, B, 64, (0, 0))
    curve = SpacetimeCurve.from_eta(
        torsion_family, spacetime.from_chart(starting_chart(torsion_family, A, B, line, 64))
    )
    assert winding_numbers(curve) == (0, 0)
    assert torch.allclose(curve.eta[[0, -1]], line[[0, -1]])
    # to first order in the step of the line they are laid out on, 4 times as fine
    chords = squared_chords(curve).sqrt()
    assert float(chords.max() / chords.min()) < 1.2


def test_resampling_moves_points_but_not_the_length(torsion_family):
    """A straight line at uniform angles, resampled: the same length within the chords' second order."""
    line = straight_line(torsion_family, A, B, n_points=200)
    even = resample(torsion_family, line)
    assert fisher_rao_length(even) == pytest.approx(fisher_rao_length(line), rel=1e-3)
    assert float(even.s.diff().max() / even.s.diff().min()) < 1.1


def test_unusable_input_is_refused_with_the_remedy(torsion_family):
    """End points inside a forbidden region, starts that miss, windings of the wrong length."""
    with pytest.raises(CurveError, match=r"end point A itself .* 'log-SNR floor 5' by 0\.632"):
        find_geodesic(torsion_family, A, B, constraints=[LogSnrFloor(5.0)])
    with pytest.raises(CurveError, match="misses the end points"):
        find_geodesic(torsion_family, A, B, start=straight_line(torsion_family, B, A))
    with pytest.raises(CurveError, match="2 angles, but got 3"):
        find_geodesic(torsion_family, A, B, start=(0, 0, 1))
