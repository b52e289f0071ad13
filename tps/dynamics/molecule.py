"""Transition dynamics of a molecule: OpenMM's Langevin dynamics, flown until A or B."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray

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
from tps.engine import Dynamics, LangevinSettings, PlatformChoice, openmm_seed, periodic_box
from tps.errors import ParameterError, SimulationError
from tps.features import CollectiveVariable, Features, variable_values
from tps.systems import MolecularSystem, Region

_SEEDS = 2**31 - 2
#: Of the constraints, relative; that of `LangevinSettings.integrator`.
CONSTRAINT_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class MoleculeDynamics:
    """Langevin dynamics; a phase point is (2, n_atoms, 3): positions [nm] and velocities [nm/ps].

    The integrator keeps velocities half a step behind the positions. So the exact reverse of a point is not -v, but
    -(v + dτ F/m), its constrained components removed: without friction, a trajectory retraces its steps to round-off.

    Every flight reseeds the noise, which takes a reinitialised context: on the Reference platform and 22 atoms 0.3 ms,
    or a few where the machine is slow to start threads. On platforms that compile kernels it takes longer still, and
    flights there should be long.

    Parameters
    ----------
    system_xml : str
        Serialised openmm.System, without tilt or wall.
    langevin : LangevinSettings
    platform : PlatformChoice
    variables : tuple of CollectiveVariable
        At least those by which the states are told.
    region_a, region_b : Region
    feature_set : Features
    steps_per_frame : int
        MD steps from one frame to the next; the states are looked at at frames.
    """

    system_xml: str
    langevin: LangevinSettings
    platform: PlatformChoice
    variables: tuple[CollectiveVariable, ...]
    region_a: Region
    region_b: Region
    feature_set: Features
    steps_per_frame: int = 5
    batched: bool = False

    def __post_init__(self) -> None:
        if self.steps_per_frame < 1:
            raise ParameterError(f"a frame takes at least one MD step, but got {self.steps_per_frame}")
        known = {variable.name for variable in self.variables}
        missing = sorted((self.region_a.ranges.keys() | self.region_b.ranges.keys()) - known)
        if missing:
            raise ParameterError(
                f"the states need the collective variables {', '.join(missing)}, which are not among the given ones"
            )

    @classmethod
    def of(
        cls,
        system: MolecularSystem,
        langevin: LangevinSettings,
        platform: PlatformChoice,
        steps_per_frame: int = 5,
    ) -> Self:
        """Return the dynamics of a system between its own states."""
        region_a, region_b = system.state_a.region, system.state_b.region
        used = region_a.ranges.keys() | region_b.ranges.keys()
        return cls(
            system.system_xml,
            langevin,
            platform,
            tuple(v for name, v in system.collective_variables.items() if name in used),
            region_a,
            region_b,
            system.features,
            steps_per_frame,
        )

    @property
    def frame_time(self) -> float:
        """Time between frames [ps]."""
        return self.langevin.timestep * self.steps_per_frame

    @cached_property
    def fingerprint(self) -> str:
        """What chains must share to be one ensemble; the platform may change on the way."""
        said = (
            self.system_xml,
            self.langevin,
            self.steps_per_frame,
            self.region_a,
            self.region_b,
            self.variables,
        )
        return hashlib.sha256(repr(said).encode()).hexdigest()

    def points(self, positions: ArrayLike) -> Points:
        """Return phase points at rest at positions (n, n_atoms, 3) [nm]."""
        xyz = np.asarray(positions, dtype=np.float64)
        return np.stack([xyz, np.zeros_like(xyz)], axis=1)

    def positions(self, points: Points) -> NDArray[np.floating]:
        """Return positions (n, n_atoms, 3) [nm] in single precision, as trajectories hold them."""
        return points[:, 0].astype(np.float32)

    def states(self, points: Points) -> NDArray[np.int8]:
        """Return IN_A, IN_B or OUTSIDE of phase points."""
        return self._states(points[:, 0])

    def features(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Map positions (n, n_atoms, 3) [nm] to cosines, sines and x / scale: see `TransitionDynamics.features`."""
        return smooth_features(self.feature_set.space, self.feature_set.values(positions, self._box))

    def fresh(self, points: Points, generators: Generators) -> Points:
        """Return the points with Maxwell-Boltzmann velocities that respect the constraints."""
        context, found = self._dynamics.context, points.copy()
        for point, generator in zip(found, generators, strict=True):
            context.setPositions(point[0])
            context.applyConstraints(CONSTRAINT_TOLERANCE)
            context.setVelocitiesToTemperature(self.langevin.temperature, noise_seed(generator))
            point[:] = self._phase_point()
        return found

    def reverse(self, points: Points) -> Points:
        """Return the points from which the dynamics retraces its steps, but for noise and friction."""
        context, found = self._dynamics.context, points.copy()
        for point in found:
            context.setPositions(point[0])
            forces = context.getState(forces=True).getForces(asNumpy=True)._value
            self._dynamics.n_evaluations += 1
            context.setVelocities(-(point[1] + self.langevin.timestep * forces * self._inverse_masses))
            context.applyVelocityConstraints(CONSTRAINT_TOLERANCE)
            point[1] = self._phase_point()[1]
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
        """Fly until A or B, one after another: see `TransitionDynamics.fly`."""
        limits = np.broadcast_to(np.asarray(max_frames), (len(points),)).tolist()
        return [
            self._fly(point, generator, limit, keep, stop)
            for point, generator, limit in zip(points, generators, limits, strict=True)
        ]

    def _fly(
        self, point: Points, generator: np.random.Generator, limit: int, keep: bool, stop: bool
    ) -> Flight:
        dynamics, frames, end, n = self._dynamics, [], OUTSIDE, 0
        if limit > 0:
            dynamics.integrator.setRandomNumberSeed(noise_seed(generator))
            dynamics.context.reinitialize()
            dynamics.context.setPositions(point[0])
            dynamics.context.setVelocities(point[1])
        while n < limit and end == OUTSIDE:
            try:
                dynamics.step(self.steps_per_frame)
            except SimulationError:
                end = FAILED
                break
            n += 1
            now = self._phase_point() if keep else dynamics.positions()[None]
            if not np.isfinite(now[0]).all():
                end = FAILED
            elif stop:
                end = int(self._states(now[:1])[0])
            if keep:
                frames.append(now)
        return Flight(np.stack(frames) if frames else np.empty((0, *point.shape)), end, n)

    def _states(self, positions: NDArray[np.float64]) -> NDArray[np.int8]:
        values = variable_values(self.variables, positions, self._box)
        found = np.full(len(positions), OUTSIDE, dtype=np.int8)
        found[self.region_a.contains(values)] = IN_A
        found[self.region_b.contains(values)] = IN_B
        return found

    def _phase_point(self) -> Points:
        state = self._dynamics.context.getState(positions=True, velocities=True)
        return np.stack([state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value])

    @cached_property
    def _dynamics(self) -> Dynamics:
        system = openmm.XmlSerializer.deserialize(self.system_xml)
        return Dynamics(system, self.langevin, self.platform, seed=0)

    @cached_property
    def _box(self) -> NDArray[np.float64] | None:
        return periodic_box(openmm.XmlSerializer.deserialize(self.system_xml))

    @cached_property
    def _inverse_masses(self) -> NDArray[np.float64]:
        system = openmm.XmlSerializer.deserialize(self.system_xml)
        masses = np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
        moving = masses > 0  # virtual sites and fixed atoms have no mass and get no kick
        return np.where(moving, 1 / np.where(moving, masses, 1.0), 0.0)[:, None]

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_dynamics", "_inverse_masses")}


def noise_seed(generator: np.random.Generator) -> int:
    """Return a seed for OpenMM, drawn by a generator."""
    return openmm_seed(int(generator.integers(_SEEDS)))
