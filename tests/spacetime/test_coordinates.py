"""Charts are inverses of each other, and near-isometric where they claim to be."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.special import i0e, i1e

from tps.errors import CurveError, ParameterError
from tps.spacetime import EuclideanSpacetime, SpacetimePoint, TorusSpacetime, eta_of, point_of


def random_eta(spacetime: EuclideanSpacetime | TorusSpacetime, n: int = 50) -> torch.Tensor:
    """Return natural parameters at log-SNR between -6 and 8."""
    rng = torch.Generator().manual_seed(1)
    center = torch.randn(n, spacetime.n_features, generator=rng, dtype=torch.float64)
    return spacetime.eta(center, torch.rand(n, generator=rng, dtype=torch.float64) * 14 - 6)


@pytest.mark.parametrize(
    "spacetime",
    [
        EuclideanSpacetime(1),
        EuclideanSpacetime(3, 2.5, (1.0, -2.0, 0.5)),
        TorusSpacetime(1),
        TorusSpacetime(3),
    ],
)
def test_chart_and_split_are_inverted_to_round_off(spacetime):
    """eta -> chart -> eta and eta -> (center, log_snr) -> eta."""
    eta = random_eta(spacetime)
    assert torch.allclose(spacetime.from_chart(spacetime.to_chart(eta)), eta, rtol=1e-9, atol=1e-12)
    assert torch.allclose(spacetime.eta(*spacetime.split(eta)), eta, rtol=1e-12, atol=1e-14)


def test_torus_chart_is_isometric_for_uniform_angles_without_signal_and_across_the_angle():
    """Angular metric kappa I1/I0 d theta^2 against |y|^2 d theta^2; radial at kappa = 0: 1/2 d kappa^2."""
    spacetime = TorusSpacetime(1)
    for kappa in (1e-3, 0.1, 1.0, 10.0, 1e3):
        y = spacetime.to_chart(torch.tensor([[kappa, 0.0]], dtype=torch.float64))
        # the two functions share both limits; in between they differ by at most 11 % (at kappa = 2.5)
        assert float(y[0, 0]) ** 2 == pytest.approx(kappa * i1e(kappa) / i0e(kappa), rel=0.12)
    near = spacetime.to_chart(torch.tensor([[1e-5, 0.0]], dtype=torch.float64))
    assert float(near[0, 0]) == pytest.approx(1e-5 / math.sqrt(2), rel=1e-9)


def test_log_snr_of_torsions_is_the_root_mean_square_stiffness():
    """Kappa = 3 and 4: ln sqrt(12.5)."""
    spacetime = TorusSpacetime(2)
    eta = spacetime.eta_from_angles(torch.tensor([[0.3, -2.0]]).double(), torch.tensor([[3.0, 4.0]]).double())
    assert float(spacetime.split(eta)[1]) == pytest.approx(0.5 * math.log(12.5), rel=1e-12)
    assert torch.allclose(spacetime.angles(eta), torch.tensor([[0.3, -2.0]]).double())


def test_boundary_without_signal_is_regular_in_the_euclidean_chart():
    """eta = (1, 0) has no center, but a chart point: (1, 0) for unit variance."""
    spacetime = EuclideanSpacetime(1)
    eta = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert torch.equal(spacetime.to_chart(eta), torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    assert torch.equal(spacetime.from_chart(spacetime.to_chart(eta)), eta)


def test_points_survive_the_round_trip_and_are_refused_with_numbers():
    """A point of the wrong width names both widths."""
    spacetime = EuclideanSpacetime(2)
    point = SpacetimePoint(torch.tensor([0.3, -1.0]), 2.5)
    back = point_of(spacetime, eta_of(spacetime, point))
    assert back.log_snr == pytest.approx(2.5, rel=1e-12)
    assert torch.allclose(back.center, point.center)
    with pytest.raises(CurveError, match="2 features, but the point's center has 3"):
        eta_of(spacetime, SpacetimePoint(torch.zeros(3), 0.0))
    with pytest.raises(CurveError, match="nan"):
        SpacetimePoint(torch.zeros(2), math.nan)
    with pytest.raises(ParameterError, match="-1"):
        TorusSpacetime(-1)
