"""Every curve that paths can follow: the geodesic, and its neighbours to compare it with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from tps.errors import ParameterError
from tps.sections import nearest
from tps.spacetime.barrier import means_place
from tps.spacetime.baselines import straight_line
from tps.spacetime.bridge import bridge_curve
from tps.spacetime.constraints import Constraint
from tps.spacetime.curve import SpacetimeCurve, resample
from tps.spacetime.empirical import EmpiricalFamily
from tps.spacetime.family import Family
from tps.spacetime.feature_curves import onsager_machlup_path, score_jacobian_geodesic, score_metric_geodesic
from tps.spacetime.flat_geodesics import e_geodesic, m_geodesic
from tps.spacetime.geodesic import find_geodesic
from tps.spacetime.points import SpacetimePoint
from tps.spacetime.probability_flow import pullback_geodesic
from tps.spacetime.solution import Geodesic
from tps.spacetime.starts import winding_numbers
from tps.spacetime.string_method import minimum_free_energy_path

#: From this log-SNR on a tilt says which way round an angle is: below, a curve has no winding of its own.
_TELLING_LOG_SNR = 0.0

CurveMethod = Literal[
    "geodesic",
    "max-flux",
    "straight-line",
    "straight-line-with-profile",
    "e-geodesic",
    "m-geodesic",
    "pullback",
    "score-metric",
    "score-jacobian",
    "string",
    "onsager-machlup",
    "bridge",
]


@dataclass(frozen=True, eq=False)
class MethodCurve:
    """A curve, and whether the method that made it converged.

    Parameters
    ----------
    curve : SpacetimeCurve
    status : str
        "converged", or why not.
    """

    curve: SpacetimeCurve
    status: str = "converged"


@dataclass(frozen=True, eq=False)
class MethodProblem:
    """What a method may use.

    Parameters
    ----------
    family : Family
    a, b : SpacetimePoint
    n_points : int
    log_snr : float
        Level of methods that know one level only.
    geodesic : Geodesic
    windings : tuple of int (n_circles,)
        Way round that lines and starts take.
    constraints : tuple of Constraint
        Of the geodesic, for the methods that know them.
    frames : EmpiricalFamily, optional
        Weighted frames, for the methods that walk over them.
    """

    family: Family
    a: SpacetimePoint
    b: SpacetimePoint
    n_points: int
    log_snr: float
    geodesic: Geodesic
    windings: tuple[int, ...]
    constraints: tuple[Constraint, ...] = ()
    frames: EmpiricalFamily | None = None

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


def geodesic_windings(curve: SpacetimeCurve, asked: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """Return the way round that belongs to a geodesic: the one asked for, or its own where it has one.

    Where the tilt fades out on the way, the center may turn without any meaning: then the short way.

    Parameters
    ----------
    curve : SpacetimeCurve
    asked : tuple of int (n_circles,), optional

    Returns
    -------
    tuple of int (n_circles,)
    """
    if asked is not None:
        return asked
    spacetime = curve.spacetime
    if spacetime.n_circles and float(spacetime.kappa(curve.eta).min().log()) < _TELLING_LOG_SNR:
        return (0,) * spacetime.n_circles
    return winding_numbers(curve)


def follow(method: CurveMethod, problem: MethodProblem) -> MethodCurve:
    """Return the curve of a method, at equal Fisher-Rao steps but for the straight lines, whose steps are equal in s.

    Parameters
    ----------
    method : str
        One of `CURVE_METHODS`.
    problem : MethodProblem

    Returns
    -------
    MethodCurve

    Raises
    ------
    CurveError
        If the method has no curve between these ends.
    ParameterError
        If there is no such method.
    """
    if method not in CURVE_METHODS:
        raise ParameterError(f"no curve method is called {method!r}{nearest(method, CURVE_METHODS)}")
    return CURVE_METHODS[method](problem)


def _flat(find: Callable[..., SpacetimeCurve]) -> Callable[[MethodProblem], MethodCurve]:
    def run(p: MethodProblem) -> MethodCurve:
        curve = find(p.family, p.a, p.b, n_points=p.n_points)
        return MethodCurve(resample(p.family, curve))

    return run


def _pullback(p: MethodProblem) -> MethodCurve:
    curve = pullback_geodesic(p.family, p.a, p.b, log_snr=p.log_snr, n_points=p.n_points)
    return MethodCurve(resample(p.family, curve))


def _max_flux(p: MethodProblem) -> MethodCurve:
    """At one level: F is smoothed by the tilts, so that a curve free to weaken them would see no barrier."""
    line, geodesic = p.line_at_level(), p.geodesic.curve
    place = means_place(geodesic.spacetime, geodesic.eta, geodesic.eta[[0, -1]])
    a, b = (SpacetimePoint(point.center, p.log_snr) for point in (p.a, p.b))
    found = find_geodesic(
        p.family,
        a,
        b,
        start=geodesic if bool(place.all()) else line,
        n_points=p.n_points,
        constraints=p.constraints,
        free_energy_weight=1.0,
        log_snr=p.log_snr,
    )
    return MethodCurve(found.curve, found.status)


def _bridge(p: MethodProblem) -> MethodCurve:
    if p.frames is None:
        raise ParameterError("the bridge walks over weighted frames: give MethodProblem its frames")
    curve, bridge = bridge_curve(p.family, p.frames, p.a, p.b)
    status = (
        "converged"
        if bridge.converged
        else f"after {bridge.n_fits} fits a share of {bridge.misfit:.1g} does not end as asked"
    )
    return MethodCurve(resample(p.family, curve, p.n_points), status)


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


#: Methods that obey constraints.
CONSTRAINED: tuple[CurveMethod, ...] = ("geodesic", "max-flux")

#: All but the first are there to compare it with.
CURVE_METHODS: dict[CurveMethod, Callable[[MethodProblem], MethodCurve]] = {
    "geodesic": lambda p: MethodCurve(p.geodesic.curve, p.geodesic.status),
    "max-flux": _max_flux,
    "straight-line": lambda p: MethodCurve(p.line()),
    "straight-line-with-profile": lambda p: MethodCurve(p.line_with_profile()),
    "e-geodesic": _flat(e_geodesic),
    "m-geodesic": _flat(m_geodesic),
    "pullback": _pullback,
    "score-metric": _at_level(score_metric_geodesic),
    "score-jacobian": _at_level(score_jacobian_geodesic),
    "string": _at_level(minimum_free_energy_path),
    "onsager-machlup": _at_level(onsager_machlup_path),
    "bridge": _bridge,
}
