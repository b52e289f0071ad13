"""The MBAR equations of tilted windows, solved by Newton's method: fast enough to leave blocks out one by one.

They say that a convex function of f is stationary, so a Newton step that is halved until the function falls leads to
the solution from anywhere. `tps.analysis.free_energy.mbar` takes pymbar for the asymptotic errors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from tps.errors import SimulationError

_MAX_ITERATIONS, _MAX_HALVINGS = 200, 40
#: Of the residual, per frame.
_TOLERANCE = 1e-6
#: Logarithm of how many times the frames it drew a window may hold, or the other way round, for Newton's step.
_FAR = 1.0


def solve_mbar(
    f: NDArray[np.float64], tilts: NDArray[np.float64], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the solution f_k = -ψ_k of the MBAR equations, with f_0 kept.

    Parameters
    ----------
    f : (K,) array
        First guess.
    tilts : (K, N) array
        η_k·T_n of the frames.
    counts : (K,) int array
        Frames of each window, all positive.

    Raises
    ------
    SimulationError
        If it does not converge, because windows do not overlap at all.

    References
    ----------
    Shirts, Chodera, J. Chem. Phys. 129, 124105 (2008), Eq. 11; the convex function: Tan et al., ibid. 136, 144102.
    """
    f = f.copy()
    value, shares = _objective(f, tilts, counts)
    for _ in range(_MAX_ITERATIONS):
        f, value, shares = _nearer(f, value, shares, tilts, counts)
        held = shares.sum(axis=1)
        hessian, slope = (np.diag(held) - shares @ shares.T)[1:, 1:], (held - counts)[1:]
        step = -np.linalg.lstsq(hessian, slope, rcond=1e-13)[0]
        if np.abs(step).max() < 1e-9:
            if np.abs(slope).max() > _TOLERANCE * len(
                shares[0]
            ):  # along a direction the curvature knows nothing of
                break
            f[1:] += step
            return f
        for halving in range(_MAX_HALVINGS):
            trial = f.copy()
            trial[1:] += step / 2**halving
            lower, shares = _objective(trial, tilts, counts)
            if lower <= value + 1e-4 * (step @ slope) / 2**halving or np.abs(step).max() < 1e-5:
                break
        f, value = trial, lower
    raise SimulationError(
        f"the MBAR equations of {len(f)} windows do not converge: some do not overlap with any other; take more windows"
    )


def first_guess(eta: NDArray[np.float64], mu: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return f_k = -ψ_k from the means of T by the trapezoidal rule along the tree of nearest windows, with f_0 = 0.

    Parameters
    ----------
    eta, mu : (K, n_statistics) arrays
    """
    gaps = eta[:, None] - eta[None]
    distance = np.einsum("kls,kls->kl", gaps, mu[:, None] - mu[None])  # twice a symmetrised KL divergence
    tree = minimum_spanning_tree(np.maximum(distance, 1e-9))
    order, parents = breadth_first_order(tree, 0, directed=False)
    f = np.zeros(len(eta))
    for k in order[1:]:
        near = parents[k]
        f[k] = f[near] - (eta[k] - eta[near]) @ (mu[k] + mu[near]) / 2
    return f


def overlap_matrix(
    f: NDArray[np.float64], tilts: NDArray[np.float64], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the probability (K, K) that a frame of window i, after mixing all frames, is taken for one of j."""
    shares = _objective(f, tilts, counts)[1]
    return np.asarray(shares @ shares.T / counts[:, None])


def _nearer(
    f: NDArray[np.float64],
    value: float,
    shares: NDArray[np.float64],
    tilts: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Return f, its objective and shares; where a window holds far from what it drew, after a step of f_k alone.

    That step is the equations' own iteration, under which the objective only falls. A window that holds next to no
    frame has a slope and no curvature: Newton's step leaps from there, and never comes back.
    """
    held = np.maximum(shares.sum(axis=1), np.finfo(np.float64).tiny)
    missing = np.log(counts) - np.log(held)
    if np.abs(missing).max() < _FAR:
        return f, value, shares
    nearer = f + missing - missing[0]
    return nearer, *_objective(nearer, tilts, counts)


def _objective(
    f: NDArray[np.float64], tilts: NDArray[np.float64], counts: NDArray[np.int64]
) -> tuple[float, NDArray[np.float64]]:
    """Return Σ_n ln Σ_k N_k exp(f_k + η_k·T_n) - Σ_k N_k f_k, and the shares (K, N) of the windows in each frame."""
    shares = tilts + (f + np.log(counts))[:, None]
    highest = shares.max(axis=0)
    np.exp(np.subtract(shares, highest, out=shares), out=shares)
    total = shares.sum(axis=0)
    shares /= total
    return float(np.sum(np.log(total) + highest) - counts @ f), shares
