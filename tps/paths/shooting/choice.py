"""Where on a path to shoot from: uniformly, or more often where shots are known to succeed.

A choice gives every interior frame a weight that depends on its positions alone, and draws a frame in proportion. The
reverse move must draw the same frame of the new path, so a trial is accepted with probability
min(1, Σ weights of the old path / Σ weights of the new one): with equal weights, the ratio of the lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tps.dynamics.transition import TransitionDynamics
from tps.errors import ParameterError


class FrameChoice(Protocol):
    """Positive weights of frames, a function of their positions that does not change while chains run."""

    def weights(self, dynamics: TransitionDynamics, positions: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map positions (n, *position) to weights (n,)."""


@dataclass(frozen=True)
class UniformChoice:
    """Every interior frame alike."""

    def weights(self, dynamics: TransitionDynamics, positions: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return ones (n,)."""
        return np.ones(len(positions))


@dataclass(frozen=True)
class FeatureChoice:
    """A Gaussian round a point of feature space, on a floor that lets every frame be drawn.

    Parameters
    ----------
    center : tuple of float
        The system's features of a good place to shoot from, such as a barrier top.
    width : float
        Standard deviation, in units of the features.
    floor : float
        Least weight, relative to the largest.
    """

    center: tuple[float, ...]
    width: float
    floor: float = 0.01

    def __post_init__(self) -> None:
        if not (self.width > 0 and 0 < self.floor <= 1):
            raise ParameterError(
                "a biased choice needs a positive width and a floor above 0 and at most 1, but got "
                f"{self.width} and {self.floor}"
            )

    def weights(self, dynamics: TransitionDynamics, positions: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return floor + (1 - floor) exp(-|f - center|²/(2 width²)) (n,)."""
        features = dynamics.features(positions)
        if features.shape[1] != len(self.center):
            raise ParameterError(
                f"the choice's center has {len(self.center)} numbers, but the system has {features.shape[1]} features"
            )
        squared = np.sum((features - np.array(self.center)) ** 2, axis=1)
        return self.floor + (1 - self.floor) * np.exp(-squared / (2 * self.width**2))
