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
from scipy.sparse import csc_array, eye_array
from scipy.sparse.linalg import splu
from torch import Tensor

from tps.errors import ParameterError
from tps.spacetime.empirical import EmpiricalFamily
from tps.spacetime.frame_cells import FrameCells

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
    """Walkers that diffuse from cell to cell of the frames under a tilt that moves; see `FrameCells`.

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
    """

    frames: EmpiricalFamily
    inside: NDArray[np.bool_]
    in_b: NDArray[np.bool_]
    ends: Tensor
    _cells: FrameCells = field(init=False, repr=False)
    _start: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.inside.all():
            raise ParameterError("all frames lie in the region: nobody can walk outside it")
        cells = FrameCells(self.frames, self.inside)
        self._check(cells.square)
        features = self.frames.statistics[:, : self.frames.spacetime.n_features]
        start = self.frames.mu(self.ends[:1])[0, : features.shape[1]]
        nearest = (
            (features - start).square().sum(1).masked_fill(torch.from_numpy(self.inside), torch.inf).argmin()
        )
        object.__setattr__(self, "_cells", cells)
        object.__setattr__(self, "_start", int(cells.cell[nearest]))

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
        step, cells = n_relaxations * self._variance() / (len(eta) - 1), self._cells
        free, walled = (np.zeros(cells.n_cells) for _ in range(2))
        free[self._start] = walled[self._start] = 1
        for point in eta:
            weights = cells.weights(point)
            rates = cells.rates(weights)
            outside = ~cells.blocked[cells.pairs]
            free = self._moved(free, rates * outside, step)  # nobody comes back out of the region
            walled = self._moved(walled, rates * outside.all(1, keepdims=True), step)
        in_b = cells.weights(eta[-1], self.in_b) / weights
        return Passage(
            arrived=float((free * in_b)[~cells.blocked].sum()),
            entered=float(free[cells.blocked].sum()),
            arrived_walled=float((walled * in_b)[~cells.blocked].sum()),
        )

    def _moved(self, shares: Floats, rates: Floats, step: float) -> Floats:
        """Return the shares (n_cells,) after an implicit step of time: never negative, and none lost."""
        loss = self._cells.loss(rates)
        moved: Floats = splu(csc_array(eye_array(len(shares)) + step * loss)).solve(shares)
        return moved
