"""The augmented Lagrangian's function of a constraint: a barrier inside, a parabola outside, twice smooth."""

from __future__ import annotations

import torch
from torch import Tensor


def barrier(t: Tensor) -> Tensor:
    """Return -ln(1 - t) up to t = 1/2, and beyond it the parabola that continues it smoothly."""
    inside = -torch.log1p(-t.clamp_max(0.5))
    over = (t - 0.5).clamp_min(0)
    return inside + 2 * over + 2 * over.square()


def barrier_slope(t: Tensor) -> Tensor:
    """Its derivative, 1 at t = 0."""
    return 1 / (1 - t.clamp_max(0.5)) + 4 * (t - 0.5).clamp_min(0)


def barrier_curvature(t: Tensor) -> Tensor:
    """Its second derivative."""
    return 1 / (1 - t.clamp_max(0.5)).square()
