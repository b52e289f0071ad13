"""Which windows count: chains that came from A and from B agree, and walkers have forgotten where they were."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tps.errors import ParameterError
from tps.paths.windows.samples import WindowSamples

#: Chains from A and from B agree in a window where no statistic's means lie farther apart than this many standard
#: deviations within chains: the Fisher-Rao distance at which neighbouring windows lie.
LARGEST_GAP = 1.0
#: Walkers have forgotten where they were in a window where the two halves of their visits have no more than this share
#: of its variance in common, one standard error aside. Chance alone exceeds it in one of ten of the shortest visits.
LARGEST_MEMORY = 0.1
#: In how many principal components of a window's frames that is looked for; and the share of the first one's variance
#: up to which a component is round-off.
_N_PRINCIPAL, _ROUND_OFF = 3, 1e-12


@dataclass(frozen=True, eq=False)
class Lineages:
    """What tells whether windows are relaxed.

    Attributes
    ----------
    gap : (K,) array
        Distance of the means of chains from A and from B, of the statistic in which it is largest, over its standard
        deviation within chains; infinite where one side has no frame.
    passages : (2, K) int array
        Walkers that went through each window on their way from one state to the other, either way: of the ladders that
        started from A, and of those from B.
    memory : (K,) array
        Covariance of a walker's frames in the first half of the time with its frames in the second, over the window's
        variance, less one standard error, of the principal component in which it is largest: 0 or less where each has
        forgotten where it was, towards 1 where each stays in a part of the window. Exchange hands walkers from window
        to window, so all ladders may agree on whichever parts their walkers started in.
    apart : (K,) array
        As `gap`, between the frames of walkers that were last in A and of those that were last in B, whichever their
        ladder, less one standard error by the number of such walkers: two humps between which none goes within the
        window. One walker of twenty in the other hump is enough to tell.
    """

    gap: NDArray[np.float64]
    passages: NDArray[np.int64]
    memory: NDArray[np.float64]
    apart: NDArray[np.float64]

    @property
    def agree(self) -> NDArray[np.bool_]:
        """Where chains of both sides agree (K,), or walkers of both have passed through."""
        return (self.gap < LARGEST_GAP) | self._passed

    @property
    def humps(self) -> NDArray[np.bool_]:
        """Whether each window (K,) holds two parts, from A and from B, that only crossings elsewhere can weigh."""
        return self.apart >= LARGEST_GAP

    @property
    def counts(self) -> NDArray[np.bool_]:
        """Whether each window counts (K,): its chains agree, those in two humps by passing, and its walkers forget."""
        return self.agree & (~self.humps | self._passed) & (self.memory <= LARGEST_MEMORY)

    @property
    def _passed(self) -> NDArray[np.bool_]:
        return np.isfinite(self.gap) & (self.passages > 0).all(axis=0)


def lineages(samples: WindowSamples, from_b: NDArray[np.bool_]) -> Lineages:
    """Compare the chains of windows by where they came from.

    Parameters
    ----------
    samples : WindowSamples
    from_b : (L,) bool array
        Whether a ladder started from B; the others from A.

    Raises
    ------
    ParameterError
        If no ladder started from one of the two.
    """
    if from_b.shape != (samples.n_ladders,) or from_b.all() or not from_b.any():
        raise ParameterError(
            f"windows are judged by ladders from A and from B, but of {samples.n_ladders} there are "
            f"{int((~from_b).sum())} and {int(from_b.sum())}"
        )
    whole = np.asarray(samples.valid.all(axis=1))  # (L, K)
    frames = np.where(whole[:, None, :, None], samples.statistics, np.nan)
    mean, variance = frames.mean(axis=1), frames.var(axis=1)
    sides = [_mean(mean[side], whole[side]) for side in (~from_b, from_b)]
    within = np.sqrt(_mean(variance, whole))
    with np.errstate(divide="ignore", invalid="ignore"):
        gaps = np.abs(sides[1] - sides[0]) / within
    gaps = np.where(np.isnan(gaps) & (within == 0) & (sides[1] == sides[0]), 0.0, gaps)
    ladders = zip(samples.replica, samples.in_a, samples.in_b, strict=True)
    passed = np.array([_passages(*ladder) for ladder in ladders])
    from_state = _last_states(samples)
    return Lineages(
        gap=np.where(np.isnan(gaps).any(axis=-1), np.inf, np.nan_to_num(gaps, nan=np.inf).max(axis=-1)),
        passages=np.stack([passed[side].sum(axis=0) for side in (~from_b, from_b)]),
        memory=np.array(
            [
                _remembered(frames[there, :, k], samples.replica[there, :, k])
                for k, there in enumerate(whole.T)
            ]
        ),
        apart=np.array(
            [
                _apart(frames[there, :, k], from_state[there, :, k], samples.replica[there, :, k])
                for k, there in enumerate(whole.T)
            ]
        ),
    )


def crossings(samples: WindowSamples) -> NDArray[np.int64]:
    """Return how often walkers went from A to B, and from B to A (2,), through whichever windows."""
    over = np.zeros(2, dtype=np.int64)
    for ladder in zip(samples.replica, samples.in_a, samples.in_b, strict=True):
        for _, state in _visits(*ladder):
            step = np.diff(state[state != 0])
            over += (step > 0).sum(), (step < 0).sum()
    return over


def _last_states(samples: WindowSamples) -> NDArray[np.int64]:
    """Return the state in which each frame's walker was last (L, n_frames, K): -1 A, 1 B, 0 none yet."""
    found, time = np.zeros_like(samples.replica), np.arange(samples.replica.shape[1])
    for ladder, last in enumerate(found):
        for place, state in _visits(samples.replica[ladder], samples.in_a[ladder], samples.in_b[ladder]):
            since = np.maximum.accumulate(np.where(state != 0, time, -1))
            last[time, place] = np.where(since >= 0, state[since], 0)
    return found


def _apart(frames: NDArray[np.float64], from_state: NDArray[np.int64], replica: NDArray[np.int64]) -> float:
    """Return how far frames (L, n_frames, S) of one window that come from A and from B are apart, less an error."""
    n_walkers = int(replica.max(initial=0)) + 1
    walker = np.arange(len(frames))[:, None] * n_walkers + replica
    sides = [frames[from_state == side] for side in (-1, 1)]
    walkers = [len(np.unique(walker[from_state == side])) for side in (-1, 1)]
    if not all(walkers):
        return 0.0
    distance = np.abs(sides[1].mean(axis=0) - sides[0].mean(axis=0))
    n = [len(side) for side in sides]
    within = np.sqrt((n[0] * sides[0].var(axis=0) + n[1] * sides[1].var(axis=0)) / sum(n))
    varies = within > math.sqrt(_ROUND_OFF) * np.abs(frames).max()
    return float((distance[varies] / within[varies]).max(initial=0.0)) - math.sqrt(
        1 / walkers[0] + 1 / walkers[1]
    )


def _remembered(frames: NDArray[np.float64], replica: NDArray[np.int64]) -> float:
    """Return what walkers remember by the frames (L, n_frames, S) of one window, less one standard error.

    0 where no walker is there in both halves, or nothing varies.
    """
    if not frames.size:
        return 0.0
    motion = _principal(frames - frames.mean(axis=(0, 1)))
    variance, middle = (motion**2).mean(axis=(0, 1)), frames.shape[1] // 2
    common, weight = [np.zeros_like(variance)], 0
    for ladder, walkers in zip(motion, replica, strict=True):
        for walker in np.unique(walkers):
            of = walkers == walker
            first, second = ladder[:middle][of[:middle]], ladder[middle:][of[middle:]]
            if n := min(len(first), len(second)):
                common.append(n * first.mean(axis=0) * second.mean(axis=0))
                weight += n
    if not weight or not variance.size:
        return 0.0
    products = np.array(common)
    surely = products.sum(axis=0) - np.sqrt((products**2).sum(axis=0))
    return float((surely / variance).max() / weight)


def _principal(away: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the principal components (L, n_frames, at most 3) of deviations from the mean that vary at all."""
    flat = away.reshape(-1, away.shape[2])
    variance, directions = np.linalg.eigh(flat.T @ flat)
    kept = np.flatnonzero(variance > _ROUND_OFF * variance[-1])[-_N_PRINCIPAL:]
    return np.asarray(away @ directions[:, kept])


def _mean(values: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean (K, S) of values (L, K, S) over the ladders that are there (L, K); NaN where none is."""
    with np.errstate(invalid="ignore"):
        weight = there[..., None]
        return np.asarray(np.where(weight, values, 0.0).sum(axis=0) / weight.sum(axis=0))


def _passages(
    replica: NDArray[np.int64], in_a: NDArray[np.bool_], in_b: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return how many walkers went through each window (K,) on their way from one state to the other.

    All of one ladder (n_frames, K). What counts is where a walker's conformation lies: under weak tilts it may change
    windows from end to end and stay what it was.
    """
    through = np.zeros(replica.shape[1], dtype=np.int64)
    for place, state in _visits(replica, in_a, in_b):
        for first, last in pairwise(np.flatnonzero(state)):
            if state[first] != state[last]:
                through[np.unique(place[first : last + 1])] += 1
    return through


def _visits(
    replica: NDArray[np.int64], in_a: NDArray[np.bool_], in_b: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield where each walker of a ladder (n_frames, K) is (n_frames,): its window, and its state, -1 in A, 1 in B."""
    for place in np.argsort(replica, axis=1).T:
        at = np.arange(len(place)), place
        yield place, in_b[at].astype(np.int64) - in_a[at]
