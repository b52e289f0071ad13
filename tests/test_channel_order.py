"""Barriers of all channels against a flood fill held to each of them: recipes that ship, and tables beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tps.analysis.flood_fill import flood_fill, surface_lower_bound
from tps.config import load_config
from tps.pipeline import Silent
from tps.pipeline.geodesic import solve_geodesic
from tps.pipeline.sample import sample_surface_frames
from tps.spacetime import Channel, SpacetimeCurve
from tps.systems import SurfaceSystem, TablePotential, data_directory, load_system

#: A tilt of ln kappa = 3, the floor of both recipes, spreads by e^-1.5; a channel is what lies within two of that.
REACH = 2 * np.exp(-1.5)


def solved_channels(recipe: str, system: SurfaceSystem) -> tuple[Channel, ...]:
    """The channels that a recipe that ships finds on a surface; nothing in it says where they are."""
    config = load_config(data_directory("configs") / f"{recipe}.toml")
    section = config.geodesic
    assert section.windings is None
    assert not section.via
    frames = sample_surface_frames(system, config.conformations, 0).frames
    return solve_geodesic(system, section, frames, frames.values, None, 0, Silent(), grid=True).channels


def channel_bound(system: SurfaceSystem, curve: SpacetimeCurve, n: int = 181) -> float:
    """The flood-fill bound above A of all paths that stay within REACH of a curve's centers."""
    axes, energies = system.energy_grid(n)
    cells = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    near = np.zeros(energies.shape, dtype=bool)
    for place in _finely(curve.spacetime.positions(curve.eta).numpy()):
        gap = cells - place
        if curve.spacetime.n_circles:
            gap = (gap + np.pi) % (2 * np.pi) - np.pi
        near |= np.hypot(*np.moveaxis(gap, -1, 0)) < REACH
    inside = np.where(near, energies, np.inf)
    found = flood_fill(axes, inside, system.point_a, system.point_b, periodic=system.space.periodic)
    return found.energy - float(system.energy(system.point_a))


def _finely(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    at, where = np.arange(len(positions)), np.linspace(0, len(positions) - 1, 400)
    return np.stack([np.interp(where, at, column) for column in positions.T], axis=1)


def barriers_and_bounds(system: SurfaceSystem, recipe: str) -> tuple[list[float], list[float]]:
    """Of all channels, in their order; every one has converged."""
    channels = solved_channels(recipe, system)
    assert all(channel.geodesic.converged for channel in channels)
    barriers = [channel.free_energy.barrier.above_a for channel in channels]
    return barriers, [channel_bound(system, channel.geodesic.curve) for channel in channels]


def test_both_channels_of_the_ring():
    """6.07 above A through the lower half, as the surface says, and 8.22 through the upper one."""
    barriers, bounds = barriers_and_bounds(load_system("dual-channel"), "dual-channel")
    assert barriers == sorted(barriers)
    assert bounds == pytest.approx([6.07, 8.22], abs=0.03)


@pytest.mark.slow
def test_all_four_channels_of_alanine():
    """Smoothed barriers lie in the order of the bounds, and the bound of the lowest is that of all paths."""
    system = load_system("alanine-surface")
    barriers, bounds = barriers_and_bounds(system, "alanine-surface")
    assert len(bounds) == 4
    assert np.argsort(barriers).tolist() == np.argsort(bounds).tolist()
    # the bound of all paths is 36.2 above A: smoothed, the pass lies elsewhere, and the reach may miss a little
    lowest = surface_lower_bound(system, 181).energy - float(system.energy(system.point_a))
    assert bounds[0] == pytest.approx(lowest, abs=2)


@pytest.mark.slow
def test_the_lowest_channel_comes_first_on_another_table():
    """Fourier terms of random phase and 2 kJ/mol, 1 and 0.7 added to the table of alanine dipeptide."""
    system, rng = load_system("alanine-surface"), np.random.default_rng(1)
    phi, psi = np.meshgrid(*system.potential.grid, indexing="ij")
    energies = system.potential.values.copy()
    for k in (1, 2, 3):
        for m in (-2, -1, 0, 1, 2):
            size, wave = rng.normal(), np.cos(k * phi + m * psi + rng.uniform(0, 2 * np.pi))
            energies += 2 / k * size * wave
    other = replace(system, potential=TablePotential(system.potential.grid, energies, True))
    _, bounds = barriers_and_bounds(other, "alanine-surface")
    # two of the four pass the same saddle within their reach, so that their bounds are one, as far as that goes
    assert bounds[0] <= min(bounds) + 2
    assert bounds[0] < max(bounds) - 20
