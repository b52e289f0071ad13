"""A residual network of η: periodic in angles, told the noise level, bounded however strong the tilt."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tps.diffusion.blocks import Blocks

_SCALES = (1.0, 4.0, 16.0)  # of κ
_FREQUENCIES = (0.5, 1.0, 2.0)  # of the noise embedding, per unit of ln κ


class Embedding(nn.Module):
    """What networks see of η: η / sqrt(c² + κ²) of angles at three scales c, and of lines the Gaussian's answer.

    These are the mean and the logarithm of the precision that Gaussian data of the frames' mean and variance have.

    Parameters
    ----------
    blocks : Blocks
    """

    def __init__(self, blocks: Blocks) -> None:
        super().__init__()
        self.blocks = blocks
        self.center: Tensor
        self.variance: Tensor
        self.register_buffer("center", torch.zeros(blocks.n_lines))
        self.register_buffer("variance", torch.ones(()))
        self.n_outputs = 2 * len(_SCALES) * blocks.n_circles + blocks.n_lines + (blocks.n_lines > 0)

    def fit(self, statistics: Tensor) -> None:
        """Take the mean and the variance of frames with T (n_frames, K)."""
        if self.blocks.n_lines:
            lines = self.blocks.split(statistics).lines
            self.center.copy_(lines.mean(0))
            self.variance.copy_(lines.var(0).mean().clamp_min(1e-12))

    def gaussian(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        """Map η (n, K) to mean (n, n_lines) and precision (n, 1) of Gaussian data on lines."""
        precision = 1 / self.variance + self.blocks.snr(eta)
        return (self.blocks.split(eta).lines + self.center / self.variance) / precision, precision

    def forward(self, eta: Tensor) -> Tensor:
        """Map η (n, K) to what is seen (n, n_outputs)."""
        pairs = self.blocks.split(eta).pairs
        kappa2 = pairs.square().sum(-1, keepdim=True)
        seen = [(pairs / (c * c + kappa2).sqrt()).flatten(-2) for c in _SCALES]
        if self.blocks.n_lines:
            mean, precision = self.gaussian(eta)
            seen += [(mean - self.center) / self.variance.sqrt(), (precision * self.variance).log() / 2]
        return torch.cat(seen, dim=-1)


class ResidualTrunk(nn.Module):
    """Map η (n, K) to as many numbers as there are features in T (n, n_means), zero before training.

    Parameters
    ----------
    blocks : Blocks
    width, depth : int
        Of the hidden layer, and residual blocks; each is told the noise level of every feature anew.
    """

    def __init__(self, blocks: Blocks, width: int, depth: int) -> None:
        super().__init__()
        self.blocks, self.embedding = blocks, Embedding(blocks)
        n_levels = blocks.n_circles + (blocks.n_lines > 0)
        n_noise = n_levels * (1 + 2 * len(_FREQUENCIES))
        self.first = nn.Linear(self.embedding.n_outputs, width)
        self.noise = nn.ModuleList(nn.Linear(n_noise, width) for _ in range(depth))
        self.layers = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(depth)
        )
        self.last = nn.Linear(width, blocks.n_means)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, eta: Tensor) -> Tensor:
        """Map η (n, K) to (n, n_means)."""
        hidden, noise = self.first(self.embedding(eta)), self._noise(eta)
        for told, block in zip(self.noise, self.layers, strict=True):
            hidden = hidden + block(hidden + told(noise))
        found: Tensor = self.last(nn.functional.silu(hidden))
        return found

    def _noise(self, eta: Tensor) -> Tensor:
        """Return ln(1 + κ) of angles and of lines, with sines and cosines of it (n, n_noise)."""
        kappa = (self.blocks.split(eta).pairs.square().sum(-1) + 1e-8).sqrt()
        on_lines = self.blocks.snr(eta) * self.embedding.variance
        level = torch.cat([kappa, on_lines], dim=-1).log1p()
        waves = [wave(f * level) for f in _FREQUENCIES for wave in (torch.sin, torch.cos)]
        return torch.cat([level / 4, *waves], dim=-1)
