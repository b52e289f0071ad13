"""The space of features: where the sufficient statistic T, its natural parameters and the geometry of angles live."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.errors import ParameterError

Angles = TypeVar("Angles", bound=Any)
Array = NDArray[np.float64]

#: Internal unit -> the unit that people write, and internal units per one of it.
USER_UNITS = {"rad": ("degree", math.pi / 180), "nm": ("nm", 1.0), "": ("", 1.0)}


def wrap_angle(angle: Angles) -> Angles:
    """Map angles [rad] of an array or a tensor to (-pi, pi]; those that lie there already keep every digit."""
    found: Angles = angle + 2 * math.pi * ((math.pi - angle) // (2 * math.pi))
    return found


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """Names, units and geometry of d features, of which some are angles on circles and the others lie on lines.

    The sufficient statistic of the tilted distributions p0(x) exp(eta . T(x) - psi(eta)) is

        T = (cos t, sin t of every angle; x / scale of every other feature; |x / scale|^2)

    with K = 2 d_angles + d_others + 1 entries, the last one only where there are others: the length of (cos t, sin t)
    is constant. A tilt centred at c with log-SNR l has eta = (e^l cos c, e^l sin c; e^l c / scale; -e^l / 2).

    Parameters
    ----------
    names : tuple of str (d,)
    periodic : tuple of bool (d,)
        Which features are angles on a circle [rad].
    units : tuple of str (d,)
        Internal units: "rad", "nm", or "" for a pure number.
    scale : tuple of float (d,)
        What counts as one in the geometry, in internal units; 1 for angles on a circle.
    bounds : array (d, 2)
        Least and largest value, in internal units, for grids, histograms and pictures; -pi and pi on a circle,
        infinite where nothing is said.

    Raises
    ------
    ParameterError
        If there are no features, or these do not fit together.
    """

    names: tuple[str, ...]
    periodic: tuple[bool, ...]
    units: tuple[str, ...]
    scale: tuple[float, ...]
    bounds: Array

    def __post_init__(self) -> None:
        bounds = np.array(self.bounds, dtype=np.float64)
        d = len(self.names)
        if d == 0 or len(set(self.names)) != d:
            raise ParameterError(f"features need distinct names, at least one, but got {list(self.names)}")
        if not d == len(self.periodic) == len(self.units) == len(self.scale) or bounds.shape != (d, 2):
            raise ParameterError(
                f"{d} features need as many periodicities, units, scales and pairs of bounds, but got "
                f"{len(self.periodic)}, {len(self.units)}, {len(self.scale)} and {bounds.shape}"
            )
        unknown = sorted(set(self.units) - USER_UNITS.keys())
        if unknown:
            raise ParameterError(
                f"units of features are {', '.join(map(repr, USER_UNITS))}, not {unknown[0]!r}"
            )
        for name, periodic, unit, scale in zip(
            self.names, self.periodic, self.units, self.scale, strict=True
        ):
            if not 0 < scale < math.inf or (periodic and (unit, scale) != ("rad", 1.0)):
                raise ParameterError(
                    f"feature {name}: a scale must be positive and finite, and an angle on a circle is in rad with "
                    f"scale 1, but got {scale:g} {unit}"
                )
        bounds.setflags(write=False)
        object.__setattr__(self, "bounds", bounds)

    @property
    def n_features(self) -> int:
        """Number of features d."""
        return len(self.names)

    @property
    def n_circles(self) -> int:
        """Number of angles on circles; their cosines and sines are the first 2 n_circles statistics."""
        return sum(self.periodic)

    @property
    def n_lines(self) -> int:
        """Number of features on lines."""
        return self.n_features - self.n_circles

    @property
    def n_statistics(self) -> int:
        """Number K of statistics."""
        return 2 * self.n_circles + self.n_lines + (self.n_lines > 0)

    @cached_property
    def circles(self) -> NDArray[np.intp]:
        """Columns of the angles on circles."""
        return np.flatnonzero(self.periodic)

    @cached_property
    def lines(self) -> NDArray[np.intp]:
        """Columns of the features on lines."""
        return np.flatnonzero(~np.array(self.periodic))

    @cached_property
    def line_scale(self) -> Array:
        """Scales of the features on lines (n_lines,)."""
        return np.array([self.scale[i] for i in self.lines])

    @property
    def user_units(self) -> tuple[str, ...]:
        """Units that people write: degree for rad."""
        return tuple(USER_UNITS[unit][0] for unit in self.units)

    @cached_property
    def user_scale(self) -> Array:
        """Internal units per unit that people write (d,)."""
        return np.array([USER_UNITS[unit][1] for unit in self.units])

    def select(self, names: tuple[str, ...]) -> FeatureSpace:
        """Return the space of some of the features, in the order given."""
        missing = [name for name in names if name not in self.names]
        if missing:
            raise ParameterError(f"no feature is named {missing[0]!r}: they are {', '.join(self.names)}")
        at = [self.names.index(name) for name in names]
        return FeatureSpace(
            names,
            tuple(self.periodic[i] for i in at),
            tuple(self.units[i] for i in at),
            tuple(self.scale[i] for i in at),
            self.bounds[at],
        )

    def ranges(self, values: ArrayLike) -> Array:
        """Return finite bounds (d, 2): those of the space, and where they are infinite, of values (..., d)."""
        flat = self._checked(values).reshape(-1, self.n_features)
        flat = flat[np.isfinite(flat).all(axis=1)]
        if len(flat) == 0:
            raise ParameterError("the range of features needs at least one row of finite values")
        seen = np.stack([flat.min(axis=0), flat.max(axis=0)], axis=1)
        found = np.where(np.isfinite(self.bounds), self.bounds, seen)
        return np.where(found[:, 1:] > found[:, :1], found, found + np.array([-0.5, 0.5]))

    def wrap(self, values: ArrayLike) -> Array:
        """Return values (..., d) with their angles in (-pi, pi] [rad]."""
        found = np.array(self._checked(values))
        found[..., self.circles] = wrap_angle(found[..., self.circles])
        return found

    def unwrap(self, path: ArrayLike) -> Array:
        """Return a path (n_points, d) on which no angle jumps by a turn from one point to the next."""
        found = np.array(self._checked(path))
        found[:, self.circles] = np.unwrap(found[:, self.circles], axis=0)
        return found

    def difference(self, start: ArrayLike, end: ArrayLike) -> Array:
        """Return end - start (..., d), angles the shorter way round, in (-pi, pi] [rad]."""
        return self.wrap(self._checked(end) - self._checked(start))

    def mean(self, values: ArrayLike, weights: Array | None = None) -> Array:
        """Return the weighted mean (d,) of values (n, d), angles by the mean of their directions."""
        x = self._checked(values)
        found = np.average(x, axis=0, weights=weights)
        if self.n_circles:
            around = np.average(np.exp(1j * x[:, self.circles]), axis=0, weights=weights)
            found[self.circles] = np.angle(around)
        return np.asarray(found)

    def statistic(self, values: ArrayLike) -> Array:
        """Map values (..., d) to the sufficient statistic T (..., K)."""
        x = self._checked(values)
        angles = x[..., self.circles]
        pairs = np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(*x.shape[:-1], 2 * self.n_circles)
        if not self.n_lines:
            return pairs
        scaled = x[..., self.lines] / self.line_scale
        return np.concatenate([pairs, scaled, np.sum(scaled**2, axis=-1, keepdims=True)], axis=-1)

    def eta(self, values: ArrayLike, log_snr: ArrayLike) -> Array:
        """Return the natural parameters (..., K) of tilts centred at values (..., d) with log_snr (...)."""
        statistic = self.statistic(values)
        if self.n_lines:
            statistic[..., -1] = -0.5
        return np.exp(np.asarray(log_snr, dtype=np.float64))[..., None] * statistic

    def center(self, vector: ArrayLike) -> Array:
        """Map eta or mu (..., K) to feature values (..., d): where a tilt is centred, or where the mean of T lies.

        What comes last, -e^l / 2 in eta and E|x|^2 in mu, tells them apart; without signal (e^l = 0) a center is NaN.
        """
        v = self._statistic_vector(vector)
        pairs = v[..., : 2 * self.n_circles]
        found = np.empty((*v.shape[:-1], self.n_features))
        found[..., self.circles] = np.arctan2(pairs[..., 1::2], pairs[..., 0::2])
        if self.n_lines:
            last = v[..., -1:]
            with np.errstate(divide="ignore", invalid="ignore"):
                over = np.where(last > 0, 1.0, np.where(last < 0, -2 * last, np.nan))
                found[..., self.lines] = v[..., 2 * self.n_circles : -1] / over * self.line_scale
        return found

    def spring(self, eta: ArrayLike) -> Array:
        """Return what eta . T leaves out of the tilts' springs -e^l |x - c|^2 / 2: e^l |c|^2 / 2 (...) [kT].

        Zero on circles. The free energy of a tilt as a spring is -kT (psi(eta) - spring(eta)).
        """
        v = self._statistic_vector(eta)
        if not self.n_lines:
            return np.zeros(v.shape[:-1])
        return np.asarray(np.sum(v[..., 2 * self.n_circles : -1] ** 2, axis=-1) / (-4 * v[..., -1]))

    def tilt_gradient(self, values: ArrayLike, eta: ArrayLike) -> Array:
        """Map values (..., d) and eta (..., K) to d(eta . T)/d values (..., d) [per internal unit].

        eta_y cos t - eta_x sin t on a circle; e^l (c - x) / scale^2 on a line.
        """
        x, v = self._checked(values), self._statistic_vector(eta)
        angles, pairs = x[..., self.circles], v[..., : 2 * self.n_circles]
        found = np.empty(np.broadcast_shapes(x.shape, (*v.shape[:-1], self.n_features)))
        found[..., self.circles] = pairs[..., 1::2] * np.cos(angles) - pairs[..., 0::2] * np.sin(angles)
        if self.n_lines:
            scaled = x[..., self.lines] / self.line_scale
            slope = v[..., 2 * self.n_circles : -1] + 2 * v[..., -1:] * scaled
            found[..., self.lines] = slope / self.line_scale
        return found

    def stiffness(self, eta: ArrayLike) -> float:
        """Return the largest second derivative of -eta . T for eta (K,) [kT per internal unit squared]."""
        v = self._statistic_vector(eta)
        largest = [0.0]
        if self.n_circles:
            largest.append(
                float(np.hypot(v[0 : 2 * self.n_circles : 2], v[1 : 2 * self.n_circles : 2]).max())
            )
        if self.n_lines:
            largest.append(float(np.abs(2 * v[-1]) / self.line_scale.min() ** 2))
        return max(largest)

    def _checked(self, values: ArrayLike) -> Array:
        x = np.asarray(values, dtype=np.float64)
        if x.ndim == 0 or x.shape[-1] != self.n_features:
            raise ParameterError(
                f"feature values must be (..., {self.n_features}), one column for each of {', '.join(self.names)}, "
                f"but got {x.shape}"
            )
        return x

    def _statistic_vector(self, vector: ArrayLike) -> Array:
        v = np.asarray(vector, dtype=np.float64)
        if v.ndim == 0 or v.shape[-1] != self.n_statistics:
            raise ParameterError(f"eta and T must be (..., {self.n_statistics}), but got {v.shape}")
        return v
