"""What every trained model is: E[T | η] of the features it knows, and ψ(η) where it knows it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn

from tps.diffusion.blocks import Blocks


class Model(nn.Module):
    """A network of η; float32 or float64 as it computes best, and any of them after `double()`.

    Parameters
    ----------
    n_circles, n_lines : int
        The features that it knows: angles first.
    size
        What else builds it: `type(model)(n_circles, n_lines, **model.size)`; JSON's types, for model files.
    """

    #: Whether `forward` gives ψ.
    has_psi = False

    def __init__(self, n_circles: int, n_lines: int, **size: Any) -> None:
        super().__init__()
        self.blocks, self.size = Blocks(n_circles, n_lines), size

    @abstractmethod
    def mu(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, K) to E[T | η] (n, K), differentiable."""

    def forward(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, K) to ψ (n,), zero at η = 0."""
        raise NotImplementedError(f"{type(self).__name__} knows E[T | η] alone")
