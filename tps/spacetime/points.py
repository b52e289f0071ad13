"""Points of spacetime, and what every spacetime knows of natural parameters, centers and noise levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tps.errors import CurveError


@dataclass(frozen=True, slots=True)
class SpacetimePoint:
    """A noisy observation: where it lies (divided by alpha) and how precise it is.

    Parameters
    ----------
    center : Tensor (n_features,)
        Noisy features over alpha; anything `torch.as_tensor` takes. For angles the pairs (cos t, sin t), whose length
        is an angle's own precision relative to exp(log_snr); then the features on lines over their scales.
    log_snr : float
        ln(alpha**2 / sigma**2), for features in the unit of the center.

    Raises
    ------
    CurveError
        If the center is not a finite vector or log_snr is not finite.
    """

    center: Tensor
    log_snr: float

    def __post_init__(self) -> None:
        center = torch.as_tensor(self.center, dtype=torch.float64).detach()
        object.__setattr__(self, "center", center)
        object.__setattr__(self, "log_snr", float(self.log_snr))
        if center.ndim != 1 or not bool(torch.isfinite(center).all()) or not math.isfinite(self.log_snr):
            raise CurveError(
                "a spacetime point needs a finite center (n_features,) and a finite log_snr, but got a center of shape "
                f"{tuple(center.shape)} and log_snr {self.log_snr}; give one point at a time"
            )


class Chart(Protocol):
    """Coordinates in which a curve is optimised; those of a point may depend on the ones before it on its curve."""

    @property
    def groups(self) -> tuple[slice, ...]:
        """Chart entries on which the metric is about a multiple of the identity (used when there are many)."""

    def to_chart(self, eta: Tensor) -> Tensor:
        """Map the natural parameters of a curve (n, K) to coordinates (n, k)."""

    def from_chart(self, chart: Tensor) -> Tensor:
        """Map coordinates (n, k) to natural parameters (n, K)."""


class Spacetime(Protocol):
    """The chart that curves are optimised in, and the geometry of centers: what nobody else has to tell apart.

    Positions are centers in coordinates without constraints, (n, d): angles [rad], then features on lines.
    """

    @property
    def n_features(self) -> int:
        """Length of a center."""

    @property
    def n_statistics(self) -> int:
        """Length K of eta, mu and of a chart vector."""

    @property
    def n_circles(self) -> int:
        """Number of angles: how many numbers say which way round a curve goes."""

    @property
    def groups(self) -> tuple[slice, ...]:
        """Chart entries on which the metric is about a multiple of the identity (used when K is large)."""

    def eta(self, center: Tensor, log_snr: Tensor) -> Tensor:
        """Map center (n, n_features) and log_snr (n,) to natural parameters (n, K)."""

    def split(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        """Map natural parameters (n, K) back to center (n, n_features) and log_snr (n,)."""

    def to_chart(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, K) to the solver's coordinates (n, K)."""

    def from_chart(self, chart: Tensor) -> Tensor:
        """Map the solver's coordinates (n, K) to natural parameters (n, K)."""

    def posterior_std(self, mu: Tensor) -> Tensor:
        """Map expectation parameters (n, K) to standard deviations: of each angle, then of a feature on a line."""

    def floor_violation(self, eta: Tensor, floor: float) -> Tensor:
        """Map (n, K) to how far each log-SNR lies below `floor`, to first order; negative above: as many columns."""

    def inside(self, eta: Tensor) -> Tensor:
        """Map (n, K) to whether there is a signal (n,): beyond, no noise level has these natural parameters."""

    def kappa(self, eta: Tensor) -> Tensor:
        """Map (n, K) to the stiffness of each angle (n, n_circles) [1/rad**2]."""

    def precision(self, eta: Tensor) -> Tensor:
        """Map (n, K) to the stiffness with which a tilt alone holds each position (n, d) [1/rad**2 or 1/scale**2]."""

    def flat_psi(self, eta: Tensor) -> Tensor:
        """Map (n, K) to psi of a flat p0 (n,): ln of the mean of e^(eta . T) over circles, its integral over lines."""

    def positions(self, eta: Tensor) -> Tensor:
        """Map the points of a curve (n, K) to positions (n, d), whose angles do not jump from one to the next."""

    def tilt(self, positions: Tensor, log_snr: float) -> Tensor:
        """Map positions (n, d) to natural parameters (n, K) at one noise level, which every angle shares."""

    def blurred_score(self, positions: Tensor, log_snr: float, mu: Tensor) -> Tensor:
        """Map positions (n, d) and mu (n, K) of their tilts to the gradient of the blurred ln p there (n, d)."""

    def nearest(self, change: Tensor) -> Tensor:
        """Map changes of positions (n, d) to the smallest that lead to the same place: angles the shorter way."""

    def winding_line(self, ends: Tensor, n_points: int, windings: Sequence[int]) -> Tensor:
        """Return natural parameters (n_points, K) along a line between two ends (2, K): see `winding_line`."""

    def line_center(
        self, a: SpacetimePoint, b: SpacetimePoint, n_points: int, windings: Sequence[int]
    ) -> Tensor:
        """Return the centers (n_points, n_features) of that line: see `straight_line`."""


def eta_of(spacetime: Spacetime, point: SpacetimePoint) -> Tensor:
    """Return the natural parameters of one point.

    Parameters
    ----------
    spacetime : Spacetime
    point : SpacetimePoint

    Returns
    -------
    Tensor (K,)
        e^l center, l = log_snr, and where features lie on lines -e^l / 2 behind it.

    Raises
    ------
    CurveError
        If the point has another number of features than the spacetime.
    """
    if point.center.shape[0] != spacetime.n_features:
        raise CurveError(
            f"the family has {spacetime.n_features} features, but the point's center has {point.center.shape[0]}: "
            "give as many numbers as the family has features"
        )
    log_snr = torch.tensor([point.log_snr], dtype=torch.float64)
    return spacetime.eta(point.center[None], log_snr)[0]


def point_of(spacetime: Spacetime, eta: Tensor) -> SpacetimePoint:
    """Return the spacetime point with given natural parameters.

    Parameters
    ----------
    spacetime : Spacetime
    eta : Tensor (K,)

    Returns
    -------
    SpacetimePoint

    Raises
    ------
    CurveError
        If there is no signal, e^l = 0, where a point has no center.
    """
    center, log_snr = spacetime.split(eta[None])
    return SpacetimePoint(center[0], float(log_snr[0]))


def checked_windings(windings: Sequence[int], n_circles: int) -> list[int]:
    """Return windings as whole numbers.

    Raises
    ------
    CurveError
        If there is not one whole number per angle.
    """
    if not n_circles and len(windings):
        raise CurveError("windings need angles, but none of the family's features is one; leave windings out")
    if len(windings) != n_circles:
        raise CurveError(
            f"windings need a whole number for each of {n_circles} angles, but got {len(windings)}"
        )
    if any(w != int(w) for w in windings):
        raise CurveError(f"windings count full turns and must be whole, but got {list(windings)}")
    return [int(w) for w in windings]
