"""Friction along a curve, from runs at places of it, and the work that linear response expects a protocol to lose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tps.analysis.friction import Friction
from tps.analysis.metrics import Metric
from tps.paths import CurveFriction

#: Longest relaxation, as a part of a path's duration, for which its dissipation is predicted.
_SLOW = 0.1


@dataclass(frozen=True, eq=False)
class MeasuredFriction:
    """Friction at n places of a curve, as it is stored.

    Attributes
    ----------
    s : (n,) array
    eta, tangent : (n, K) arrays
        Of the curve; the tangent is dη/ds.
    zeta, covariance : (n, K, K) arrays
        ζ [time], and the metric Cov[T].
    interval : (n,) array
        Time between moves of the tilt there.
    friction_error : (n,) array
        Standard error of η'ᵀ ζ η' [time].
    resolved : (n,) bool array
        Whether the runs outlast the relaxation.
    """

    s: NDArray[np.float64]
    eta: NDArray[np.float64]
    tangent: NDArray[np.float64]
    zeta: NDArray[np.float64]
    covariance: NDArray[np.float64]
    interval: NDArray[np.float64]
    friction_error: NDArray[np.float64]
    resolved: NDArray[np.bool_]

    @property
    def friction_along(self) -> NDArray[np.float64]:
        """η'ᵀ ζ η' (n,) [time]."""
        return np.einsum("na,nab,nb->n", self.tangent, self.zeta, self.tangent)

    @property
    def metric_along(self) -> NDArray[np.float64]:
        """η'ᵀ Cov[T] η' (n,)."""
        return np.einsum("na,nab,nb->n", self.tangent, self.covariance, self.tangent)

    @property
    def curve(self) -> CurveFriction:
        """The friction of the protocol's moves along the curve."""
        return CurveFriction(self.s, self.friction_along / self.interval, self.friction_error / self.interval)

    @property
    def relaxation_time(self) -> NDArray[np.float64]:
        """How long T takes to relax along the curve (n,) [time]: friction over metric."""
        return self.friction_along / self.metric_along

    @property
    def unresolved(self) -> str:
        """The places, spoken, where T relaxes more slowly than the runs last."""
        return ", ".join(f"{s:.2f}" for s in self.s[~self.resolved])

    @classmethod
    def of(
        cls,
        s: NDArray[np.float64],
        eta: NDArray[np.float64],
        tangent: NDArray[np.float64],
        found: Sequence[Friction],
    ) -> Self:
        """Return the friction found at n places of a curve."""
        return cls(
            s=s,
            eta=eta,
            tangent=tangent,
            zeta=np.stack([f.zeta for f in found]),
            covariance=np.stack([f.covariance for f in found]),
            interval=np.array([f.interval for f in found]),
            friction_error=np.array([f.error_along(t) for f, t in zip(found, tangent, strict=True)]),
            resolved=np.array([f.resolved for f in found]),
        )


def dissipation_metric(
    measured: MeasuredFriction,
    s: NDArray[np.float64],
    n_updates: int,
    *,
    fisher: bool,
    time_unit: str,
) -> Metric:
    """Return the work that a slow protocol dissipates along a curve [kT]; withheld where linear response does not hold.

    Parameters
    ----------
    measured : MeasuredFriction
    s : (n_points,) array
        Fraction of the curve's Fisher-Rao length at its points.
    n_updates : int
        Moves of the tilt.
    fisher : bool
        Equal steps of Fisher-Rao length, or of friction length.
    time_unit : str
        Of the friction.
    """
    value, error = measured.curve.dissipation(s, s if fisher else measured.curve.clock(s), n_updates)
    found = Metric(
        value,
        error,
        "kT",
        "Work that linear response expects to be lost, Σ Δηᵀ ζ Δη/Δt over the moves of the tilt in equal steps of "
        + ("Fisher-Rao length" if fisher else "friction length")
        + ", ζ from runs under tilts that stand still; standard error of ζ.",
    )
    return found.unless(_too_fast(measured, n_updates * float(measured.interval.mean()), time_unit))


def _too_fast(measured: MeasuredFriction, duration: float, time_unit: str) -> str:
    """Return why linear response does not hold for a path that lasts so long; "" if it does."""
    if not measured.resolved.all():
        return f"T relaxes at s = {measured.unresolved} more slowly than the runs last that measure friction"
    relaxation = measured.relaxation_time
    longest = int(np.argmax(relaxation))
    if relaxation[longest] <= _SLOW * duration:
        return ""
    return (
        f"linear response needs a slow protocol, but T relaxes in {relaxation[longest]:.3g} {time_unit} at s = "
        f"{measured.s[longest]:.2f}, and a path lasts {duration:.3g}"
    )
