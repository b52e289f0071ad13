"""Where the angles and the features on lines are in T and in η."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from tps.features import FeatureSpace


class Parts(NamedTuple):
    """Of vectors (..., K): pairs (..., n_circles, 2), lines (..., n_lines), and the last entry (..., 1) or (..., 0)."""

    pairs: Tensor
    lines: Tensor
    last: Tensor


@dataclass(frozen=True)
class Blocks:
    """T = (cos t, sin t of every angle; x of every line; |x|²), the last one only where there are lines."""

    n_circles: int
    n_lines: int = 0

    @classmethod
    def of(cls, space: FeatureSpace) -> Self:
        """Return those of a space of features."""
        return cls(space.n_circles, space.n_lines)

    @property
    def n_means(self) -> int:
        """Entries of T that are features: all but |x|²."""
        return 2 * self.n_circles + self.n_lines

    @property
    def n_statistics(self) -> int:
        """Number K of statistics."""
        return self.n_means + (self.n_lines > 0)

    def split(self, vector: Tensor) -> Parts:
        """Split η, T or μ (..., K)."""
        at = 2 * self.n_circles
        pairs = vector[..., :at].unflatten(-1, (self.n_circles, 2))
        return Parts(pairs, vector[..., at : self.n_means], vector[..., self.n_means :])

    def join(self, pairs: Tensor, lines: Tensor, last: Tensor) -> Tensor:
        """Return the vector (..., K) of these parts."""
        return torch.cat([pairs.flatten(-2), lines, last], dim=-1)

    @property
    def n_features(self) -> int:
        """Number of features, angles first."""
        return self.n_circles + self.n_lines

    def columns(self, features: Sequence[int]) -> list[int]:
        """Return the entries of T of some features, angles first, and that of |x|² where lines are among them."""
        d = self.n_circles
        found = [c for i in features if i < d for c in (2 * i, 2 * i + 1)]
        lines = [d + i for i in features if i >= d]
        return found + lines + ([self.n_means] if lines else [])

    def snr(self, eta: Tensor) -> Tensor:
        """Map η (..., K) to e^λ of the lines (..., 1), or (..., 0)."""
        return (-2 * self.split(eta).last).clamp_min(0)
