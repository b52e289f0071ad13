"""Quadratic programs of curves: a quadratic cost of the coefficients, linear conditions at every point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded

Array = NDArray[np.float64]

_MAX_ITERATIONS = 40
#: Fraction of the way to where a number that must stay positive is zero.
_TO_BOUNDARY = 0.99
#: What is left of the gradient at a solution, and of slacks at the start in units of the largest value.
_STATIONARY, _SLACK = 1e-9, 1e-3
#: Guesses of multipliers are kept within these fractions of the price.
_LEAST_GUESS, _LARGEST_GUESS = 1e-3, 0.5


class BandedProjection:
    """A' D A of block-diagonal matrices D of points, for a banded design A, in LAPACK's lower banded form.

    Parameters
    ----------
    design : array (N, n)
        A, from coefficients to points.
    width : int
        Number K of coordinates of a point.
    """

    def __init__(self, design: Array, width: int) -> None:
        self.design, self.width, (n_points, n) = design, width, design.shape
        reach = max(int(np.ptp(np.flatnonzero(row))) for row in design if row.any())
        self.shape = ((reach + 1) * width, n * width)
        products = np.zeros((reach + 1, n, n_points))
        for offset in range(reach + 1):
            products[offset, : n - offset] = (design[:, : n - offset] * design[:, offset:]).T
        self._products = products.reshape(-1, n_points)
        sizes = (reach + 1, n, width, width)
        apart, column, i, j = np.meshgrid(*(np.arange(size) for size in sizes), indexing="ij")
        below = apart * width + i - j
        self._kept = ((below >= 0) & (column + apart < n)).ravel()
        self._place = (below * n * width + column * width + j).ravel()[self._kept]

    def __call__(self, blocks: Array) -> Array:
        """Map blocks (N, K, K) to the band."""
        band = np.zeros(self.shape)
        found = self._products @ blocks.reshape(len(blocks), -1)
        band.ravel()[self._place] = found.ravel()[self._kept]
        return band

    def back(self, points: Array) -> Array:
        """Map what pulls at points (N, K) to what pulls at coefficients (n K,)."""
        return np.asarray((self.design.T @ points).ravel())

    def forth(self, coefficients: Array) -> Array:
        """Map coefficients (n K,) to points (N, K)."""
        return np.asarray(self.design @ coefficients.reshape(-1, self.width))


@dataclass(frozen=True, eq=False)
class QuadraticProgram:
    """Minimise g'p + p'Hp/2 + price sum t over p and t >= 0, where c + J p <= t at every point.

    It has a solution whether the conditions can be met or not.

    Parameters
    ----------
    project : BandedProjection
    hessian : array (bands, n K)
        H, positive definite, in LAPACK's lower banded form.
    gradient : array (n K,)
    values, slopes : arrays (N, m), (N, m, K)
        c, and J with respect to the coordinates of the point.
    price : float
    """

    project: BandedProjection
    hessian: Array
    gradient: Array
    values: Array
    slopes: Array
    price: float

    def solve(self, guess: Array, gap: float) -> QuadraticStep:
        """Return the solution up to a complementarity `gap`, from a guess of the multipliers (N, m).

        References
        ----------
        Mehrotra, SIAM J. Optim. 2, 575 (1992): primal-dual predictor and corrector.
        """
        now = _Iterate.first(self, guess)
        enough = _STATIONARY * float(np.abs(self.gradient).max())
        for _ in range(_MAX_ITERATIONS):
            if now.gap <= gap and float(np.abs(now.dual).max()) <= enough:
                break
            try:
                now = now.next(self)
            except LinAlgError:
                # slacks below round-off: as near as it gets
                break
        curvature = -now.p @ (self.gradient + self.pull(now.y) - now.dual)
        return QuadraticStep(now.p, now.y, float(curvature))

    def pull(self, weights: Array) -> Array:
        """Return J' y (n K,) of weights y (N, m)."""
        return self.project.back(np.einsum("nmk,nm->nk", self.slopes, weights))

    def push(self, step: Array) -> Array:
        """Return J p (N, m) of a step p (n K,)."""
        return np.asarray(np.einsum("nmk,nk->nm", self.slopes, self.project.forth(step)))


@dataclass(frozen=True, eq=False)
class QuadraticStep:
    """The solution of a quadratic program: step p (n K,), multipliers (N, m), and p'Hp."""

    step: Array
    multipliers: Array
    curvature: float


@dataclass(frozen=True, eq=False)
class _Iterate:
    """Where the method is: y and z, multipliers of s = t - c - J p and t, all positive, and the gradient left, `dual`.

    What s is to be and y + z = price hold from the first iterate on, since they are linear.
    """

    p: Array
    y: Array
    z: Array
    s: Array
    t: Array
    dual: Array

    @classmethod
    def first(cls, of: QuadraticProgram, guess: Array) -> _Iterate:
        t = of.values.clip(0) + _SLACK * max(float(np.abs(of.values).max()), _SLACK)
        y = guess.clip(_LEAST_GUESS * of.price, _LARGEST_GUESS * of.price)
        left = of.gradient + of.pull(y)
        return cls(np.zeros_like(of.gradient), y, of.price - y, t - of.values, t, left)

    @property
    def gap(self) -> float:
        """Sum of y s and z t: how far the cost may be above its least."""
        return float(np.vdot(self.y, self.s) + np.vdot(self.z, self.t))

    def next(self, of: QuadraticProgram) -> _Iterate:
        """Return where a predicting and a correcting step lead."""
        weight = 1 / (self.s / self.y + self.t / self.z)
        factor = self._factor(of, weight)
        ys, zt = -self.y * self.s, -self.z * self.t
        ahead = self._change(of, factor, weight, ys, zt)
        _, dy, ds, dt = ahead
        foreseen = self._moved(ahead, min(1.0, self._longest(ahead))).gap
        aim = self.gap / (2 * self.s.size) * (foreseen / self.gap) ** 3
        change = self._change(of, factor, weight, ys + aim - dy * ds, zt + aim + dy * dt)
        return self._moved(change, min(1.0, _TO_BOUNDARY * self._longest(change)))

    def _factor(self, of: QuadraticProgram, weight: Array) -> Array:
        band = of.hessian.copy()
        held = of.project(np.einsum("nmi,nm,nmj->nij", of.slopes, weight, of.slopes))
        band[: len(held)] += held
        return np.asarray(cholesky_banded(band, lower=True, check_finite=False, overwrite_ab=True))

    def _change(
        self, of: QuadraticProgram, factor: Array, weight: Array, ys: Array, zt: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Return changes of p, y, s and t with s dy + y ds = `ys` and t dz + z dt = `zt`, dz = -dy."""
        lead = ys / self.y - zt / self.z
        right = -self.dual - of.pull(weight * lead)
        dp = cho_solve_banded((factor, True), right, check_finite=False)
        moved = of.push(dp)
        dy = weight * (moved + lead)
        dt = (zt + self.t * dy) / self.z
        return dp, dy, dt - moved, dt

    def _moved(self, change: tuple[Array, Array, Array, Array], length: float) -> _Iterate:
        dp, dy, ds, dt = (length * part for part in change)
        return _Iterate(
            self.p + dp, self.y + dy, self.z - dy, self.s + ds, self.t + dt, (1 - length) * self.dual
        )

    def _longest(self, change: tuple[Array, Array, Array, Array]) -> float:
        """Return the length after which one of y, z, s and t is zero."""
        _, dy, ds, dt = change
        pairs = ((self.y, dy), (self.z, -dy), (self.s, ds), (self.t, dt))
        return min(float((-value[by < 0] / by[by < 0]).min(initial=np.inf)) for value, by in pairs)
