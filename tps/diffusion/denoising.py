"""Networks that know E[f | η] alone: the second moment on lines is that and its divergence."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from tps.diffusion.bessel import bessel_ratio
from tps.diffusion.model import Model
from tps.diffusion.residual import ResidualTrunk

#: Up to so many features on lines the divergence is exact; above, so many random probes take its place.
_MAX_EXACT, _N_PROBES = 32, 8
_SMOOTH = 1e-8


class DenoisingModel(Model):
    """E[f | η] of a residual network, and E|x|² = |E x|² + Σ_k ∂E[x_k]/∂η_k of the features on lines.

    Parameters
    ----------
    n_circles, n_lines, width, depth : int

    References
    ----------
    Karczewski et al., ICLR 2026, Eq. 16, in η; Hutchinson, Commun. Stat. 18, 1059 (1989), for the probes.
    """

    def __init__(self, n_circles: int, n_lines: int = 0, width: int = 128, depth: int = 3) -> None:
        super().__init__(n_circles, n_lines, width=width, depth=depth)
        self.trunk = ResidualTrunk(self.blocks, width, depth)
        if n_lines:
            self.double()

    @abstractmethod
    def denoise(self, eta: Tensor) -> Tensor:
        """Map η (n, K) to E[f | η] (n, n_means), differentiable."""

    def mu(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, K) to E[T | η] (n, K), differentiable."""
        if not self.blocks.n_lines:
            return self.denoise(eta)
        learning, n = torch.is_grad_enabled(), len(eta)
        at = slice(2 * self.blocks.n_circles, self.blocks.n_means)
        probes = self._probes().to(eta)
        with torch.enable_grad():
            leaf = eta if eta.requires_grad else eta.detach().requires_grad_(True)
            mean = self.denoise(leaf)
            copies = leaf.repeat(len(probes), 1)
            tests = probes.repeat_interleave(n, dim=0)
            along = (self.denoise(copies)[:, at] * tests).sum()
            (slope,) = torch.autograd.grad(along, copies, create_graph=learning)
            divergence = (slope[:, at] * tests).sum(1).view(len(probes), n).sum(0)
            square = mean[:, at].square().sum(1) + divergence
            return torch.cat([mean, square[:, None]], dim=1)

    def _probes(self) -> Tensor:
        n = self.blocks.n_lines
        if n <= _MAX_EXACT:
            return torch.eye(n)
        signs = torch.randint(0, 2, (_N_PROBES, n), generator=torch.Generator().manual_seed(0))
        return (2.0 * signs - 1) / _N_PROBES**0.5


class ScoreNetwork(DenoisingModel):
    """E[f | η] of what the data look like from η: a von Mises distribution of parameter y on a circle, or a shift.

    The network gives y, so that E[f_i] = A(|η_i + y_i|) times its direction, which lies in the unit disc and is exact
    for data of one hump; on lines it adds to the answer of Gaussian data in units of its standard deviation.
    """

    _KAPPA = 10.0  # of data: what the network's 1 means

    def __init__(self, n_circles: int, n_lines: int = 0, width: int = 128, depth: int = 3) -> None:
        super().__init__(n_circles, n_lines, width, depth)
        self.size["conservative"] = False

    def denoise(self, eta: Tensor) -> Tensor:
        """Map η (n, K) to E[f | η] (n, n_means), differentiable."""
        found = self.trunk(eta)
        pairs = self.blocks.split(eta).pairs
        at = 2 * self.blocks.n_circles
        tilted = pairs + self._KAPPA * found[:, :at].unflatten(-1, (-1, 2))
        kappa = (tilted.square().sum(-1, keepdim=True) + _SMOOTH).sqrt()
        around = (bessel_ratio(kappa) / kappa * tilted).flatten(1)
        if not self.blocks.n_lines:
            return around
        mean, precision = self.trunk.embedding.gaussian(eta)
        return torch.cat([around, mean + found[:, at:] / precision.sqrt()], dim=1)


class FlowNetwork(DenoisingModel):
    """The velocity of a flow from noise x_0 to the data along straight lines x_t = (1 - t) x_0 + t f.

    E[f | x_t] = x_t + (1 - t) v(x_t, t) is exact where x_0 and f are independent: at η = t x_t / (1 - t)², the
    log-SNR being 2 ln(t / (1 - t)). The network is what is added to the velocity of free angles and of Gaussian data.

    References
    ----------
    Lipman et al., ICLR 2023 (flow matching).
    """

    def denoise(self, eta: Tensor) -> Tensor:
        """Map η (n, K) to E[f | η] (n, n_means), differentiable."""
        added, at = self.trunk(eta), 2 * self.blocks.n_circles
        pairs = self.blocks.split(eta).pairs
        kappa = (pairs.square().sum(-1, keepdim=True) + _SMOOTH).sqrt()
        # the level at which features of this κ are typical, |x_t / t|² = 1 + 2 (1 - t)²/t²
        snr = kappa.square() / ((1 + kappa.square()).sqrt() + 1)
        left = 1 / (1 + snr.sqrt())
        around = bessel_ratio(kappa) / kappa * pairs + left * added[:, :at].unflatten(-1, (-1, 2))
        if not self.blocks.n_lines:
            return around.flatten(1)
        variance = self.trunk.embedding.variance
        left = 1 / (1 + (self.blocks.snr(eta) * variance).sqrt())
        lines = self.trunk.embedding.gaussian(eta)[0] + left * variance.sqrt() * added[:, at:]
        return torch.cat([around.flatten(1), lines], dim=1)
