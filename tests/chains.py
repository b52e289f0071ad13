"""A birth-death chain as transition dynamics: everything about it has a closed form."""

from dataclasses import dataclass

import numpy as np

from tps.dynamics import IN_A, IN_B, OUTSIDE, Flight
from tps.paths import FrameShots

_DRAWN = 64


def shots_with_paths(log_weights, n_shots=None):
    """Return shots of which the first ones made paths with these log-weights, up to a constant."""
    n = len(log_weights)
    n_shots = n if n_shots is None else n_shots
    return FrameShots(
        log_weights=np.zeros(n_shots),
        choice=np.ones(n_shots),
        state=np.full(n_shots, OUTSIDE, np.int8),
        guess=np.full(n_shots, OUTSIDE, np.int8),
        drawn=np.arange(n_shots),
        ends=np.array([[IN_B, IN_A]] * n + [[IN_A, IN_A]] * (n_shots - n)),
        shot=np.arange(n),
        log_sums=-np.asarray(log_weights, dtype=np.float64),
        taught=np.empty(0, np.int64),
        lessons=np.empty((0, 2), np.int64),
        seed=0,
        n_steps=3,
    )


@dataclass(frozen=True, eq=False)
class BirthDeathChain:
    """A walk on sites 0 .. n - 1 with chances up[i] and down[i] of a step; A is site 0, B is site n - 1."""

    up: np.ndarray
    down: np.ndarray
    batched: bool = True
    steps_per_frame: int = 1
    frame_time: float = 1.0
    fingerprint: str = "birth-death"

    @classmethod
    def symmetric_barrier(cls, n, height):
        """Balanced chances for p(i) ∝ exp(-height sin²(π i/(n - 1))), reflected at both ends."""
        u = height * np.sin(np.pi * np.arange(n) / (n - 1)) ** 2
        up, down = np.zeros(n), np.zeros(n)
        up[:-1] = 0.5 * np.minimum(1, np.exp(u[:-1] - u[1:]))
        down[1:] = 0.5 * np.minimum(1, np.exp(u[1:] - u[:-1]))
        return cls(up, down)

    @property
    def transition_matrix(self):
        matrix = np.diag(self.up[:-1], 1) + np.diag(self.down[1:], -1)
        return matrix + np.diag(1 - matrix.sum(axis=1))

    @property
    def committor(self):
        """p_B(i) = Σ_{j<i} ρ_j / Σ_j ρ_j, ρ_j = Π_{k=1..j} down_k/up_k (Karlin and Taylor 1975, 4.4)."""
        rho = np.concatenate([[1.0], np.cumprod(self.down[1:-1] / self.up[1:-1])])
        return np.concatenate([[0.0], np.cumsum(rho)]) / rho.sum()

    @property
    def stationary(self):
        weights = np.concatenate([[1.0], np.cumprod(self.up[:-1] / self.down[1:])])
        return weights / weights.sum()

    def points(self, positions):
        return np.array(positions, dtype=np.float64)

    def positions(self, points):
        return points

    def features(self, positions):
        return np.asarray(positions, dtype=np.float64) / (len(self.up) - 1)

    def fresh(self, points, generators):
        return points

    def reverse(self, points):
        return points

    def states(self, points):
        site = points[:, 0]
        return np.select([site == 0, site == len(self.up) - 1], [IN_A, IN_B], OUTSIDE).astype(np.int8)

    def fly(self, points, generators, max_frames, *, keep=True, stop=True):
        limits = np.broadcast_to(max_frames, (len(points),))
        return [self._fly(*job, keep, stop) for job in zip(points, generators, limits, strict=True)]

    def _fly(self, point, generator, limit, keep, stop):
        site, sites, end, last = int(point[0]), [], OUTSIDE, len(self.up) - 1
        up, down = self.up.tolist(), self.down.tolist()
        while len(sites) < limit and end == OUTSIDE:
            for u in generator.random(_DRAWN).tolist():
                site += 1 if u < up[site] else -1 if u > 1 - down[site] else 0
                sites.append(site)
                if stop and site in (0, last):
                    end = IN_A if site == 0 else IN_B
                if len(sites) == limit or end != OUTSIDE:
                    break
        return Flight(np.array(sites if keep else [], dtype=float)[:, None], end, len(sites))
