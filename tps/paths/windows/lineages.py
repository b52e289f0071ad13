"""Which windows count: chains that came from A and from B agree, and walkers have forgotten where they were."""

from __future__ import annotations

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
    """

    gap: NDArray[np.float64]
    passages: NDArray[np.int64]
    memory: NDArray[np.float64]

    @property
    def agree(self) -> NDArray[np.bool_]:
        """Where chains of both sides agree (K,), or walkers of both have passed through."""
        return (self.gap < LARGEST_GAP) | (np.isfinite(self.gap) & (self.passages > 0).all(axis=0))

    @property
    def counts(self) -> NDArray[np.bool_]:
        """Whether each window counts (K,): its chains agree, and its walkers have forgotten where they were."""
        return self.agree & (self.memory <= LARGEST_MEMORY)


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
    return Lineages(
        gap=np.where(np.isnan(gaps).any(axis=-1), np.inf, np.nan_to_num(gaps, nan=np.inf).max(axis=-1)),
        passages=np.stack([passed[side].sum(axis=0) for side in (~from_b, from_b)]),
        memory=np.array(
            [
                _remembered(frames[there, :, k], samples.replica[there, :, k])
                for k, there in enumerate(whole.T)
            ]
        ),
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
    places = np.argsort(replica, axis=1)  # the window in which each replica is
    for place in places.T:
        at = np.arange(len(place)), place
        state = in_b[at].astype(np.int64) - in_a[at]
        for first, last in pairwise(np.flatnonzero(state)):
            if state[first] != state[last]:
                through[np.unique(place[first : last + 1])] += 1
    return through
