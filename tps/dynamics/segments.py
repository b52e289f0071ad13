"""The reactive part of a path: what lies between leaving A for good and first reaching B."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def reactive_segment(in_a: NDArray[np.bool_], in_b: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Return the first and the last frame of a path's first A → B transition.

    Parameters
    ----------
    in_a, in_b : (n_frames,) bool arrays
        Whether a frame lies in state A, in state B.

    Returns
    -------
    (start, end) or None
        `start` is the last frame in A before the first frame in B that follows any frame in A, `end` is that frame
        in B; None if the path never goes from A to B.
    """
    if not in_a.any():
        return None
    first_a = int(np.argmax(in_a))
    after = np.flatnonzero(in_b[first_a:])
    if len(after) == 0:
        return None
    end = first_a + int(after[0])
    return int(np.flatnonzero(in_a[:end])[-1]), end
