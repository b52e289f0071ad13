"""Every curve that the paths can follow: the geodesic, and its neighbours to compare it with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tps.config import CurveMethod
from tps.spacetime import (
    Family,
    Geodesic,
    SpacetimeCurve,
    SpacetimePoint,
    TorusSpacetime,
    e_geodesic,
    m_geodesic,
    minimum_free_energy_path,
    onsager_machlup_path,
    pullback_geodesic,
    resample,
    score_jacobian_geodesic,
    score_metric_geodesic,
    straight_line,
    winding_numbers,
)

#: From this log-SNR on a tilt says which way round a torsion is: below, a curve has no winding of its own.
_TELLING_LOG_SNR = 0.0


@dataclass(frozen=True, eq=False)
class MethodCurve:
    """A curve, and whether the method that made it converged."""

    curve: SpacetimeCurve
    status: str = "converged"


@dataclass(frozen=True, eq=False)
class MethodProblem:
    """What a method may use.

    Attributes
    ----------
    family : Family
    a, b : SpacetimePoint
    n_points : int
    log_snr : float
        Level of methods that know one level only.
    geodesic : Geodesic
    windings : tuple of int or None
        Way round the torus that lines and starts take; None off the torus.
    """

    family: Family
    a: SpacetimePoint
    b: SpacetimePoint
    n_points: int
    log_snr: float
    geodesic: Geodesic
    windings: tuple[int, ...] | None

    def line(self) -> SpacetimeCurve:
        """The straight line at the anchors' log-SNR."""
        return straight_line(self.family, self.a, self.b, n_points=self.n_points, windings=self.windings)

    def line_with_profile(self) -> SpacetimeCurve:
        """The straight line with the geodesic's log-SNR profile."""
        profile = self.geodesic.curve.log_snr
        return straight_line(self.family, self.a, self.b, log_snr=profile, windings=self.windings)

    def line_at_level(self) -> SpacetimeCurve:
        """The straight line at the level of methods that know one level only."""
        a, b = (SpacetimePoint(p.center, self.log_snr) for p in (self.a, self.b))
        return straight_line(self.family, a, b, n_points=self.n_points, windings=self.windings)


def geodesic_windings(curve: SpacetimeCurve, asked: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Return the way round the torus that belongs to a geodesic: the one asked for, or its own where it has one.

    Where the tilt fades out on the way, the centre may turn without any meaning: then the short way.
    """
    if not isinstance(curve.spacetime, TorusSpacetime):
        return None
    if asked is not None:
        return asked
    if float(curve.spacetime.kappa(curve.eta).min().log()) < _TELLING_LOG_SNR:
        return (0,) * curve.spacetime.n_torsions
    return winding_numbers(curve)


def follow(method: CurveMethod, problem: MethodProblem) -> MethodCurve:
    """Return the curve of a method, at equal Fisher-Rao steps but for the straight lines, whose steps are equal in s.

    Raises
    ------
    CurveError
        If the method has no curve between these ends.
    """
    return _METHODS[method](problem)


def _flat(find: Callable[..., SpacetimeCurve]) -> Callable[[MethodProblem], MethodCurve]:
    def run(p: MethodProblem) -> MethodCurve:
        curve = find(p.family, p.a, p.b, n_points=p.n_points)
        return MethodCurve(resample(p.family, curve))

    return run


def _pullback(p: MethodProblem) -> MethodCurve:
    curve = pullback_geodesic(p.family, p.a, p.b, log_snr=p.log_snr, n_points=p.n_points)
    return MethodCurve(resample(p.family, curve))


class _Found(Protocol):
    """What every solver of one level returns."""

    @property
    def curve(self) -> SpacetimeCurve: ...

    @property
    def status(self) -> str: ...


def _at_level(find: Callable[..., _Found]) -> Callable[[MethodProblem], MethodCurve]:
    def run(p: MethodProblem) -> MethodCurve:
        found = find(p.family, p.a, p.b, log_snr=p.log_snr, start=p.line_at_level(), n_points=p.n_points)
        return MethodCurve(resample(p.family, found.curve), found.status)

    return run


_METHODS: dict[CurveMethod, Callable[[MethodProblem], MethodCurve]] = {
    "geodesic": lambda p: MethodCurve(p.geodesic.curve, p.geodesic.status),
    "straight-line": lambda p: MethodCurve(p.line()),
    "straight-line-with-profile": lambda p: MethodCurve(p.line_with_profile()),
    "e-geodesic": _flat(e_geodesic),
    "m-geodesic": _flat(m_geodesic),
    "pullback": _pullback,
    "score-metric": _at_level(score_metric_geodesic),
    "score-jacobian": _at_level(score_jacobian_geodesic),
    "string": _at_level(minimum_free_energy_path),
    "onsager-machlup": _at_level(onsager_machlup_path),
}
