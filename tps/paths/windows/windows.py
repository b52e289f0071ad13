"""Umbrella windows: tilts along a curve, and off it to bridge humps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.errors import ParameterError
from tps.paths.protocol import equal_steps


@dataclass(frozen=True)
class WindowSettings:
    """Sampling of the windows of one ladder.

    Attributes
    ----------
    n_frames : int
        Frames of each window and ladder.
    frame_interval : int
        Dynamics steps from one frame to the next; windows exchange their replicas after each.
    n_equilibration_frames : int
        Rounds of as many steps that come first and are thrown away, exchanges included.
    exchange : bool
        Whether the replicas of a ladder change windows; otherwise every window is a simulation of its own.
    n_positions : int
        Frames of each window and ladder whose positions are kept beside their features: see `kept_frames`.
    """

    n_frames: int = 250
    frame_interval: int = 250
    n_equilibration_frames: int = 20
    exchange: bool = True
    n_positions: int = 0

    def __post_init__(self) -> None:
        if min(self.n_frames, self.frame_interval) < 1 or self.n_equilibration_frames < 0:
            raise ParameterError(
                "windows need at least one frame, one step between frames and no negative equilibration, but got "
                f"{self.n_frames}, {self.frame_interval} and {self.n_equilibration_frames}"
            )
        if not 0 <= self.n_positions <= self.n_frames:
            raise ParameterError(
                f"windows keep positions of 0 to all {self.n_frames} frames, but got {self.n_positions}"
            )

    @property
    def kept_frames(self) -> NDArray[np.int64]:
        """The frames whose positions are kept, evenly spread with both ends."""
        return evenly(self.n_frames, self.n_positions)


def evenly(n: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` of the numbers 0 to n - 1, evenly spread with both ends."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(np.int64)


@dataclass(frozen=True, eq=False)
class Windows:
    """Tilts to sample under: η of K windows, of which some lie on a curve.

    Attributes
    ----------
    s : (K,) array
        Fraction of the curve's Fisher-Rao length, rising; NaN for windows off the curve, which come last.
    eta : (K, n_statistics) array
    """

    s: NDArray[np.float64]
    eta: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.eta.ndim != 2 or self.s.shape != self.eta.shape[:1] or not len(self.s):
            raise ParameterError(
                f"windows need s (K,) and eta (K, n_statistics), K >= 1, but got {self.s.shape} and {self.eta.shape}"
            )
        on = self.on_curve
        if not np.isfinite(self.eta).all() or on == 1 or np.isfinite(self.s[on:]).any():
            raise ParameterError(
                "windows need finite eta, none or at least two on the curve, and those off it last"
            )
        if not (np.diff(self.s[:on]) > 0).all():
            raise ParameterError(f"the windows' s must rise along the curve, but got {self.s[:on]}")

    @property
    def n_windows(self) -> int:
        """Number K of windows."""
        return len(self.s)

    @property
    def on_curve(self) -> int:
        """Number of windows on the curve; they come first, from A to B."""
        return int(np.isfinite(self.s).sum())

    @classmethod
    def untilted(cls, n_statistics: int) -> Self:
        """Return the one window without a tilt."""
        return cls(np.array([np.nan]), np.zeros((1, n_statistics)))

    @classmethod
    def along(cls, s: ArrayLike, eta: ArrayLike, n_windows: int, *, untilted: bool = True) -> Self:
        """Return windows at equal Fisher-Rao distances along a curve, and by default η = 0 as one more.

        Parameters
        ----------
        s : (n_points,) array
            Fraction of the Fisher-Rao length at the curve's points, from 0 to 1.
        eta : (n_points, n_statistics) array
        n_windows : int
            On the curve, ends included.
        untilted : bool
            Whether the molecule itself, without a tilt, is sampled too: what regions are compared in.
        """
        if n_windows < 2:
            raise ParameterError(f"a curve needs at least 2 windows, but got {n_windows}")
        points = np.asarray(eta, dtype=np.float64)
        on = equal_steps(np.asarray(s, dtype=np.float64), points, n_windows - 1)
        at = np.linspace(0.0, 1.0, n_windows)
        if not untilted:
            return cls(at, on)
        return cls(np.append(at, np.nan), np.concatenate([on, np.zeros((1, points.shape[1]))]))

    def with_bridge(self, eta: ArrayLike) -> Self:
        """Return these windows with others (n, n_statistics) off the curve: see `tightening`, or a straight line's."""
        more = np.asarray(eta, dtype=np.float64)
        return type(self)(np.append(self.s, np.full(len(more), np.nan)), np.concatenate([self.eta, more]))


def tightening(unit_eta: ArrayLike, log_snr: float, n: int, *, spread: float = 14.0) -> NDArray[np.float64]:
    """Return tilts (n, n_statistics) about one place, ever tighter: a bridge between the humps of weak windows.

    The weakest window has two humps, as the middle of an unconstrained geodesic has. On top of the barrier the
    strongest one has a single hump, which both flow into: replicas that climb this ladder cross as often as they like.

    Parameters
    ----------
    unit_eta : (n_statistics,) array
        η of unit strength about the barrier: `FeatureSpace.eta` at log_snr 0.
    log_snr : float
        Of the strongest window, for instance that of the anchors.
    n : int
    spread : float
        By what factor the weakest is weaker; equal ratios lie between them.
    """
    strongest = float(np.exp(log_snr))
    if not (spread > 1 and np.isfinite(strongest)) or n < 2:
        raise ParameterError(
            "tightening needs a finite log-SNR, a spread above 1 and 2 windows or more, but got "
            f"{log_snr:g}, {spread:g} and {n}"
        )
    return np.outer(np.geomspace(strongest / spread, strongest, n), np.asarray(unit_eta, dtype=np.float64))
