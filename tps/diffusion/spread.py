"""Points spread over data."""

from __future__ import annotations

import torch
from torch import Tensor


def farthest_points(points: Tensor, first: int, n: int) -> Tensor:
    """Return indices (n,) of points (n_points, D), each the farthest from those before it, beginning with `first`."""
    chosen = [first]
    distance = (points - points[first]).square().sum(1)
    for _ in range(n - 1):
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (points - points[chosen[-1]]).square().sum(1))
    return torch.tensor(chosen, device=points.device)
