"""Getting from a candidate to a first dynamical path: which of its frames to shoot from.

No balance holds a candidate's moves back, so they may learn. A candidate leads from A to B, so the chance p_B of
reaching B first should rise along it: an end in A speaks about all earlier frames too, an end in B about all later
ones. Frames are drawn by Thompson's rule: what is known of p_B gives a sample of it along the whole candidate, and the
frame where that comes closest to 1/2 is shot from. At first this is bisection.

References
----------
Thompson, Biometrika 25, 285 (1933).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from tps.dynamics.transition import IN_A, IN_B

#: Jeffreys' prior of a probability is Beta(1/2, 1/2).
_PRIOR = 0.5
_TIE = 1e-9

Tally = NDArray[np.int64]


def new_tally(n_frames: int) -> Tally:
    """Return a tally (n_frames, 2) of flights that ended in A and in B, per frame shot from."""
    return np.zeros((n_frames, 2), dtype=np.int64)


def likely_frame(tally: Tally, rng: np.random.Generator) -> int:
    """Return an interior frame whose sampled p_B lies closest to 1/2."""
    to_a = np.cumsum(tally[::-1, 0])[::-1][1:-1]
    to_b = np.cumsum(tally[:, 1])[1:-1]
    p_b = beta.ppf(rng.random(), _PRIOR + to_b, _PRIOR + to_a)  # one quantile for all, so that p_B rises
    far = np.abs(p_b - 0.5)
    return 1 + int(rng.choice(np.flatnonzero(far <= far.min() + _TIE)))


def counted(tally: Tally, frame: int, ends: tuple[int, int]) -> Tally:
    """Return the tally with a trial's ends from a frame."""
    found = tally.copy()
    found[frame, 0] += ends.count(IN_A)
    found[frame, 1] += ends.count(IN_B)
    return found
