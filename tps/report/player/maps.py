"""The maps of a player: which axes there are, the free energy or energy over two of them, lines and regions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.features import FeatureSpace
from tps.report.density import free_energy_on_grid
from tps.report.feature_axes import Ranges, range_pieces
from tps.report.player.packed import packed_bytes, packed_table
from tps.report.player.projection import Projection
from tps.report.style import METHOD_COLORS

#: Key of the axis that every player has besides the features.
PROGRESS = "progress"
#: Features between any two of which there is a map of free energy; more would fill the page.
_MAPPED = 8
#: A cell of a map without data; the others are 0 to 254.
_NO_DATA = 255


@dataclass(frozen=True)
class MapAxis:
    """One axis of a map: its column, what it is called, where it ends in user units, and whether it goes round."""

    key: str
    name: str
    unit: str
    low: float
    high: float
    periodic: bool = False

    def as_json(self) -> dict[str, object]:
        """Return the axis as the page holds it."""
        label = f"{self.name} [{self.unit}]" if self.unit else self.name
        return {
            "key": self.key,
            "name": self.name,
            "label": label,
            "low": self.low,
            "high": self.high,
            "periodic": self.periodic,
        }


@dataclass(frozen=True, eq=False)
class MapAxes:
    """The axes that a player's maps are drawn over: the features, two directions of many, and progress.

    Attributes
    ----------
    space : FeatureSpace
    limits : (d, 2) array
        Where the features' axes end, in internal units.
    projection : Projection or None
    component_limits : (2, 2) array or None
    """

    space: FeatureSpace
    limits: NDArray[np.float64]
    projection: Projection | None = None
    component_limits: NDArray[np.float64] | None = None

    @classmethod
    def of_frames(
        cls,
        space: FeatureSpace,
        values: NDArray[np.floating],
        log_weights: ArrayLike,
        paths: Sequence[NDArray[np.floating]] = (),
    ) -> MapAxes:
        """Return the axes for weighted frames (n, d) and unbiased paths (n_frames, d).

        More than two features get two directions beside them: see `Projection`.
        """
        limits = space.ranges(space.wrap(values))
        if space.n_features <= 2:
            return cls(space, limits)
        projection = Projection.slowest(space, paths) or Projection.principal(space, values, log_weights)
        return cls(space, limits, projection, projection.components.ranges(projection(values)))

    @property
    def axes(self) -> tuple[MapAxis, ...]:
        """All of them."""
        space, shown = self.space, self.limits / self.space.user_scale[:, None]
        named = zip(space.names, space.user_units, shown.tolist(), space.periodic, strict=True)
        found = [
            MapAxis(_key(k), name, unit, ends[0], ends[1], turns)
            for k, (name, unit, ends, turns) in enumerate(named)
        ]
        if self.projection is not None and self.component_limits is not None:
            names, said = self.projection.components.names, self.projection.said
            found += [
                MapAxis(f"pc{k}", f"{name} of {said}", "-", *ends)
                for k, (name, ends) in enumerate(zip(names, self.component_limits.tolist(), strict=True))
            ]
        return (*found, MapAxis(PROGRESS, "progress s along the curve", "-", -0.02, 1.02))

    def columns(self, values: NDArray[np.floating]) -> dict[str, NDArray[np.float64]]:
        """Return the columns of values (n, d) for these axes, but for progress."""
        shown = self.space.wrap(values) / self.space.user_scale
        found = {_key(k): shown[:, k] for k in range(self.space.n_features)}
        if self.projection is not None:
            found |= {f"pc{k}": column for k, column in enumerate(self.projection(values).T)}
        return found

    def pieces(self, ranges: Ranges) -> dict[str, list[tuple[float, float]]]:
        """Return the intervals of a region on every axis that it limits, in user units."""
        found = {}
        for k, (name, scale) in enumerate(zip(self.space.names, self.space.user_scale, strict=True)):
            if name not in ranges:
                continue
            given = ranges[name]
            pieces = range_pieces(given) if self.space.periodic[k] else [given]
            low, high = self.limits[k]
            clipped = [(max(a, low) / scale, min(b, high) / scale) for a, b in pieces]
            found[_key(k)] = [(float(a), float(b)) for a, b in clipped if a < b]
        return found

    def free_energies(
        self, values: NDArray[np.floating], log_weights: NDArray[np.floating], kt: float, unit: str
    ) -> list[dict[str, object]]:
        """Return the maps of free energy over pairs of features, and over the components."""
        first = self.space.names[:_MAPPED]
        pairs = [
            (self.space.names.index(a), self.space.names.index(b))
            for a, b in itertools.combinations(first, 2)
        ]
        found = []
        for i, j in pairs:
            shown = self.space.select((self.space.names[i], self.space.names[j]))
            _, free = free_energy_on_grid(shown, values[:, [i, j]], log_weights, kt)
            found.append(energy_map(_key(i), _key(j), free, "Free energy", unit))
        if self.projection is not None:
            components = self.projection.components
            _, free = free_energy_on_grid(components, self.projection(values), log_weights, kt)
            found.append(energy_map("pc0", "pc1", free, "Free energy", unit))
        return found


def energy_map(
    x: str, y: str, energy: NDArray[np.floating], name: str, unit: str, *, quantile: float = 0.95
) -> dict[str, object]:
    """Return an energy (n_x, n_y) over two axes as the page holds it, in 254 steps up to a quantile of it.

    NaN is no data.
    """
    above = energy - np.nanmin(energy)
    top = float(np.nanquantile(above, quantile)) or 1.0
    cells = np.full(energy.shape, _NO_DATA, dtype=np.uint8)
    seen = np.isfinite(above)
    cells[seen] = np.rint(np.minimum(above[seen] / top, 1.0) * (_NO_DATA - 1))
    return {
        "x": x,
        "y": y,
        "shape": list(energy.shape),
        "cells": packed_bytes(cells),
        "top": top,
        "label": f"{name} [{unit}]",
    }


def line(
    label: str, kind: str, columns: Mapping[str, ArrayLike], *, color: int, at: int | None = None
) -> dict[str, object]:
    """Return a curve over the map as the page holds it; `at` is the point to name it at."""
    found = {"label": label, "kind": kind, "color": METHOD_COLORS[color % len(METHOD_COLORS)]}
    return {**found, "at": at, "table": packed_table(columns)}


def _key(feature: int) -> str:
    return f"x{feature}"
