"""A model of groups of features that know nothing of each other: the sum of theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from tps.diffusion.model import Model
from tps.diffusion.posterior import TiltedMoments


class ProductModel(Model):
    """ψ(η) = Σ_g ψ_g(η_g), E[T | η] the entries of all groups; |x|² is the sum of theirs.

    Parameters
    ----------
    n_circles, n_lines : int
    groups : sequence of sequence of int
        Features of each group, angles first, from 0: every feature once.
    parts : sequence of Model
        One for each group, all of one kind.
    """

    def __init__(
        self, n_circles: int, n_lines: int, groups: Sequence[Sequence[int]], parts: Sequence[Model]
    ) -> None:
        sizes = [part.size for part in parts]
        super().__init__(n_circles, n_lines, groups=[list(group) for group in groups], sizes=sizes)
        self.parts = nn.ModuleList(parts)
        self._models: tuple[Any, ...] = tuple(parts)  # as they are: torch calls every part a Module
        self.has_psi = all(part.has_psi for part in parts)
        self._columns = [self.blocks.columns(group) for group in groups]
        if all(hasattr(part, "moments") for part in parts):
            self.moments = self._sum_of_moments

    @classmethod
    def build(cls, network: Callable[..., Model], n_circles: int, n_lines: int, **size: Any) -> Self:
        """Return an untrained one of parts of a kind, from `size` of a trained one."""
        parts = []
        for group, part in zip(size["groups"], size["sizes"], strict=True):
            n = sum(i < n_circles for i in group)
            parts.append(network(n, len(group) - n, **part))
        return cls(n_circles, n_lines, size["groups"], parts)

    def forward(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, K) to ψ (n,)."""
        found = [part(eta[:, at]) for part, at in zip(self._models, self._columns, strict=True)]
        return torch.stack(found).sum(0)

    def mu(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, K) to E[T | η] (n, K), differentiable."""
        return self._gather(
            [part.mu(eta[:, at]) for part, at in zip(self._models, self._columns, strict=True)]
        )

    def _gather(self, means: list[Tensor]) -> Tensor:
        total = means[0].new_zeros(len(means[0]), self.blocks.n_statistics)
        for mean, at in zip(means, self._columns, strict=True):
            total = total.index_add(1, torch.tensor(at, device=mean.device), mean)
        return total

    def _sum_of_moments(self, eta: Tensor) -> TiltedMoments:
        """Map natural parameters (n, K) to ψ, μ and Cov[T]: the sum of the groups' blocks."""
        found = [part.moments(eta[:, at]) for part, at in zip(self._models, self._columns, strict=True)]
        covariance = eta.new_zeros(len(eta), eta.shape[1], eta.shape[1])
        for moments, at in zip(found, self._columns, strict=True):
            rows = torch.tensor(at)
            covariance[:, rows[:, None], rows] += moments.covariance
        psi = torch.stack([moments.psi for moments in found]).sum(0)
        return TiltedMoments(psi, self._gather([moments.mu for moments in found]), covariance)
