"""Ways through the frames: what is low, what is closed, and what constraints forbid."""

from __future__ import annotations

import math

import numpy as np
import torch

from tps.features import FeatureSpace
from tps.spacetime import LogSnrFloor, RegionProbability, SpacetimePoint, empirical_family, graph_starts


def ring(rng: np.random.Generator, height: float, n: int = 4000):
    """Frames on a flat plane, weighted by a ring of radius 1 whose lower half is `height` kT higher than the upper."""
    x = rng.uniform(-1.6, 1.6, size=(n, 2))
    energy = 20 * (np.hypot(*x.T) - 1) ** 2 + height * np.exp(-((x[:, 0] / 0.5) ** 2)) * (x[:, 1] < 0)
    space = FeatureSpace(("x", "y"), (False,) * 2, ("",) * 2, (1.0,) * 2, np.array([[-1.6, 1.6]] * 2))
    return empirical_family(space, x, -energy), x


def middle(spacetime, eta: torch.Tensor) -> float:
    """y where the curve crosses x = 0."""
    position = spacetime.positions(eta)
    return float(position[int(position[:, 0].abs().argmin()), 1])


def test_the_lowest_way_comes_first_and_the_next_one_crosses_elsewhere():
    """Round a ring: over the top, then underneath, although both lie far from the straight line."""
    frames, x = ring(np.random.default_rng(0), 3.0)
    ends = [SpacetimePoint(torch.tensor([side, 0.0]), 4.0) for side in (-1.0, 1.0)]
    starts = graph_starts(frames, *ends, 32, n_paths=2)
    assert list(starts) == ["frames 0", "frames 1"]
    crossings = [middle(frames.spacetime, start) for start in starts.values()]
    # the ring is sqrt(1 / 40) = 0.16 wide, nodes are about 0.13 apart, and smoothing cuts the corner
    assert 0.7 < crossings[0] < 1.3
    assert -1.3 < crossings[1] < -0.7
    for start in starts.values():
        assert torch.allclose(
            start[[0, -1], :2], torch.tensor([[-1.0, 0.0], [1.0, 0.0]]).double() * math.exp(4.0)
        )
    top = torch.as_tensor((np.abs(x[:, 0]) < 0.4) & (x[:, 1] > 0))
    constraints = [LogSnrFloor(3.0), RegionProbability(frames, top, 0.01)]
    below = graph_starts(frames, *ends, 32, n_paths=1, constraints=constraints)["frames 0"]
    assert middle(frames.spacetime, below) < -0.7


def test_ways_lead_round_circles():
    """One angle with a wall at 0: from -60 to 60 degrees the long way, through 180."""
    angle = np.linspace(-np.pi, np.pi, 361)[:-1]
    space = FeatureSpace(("t",), (True,), ("rad",), (1.0,), np.array([[-np.pi, np.pi]]))
    frames = empirical_family(space, angle[:, None], -10 * np.exp(-((angle / 0.3) ** 2)))
    ends = [SpacetimePoint(torch.tensor([math.cos(t), math.sin(t)]), 4.0) for t in (-1.05, 1.05)]
    found = graph_starts(frames, *ends, 24, n_paths=1)["frames 0"]
    assert float(frames.spacetime.angles(found)[12, 0].abs()) > 2.5
