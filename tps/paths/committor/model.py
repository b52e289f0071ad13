"""A small committor learned from shooting outcomes, to shoot from where p_B is near 1/2.

p_B(x) = 1/(1 + exp(-q(x))), fitted by maximum likelihood to how many flights from each shooting frame ended in A and in
B; q is linear in the system's features, or linear plus a small network. It only chooses frames: once it is fixed, the
ensemble that chains sample is the same for a good model and for a bad one, and a good one spares moves. So fit it to
finished chains, and start others with it.

References
----------
Peters and Trout, J. Chem. Phys. 125, 054108 (2006): likelihood of shooting outcomes; Jung, Covino, Arjun, Leitold,
Dellago, Bolhuis, Hummer, Nat. Comput. Sci. 3, 334 (2023): choosing frames by a learned committor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from tps.dynamics.transition import IN_A, IN_B, TransitionDynamics
from tps.errors import ModelError, ParameterError
from tps.paths.committor.network import NetworkCommittor, fit_layers, held_out_rows
from tps.paths.shooting.records import Direction
from tps.paths.shooting.run import ShootingRun

_MAX_ITERATIONS = 100
_CONVERGED = 1e-10
#: Standard deviation of the Gaussian prior of standardised coefficients: keeps a separable fit finite.
_PRIOR_WIDTH = 10.0


class CommittorModel(Protocol):
    """An estimate of the committor that does not change while chains run."""

    def probability(self, features: ArrayLike) -> NDArray[np.float64]:
        """Map features (n, n_features) to p_B (n,)."""


@dataclass(frozen=True)
class LinearCommittor:
    """p_B = expit(coefficients · (1, z)), z standardised features.

    Attributes
    ----------
    mean, scale : tuple of float
        z = (features - mean)/scale.
    coefficients, errors : tuple of float
        With the standard errors of the maximum-likelihood fit.
    log_likelihood : float
        Of the flights it was fitted to, per flight [nats]; a model that knows nothing has minus the entropy of the
        outcomes.
    n_flights : int
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    coefficients: tuple[float, ...]
    errors: tuple[float, ...]
    log_likelihood: float
    n_flights: int

    def standardised(self, features: ArrayLike) -> NDArray[np.float64]:
        """Map features (n, n_features) to z."""
        return (np.asarray(features, dtype=np.float64) - np.array(self.mean)) / np.array(self.scale)

    def log_odds(self, features: ArrayLike) -> NDArray[np.float64]:
        """Map features (n, n_features) to q = ln(p_B/(1 - p_B)) (n,)."""
        return self.coefficients[0] + self.standardised(features) @ np.array(self.coefficients[1:])

    def probability(self, features: ArrayLike) -> NDArray[np.float64]:
        """Map features (n, n_features) to p_B (n,)."""
        return np.asarray(expit(self.log_odds(features)), dtype=np.float64)


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
    features: ArrayLike,
    n_a: ArrayLike,
    n_b: ArrayLike,
    kind: Literal["linear", "network"] = "linear",
    *,
    seed: int = 0,
) -> LinearCommittor | NetworkCommittor:
    """Fit p_B to outcomes by maximum likelihood.

    Parameters
    ----------
    features : (n, n_features) array
        In the order of time.
    n_a, n_b : (n,) arrays
        Flights from there that ended in A, in B.
    kind : "linear" or "network"
        A network sees what is curved. It needs a few thousand flights to gain by it, and stretches of them are held out
        to stop its training in time; it has no standard errors.
    seed : int
        Of the network's first weights.

    Raises
    ------
    ModelError
        If all flights ended in one state, there are too few for a network, or the fit does not converge.
    """
    x = np.asarray(features, dtype=np.float64)
    a, b = np.asarray(n_a, dtype=np.float64), np.asarray(n_b, dtype=np.float64)
    if x.ndim != 2 or a.shape != x.shape[:1] or b.shape != x.shape[:1] or not np.isfinite(x).all():
        raise ParameterError(
            f"a committor is fitted to finite features (n, n_features) and counts (n,), but got {x.shape}, {a.shape} "
            f"and {b.shape}"
        )
    if kind == "network":
        return _fit_network(x, a, b, seed)
    if kind != "linear":
        raise ParameterError(f"the kind of a committor model is linear or network, but got {kind!r}")
    return _fit_linear(x, a, b)


def learn_committor(
    dynamics: TransitionDynamics,
    run: ShootingRun,
    kind: Literal["linear", "network"] = "linear",
    *,
    seed: int = 0,
) -> LinearCommittor | NetworkCommittor:
    """Fit p_B to the two-way moves of chains, those from candidates included.

    One-way moves are left out: their shooting frames keep velocities of transition paths, which tell another chance.
    Flights that stopped early count for nothing, so that p_B leans towards the state that is reached sooner: in the
    double well of the tests by up to 0.03, enough to choose frames by, but no substitute for
    `estimate_committor`.
    Chains that chose their frames by a model stop no flight early, only those longer than the longest path.

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
    return fit_committor(dynamics.features(shots[use]), n_a, n_b, kind, seed=seed)


def _fit_linear(x: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> LinearCommittor:
    """Fit by Newton's method."""
    if not (a.sum() > 0 and b.sum() > 0):
        raise ModelError(
            f"a committor is learned from flights to both states, but {a.sum():.0f} ended in A and {b.sum():.0f} in "
            "B: shoot more, or from other frames"
        )
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    terms, total = np.column_stack([np.ones(len(x)), (x - mean) / scale]), a + b
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
        raise ModelError("the fit of the committor did not converge: learn it from more flights")
    q = terms @ c
    likelihood = -float(np.sum(b * np.logaddexp(0, -q) + a * np.logaddexp(0, q)) / total.sum())
    errors = np.sqrt(np.diag(np.linalg.inv(curvature)))
    return LinearCommittor(
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        coefficients=tuple(c.tolist()),
        errors=tuple(errors.tolist()),
        log_likelihood=likelihood,
        n_flights=int(total.sum()),
    )


def _fit_network(
    x: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64], seed: int
) -> NetworkCommittor:
    """Fit the straight part to the flights that are not held out, then the network to what it misses."""
    flown = a + b > 0
    x, a, b = x[flown], a[flown], b[flown]
    held_out = held_out_rows(len(x))
    if not held_out.any():
        raise ModelError(f"a network cannot learn a committor from {len(x)} shooting frames: shoot more")
    straight = _fit_linear(x[~held_out], a[~held_out], b[~held_out])
    layers, likelihood = fit_layers(straight.standardised(x), straight.log_odds(x), a, b, held_out, seed)
    return NetworkCommittor(
        straight.mean, straight.scale, straight.coefficients, layers, likelihood, int((a + b).sum())
    )
