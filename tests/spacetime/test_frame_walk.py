"""Walkers on the frames' graph against diffusion on an interval and overdamped dynamics under a moving tilt."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tps.errors import ParameterError
from tps.features import FeatureSpace
from tps.paths import OverdampedSettings, overdamped_annealed_paths
from tps.spacetime import FrameWalk, SpacetimePoint, empirical_family, eta_of
from tps.systems import load_system, parse_region

LENGTH = 1.0


def on_a_line(spacing: float, low: float = 0.0) -> FrameWalk:
    """Frames of equal weight on [low, LENGTH], blocked within a hundredth of its end."""
    space = FeatureSpace(("x",), (False,), ("",), (1.0,), np.array([[-math.inf, math.inf]]))
    x = np.arange(low + spacing / 2, LENGTH, spacing)[:, None]
    family = empirical_family(space, x, np.zeros(len(x)))
    ends = torch.stack([eta_of(family.spacetime, SpacetimePoint([c], 5.0)) for c in (0.25, 0.9)])
    return FrameWalk(family, x[:, 0] > 0.95, x[:, 0] > 0.5, ends)


def survival(start: float, time: float) -> float:
    """The share of unit diffusion from `start` that has not left [0, 0.95] at its upper end; none leaves at 0."""
    k = np.pi * (2 * np.arange(200) + 1) / (2 * 0.95)
    return float((2 / 0.95 * (-1.0) ** np.arange(200) / k * np.cos(k * start) * np.exp(-(k**2) * time)).sum())


def test_walkers_diffuse_as_on_an_interval():
    """First order in the spacing: joins reach four frames on, so that a border lies within two of where it should.

    Moving it by x changes the share by x at the most; 400 implicit steps of time err by 3e-4.
    """
    still = torch.zeros(400, 2, dtype=torch.float64)
    for spacing in (0.02, 0.01, 0.005):
        walk = on_a_line(spacing)
        relaxation = float(walk.frames.spacetime.posterior_std(walk.frames.mu(walk.ends)).min()) ** 2
        found = walk.passage(still, 0.3 / relaxation)
        assert found.arrived + found.entered < 1
        assert 1 - found.entered == pytest.approx(survival(0.25, 0.3), abs=2 * spacing + 3e-4)


def test_nobody_crosses_where_frames_lie_on_both_sides_of_a_wall():
    """A wall one frame thick, thinner than the reach of joins, keeps everybody on the side of A."""
    walk = on_a_line(0.01)
    wall = np.zeros_like(walk.inside)
    wall[60] = True
    beyond = np.arange(len(wall)) > 60
    held = FrameWalk(walk.frames, wall, beyond, walk.ends)
    found = held.passage(torch.stack([walk.ends[0]] + [walk.ends[1]] * 9), 1e4)
    assert found.entered == pytest.approx(1, abs=1e-6)
    assert found.arrived == pytest.approx(0, abs=1e-12)
    assert found.arrived_walled == 0


def test_walkers_are_those_of_overdamped_dynamics():
    """400 paths through, beside and round a box on the double well; the cells add 0.03 to four standard errors."""
    system = load_system("double-well-2d")
    region = parse_region("x=-0.25..0.25,y=-0.3..0.3", system.collective_variables)
    axes, energies = system.energy_grid(60)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    family = empirical_family(system.space, points, -energies.ravel())
    values = system.values(points)
    ends = torch.as_tensor(np.stack([system.space.eta(point, 4.0) for point in system.ends]))
    walk = FrameWalk(family, region.contains(values), system.state_b.region.contains(values), ends)
    relaxation = float(family.spacetime.posterior_std(family.mu(ends)).min()) ** 2
    for height, log_snr in ((0.0, 1.0), (0.5, 3.0), (0.8, 3.0)):
        s = np.linspace(0, 1, 40)
        centers = np.stack([2 * s - 1, height * np.sin(np.pi * s)], 1)
        level = 4 - (4 - log_snr) * np.sin(np.pi * s)
        eta = np.stack([system.space.eta(c, x) for c, x in zip(centers, level, strict=True)])
        settings = OverdampedSettings(n_steps=2000, n_updates=1000, n_frames=1000)
        paths, _ = overdamped_annealed_paths(system, s, eta, settings, list(range(400)))
        found = walk.passage(torch.as_tensor(eta), paths.frame_interval * 1000 / relaxation)
        seen = [system.values(x) for x in paths.values]
        out = np.array([not region.contains(v).any() for v in seen])
        in_b = np.array([system.state_b.region.contains(v)[-1] for v in seen])
        for share, counted in ((found.arrived, in_b & out), (found.entered, ~out)):
            error = math.sqrt(max(share * (1 - share), 1e-3) / 400)
            assert counted.mean() == pytest.approx(share, abs=4 * error + 0.03), (height, found)


def test_frames_that_lie_too_far_apart_or_inside_are_refused():
    walk = on_a_line(0.01)
    with pytest.raises(ParameterError, match="all frames"):
        FrameWalk(walk.frames, np.ones_like(walk.inside), walk.in_b, walk.ends)
    with pytest.raises(ParameterError, match="too wide"):
        on_a_line(0.01, -200.0)
