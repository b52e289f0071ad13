"""Three copies of alanine dipeptide's landscape that know nothing of each other: 12 features with exact answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from spaces import feature_space
from torch import Tensor

from tps.analysis.free_energy.solver import first_guess, solve_mbar
from tps.paths import Windows
from tps.spacetime import (
    Family,
    GridFamily,
    LogSnrFloor,
    SpacetimePoint,
    TorusSpacetime,
    find_geodesic,
    integrated_psi,
    point_at,
)
from tps.systems import load_system

N_COPIES, N_WINDOWS, LOG_SNR = 3, 32, 4.0
SPACE = feature_space("aa" * N_COPIES)


class Copies:
    """The family of independent copies of another: psi and mu are its own, copy by copy."""

    has_psi = True

    def __init__(self, one: Family) -> None:
        self.one, self.spacetime = one, TorusSpacetime(N_COPIES * one.spacetime.n_circles)

    def _parts(self, eta: Tensor) -> Tensor:
        return eta.reshape(len(eta) * N_COPIES, -1)

    def psi(self, eta: Tensor) -> Tensor:
        return self.one.psi(self._parts(eta)).view(len(eta), N_COPIES).sum(1)

    def mu(self, eta: Tensor) -> Tensor:
        return self.one.mu(self._parts(eta)).view(eta.shape)


@dataclass(frozen=True)
class Case:
    """The exact family, the end points of one copy, and weighted frames from windows along its geodesic."""

    exact: Copies
    one_ends: np.ndarray
    values: np.ndarray
    log_weights: np.ndarray

    def ends(self, n_copies: int = N_COPIES) -> list[SpacetimePoint]:
        """Return the anchored states of so many copies."""
        return [
            point_at(feature_space("aa" * n_copies), np.tile(end, n_copies), LOG_SNR) for end in self.one_ends
        ]

    def errors(self, family: Family, eta: Tensor) -> tuple[float, float]:
        """Return the mean of |mu - mu_exact| over a curve, and the largest error of a difference of psi."""
        mu, exact = family.mu(eta), self.exact.psi(eta)
        psi = family.psi(eta) if family.has_psi else integrated_psi(eta, mu)
        gap = psi - exact
        return float((mu - self.exact.mu(eta)).norm(dim=1).mean()), float(gap.max() - gap.min())


def copies_case(n_frames: int, *, floor: float | None = None, seed: int = 0) -> Case:
    """Draw the frames of windows along the exact geodesic, and weigh all by MBAR in 12 dimensions.

    The landscape itself is a window too, unless a floor on log-SNR holds all of them together.
    """
    system = load_system("alanine-surface-300k")
    axes, energy = system.energy_grid(120)
    grid = [torch.from_numpy(axis) for axis in axes]
    one = GridFamily(grid, torch.from_numpy(-energy / system.kt), periodic=True)
    ends = system.feature_values(system.ends)
    constraints = [] if floor is None else [LogSnrFloor(floor)]
    anchored = (point_at(one.space, end, LOG_SNR) for end in ends)
    curve = find_geodesic(one, *anchored, constraints=constraints).curve
    windows = Windows.along(curve.s.numpy(), curve.eta.numpy(), N_WINDOWS, untilted=floor is None)
    chance = torch.softmax(one.log_weights + torch.from_numpy(windows.eta) @ one.statistics.T, dim=1)
    rng = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(chance, N_COPIES * n_frames, replacement=True, generator=rng)
    values = one.points[drawn].reshape(windows.n_windows * n_frames, -1).numpy()
    statistics, eta = SPACE.statistic(values), np.tile(windows.eta, (1, N_COPIES))
    tilts, counts = eta @ statistics.T, np.full(len(eta), n_frames)
    means = statistics.reshape(len(eta), n_frames, -1).mean(1)
    free = solve_mbar(first_guess(eta, means), tilts, counts)
    log_weights = -np.logaddexp.reduce(tilts + (free + np.log(counts))[:, None], axis=0)
    return Case(Copies(one), ends, values, log_weights)
