"""Weighted frames as cells of walkers that diffuse from each to its neighbours: a Markov jump process."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array
from scipy.spatial import KDTree
from torch import Tensor

from tps.spacetime.empirical import EmpiricalFamily
from tps.spacetime.frame_graph import far_apart

#: Cells that stand for all frames, and how many neighbours of each are joined to it.
_N_CELLS, _N_NEIGHBOURS = 1200, 8
#: Places on a join that are looked at, so that none leads through a region that is narrower than a cell.
_PLACES = np.linspace(0, 1, 7)[1:-1]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FrameCells:
    """Cells of frames, between which walkers of unit mobility jump.

    Rates from cell i to a neighbour j at the distance r are 2 d B(G_j - G_i) / (n r^2), n neighbours each on the mean
    and B(x) = x / (e^x - 1): those of the Fokker-Planck equation where the free energy G [kT] of the cells is linear
    between them, and in detailed balance always.

    Parameters
    ----------
    frames : EmpiricalFamily
    inside : array (n_frames,) of bool
        Which lie in a region: cells end at its border, and none outside is joined to another across it.

    Attributes
    ----------
    cell : array (n_frames,) of int
        Where each frame belongs.
    blocked : array (n_cells,) of bool
        Which cells lie in the region.
    pairs : array (n_pairs, 2) of int
        Cells that are joined.
    square : array (n_pairs,)
        Their squared distances.

    References
    ----------
    Scharfetter and Gummel, IEEE Trans. Electron Devices 16, 64 (1969), for the rates.
    """

    frames: EmpiricalFamily
    inside: NDArray[np.bool_]
    cell: NDArray[np.intp] = field(init=False, repr=False)
    blocked: NDArray[np.bool_] = field(init=False, repr=False)
    pairs: NDArray[np.intp] = field(init=False, repr=False)
    square: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        spacetime = self.frames.spacetime
        features = self.frames.statistics[:, : spacetime.n_features]
        first = np.unique(self.inside, return_index=True)[1].tolist()
        chosen = far_apart(features, _N_CELLS, first).numpy()
        pairs, square = self._joined(features.numpy(), chosen)
        object.__setattr__(self, "cell", self._cells(features.numpy(), chosen))
        object.__setattr__(self, "blocked", self.inside[chosen])
        object.__setattr__(self, "pairs", pairs)
        object.__setattr__(self, "square", square)

    @property
    def n_cells(self) -> int:
        """How many there are."""
        return len(self.blocked)

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

    def weights(self, eta: Tensor, among: NDArray[np.bool_] | None = None) -> Floats:
        """Return the weights (n_cells,) of all frames of the cells under a tilt, or of those `among` them."""
        log = (self.frames.statistics @ eta + self.frames.log_weights).numpy()
        weights = np.exp(np.maximum(log - log.max(), -600))
        chosen = weights if among is None else weights * among
        return np.bincount(self.cell, chosen, self.n_cells).astype(np.float64)

    def means(self) -> Floats:
        """Return the weighted mean (n_cells, K) of T in each cell."""
        log = self.frames.log_weights.numpy()
        weights = np.exp(np.maximum(log - log.max(), -600))
        columns = self.frames.statistics.numpy().T
        sums = np.stack([np.bincount(self.cell, weights * column, self.n_cells) for column in columns], 1)
        return sums / np.bincount(self.cell, weights, self.n_cells)[:, None]

    def rates(self, weights: Floats) -> Floats:
        """Return the rates (n_pairs, 2) from the first to the second cell of each pair, and back."""
        d = self.frames.spacetime.positions(torch.zeros(1, self.frames.statistics.shape[1])).shape[1]
        rise = -np.diff(np.log(weights)[self.pairs], axis=1)
        scale = d * self.n_cells / (len(self.pairs) * self.square)
        return scale[:, None] * _bernoulli(np.concatenate([rise, -rise], 1))

    def loss(self, rates: Floats) -> csc_array:
        """Return the matrix L (n_cells, n_cells) of the master equation dp/dt = -L p."""
        one, other = self.pairs.T
        out, into, flow = np.concatenate([one, other]), np.concatenate([other, one]), rates.T.ravel()
        entries = (np.r_[flow, -flow], (np.r_[out, into], np.r_[out, out]))
        return csc_array(coo_array(entries, shape=(self.n_cells, self.n_cells)))


def _bernoulli(x: Floats) -> Floats:
    """Return x / (e^x - 1), which is 1 at 0."""
    small = np.abs(x) < 1e-8
    return np.where(small, 1 - x / 2, x / np.expm1(np.where(small, 1.0, np.clip(x, -700, 700))))
