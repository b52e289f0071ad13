"""Starting curves from the data: ways of low free energy on a graph of the frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import KDTree
from torch import Tensor

from tps.spacetime.barrier import tethered_free_energy
from tps.spacetime.constraints import Constraint
from tps.spacetime.empirical import EmpiricalFamily
from tps.spacetime.points import SpacetimePoint, eta_of

#: Frames that stand for all, as far apart as they can be, and how many neighbours of each are joined to it.
_N_NODES, _N_NEIGHBOURS = 600, 10
#: What has been passed closer than this fraction of the distance between the ends is closed for the next way, where the
#: free energy has risen half-way from its lowest to its highest value between the ends.
_CLOSED = 0.25
_SMOOTHINGS = 2


def graph_starts(
    frames: EmpiricalFamily,
    a: SpacetimePoint,
    b: SpacetimePoint,
    n_points: int,
    *,
    n_paths: int = 3,
    constraints: Sequence[Constraint] = (),
) -> dict[str, Tensor]:
    """Return starting curves along ways of low free energy through the frames, that differ in where they cross.

    Frames far apart are the nodes of a graph, joined to their nearest neighbours. A way's cost is the integral of e^F
    over its length, F the free energy at tilts as tight as the anchors: the way of largest flux. Then the surroundings
    of its pass are closed, and the next one is found.

    Parameters
    ----------
    frames : EmpiricalFamily
    a, b : SpacetimePoint
    n_points : int
    n_paths : int
        The most to return; there are fewer where nothing is left to pass.
    constraints : sequence of Constraint
        Frames at which the tilt breaks one are left out.

    Returns
    -------
    dict of str to Tensor (n_points, K)
        Natural parameters by name, "frames 0" the best one.

    References
    ----------
    Huo and Straub, J. Chem. Phys. 107, 5000 (1997): the path of maximum flux.
    """
    spacetime, level = frames.spacetime, min(a.log_snr, b.log_snr)
    width = spacetime.n_features
    ends = torch.stack([eta_of(spacetime, a), eta_of(spacetime, b)])
    places = torch.cat([_statistics(frames, ends), frames.statistics[:, :width]])
    chosen = places[far_apart(places, _N_NODES)]
    positions = _positions(spacetime.n_circles, chosen)
    eta = spacetime.tilt(positions, level)
    free = tethered_free_energy(frames, eta).numpy()
    allowed = _allowed(frames, eta, constraints)
    allowed[:2] = True
    apart = float((chosen[1] - chosen[0]).norm())
    found = {}
    for number in range(n_paths):
        way = _cheapest(chosen.numpy(), free, allowed)
        if way is None:
            break
        inner = np.array(way[1:-1], dtype=np.intp)
        line = _evenly(spacetime.nearest, positions[way], n_points)
        curve = spacetime.tilt(line, level)
        curve[[0, -1]] = ends
        found[f"frames {number}"] = curve
        if len(inner) == 0:
            break
        high = inner[free[inner] >= (free[inner].max() + free[way].min()) / 2]
        near = torch.cdist(chosen, chosen[torch.as_tensor(high)]).amin(1) < _CLOSED * apart
        allowed &= ~near.numpy()
        allowed[:2] = True
    return found


def _statistics(frames: EmpiricalFamily, ends: Tensor) -> Tensor:
    """Return the features (2, n_features) at the centers of the ends: pairs of length one, then lines."""
    circles = 2 * frames.spacetime.n_circles
    center = frames.spacetime.split(ends)[0].clone()
    pairs = center[:, :circles].unflatten(1, (-1, 2)) if circles else center[:, :0]
    if circles:
        center[:, :circles] = (pairs / pairs.norm(dim=-1, keepdim=True)).flatten(1)
    return center


def _positions(n_circles: int, features: Tensor) -> Tensor:
    """Map features (n, n_features) to positions (n, d)."""
    angles = torch.atan2(features[:, 1 : 2 * n_circles : 2], features[:, 0 : 2 * n_circles : 2])
    return torch.cat([angles, features[:, 2 * n_circles :]], dim=1)


def far_apart(places: Tensor, n: int, first: Sequence[int] = (0, 1)) -> Tensor:
    """Return indices of at most n places (m, k), the `first` and then each time the one farthest from all before."""
    chosen = list(first)
    distance = torch.cdist(places, places[chosen]).amin(1)
    while len(chosen) < n:
        farthest = int(distance.argmax())
        if float(distance[farthest]) <= 0:
            break
        chosen.append(farthest)
        distance = torch.minimum(distance, (places - places[farthest]).norm(dim=1))
    return torch.tensor(chosen)


def _allowed(frames: EmpiricalFamily, eta: Tensor, constraints: Sequence[Constraint]) -> NDArray[np.bool_]:
    with torch.no_grad():
        mu = frames.mu(eta)
        worst = [c.values(frames, eta, mu).amax(1) for c in constraints]
    return (torch.stack([torch.zeros(len(eta), dtype=torch.float64), *worst]).amax(0) <= 0).numpy()


def _cheapest(
    places: NDArray[np.float64], free: NDArray[np.float64], allowed: NDArray[np.bool_]
) -> list[int] | None:
    """Return the nodes of the way of largest flux from the first to the second one; None where there is none."""
    kept = np.flatnonzero(allowed)
    n_near = min(_N_NEIGHBOURS + 1, len(kept))
    distance, near = KDTree(places[kept]).query(places[kept], n_near)
    first, second = np.repeat(np.arange(len(kept)), n_near), near.ravel()
    height = free[kept]
    cost = distance.ravel() * np.exp(np.maximum(height[first], height[second]) - height.max())
    joined = cost > 0
    n = len(kept)
    graph = coo_array((cost[joined], (first[joined], second[joined])), shape=(n, n)).tocsr()
    graph = graph.maximum(graph.T)
    total, before = dijkstra(graph, directed=False, indices=0, return_predecessors=True)
    if not np.isfinite(total[1]):
        return None
    way = [1]
    while way[-1] != 0:
        way.append(int(before[way[-1]]))
    return [int(kept[node]) for node in reversed(way)]


def _evenly(nearest: Callable[[Tensor], Tensor], positions: Tensor, n_points: int) -> Tensor:
    """Return n_points positions at equal distances along a smoothed way."""
    steps = nearest(positions.diff(dim=0))
    path = torch.cat([positions[:1], positions[0] + steps.cumsum(0)])
    arc = torch.cat([steps.new_zeros(1), steps.norm(dim=1).cumsum(0)]).numpy()
    where = np.linspace(0, arc[-1], n_points)
    line = torch.tensor(np.stack([np.interp(where, arc, column) for column in path.T.numpy()], axis=1))
    for _ in range(_SMOOTHINGS * n_points // 8):
        line[1:-1] = (line[:-2] + 2 * line[1:-1] + line[2:]) / 4
    return line
