"""Frames of tilted windows, gathered over rounds, and of basins, weighed together by MBAR.

A window is p0 under a tilt. A basin is p0 restricted to a state's region: frames of plain dynamics that lie there, of
reduced energy 0 inside and prohibitive outside. So plain dynamics that never went over and back says how p0 looks in A
and in B, and nothing of their ratio: that comes from the windows alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.special import logsumexp

from tps.analysis.free_energy.solver import first_guess, solve_mbar
from tps.errors import ParameterError, SimulationError

#: Less overlap than this between neighbours on the way from A to B is too little.
LEAST_OVERLAP = 0.03


@dataclass(frozen=True, eq=False)
class FramePool:
    """N frames, each drawn in one of K windows, or in A or B.

    Attributes
    ----------
    eta : (K, n_statistics) array
        Tilts of the windows.
    state : (N,) int array
        What each frame was drawn in: its window, or K for p0 in A, and K + 1 for p0 in B.
    statistics : (N, n_statistics) array
    inside : (2, N) bool array
        Whether it lies in A, in B.
    ladder : (N,) int array
        Of several independent chains, the one a frame is of.
    """

    eta: NDArray[np.float64]
    state: NDArray[np.int64]
    statistics: NDArray[np.float64]
    inside: NDArray[np.bool_]
    ladder: NDArray[np.int64]

    def __post_init__(self) -> None:
        n, k = len(self.state), len(self.eta)
        if self.statistics.shape != (n, self.eta.shape[1]) or self.inside.shape != (2, n):
            raise ParameterError(
                f"a pool of {n} frames needs statistics {(n, self.eta.shape[1])} and inside {(2, n)}, but got "
                f"{self.statistics.shape} and {self.inside.shape}"
            )
        for row, name in enumerate("AB"):
            if not self.inside[row, self.state == k + row].all():
                raise ParameterError(f"frames of p0 in {name} must lie in {name}")

    @property
    def n_windows(self) -> int:
        """Number K of windows."""
        return len(self.eta)

    @property
    def log_density(self) -> NDArray[np.float64]:
        """Logarithm of each state's unnormalised density over p0 at the frames (K + 2, N)."""
        return np.concatenate([self.eta @ self.statistics.T, np.where(self.inside, 0.0, -np.inf)])

    def of(self, kept: NDArray[np.bool_]) -> FramePool:
        """Return the pool of some of the frames, with all its states."""
        return FramePool(
            self.eta, self.state[kept], self.statistics[kept], self.inside[:, kept], self.ladder[kept]
        )


@dataclass(frozen=True, eq=False)
class PoolWeights:
    """What MBAR says of a pool.

    Attributes
    ----------
    log_strength : (K + 2,) array
        ln N_k + f_k: frames were drawn from p0(x) Σ_k e^log_strength_k q_k(x), q_k the states' unnormalised densities;
        -inf for states without frames.
    log_weights : (N,) array
        Of the frames under p0, normalised; their logarithm is minus that of the sum.
    """

    log_strength: NDArray[np.float64]
    log_weights: NDArray[np.float64]


def weigh(pool: FramePool) -> PoolWeights:
    """Solve the MBAR equations for all states that have frames.

    Raises
    ------
    SimulationError
        If windows and basins do not overlap at all.

    References
    ----------
    Shirts, Chodera, J. Chem. Phys. 129, 124105 (2008).
    """
    counts = np.bincount(pool.state, minlength=pool.n_windows + 2)
    used = np.flatnonzero(counts)
    density = pool.log_density[used]
    f = solve_mbar(_guess(pool, used, density), density, counts[used])
    strength = np.full(len(counts), -np.inf)
    strength[used] = f + np.log(counts[used])
    log_weights = -logsumexp(density + strength[used, None], axis=0)
    total = float(logsumexp(log_weights))
    return PoolWeights(strength + total, log_weights - total)


def region_log_ratio(pool: FramePool, weights: PoolWeights) -> float:
    """Return ln p(B)/p(A) of the regions; NaN where one holds no frame."""
    if not pool.inside.any(axis=1).all():
        return float("nan")
    in_a, in_b = (logsumexp(weights.log_weights[inside]) for inside in pool.inside)
    return float(in_b - in_a)


def ladder_log_ratios(pool: FramePool) -> NDArray[np.float64]:
    """Return ln p(B)/p(A) by each independent chain alone (L,); NaN where its windows do not join A and B.

    They join them where the overlap on the way is `LEAST_OVERLAP` or more.
    """
    found = np.full(int(pool.ladder.max()) + 1, np.nan)
    for number in range(len(found)):
        part = pool.of(pool.ladder == number)
        try:
            weights = weigh(part)
        except SimulationError:  # one chain's windows do not overlap: it says nothing
            continue
        if joining_overlap(part, weights) >= LEAST_OVERLAP:
            found[number] = region_log_ratio(part, weights)
    return found


def joining_overlap(pool: FramePool, weights: PoolWeights) -> float:
    """Return the overlap of the basins of A and B over the best way of windows between them: its narrowest place.

    The overlap of two states is ∫ p q / (p + q), summed over all frames: 1/2 for the same, 0 for those apart. It does
    not depend on how many other windows lie about.
    """
    used = np.flatnonzero(np.isfinite(weights.log_strength))
    ends = [int(at) for row in (0, 1) for at in np.flatnonzero(used == pool.n_windows + row)]
    if len(ends) < 2:
        return 0.0
    chance = pool.log_density[used] + weights.log_weights
    chance = np.exp(chance - logsumexp(chance, axis=1, keepdims=True))
    n = len(used)
    overlap = np.zeros((n, n))
    for i in range(n):
        both = chance[i] + chance[i:]
        with np.errstate(divide="ignore", invalid="ignore"):
            overlap[i, i:] = np.nansum(chance[i] * chance[i:] / both, axis=1)
    return _narrowest(np.maximum(overlap, overlap.T), *ends)


def _narrowest(overlap: NDArray[np.float64], start: int, end: int) -> float:
    """Return the least overlap on the way from start to end on which it is greatest."""
    tree = minimum_spanning_tree(1.0 - np.clip(overlap, 0.0, 0.5)).toarray()
    link = np.where((tree + tree.T) > 0, overlap, 0.0)
    best, reached = np.zeros(len(link)), {start}
    best[start], front = np.inf, [start]
    while front:
        here = front.pop()
        for there in np.flatnonzero(link[here]):
            if int(there) not in reached:
                reached.add(int(there))
                best[there] = min(best[here], link[here, there])
                front.append(int(there))
    return float(best[end])


def _guess(pool: FramePool, used: NDArray[np.intp], density: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return first guesses of f for the used states: windows along their tree, basins by what windows say of them."""
    windows = used[used < pool.n_windows]
    if not len(windows):
        raise SimulationError("there are no windows between the basins: A and B cannot be weighed")
    means = np.array([pool.statistics[pool.state == k].mean(axis=0) for k in windows])
    f = first_guess(pool.eta[windows], means)
    counts = np.bincount(pool.state, minlength=pool.n_windows + 2)[windows]
    log_weights = -logsumexp(density[: len(windows)] + (f + np.log(counts))[:, None], axis=0)
    from_windows = pool.state < pool.n_windows
    for k in used[len(windows) :]:
        inside = pool.inside[k - pool.n_windows] & from_windows
        known = logsumexp(log_weights[inside]) if inside.any() else logsumexp(log_weights)
        f = np.append(f, -known)
    return f
