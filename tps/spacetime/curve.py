"""Curves in spacetime: energy, length, and points at equal Fisher-Rao distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from tps.errors import CurveError
from tps.spacetime.family import Family
from tps.spacetime.points import Chart, Spacetime


@dataclass(frozen=True, eq=False)
class SpacetimeCurve:
    """A curve from A to B through a family.

    Parameters
    ----------
    spacetime : Spacetime
    eta : Tensor (n_points, K)
        Natural parameters.
    mu : Tensor (n_points, K)
        Expectation parameters.
    psi : Tensor (n_points,) or None
        Log-partition function, where the family knows it.
    s : Tensor (n_points,)
        Curve parameter, from 0 to 1.

    Raises
    ------
    CurveError
        If the shapes do not match, there are fewer than two points, or a number is not finite.
    """

    spacetime: Spacetime
    eta: Tensor
    mu: Tensor
    psi: Tensor | None
    s: Tensor

    def __post_init__(self) -> None:
        n, k = len(self.s), self.spacetime.n_statistics
        if n < 2 or tuple(self.eta.shape) != (n, k) or tuple(self.mu.shape) != (n, k):
            raise CurveError(
                f"a curve needs s (n_points >= 2,), eta and mu (n_points, {k}), but got {tuple(self.s.shape)}, "
                f"{tuple(self.eta.shape)} and {tuple(self.mu.shape)}; drop the batch axis?"
            )
        if not bool(torch.isfinite(self.eta).all() and torch.isfinite(self.mu).all()):
            bad = int((~(torch.isfinite(self.eta) & torch.isfinite(self.mu)).all(1)).sum())
            raise CurveError(f"{bad} of {n} curve points are not finite; start from points the family covers")

    @classmethod
    def from_eta(cls, family: Family, eta: Tensor, s: Tensor | None = None) -> SpacetimeCurve:
        """Evaluate a family along eta (n_points, K); s is uniform unless given."""
        eta = eta.detach().to(torch.float64)
        with torch.no_grad():
            # a user's own module may keep its graph, or compute in single precision
            mu = family.mu(eta).detach().to(torch.float64)
            psi = family.psi(eta).detach().to(torch.float64) if family.has_psi else None
        if s is None:
            s = torch.linspace(0, 1, len(eta), dtype=torch.float64)
        return cls(family.spacetime, eta, mu, psi, s)

    @property
    def center(self) -> Tensor:
        """Noisy features over alpha (n_points, n_features), in the features' unit."""
        return self.spacetime.split(self.eta)[0]

    @property
    def log_snr(self) -> Tensor:
        """ln(alpha**2 / sigma**2) (n_points,)."""
        return self.spacetime.split(self.eta)[1]

    @property
    def n_points(self) -> int:
        """Number of points."""
        return len(self.s)


def squared_chords(curve: SpacetimeCurve) -> Tensor:
    """Return the squared chords of a curve: each is the KL divergence of its two ends either way, summed.

    Parameters
    ----------
    curve : SpacetimeCurve

    Returns
    -------
    Tensor (n_points - 1,)
        d eta . d mu [nats]; not negative for a true family.

    References
    ----------
    Karczewski et al., ICLR 2026, Eq. 14.
    """
    return _terms(curve).sum(-1)


def curve_distance(one: SpacetimeCurve, other: SpacetimeCurve) -> float:
    """Return how far apart two curves between the same ends are: the root mean square over s.

    Parameters
    ----------
    one, other : SpacetimeCurve
        Of one family, with as many points.

    Returns
    -------
    float
        In Fisher-Rao length: the square root of the symmetrised KL divergence [nats] at equal s.
    """
    gap = ((one.eta - other.eta) * (one.mu - other.mu)).sum(-1).clamp_min(0)
    return float(gap.mean().sqrt())


def curve_energy(curve: SpacetimeCurve) -> float:
    """Return the energy of a curve, which the solver minimises.

    Parameters
    ----------
    curve : SpacetimeCurve

    Returns
    -------
    float
        (N - 1)/2 sum d eta . d mu [nats]: length**2 / 2 at constant speed, more otherwise.

    References
    ----------
    Karczewski et al., ICLR 2026, Eq. 14.
    """
    return float(0.5 * (curve.n_points - 1) * squared_chords(curve).sum())


def clamped_energy(curve: SpacetimeCurve) -> float:
    """Return the energy of a curve without the negative terms of single coordinates.

    Nothing that a model's error makes negative lowers it, so that it can be minimised on models that are no true
    family. Of a true family it is at least the energy.

    Parameters
    ----------
    curve : SpacetimeCurve

    Returns
    -------
    float
        (N - 1)/2 sum max(0, d eta_i d mu_i) over chords and coordinates [nats].
    """
    return float(0.5 * (curve.n_points - 1) * _terms(curve).clamp_min(0).sum())


def _terms(curve: SpacetimeCurve) -> Tensor:
    return curve.eta.diff(dim=0) * curve.mu.diff(dim=0)


def fisher_rao_length(curve: SpacetimeCurve) -> float:
    """Return the length of a curve in the Fisher-Rao metric, to second order in the step.

    Parameters
    ----------
    curve : SpacetimeCurve

    Returns
    -------
    float
        sum sqrt(d eta . d mu); a negative chord, which no true family has, counts as zero.

    References
    ----------
    Crooks, Phys. Rev. Lett. 99, 100602 (2007): thermodynamic length.
    """
    return float(squared_chords(curve).clamp_min(0).sqrt().sum())


def negative_chord_fraction(curve: SpacetimeCurve) -> float:
    """Return how often a curve meets a negative chord, a sign that the family is no true one.

    Parameters
    ----------
    curve : SpacetimeCurve

    Returns
    -------
    float
        Fraction of chords with d eta . d mu below zero by more than round-off; 0 for a true family.
    """
    steps, chords = curve.eta.diff(dim=0), squared_chords(curve)
    round_off = 1e-12 * (1e-3 + steps.norm(dim=1) * curve.mu.norm(dim=1).max())
    return float((chords < -round_off).double().mean())


def resample(
    family: Family,
    curve: SpacetimeCurve,
    n_points: int | None = None,
    *,
    clamped: bool = False,
    chart: Chart | None = None,
) -> SpacetimeCurve:
    """Return the same curve with points at equal Fisher-Rao distance.

    Points between the given ones are interpolated by a cubic spline in the chart; the end points stay.

    Parameters
    ----------
    family : Family
    curve : SpacetimeCurve
    n_points : int, optional
        As many as the curve has unless given.
    clamped : bool
        Whether lengths are those of the clamped energy, for models that are no true family.
    chart : Chart, optional
        In which points are interpolated; the solver's unless given.

    Returns
    -------
    SpacetimeCurve
        2 E / length**2 is 1 within 1e-4, unless chords are negative.
    """
    n = curve.n_points if n_points is None else n_points
    chart = curve.spacetime if chart is None else chart
    given = chart.to_chart(curve.eta).numpy()
    knots = np.linspace(0.0, 1.0, len(given))
    spline = CubicSpline(knots, given) if len(given) > 3 else None

    def at(where: np.ndarray) -> SpacetimeCurve:
        if spline is not None:
            points = spline(where)
        else:
            points = np.stack([np.interp(where, knots, column) for column in given.T], axis=1)
        eta = chart.from_chart(torch.tensor(points))
        eta[0], eta[-1] = curve.eta[0], curve.eta[-1]
        return SpacetimeCurve.from_eta(family, eta)

    def steps(found: SpacetimeCurve) -> np.ndarray:
        squared = _terms(found).clamp_min(0).sum(-1) if clamped else squared_chords(found).clamp_min(0)
        return squared.sqrt().numpy()

    where = np.linspace(0.0, 1.0, 2 * max(n, len(given)) - 1)
    for _ in range(6):
        found = at(where)
        chords = steps(found)
        if len(where) == n and np.square(chords).mean() <= np.square(chords.mean()) * (1 + 1e-4):
            break
        arc = np.concatenate([[0.0], np.cumsum(chords + 1e-9 * chords.mean() + 1e-300)])
        where = np.interp(np.linspace(0.0, arc[-1], n), arc, where)
    else:
        found = at(where)
        chords = steps(found)
    arc = np.concatenate([[0.0], np.cumsum(chords)])
    s = torch.tensor(arc / arc[-1]) if arc[-1] > 0 else found.s
    return SpacetimeCurve(found.spacetime, found.eta, found.mu, found.psi, s)
