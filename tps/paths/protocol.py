"""A protocol: the tilts that paths pass, at equal steps of a clock along a curve: Fisher-Rao length, or friction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tps.errors import ParameterError

#: Points of the quadrature of lengths.
_N_FINE = 1001


def equal_steps(s: NDArray[np.float64], eta: NDArray[np.float64], n_updates: int) -> NDArray[np.float64]:
    """Return η at n_updates + 1 equally spaced readings of a clock along a curve.

    Parameters
    ----------
    s : (n_points,) array
        Reading of the clock at the curve's points, from 0 to 1: for the Fisher-Rao clock the fraction of its length.
    eta : (n_points, K) array
    n_updates : int
    """
    at = np.linspace(0.0, 1.0, n_updates + 1)
    return np.stack([np.interp(at, s, column) for column in eta.T], axis=1)


def tangents(
    s: NDArray[np.float64], eta: NDArray[np.float64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return dη/ds (n, K) at n places of a curve given by s (n_points,) and eta (n_points, K)."""
    slopes = np.gradient(eta, s, axis=0)
    return np.stack([np.interp(at, s, column) for column in slopes.T], axis=1)


def passed(
    s: NDArray[np.float64], clock: NDArray[np.float64], n_frames: int, backward: bool
) -> NDArray[np.float64]:
    """Return where on the curve each of n_frames equally spaced frames is: s falls from 1 where paths go backward."""
    at = np.arange(1, n_frames + 1) / n_frames
    return np.asarray(np.interp(1 - at if backward else at, clock, s))


@dataclass(frozen=True, eq=False)
class CurveFriction:
    """Friction along a curve, linear in s between the places where it was measured.

    Attributes
    ----------
    s : (n,) array
        Fraction of the curve's Fisher-Rao length, from 0 to 1.
    friction : (n,) array
        η'ᵀ ζ η' over the time between two moves of the tilt, η' = dη/ds: a move by Δs dissipates friction Δs² [kT].
    error : (n,) array
        Its standard error.

    Raises
    ------
    ParameterError
        If the places do not rise from 0 to 1, or a friction is not finite.
    """

    s: NDArray[np.float64]
    friction: NDArray[np.float64]
    error: NDArray[np.float64]

    def __post_init__(self) -> None:
        shapes = {self.s.shape, self.friction.shape, self.error.shape}
        if len(shapes) != 1 or self.s.ndim != 1 or len(self.s) < 2:
            raise ParameterError(f"friction along a curve needs s, friction and error (n,), but got {shapes}")
        if self.s[0] != 0 or self.s[-1] != 1 or not (np.diff(self.s) > 0).all():
            raise ParameterError(
                f"the places where friction is known must rise from 0 to 1, but are {self.s}"
            )
        if not (
            np.isfinite(self.friction).all() and (self.error > 0).all() and np.isfinite(self.error).all()
        ):
            raise ParameterError("friction along a curve must be finite, with positive errors")

    def clock(self, s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the clock that dissipates least at points s (n_points,), from 0 to 1: the fraction of friction length.

        Of all protocols along a curve those of constant speed in ζ dissipate least, L²/n_updates with the friction
        length L = ∫ sqrt(friction) ds (Sivak and Crooks 2012). A friction below its own error counts as that error.
        """
        fine = np.union1d(np.union1d(self.s, s), np.linspace(0.0, 1.0, _N_FINE))
        at = np.sqrt(np.interp(fine, self.s, np.maximum(self.friction, self.error)))
        length = np.concatenate([[0.0], np.cumsum((at[1:] + at[:-1]) / 2 * np.diff(fine))])
        return np.asarray(np.interp(s, fine, length / length[-1]))

    def dissipation(
        self, s: NDArray[np.float64], clock: NDArray[np.float64], n_updates: int
    ) -> tuple[float, float]:
        """Return the work [kT] that a slow protocol dissipates, Σ friction Δs², and its standard error.

        Parameters
        ----------
        s, clock : (n_points,) arrays
            Fraction of Fisher-Rao length, and reading of the clock, at points of the curve.
        n_updates : int
        """
        at = np.interp(np.linspace(0.0, 1.0, n_updates + 1), clock, s)
        weight, place = np.diff(at) ** 2, (at[1:] + at[:-1]) / 2
        gradient = np.array([np.interp(place, self.s, hat) @ weight for hat in np.eye(len(self.s))])
        return float(gradient @ self.friction), float(np.linalg.norm(gradient * self.error))
