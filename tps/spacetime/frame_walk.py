"""Where a moving tilt leads: walkers on the frames' own graph, and what share of them arrives outside a region.

What a single point of a curve says of a region, its probability, is not what a path meets: a path makes many tries,
and where it is cut off from the way round it waits before the region and does not arrive. Both are in the master
equation of walkers that diffuse from cell to cell of the frames while the tilt moves.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, eye_array
from scipy.sparse.linalg import splu
from scipy.spatial import KDTree
from torch import Tensor

from tps.errors import ParameterError
from tps.spacetime.empirical import EmpiricalFamily
from tps.spacetime.frame_graph import far_apart

#: Cells that stand for all frames, and how many neighbours of each are joined to it.
_N_CELLS, _N_NEIGHBOURS = 1200, 8
#: Places on a join that are looked at, so that none leads through a region that is narrower than a cell.
_PLACES = np.linspace(0, 1, 7)[1:-1]
#: Cells wider than so many widths of the tilt at an end cannot tell where it leads.
_WIDEST = 3.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Passage:
    """What becomes of walkers that a moving tilt leads from A.

    Parameters
    ----------
    arrived : float
        Share that is in B at the end and has never entered the region.
    entered : float
        Share that has entered it.
    arrived_walled : float
        Share that is in B at the end where a wall keeps all out of the region.
    """

    arrived: float
    entered: float
    arrived_walled: float


@dataclass(frozen=True, eq=False)
class FrameWalk:
    """Frames as cells of walkers that diffuse under a tilt, with unit mobility.

    Rates from cell i to a neighbour j at the distance r are 2 d B(G_j - G_i) / (n r^2), n neighbours each on the mean
    and B(x) = x / (e^x - 1): those of the Fokker-Planck equation where the free energy G [kT] of the cells is linear
    between them, and in detailed balance always.

    Parameters
    ----------
    frames : EmpiricalFamily
    inside : array (n_frames,) of bool
        Which lie in the region.
    in_b : array (n_frames,) of bool
        Which lie in state B.
    ends : Tensor (2, K)
        Natural parameters of both ends; walkers start at the first.

    Raises
    ------
    ParameterError
        If all frames lie in the region, or too few lie about an end to tell where its tilt leads.

    References
    ----------
    Scharfetter and Gummel, IEEE Trans. Electron Devices 16, 64 (1969), for the rates.
    """

    frames: EmpiricalFamily
    inside: NDArray[np.bool_]
    in_b: NDArray[np.bool_]
    ends: Tensor
    _cell: NDArray[np.intp] = field(init=False, repr=False)
    _blocked: NDArray[np.bool_] = field(init=False, repr=False)
    _pairs: NDArray[np.intp] = field(init=False, repr=False)
    _rate: Floats = field(init=False, repr=False)
    _start: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.inside.all():
            raise ParameterError("all frames lie in the region: nobody can walk outside it")
        spacetime = self.frames.spacetime
        features = self.frames.statistics[:, : spacetime.n_features]
        first = np.unique(self.inside, return_index=True)[1].tolist()
        chosen = far_apart(features, _N_CELLS, first).numpy()
        cell, blocked = self._cells(features.numpy(), chosen), self.inside[chosen]
        pairs, square = self._joined(features.numpy(), chosen)
        self._check(square)
        d = spacetime.positions(self.ends).shape[1]
        start = self.frames.mu(self.ends[:1])[0, : features.shape[1]]
        nearest = (
            (features - start).square().sum(1).masked_fill(torch.from_numpy(self.inside), torch.inf).argmin()
        )
        object.__setattr__(self, "_cell", cell)
        object.__setattr__(self, "_blocked", blocked)
        object.__setattr__(self, "_pairs", pairs)
        object.__setattr__(self, "_rate", d * len(chosen) / (len(pairs) * square))
        object.__setattr__(self, "_start", int(cell[nearest]))

    def _cells(self, places: Floats, chosen: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the cell (n_frames,) of each frame: that of the nearest chosen one on its side of the border."""
        cell = np.empty(len(places), dtype=np.intp)
        for side in np.unique(self.inside):
            own = np.flatnonzero(self.inside[chosen] == side)
            cell[self.inside == side] = own[KDTree(places[chosen[own]]).query(places[self.inside == side])[1]]
        return cell

    def _joined(self, places: Floats, chosen: NDArray[np.intp]) -> tuple[NDArray[np.intp], Floats]:
        """Return pairs of neighbours (n, 2), and their squared distances: none of two outside across the region."""
        cells, blocked = places[chosen], self.inside[chosen]
        near = KDTree(cells).query(cells, min(_N_NEIGHBOURS + 1, len(cells)))[1]
        pairs = np.stack([np.repeat(near[:, 0], near.shape[1] - 1), near[:, 1:].ravel()], 1)
        pairs = np.unique(np.sort(pairs, axis=1), axis=0)
        first, second = cells[pairs[:, 0]], cells[pairs[:, 1]]
        between = first + _PLACES[:, None, None] * (second - first)
        across = self.inside[KDTree(places).query(between)[1]].any(0) & ~blocked[pairs].any(1)
        return pairs[~across], ((second - first)[~across] ** 2).sum(1)

    def _check(self, square: Floats) -> None:
        width, cells = self._variance() ** 0.5, float(np.median(square)) ** 0.5
        if cells > _WIDEST * width:
            raise ParameterError(
                f"the frames' cells are {cells:.2g} wide and the tilt at an end {width:.2g}: too wide to tell where it "
                "leads"
            )

    def _variance(self) -> float:
        """Return the least variance of a feature at an end, in the unit of the geometry."""
        spread = self.frames.spacetime.posterior_std(self.frames.mu(self.ends).detach())
        return float(spread.min() ** 2)

    def passage(self, eta: Tensor, n_relaxations: float) -> Passage:
        """Return where walkers come that a curve leads in equal times from point to point.

        Parameters
        ----------
        eta : Tensor (n_points, K)
            Natural parameters of a curve from A to B.
        n_relaxations : float
            How long it takes, in times in which a walker relaxes at an end, where it is held tightest.

        Returns
        -------
        Passage
        """
        step = n_relaxations * self._variance() / (len(eta) - 1)
        free, walled = (np.zeros(len(self._blocked)) for _ in range(2))
        free[self._start] = walled[self._start] = 1
        for point in eta:
            weights = self._weights(point)
            rates = self._rates(weights)
            outside = ~self._blocked[self._pairs]
            free = self._moved(free, rates * outside, step)  # nobody comes back out of the region
            walled = self._moved(walled, rates * outside.all(1, keepdims=True), step)
        in_b = self._weights(eta[-1], self.in_b) / weights
        return Passage(
            arrived=float((free * in_b)[~self._blocked].sum()),
            entered=float(free[self._blocked].sum()),
            arrived_walled=float((walled * in_b)[~self._blocked].sum()),
        )

    def _weights(self, eta: Tensor, among: NDArray[np.bool_] | None = None) -> Floats:
        """Return the weights (n_cells,) of all frames of the cells under a tilt, or of those `among` them."""
        log = (self.frames.statistics @ eta + self.frames.log_weights).numpy()
        weights = np.exp(np.maximum(log - log.max(), -600))
        chosen = weights if among is None else weights * among
        return np.bincount(self._cell, chosen, len(self._blocked)).astype(np.float64)

    def _rates(self, weights: Floats) -> Floats:
        """Return the rates (n_pairs, 2) from the first to the second cell of each pair, and back."""
        rise = -np.diff(np.log(weights)[self._pairs], axis=1)
        return self._rate[:, None] * _bernoulli(np.concatenate([rise, -rise], 1))

    def _moved(self, shares: Floats, rates: Floats, step: float) -> Floats:
        """Return the shares (n_cells,) after an implicit step of time: never negative, and none lost."""
        one, other = self._pairs.T
        out, n = np.concatenate([one, other]), len(shares)
        into = np.concatenate([other, one])
        flow = rates.T.ravel()
        loss = coo_array((np.r_[flow, -flow], (np.r_[out, into], np.r_[out, out])), shape=(n, n))
        moved: Floats = splu(csc_array(eye_array(n) + step * loss)).solve(shares)
        return moved


def _bernoulli(x: Floats) -> Floats:
    """Return x / (e^x - 1), which is 1 at 0."""
    small = np.abs(x) < 1e-8
    return np.where(small, 1 - x / 2, x / np.expm1(np.where(small, 1.0, np.clip(x, -700, 700))))
