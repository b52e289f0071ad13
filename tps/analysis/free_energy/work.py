"""Free energies from the work of annealed runs: Bennett's acceptance ratio on both directions, Jarzynski on one."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logsumexp

from tps.analysis.free_energy.memory import load_pymbar
from tps.analysis.free_energy.windows import ANCHORED
from tps.analysis.metrics import Metric, Metrics, mean_and_standard_error
from tps.errors import ParameterError

#: Least overlap of the works of two directions that a free energy is taken from.
SMALLEST_OVERLAP = 0.03
#: Bootstrap resamples of the paths.
_N_RESAMPLES = 500


def work_differences(
    forward: ArrayLike, backward: ArrayLike, kt: float, *, unit: str = "kJ/mol", seed: int = 0
) -> Metrics:
    """Return F(η_B) - F(η_A) by BAR, and by Jarzynski's average either way, with the overlap of the two directions.

    Parameters
    ----------
    forward, backward : (n,), (m,) arrays
        Work of finished paths from A to B and from B to A [kT]: `cumulative_work[completed, -1]` of two ensembles
        along the same curve.
    kt : float
        [kJ/mol, or the surface's unit].
    unit : str
        Its unit.
    seed : int
        Of the bootstrap over paths.

    Returns
    -------
    dict of str to Metric
        "bar", "jarzynski_forward", "jarzynski_backward", and "work_overlap": 1 where the two directions' works are
        alike (after turning the sign). Below `SMALLEST_OVERLAP` the three have no value, as neither they nor their
        errors can be believed: what a few lucky paths would say is not among the paths. The second law's bounds
        "work_bound_upper" and "work_bound_lower" hold always.

    Raises
    ------
    ParameterError
        If a direction has fewer than two paths, or a work is not finite.

    References
    ----------
    Bennett, J. Comput. Phys. 22, 245 (1976); Crooks, PRE 61, 2361 (2000); Jarzynski, PRL 78, 2690 (1997).
    """
    w_f, w_b = np.asarray(forward, dtype=np.float64), np.asarray(backward, dtype=np.float64)
    if min(w_f.size, w_b.size) < 2 or w_f.ndim != 1 or w_b.ndim != 1:
        raise ParameterError(
            f"work in both directions needs at least two paths each, but got {w_f.shape} and {w_b.shape}"
        )
    if not np.isfinite(w_f).all() or not np.isfinite(w_b).all():
        raise ParameterError("every work must be a finite number: leave out the paths that failed")
    rng = np.random.default_rng(seed)
    picked_f, picked_b = (w[rng.integers(len(w), size=(_N_RESAMPLES, len(w)))] for w in (w_f, w_b))
    delta_f = float(acceptance_ratio(w_f[None], w_b[None])[0])
    overlap = _overlap(w_f, w_b, delta_f)
    spread = float(acceptance_ratio(picked_f, picked_b).std(ddof=1))
    if overlap >= SMALLEST_OVERLAP:  # pymbar refuses works that do not meet
        spread = max(spread, float(load_pymbar().bar(w_f, w_b, DeltaF=delta_f)["dDelta_f"]))
    bootstrap = "standard error from a bootstrap over paths"
    roads = {
        "bar": Metric(
            kt * delta_f,
            kt * spread,
            unit,
            f"{ANCHORED}, by Bennett's acceptance ratio on the work of {len(w_f)} annealed paths from A and {len(w_b)} "
            "from B; standard error, the larger of Bennett's own and a bootstrap over paths.",
        ),
        "jarzynski_forward": Metric(
            kt * float(_jarzynski(w_f)),
            kt * _jarzynski(picked_f).std(ddof=1),
            unit,
            f"{ANCHORED}, by Jarzynski's -ln<exp(-W)> over {len(w_f)} paths from A: too high where the dissipated work "
            f"exceeds a few kT; {bootstrap}.",
        ),
        "jarzynski_backward": Metric(
            -kt * float(_jarzynski(w_b)),
            kt * _jarzynski(picked_b).std(ddof=1),
            unit,
            f"{ANCHORED}, by Jarzynski over {len(w_b)} paths from B: too low where the dissipated work exceeds a few "
            f"kT; {bootstrap}.",
        ),
    }
    if overlap < SMALLEST_OVERLAP:
        why = f" No value: the works of the two directions overlap by {overlap:.1g} only, so pull slower."
        roads = {name: Metric(None, None, unit, road.definition + why) for name, road in roads.items()}
    return {
        **roads,
        "work_bound_upper": _bound(
            kt * w_f,
            unit,
            "Mean work from A to B: F(η_B) - F(η_A) is no higher (second law); standard error.",
        ),
        "work_bound_lower": _bound(
            -kt * w_b, unit, "Minus the mean work from B to A: F(η_B) - F(η_A) is no lower; standard error."
        ),
        "work_overlap": Metric(
            overlap,
            None,
            "",
            "MBAR's overlap of the works of the two directions: 1 for alike; below "
            f"{SMALLEST_OVERLAP} no free energy is taken from them.",
        ),
    }


def acceptance_ratio(forward: NDArray[np.float64], backward: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return BAR's ΔF [kT] of many resamples (R, n), (R, m) at once, by bisection: its equation is monotonic in ΔF."""
    shift = np.log(forward.shape[1] / backward.shape[1])
    low = np.minimum(forward.min(1), -backward.max(1)) - abs(shift) - 1
    high = np.maximum(forward.max(1), -backward.min(1)) + abs(shift) + 1
    for _ in range(60):
        middle = (low + high) / 2
        accepted = expit(middle[:, None] - shift - forward).sum(1) - expit(
            shift - middle[:, None] - backward
        ).sum(1)
        low, high = np.where(accepted < 0, middle, low), np.where(accepted < 0, high, middle)
    return (low + high) / 2


def _bound(works: NDArray[np.float64], unit: str, definition: str) -> Metric:
    return Metric(*mean_and_standard_error(works), unit, definition)


def _jarzynski(work: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return -ln<exp(-W)> over the last axis [kT]."""
    return np.asarray(np.log(work.shape[-1]) - logsumexp(-work, axis=-1))


def _overlap(forward: NDArray[np.float64], backward: NDArray[np.float64], delta_f: float) -> float:
    """Return MBAR's scalar overlap of two states: (n + m)/(n m) Σ p_A p_B, 1 less the matrix's second eigenvalue."""
    n, m = len(forward), len(backward)
    reduced = np.concatenate([forward, -backward]) - delta_f
    from_a = expit(np.log(n / m) + reduced)  # probability that a path with this work was drawn from A
    return float(np.sum(from_a * (1 - from_a)) * (n + m) / (n * m))
