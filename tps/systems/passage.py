"""Whether any way leads from A to B outside the regions to avoid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from tps.features import wrap_angle
from tps.systems.regions import Ranged, Region

Array = NDArray[np.float64]


def connected(
    regions: Sequence[Region],
    variables: Mapping[str, Ranged],
    a: Mapping[str, NDArray[np.float64]],
    b: Mapping[str, NDArray[np.float64]],
) -> bool:
    """Return whether a continuous path of the regions' variables leads from A to B outside the regions.

    Exact for boxes, however narrow: their bounds cut each variable into intervals, so every cell lies in or out.

    Parameters
    ----------
    regions : sequence of Region
        None of which contains A or B.
    variables : mapping of str to Ranged
    a, b : mapping of str to array (1,)
        Values at the ends, in internal units.

    Returns
    -------
    bool
        False shows that there is no way; True leaves open whether the molecule can go it.
    """
    names = sorted({name for region in regions for name in region.ranges})
    if not names:
        return True
    edges = [_edges(name, regions, variables[name]) for name in names]
    middles = [_middles(cuts) for cuts in edges]
    grid = {
        name: wrap_angle(part.ravel()) if variables[name].periodic else part.ravel()
        for name, part in zip(names, np.meshgrid(*middles, indexing="ij"), strict=True)
    }
    free = ~np.logical_or.reduce([region.contains(grid) for region in regions])
    number = np.arange(free.size).reshape([len(m) for m in middles])
    joined = [_beside(number, axis, variables[name].periodic) for axis, name in enumerate(names)]
    i, j = np.concatenate(joined, axis=1)
    way = free[i] & free[j]
    graph = coo_matrix((np.ones(way.sum()), (i[way], j[way])), shape=(free.size, free.size))
    label = connected_components(graph, directed=False)[1].reshape(number.shape)
    ends = [
        tuple(_cell(cuts, float(values[name][0])) for name, cuts in zip(names, edges, strict=True))
        for values in (a, b)
    ]
    return bool(label[ends[0]] == label[ends[1]])


def _edges(name: str, regions: Sequence[Region], variable: Ranged) -> Array:
    """Return the ends of the intervals, in rising order; of an angle, the first again a turn later."""
    bounds = {x for region in regions for x in region.ranges.get(name, ())}
    if variable.periodic:
        cuts = sorted({-math.pi if x == math.pi else x for x in bounds})
        return np.array([*cuts, cuts[0] + 2 * math.pi])
    low, high = variable.extent
    return np.array([low, *sorted(x for x in bounds if low < x < high), high])


def _middles(edges: Array) -> Array:
    """Return a value inside each interval, also where it is open."""
    low, high = edges[:-1], edges[1:]
    return np.where(np.isfinite(high), np.where(np.isfinite(low), (low + high) / 2, high - 1), low + 1)


def _beside(number: NDArray[np.intp], axis: int, periodic: bool) -> NDArray[np.intp]:
    """Return which cells share a face along an axis (2, n_faces)."""
    along = np.moveaxis(number, axis, 0)
    following = np.roll(along, -1, axis=0)
    last = len(along) if periodic else len(along) - 1
    return np.stack([along[:last].ravel(), following[:last].ravel()])


def _cell(edges: Array, value: float) -> int:
    """Return the number of the interval that a value lies in; an angle before the first edge lies in the last."""
    return (int(np.searchsorted(edges, value, side="right")) - 1) % (len(edges) - 1)
