"""Rates from shots off frames of a known distribution, however high the barrier.

With frames drawn from ρ S and n shots from them, a path X between the states comes up with n/Z_S P(X) Σ_j S(x_j), S the
chance of a frame to be drawn and Z_S = ∫ρS = 1/<1/S>. P(X), integrated over all paths from A to B, is the number of
transitions A → B in one frame interval Δt, and as many go from B to A. So in equilibrium

    transitions A → B per time = Z_S/(n Δt) · ½ Σ_X 1/Σ_j S(x_j),

the half because paths of both directions are found. Divided by the weight of A it is the rate constant, where a frame
outside both states belongs to the state visited last: its share of A is the chance that the flight back ends there.

References
----------
Hummer, J. Chem. Phys. 120, 516 (2004), the probability of a transition path at a point; Horvitz and Thompson, J. Am.
Stat. Assoc. 47, 663 (1952), sums from unequal chances.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tps.analysis.metrics import FEWEST_EFFECTIVE, Metric, contradict
from tps.analysis.rates import ratio_of_sums
from tps.dynamics.transition import IN_A, IN_B
from tps.paths import FrameShots

#: Stretches of frames (or turns of shots, where the frames are a grid) by whose scatter the errors are told.
N_BLOCKS = 20

#: The names of the rate constants among the metrics.
RATES = ("rate_a_to_b", "rate_b_to_a")
#: Detailed balance is broken when it is so many standard errors from 1.
_BROKEN = 4.0
#: Largest part of the shots that may have reached neither state.
_MOST_UNFINISHED = 0.1

Estimate = tuple[float, float | None]


@dataclass(frozen=True)
class ShotRates:
    """Rates in both directions [1/time], each with its standard error.

    Attributes
    ----------
    a_to_b, b_to_a : (value, error)
        Transitions per time during which A, B was the last state visited.
    transitions : (value, error)
        Transitions A → B per time, which are as many as B → A.
    weight_b : (value, error)
        Share of the time during which B was the last state visited.
    balance : (value, error)
        Transitions A → B over B → A, each from the shots that flew that way: 1 in equilibrium.
    n_paths : int
    effective_paths : float
    n_shots, n_unfinished : int
        Shots, and those with a side that reached neither state.
    """

    a_to_b: Estimate
    b_to_a: Estimate
    transitions: Estimate
    weight_b: Estimate
    balance: Estimate
    n_paths: int
    effective_paths: float
    n_shots: int
    n_unfinished: int


def rates_from_shots(shots: FrameShots, frame_time: float, *, exact_frames: bool = False) -> ShotRates:
    """Return the rates in both directions.

    Parameters
    ----------
    shots : FrameShots
        Frames of one simulation follow one another in time.
    frame_time : float
        Time Δt between frames of a path.
    exact_frames : bool
        Whether the frames are a grid, whose weights carry no error; otherwise the error from their number and their
        correlation in time is part of every error.

    Notes
    -----
    Errors are those of ratios of sums over blocks: stretches of frames with the shots from them. Those of rates are at
    least what as many independent shots leave, sqrt(1/n_effective - 1/n_shots), as few blocks may agree by chance.
    """
    frame_block = np.arange(len(shots.choice)) * N_BLOCKS // len(shots.choice)
    shot_block = np.arange(shots.n_shots) % N_BLOCKS if exact_frames else frame_block[shots.drawn]
    largest = shots.log_weights.max()  # keeps the exponentials in bounds, and cancels
    weights = np.exp(shots.log_weights - largest)

    def over_frames(values: NDArray[np.float64]) -> NDArray[np.float64]:
        if exact_frames:
            return np.full(N_BLOCKS, values.sum() / N_BLOCKS)
        return _block_sums(frame_block, values)

    per_shot = shots.choice.sum() / shots.n_shots
    found = np.zeros(shots.n_shots)
    found[shots.shot] = np.exp(-shots.log_sums - largest) / frame_time * per_shot
    forward = shots.ends[:, 0] == IN_B
    there, back = (_block_sums(shot_block, np.where(way, found, 0.0)) for way in (forward, ~forward))
    transitions = (there + back) / 2
    importance = weights[shots.drawn] / shots.choice[shots.drawn] * per_shot
    last = []
    for state in (IN_A, IN_B):
        guessed = (shots.guess == state).astype(np.float64)
        missed = importance * _surprise(shots, state, guessed[shots.drawn])
        last.append(over_frames(weights * guessed) + _block_sums(shot_block, missed))
    finished = np.isin(shots.ends, (IN_A, IN_B)).all(axis=1)
    least = np.sqrt(max(1 / shots.effective_paths - 1 / shots.n_shots, 0.0)) if len(shots.shot) else 0.0

    def rate_per(time: NDArray[np.float64]) -> Estimate:
        value, error = ratio_of_sums(transitions, time)
        return value, None if error is None else max(error, float(least) * value)

    return ShotRates(
        rate_per(last[0]),
        rate_per(last[1]),
        rate_per(over_frames(weights)),
        ratio_of_sums(last[1], over_frames(weights)),
        ratio_of_sums(there, back),
        len(shots.shot),
        shots.effective_paths,
        shots.n_shots,
        int((~finished).sum()),
    )


def _block_sums(block: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.bincount(block, values, N_BLOCKS).astype(np.float64)


def _surprise(shots: FrameShots, state: int, guessed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by how much more often than guessed each shot's flights ended in a state; 0 where none ended."""
    ended = np.isin(shots.ends, (IN_A, IN_B))
    n = ended.sum(axis=1)
    share = (shots.ends == state).sum(axis=1) / np.maximum(n, 1)
    return np.where(n > 0, share - guessed, 0.0)


def shot_rate_metrics(rates: ShotRates | None, time_unit: str, doubt: str = "") -> dict[str, Metric]:
    """Return rates, mean first-passage times and detailed balance; withheld where the shots do not support them.

    Parameters
    ----------
    rates : ShotRates or None
        None: there are no shots, for the reason in `doubt`.
    time_unit : str
    doubt : str
        Why no rate can be had from the frames, such as that their weights do not tell A from B; "" if it can.
    """
    nothing: Estimate = (float("nan"), None)
    found = rates or ShotRates(nothing, nothing, nothing, nothing, nothing, 0, 0.0, 0, 0)
    basis = (
        f"{found.n_paths} transitions ({found.effective_paths:.0f} effective ones) among {found.n_shots} shots from "
        "the weighted frames"
    )
    error = f"standard error over {N_BLOCKS} stretches of the frames, their own weights included"
    metrics: dict[str, Metric] = {}
    for (start, end), rate in zip((("A", "B"), ("B", "A")), (found.a_to_b, found.b_to_a), strict=True):
        way = f"{start.lower()}_to_{end.lower()}"
        metrics[f"rate_{way}"] = Metric(
            *rate,
            f"1/{time_unit}",
            f"Transitions {start} → {end} per time during which {start} was the last state visited, from {basis}; "
            f"{error}.",
        )
        metrics[f"first_passage_{way}"] = Metric(
            *_inverse(rate),
            time_unit,
            f"Mean time from coming into {start} out of {end} until {end} is reached again: 1/rate_{way}.",
        )
    metrics["transitions"] = Metric(
        *found.transitions,
        f"1/{time_unit}",
        f"Transitions A → B per time, as many as B → A, in equilibrium; from {basis}; {error}.",
    )
    metrics["weight_of_b"] = Metric(
        *found.weight_b,
        "",
        "Share of the time during which B was the last state visited: the weights of the frames in B, and of the "
        f"others as the shots from them came from B; {error}.",
    )
    balance, z = found.balance, _z(found.balance)
    metrics["detailed_balance"] = Metric(
        *balance,
        "",
        "(k_AB/k_BA)/(π_B/π_A), k_AB from the shots that flew from A to B and k_BA from those that flew from B to A: 1 "
        f"in equilibrium{'' if z is None else f', from which it is {z:+.1f} standard errors'}.",
    )
    reason = doubt or _unsupported(found)
    return {name: metric.unless(reason) for name, metric in metrics.items()}


def without_contradiction(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Return metrics of rates; those of shots and of the flux are withheld where the two contradict each other."""
    found = dict(metrics)
    if not {"rate_a_to_b", "rate_by_flux"} <= found.keys():
        return found
    shots, flux = found["rate_a_to_b"], found["rate_by_flux"]
    if contradict(shots, flux):
        reason = (
            f"shots from frames say {shots.value:.3g} ± {shots.error:.2g} {shots.unit} and the flux says "
            f"{flux.value:.3g} ± {flux.error:.2g}: sample more frames, or let more walkers run longer"
        )
        for name in (*RATES, "first_passage_a_to_b", "first_passage_b_to_a", "rate_by_flux"):
            found[name] = found[name].unless(reason)
    return found


def _unsupported(rates: ShotRates) -> str:
    """Return why the shots do not support a rate; "" if they do."""
    if rates.effective_paths < FEWEST_EFFECTIVE:
        return (
            f"{rates.n_paths} of {rates.n_shots} shots from frames went from one state to the other, which is "
            f"{rates.effective_paths:.1f} effective transitions where {FEWEST_EFFECTIVE} are needed: make more shots "
            "(`tps rate RUN -n`, rate.n_frame_shots), or sample more frames on the barrier"
        )
    if rates.n_unfinished > _MOST_UNFINISHED * rates.n_shots:
        return (
            f"{rates.n_unfinished} of {rates.n_shots} shots from frames had a side that reached neither state: raise "
            "shooting.max_frames, or look for a third state"
        )
    z = _z(rates.balance)
    if z is not None and abs(z) > _BROKEN:
        return (
            f"detailed balance is broken by {abs(z):.1f} standard errors: transitions A → B over B → A are "
            f"{rates.balance[0]:.2f}"
        )
    return ""


def _z(balance: Estimate) -> float | None:
    """Return ln(balance) over its error; None where that is not known."""
    value, error = balance
    if error is None or not (np.isfinite(value) and value > 0 and error > 0):
        return None
    return float(np.log(value) * value / error)


def _inverse(rate: Estimate) -> Estimate:
    value, error = rate
    if not (np.isfinite(value) and value > 0):
        return float("nan"), None
    return 1 / value, None if error is None else error / value**2
