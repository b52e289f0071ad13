"""What shooting, committors and rates need to know of a system: dynamics that flies until it is in A or in B."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.features import FeatureSpace

Points = NDArray[np.float64]
Generators = Sequence[np.random.Generator]

#: Where a frame is, and how a flight ended; a flight that ended OUTSIDE reached neither state in the frames it had.
OUTSIDE, IN_A, IN_B, FAILED = -1, 0, 1, -2


@dataclass(frozen=True, eq=False)
class Flight:
    """One piece of trajectory, from just after its start to its first frame in A or B.

    Attributes
    ----------
    points : (n_kept, *point) array
        Phase points at the frames, the start not among them; none if they were not to be kept.
    end : int
        IN_A, IN_B, OUTSIDE (out of frames) or FAILED (left the numbers).
    n_frames : int
        Frames flown.
    """

    points: Points
    end: int
    n_frames: int


class TransitionDynamics(Protocol):
    """Stochastic dynamics in equilibrium with the Boltzmann distribution, seen at frames a fixed time apart.

    A *phase point* is an array: a position on a surface, positions and velocities of a molecule. Every method takes
    and gives many of them at once, (n, *point), and each flight draws from a generator of its own, so that it depends
    on nothing that flies beside it. An implementation can be pickled.
    """

    @property
    def batched(self) -> bool:
        """Whether many flights at once cost less than one after another."""

    @property
    def frame_time(self) -> float:
        """Time from one frame to the next [ps; of a surface: its squared unit, at mobility 1]."""

    @property
    def steps_per_frame(self) -> int:
        """Force evaluations from one frame to the next."""

    @property
    def fingerprint(self) -> str:
        """A digest of everything that decides the ensemble: only chains that share it go on from each other's files."""

    def points(self, positions: ArrayLike) -> Points:
        """Return phase points at rest at positions (n, *position)."""

    def positions(self, points: Points) -> NDArray[np.floating]:
        """Return the positions (n, *position) of phase points, in the precision in which they are stored."""

    def states(self, points: Points) -> NDArray[np.int8]:
        """Return IN_A, IN_B or OUTSIDE (n,) of phase points."""

    def features(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Map positions (n, *position) to numbers (n, n_features) that a committor can be learned from.

        The statistic T without |x|^2: cosines and sines of angles, x / scale of other features.
        """

    def fresh(self, points: Points, generators: Generators) -> Points:
        """Return the points with velocities drawn anew from the Maxwell-Boltzmann distribution."""

    def reverse(self, points: Points) -> Points:
        """Return the points from which the dynamics goes back in time."""

    def fly(
        self,
        points: Points,
        generators: Generators,
        max_frames: ArrayLike,
        *,
        keep: bool = True,
        stop: bool = True,
    ) -> list[Flight]:
        """Fly from phase points, whose own state is not looked at, until each is in A or B.

        Parameters
        ----------
        points : (n, *point) array
        generators : n of numpy.random.Generator
        max_frames : int or (n,) int array
            Most frames of each flight; 0: it ends where it starts.
        keep : bool
            Whether the points flown through are returned.
        stop : bool
            Whether a flight ends in A or B; otherwise it has its most frames.
        """


def smooth_features(space: FeatureSpace, values: ArrayLike) -> NDArray[np.float64]:
    """Map feature values (..., d) to T without |x|^2: cosines and sines of circles, x / scale of lines."""
    return space.statistic(values)[..., : 2 * space.n_circles + space.n_lines]


def generators(seed: int, *keys: Sequence[int]) -> list[np.random.Generator]:
    """Return one generator per key: each depends on the seed and its own key alone."""
    return [
        np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(int(k) for k in key)))
        for key in keys
    ]
