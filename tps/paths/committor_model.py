"""A small committor learned from shooting outcomes, to shoot from where p_B is near 1/2.

p_B(x) = 1/(1 + exp(-q(x))), q linear or quadratic in the system's features, fitted by maximum likelihood to how many
flights from each shooting frame ended in A and in B. It only chooses frames: once it is fixed, the ensemble that chains
sample is the same for a good model and for a bad one, and a good one spares moves. So fit it to finished chains, and
start others with it.

References
----------
Peters and Trout, J. Chem. Phys. 125, 054108 (2006): likelihood of shooting outcomes; Jung, Covino, Arjun, Leitold,
Dellago, Bolhuis, Hummer, Nat. Comput. Sci. 3, 334 (2023): choosing frames by a learned committor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from tps.errors import ModelError, ParameterError
from tps.paths.shooting_dynamics import IN_A, IN_B, TransitionDynamics
from tps.paths.shooting_records import Direction
from tps.paths.shooting_run import ShootingRun

_MAX_ITERATIONS = 100
_CONVERGED = 1e-10
#: Standard deviation of the Gaussian prior of standardised coefficients: keeps a separable fit finite.
_PRIOR_WIDTH = 10.0


@dataclass(frozen=True)
class CommittorModel:
    """p_B = expit(coefficients · terms), terms = (1, z, and for "quadratic" all products of two), z standardised.

    Attributes
    ----------
    kind : "linear" or "quadratic"
    mean, scale : tuple of float
        z = (features - mean)/scale.
    coefficients, errors : tuple of float
        With the standard errors of the maximum-likelihood fit.
    log_likelihood : float
        Per flight [nats]; a model that knows nothing has minus the entropy of the outcomes.
    n_flights : int
    """

    kind: Literal["linear", "quadratic"]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    coefficients: tuple[float, ...]
    errors: tuple[float, ...]
    log_likelihood: float
    n_flights: int

    def probability(self, features: ArrayLike) -> NDArray[np.float64]:
        """Map features (n, n_features) to p_B (n,)."""
        z = (np.asarray(features, dtype=np.float64) - np.array(self.mean)) / np.array(self.scale)
        return np.asarray(expit(_terms(z, self.kind) @ np.array(self.coefficients)), dtype=np.float64)


@dataclass(frozen=True)
class CommittorChoice:
    """Draw shooting frames in proportion to floor + (1 - floor) 4 p_B (1 - p_B) of a model."""

    model: CommittorModel
    floor: float = 0.02

    def __post_init__(self) -> None:
        if not 0 < self.floor <= 1:
            raise ParameterError(f"the floor of the weights must lie above 0 and at most at 1: {self.floor}")

    def weights(self, dynamics: TransitionDynamics, positions: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map positions (n, *position) to weights (n,)."""
        p = self.model.probability(dynamics.features(positions))
        return self.floor + (1 - self.floor) * 4 * p * (1 - p)


def fit_committor(
    features: ArrayLike, n_a: ArrayLike, n_b: ArrayLike, kind: Literal["linear", "quadratic"] = "linear"
) -> CommittorModel:
    """Fit p_B to outcomes by maximum likelihood (Newton's method).

    Parameters
    ----------
    features : (n, n_features) array
    n_a, n_b : (n,) arrays
        Flights from there that ended in A, in B.
    kind : "linear" or "quadratic"

    Raises
    ------
    ModelError
        If all flights ended in one state, or the fit does not converge.
    """
    x = np.asarray(features, dtype=np.float64)
    a, b = np.asarray(n_a, dtype=np.float64), np.asarray(n_b, dtype=np.float64)
    if x.ndim != 2 or a.shape != x.shape[:1] or b.shape != x.shape[:1] or not np.isfinite(x).all():
        raise ParameterError(
            f"a committor is fitted to finite features (n, n_features) and counts (n,), but got {x.shape}, {a.shape} "
            f"and {b.shape}"
        )
    if not (a.sum() > 0 and b.sum() > 0):
        raise ModelError(
            f"a committor is learned from flights to both states, but {a.sum():.0f} ended in A and {b.sum():.0f} in "
            "B: shoot more, or from other frames"
        )
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    terms, total = _terms((x - mean) / scale, kind), a + b
    precision = np.full(terms.shape[1], _PRIOR_WIDTH**-2)
    c = np.zeros(terms.shape[1])
    for _ in range(_MAX_ITERATIONS):
        p = expit(terms @ c)
        slope = terms.T @ (b - total * p) - precision * c
        curvature = (terms * (total * p * (1 - p))[:, None]).T @ terms + np.diag(precision)
        step = np.linalg.solve(curvature, slope)
        c = c + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-300))  # far steps overshoot
        if np.abs(step).max() < _CONVERGED:
            break
    else:
        raise ModelError("the fit of the committor did not converge: use the linear model, or more flights")
    q = terms @ c
    likelihood = -float(np.sum(b * np.logaddexp(0, -q) + a * np.logaddexp(0, q)) / total.sum())
    errors = np.sqrt(np.diag(np.linalg.inv(curvature)))
    return CommittorModel(
        kind,
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        coefficients=tuple(c.tolist()),
        errors=tuple(errors.tolist()),
        log_likelihood=likelihood,
        n_flights=int(total.sum()),
    )


def learn_committor(
    dynamics: TransitionDynamics, run: ShootingRun, kind: Literal["linear", "quadratic"] = "linear"
) -> CommittorModel:
    """Fit p_B to the two-way moves of chains, those from candidates included.

    One-way moves are left out: their shooting frames keep velocities of transition paths, which tell another chance.
    Flights that stopped early count for nothing, so that p_B leans towards the state that is reached sooner.

    Raises
    ------
    ModelError
        If there are no outcomes in both states.
    """
    records, shots = np.concatenate(run.records), np.concatenate(run.shots)
    ends = np.stack([records["end_forward"], records["end_backward"]], axis=1)
    use = (records["direction"] == Direction.BOTH) & ((ends == IN_A) | (ends == IN_B)).any(axis=1)
    if not use.any():
        raise ModelError(
            "a committor is learned from two-way moves, and these chains have none that finished"
        )
    n_a, n_b = (np.sum(ends[use] == state, axis=1) for state in (IN_A, IN_B))
    return fit_committor(dynamics.features(shots[use]), n_a, n_b, kind)


def _terms(z: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    terms = [np.ones((len(z), 1)), z]
    if kind == "quadratic":
        first, second = np.triu_indices(z.shape[1])
        terms.append(z[:, first] * z[:, second])
    elif kind != "linear":
        raise ParameterError(f"the kind of a committor model is linear or quadratic, but got {kind!r}")
    return np.concatenate(terms, axis=1)
