"""Transition dynamics of many copies of a molecule in one OpenMM context, for devices that one copy leaves idle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray

from tps.dynamics.molecule import CONSTRAINT_TOLERANCE, MoleculeDynamics, noise_seed
from tps.dynamics.transition import FAILED, OUTSIDE, Flight, Generators, Points
from tps.engine import Dynamics, with_copies
from tps.errors import SimulationError
from tps.units import thermal_energy

#: Flights wait for free copies until so large a share of them is free: each start moves all positions to the device.
_FREE = 1 / 16


@dataclass(frozen=True, eq=False)
class CopiedDynamics(MoleculeDynamics):
    """`MoleculeDynamics` of `platform.n_copies` copies side by side in one context.

    The copies do not see each other, but one stream of noise serves all of them, which begins with the first flight's
    generator: a flight depends on those that fly beside it, and the same calls of a new object give the same flights.
    What gathers many flights that are known beforehand in one task is reproducible so; a chain of shooting moves, each
    of which waits for the one before, would not be.
    """

    batched: bool = True

    def __copy__(self) -> CopiedDynamics:
        """Return one with a context, and noise, of its own."""
        return replace(self)

    def fresh(self, points: Points, generators: Generators) -> Points:
        """Return the points with Maxwell-Boltzmann velocities that respect the constraints."""
        context, found = self._begun(generators).context, points.copy()
        width = np.sqrt(thermal_energy(self.langevin.temperature) * self._inverse_masses)
        for rows in self._lots(len(points)):
            drawn = [generators[i].standard_normal((len(width), 3)) for i in rows.tolist()]
            context.setPositions(self._all(points[rows, 0]))
            context.applyConstraints(CONSTRAINT_TOLERANCE)
            context.setVelocities(self._all(width * np.stack(drawn)))
            context.applyVelocityConstraints(CONSTRAINT_TOLERANCE)
            found[rows] = self._phase_points()[: len(rows)]
        return found

    def reverse(self, points: Points) -> Points:
        """Return the points from which the dynamics retraces its steps, but for noise and friction."""
        context, found = self._dynamics.context, points.copy()
        for rows in self._lots(len(points)):
            context.setPositions(self._all(points[rows, 0]))
            forces = context.getState(forces=True).getForces(asNumpy=True)._value
            kicks = self.langevin.timestep * forces.reshape(self._shape) * self._inverse_masses
            context.setVelocities(-(self._all(points[rows, 1]) + kicks.reshape(-1, 3)))
            context.applyVelocityConstraints(CONSTRAINT_TOLERANCE)
            found[rows, 1] = self._phase_points()[: len(rows), 1]
            self._dynamics.n_evaluations += len(rows)
        return found

    def fly(
        self,
        points: Points,
        generators: Generators,
        max_frames: ArrayLike,
        *,
        keep: bool = True,
        stop: bool = True,
    ) -> list[Flight]:
        """Fly until A or B, side by side, a waiting flight in the place of each that has ended.

        Should OpenMM give up, all flights in the air have failed.
        """
        n, limits = len(points), np.broadcast_to(np.asarray(max_frames), (len(points),))
        flown, end = np.zeros(n, dtype=np.int64), np.full(n, OUTSIDE)
        pieces: list[list[Points]] = [[] for _ in range(n)]
        waiting = np.flatnonzero(limits > 0).tolist()
        who = np.full(self.platform.n_copies, -1)  # flies in each copy; -1: nobody
        while waiting or (who >= 0).any():
            dynamics, free = self._begun(generators), np.flatnonzero(who < 0)
            if waiting and len(free) >= max(1, _FREE * len(who)):
                free, begin = free[: len(waiting)], waiting[: len(free)]
                del waiting[: len(free)]
                self._place(who < 0, free, points[begin])
                who[free] = begin
            busy = np.flatnonzero(who >= 0)
            flying = who[busy]
            try:
                dynamics.step(self.steps_per_frame)
            except SimulationError:
                who[busy], end[flying] = -1, FAILED
                continue
            now = self._phase_points() if keep else dynamics.positions().reshape(self._shape)[:, None]
            if keep:
                for place, i in zip(busy.tolist(), flying.tolist(), strict=True):
                    pieces[i].append(now[place].copy())
            flown[flying] += 1
            end[flying] = self._ends(now[busy, 0], stop)
            who[busy[(end[flying] != OUTSIDE) | (flown[flying] >= limits[flying])]] = -1
        nothing = np.empty((0, *points.shape[1:]))
        return [
            Flight(np.stack(piece) if piece else nothing, int(e), int(f))
            for piece, e, f in zip(pieces, end, flown, strict=True)
        ]

    def _ends(self, positions: NDArray[np.float64], stop: bool) -> NDArray[np.int8]:
        ends = np.full(len(positions), OUTSIDE, dtype=np.int8)
        sound = np.isfinite(positions).all(axis=(1, 2))
        if stop and sound.any():
            ends[sound] = self._states(positions[sound])
        ends[~sound] = FAILED
        return ends

    def _place(self, idle: NDArray[np.bool_], copies: NDArray[np.int64], points: Points) -> None:
        """Put phase points into some of the idle copies, and a sound one into the rest; the others go on."""
        context, now = self._dynamics.context, self._phase_points()
        now[idle] = points[0]
        now[copies] = points
        context.setPositions(now[:, 0].reshape(-1, 3))
        context.setVelocities(now[:, 1].reshape(-1, 3))

    def _begun(self, generators: Generators) -> Dynamics:
        """Return the dynamics, whose noise begins with the first generator that comes."""
        if not self._noise:
            self._noise.append(noise_seed(generators[0]))
            self.__dict__.pop("_dynamics", None)
        return self._dynamics

    def _lots(self, n: int) -> list[NDArray[np.int64]]:
        return [np.arange(n)[k : k + self.platform.n_copies] for k in range(0, n, self.platform.n_copies)]

    def _all(self, some: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n_copies n_atoms, 3) of the first copies' (n, n_atoms, 3), repeated for the others."""
        return some[np.arange(self.platform.n_copies) % len(some)].reshape(-1, 3)

    def _phase_points(self) -> Points:
        state = self._dynamics.context.getState(positions=True, velocities=True)
        both = state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value
        return np.stack([each.reshape(self._shape) for each in both], axis=1)

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self.platform.n_copies, len(self._inverse_masses), 3

    @cached_property
    def _noise(self) -> list[int]:
        return []

    @cached_property
    def _dynamics(self) -> Dynamics:
        system = with_copies(openmm.XmlSerializer.deserialize(self.system_xml), self.platform.n_copies)
        return Dynamics(system, self.langevin, self.platform, seed=sum(self._noise))
