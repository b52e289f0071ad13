"""Transition dynamics on a surface: overdamped Langevin dynamics of many walkers at once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.dynamics.overdamped import STABILITY, largest_curvature, overdamped_step
from tps.dynamics.transition import (
    FAILED,
    IN_A,
    IN_B,
    OUTSIDE,
    Flight,
    Generators,
    Points,
    smooth_features,
)
from tps.errors import ParameterError
from tps.systems import SurfaceSystem

#: Frames of noise that a flight draws at once; part of what a seed means, so it never depends on the batch.
_NOISE_FRAMES = 32
_FINGERPRINT_GRID = 33


@dataclass(frozen=True, eq=False)
class SurfaceDynamics:
    """dx = -∇u dτ + √2 dW by Euler and Maruyama; a phase point is a position (d,).

    The scheme is in balance with exp(-u), and reversible in time, to first order in the time step.

    Parameters
    ----------
    system : SurfaceSystem
    timestep : float
        dτ [unit²].
    steps_per_frame : int
        Steps from one frame to the next; the states are looked at at frames.
    """

    system: SurfaceSystem
    timestep: float
    steps_per_frame: int = 1
    batched: bool = True

    def __post_init__(self) -> None:
        if not self.timestep > 0 or self.steps_per_frame < 1:
            raise ParameterError(
                "dynamics on a surface needs a positive time step and at least one step per frame, but got "
                f"{self.timestep} and {self.steps_per_frame}"
            )

    @classmethod
    def stable(
        cls, system: SurfaceSystem, stability: float = STABILITY, steps_per_frame: int = 1
    ) -> SurfaceDynamics:
        """Return the dynamics whose time step is `stability` over the largest curvature at the end points."""
        return cls(system, stability / largest_curvature(system), steps_per_frame)

    @property
    def frame_time(self) -> float:
        """Time between frames [unit²]."""
        return self.timestep * self.steps_per_frame

    @cached_property
    def fingerprint(self) -> str:
        """What chains must share to be one ensemble: the potential as it is on a grid, kT, step and states."""
        system = self.system
        energies = system.energy_grid(_FINGERPRINT_GRID)[1].ravel().tolist()
        states = (system.state_a.region, system.state_b.region)
        said = ([f"{e:.8g}" for e in energies], system.kt, states, self.timestep, self.steps_per_frame)
        return hashlib.sha256(repr(said).encode()).hexdigest()

    def points(self, positions: ArrayLike) -> Points:
        """Return positions (n, d) as they are."""
        return np.array(positions, dtype=np.float64)

    def positions(self, points: Points) -> NDArray[np.floating]:
        """Return points (n, d) as they are."""
        return points

    def states(self, points: Points) -> NDArray[np.int8]:
        """Return IN_A, IN_B or OUTSIDE of points (n, d)."""
        values = self.system.values(points)
        found = np.full(len(points), OUTSIDE, dtype=np.int8)
        found[self.system.state_a.region.contains(values)] = IN_A
        found[self.system.state_b.region.contains(values)] = IN_B
        return found

    def features(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Map positions (n, d) to cosines and sines, or x / scale: see `TransitionDynamics.features`."""
        return smooth_features(self.system.space, positions)

    def fresh(self, points: Points, generators: Generators) -> Points:
        """Return the points: there are no velocities."""
        return points

    def reverse(self, points: Points) -> Points:
        """Return the points: dynamics without velocities is its own reverse."""
        return points

    def fly(
        self,
        points: Points,
        generators: Generators,
        max_frames: ArrayLike,
        *,
        keep: bool = True,
        stop: bool = True,
    ) -> list[Flight]:
        """Fly until A or B: see `TransitionDynamics.fly`."""
        n, d = points.shape
        x, limit = points.copy(), np.broadcast_to(np.asarray(max_frames), (n,))
        flown, end = np.zeros(n, dtype=np.int64), np.full(n, OUTSIDE)
        pieces: list[list[Points]] = [[] for _ in range(n)]
        flying = np.flatnonzero(limit > 0)
        while len(flying):
            shape = (_NOISE_FRAMES, self.steps_per_frame, d)
            noise = np.stack([generators[i].standard_normal(shape) for i in flying.tolist()], axis=2)
            frames = np.empty((_NOISE_FRAMES, len(flying), d))
            before, columns = flown[flying], np.arange(len(flying))
            for frame, kicks in zip(frames, noise, strict=True):
                who = flying[columns]
                x[who] = frame[columns] = self._advance(x[who], kicks[:, columns])
                flown[who] += 1
                end[who] = self._end(x[who], stop)
                columns = columns[(end[who] == OUTSIDE) & (flown[who] < limit[who])]
                if not len(columns):
                    break
            if keep:
                for column, (i, start) in enumerate(zip(flying, before, strict=True)):
                    pieces[i].append(frames[: flown[i] - start, column].copy())
            flying = flying[columns]
        nothing = np.empty((0, d))
        return [
            Flight(np.concatenate([nothing, *piece]), int(e), int(f))
            for piece, e, f in zip(pieces, end, flown, strict=True)
        ]

    def _advance(self, x: Points, kicks: Points) -> Points:
        with np.errstate(over="ignore", invalid="ignore"):
            for kick in kicks:
                x = overdamped_step(self.system, x, None, self.timestep, kick)
        return x

    def _end(self, x: Points, stop: bool) -> NDArray[np.int64]:
        end = self.states(x).astype(np.int64) if stop else np.full(len(x), OUTSIDE)
        end[~np.isfinite(x).all(axis=1)] = FAILED
        return end
