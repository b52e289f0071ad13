"""Frames of several temperatures weighed together by MBAR: an exponential family whose statistic is the energy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from tps.analysis.free_energy.solver import first_guess, solve_mbar


def temperature_log_strength(
    energy: NDArray[np.float64], state: NDArray[np.int64], kt: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how strongly each temperature has drawn, as `log_selection_of_energy` takes it.

    Parameters
    ----------
    energy : (N,) array
        Potential energies of the frames, in the unit of kt.
    state : (N,) int array
        The temperature at which each was drawn; every one has frames.
    kt : (K,) array
        Of the temperatures, the target first.

    Returns
    -------
    (K,) array
        ln N_k + f_k: frames were drawn from ρ S, ρ the target's distribution and
        S = Σ_k e^(log_strength_k - (β_k - β_0) U).

    Raises
    ------
    SimulationError
        If neighbouring temperatures do not overlap at all.

    References
    ----------
    Shirts, Chodera, J. Chem. Phys. 129, 124105 (2008); Chodera et al., J. Chem. Theory Comput. 3, 26 (2007).
    """
    eta, centre = _tilts(kt), float(energy.mean())
    counts = np.bincount(state, minlength=len(kt))
    means = np.array([energy[state == k].mean() for k in range(len(kt))]) - centre
    guess = first_guess(eta[:, None], means[:, None])
    f = solve_mbar(guess, np.outer(eta, energy - centre), counts)
    return f - eta * centre + np.log(counts)


def log_selection_of_energy(
    energy: NDArray[np.float64], kt: NDArray[np.float64], log_strength: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return ln S (N,) of energies; a frame's weight under the target is 1/S."""
    return np.asarray(logsumexp(np.outer(_tilts(kt), energy) + log_strength[:, None], axis=0))


def _tilts(kt: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return -(β_k - β_0): the natural parameters that go with the energy."""
    return 1 / kt[0] - 1 / kt
