"""Langevin dynamics in one OpenMM context that counts its force evaluations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import NDArray

from tps.engine.choice import PlatformChoice
from tps.errors import ParameterError, SimulationError

#: Force group of the molecule's own forces; tilts, biases and walls live in others and are never part of a
#: reported potential energy.
MOLECULE_GROUP = 0
BIAS_GROUP = 1
WALL_GROUP = 2

#: Single precision tells atoms apart up to here [nm].
_FARTHEST = 1e6
#: Positions (n_atoms, 3) [nm] and velocities [nm/ps].
Phase = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class LangevinSettings:
    """Langevin dynamics (LangevinMiddle, Zhang et al. 2019): temperature [K], time step [ps], friction [1/ps]."""

    temperature: float
    timestep: float = 0.002
    friction: float = 1.0

    def __post_init__(self) -> None:
        for name in ("temperature", "timestep", "friction"):
            if not getattr(self, name) > 0:
                raise ParameterError(
                    f"{name} of the Langevin dynamics must be positive: {getattr(self, name)}"
                )

    def integrator(self, seed: int) -> openmm.LangevinMiddleIntegrator:
        """Return a fresh integrator whose noise is fixed by `seed`."""
        integrator = openmm.LangevinMiddleIntegrator(self.temperature, self.friction, self.timestep)
        integrator.setRandomNumberSeed(openmm_seed(seed))
        integrator.setConstraintTolerance(1e-6)
        return integrator


def openmm_seed(seed: int) -> int:
    """Map any seed to OpenMM's range 1 .. 2**31 - 1 (its 0 means: choose one yourself)."""
    return seed % (2**31 - 1) + 1


def independent_seeds(seed: int, n: int) -> list[int]:
    """Return n seeds from one: OpenMM draws velocities and noise alike, and from one seed the same numbers for both."""
    return [int(word) for word in np.random.SeedSequence(seed).generate_state(n, np.uint32)]


def periodic_box(system: openmm.System) -> NDArray[np.float64] | None:
    """Return the reduced box vectors (3, 3) [nm] in which every context of a System starts; None without a box."""
    if not system.usesPeriodicBoundaryConditions():
        return None
    return np.array([list(vector._value) for vector in system.getDefaultPeriodicBoxVectors()])


class Dynamics:
    """One OpenMM context, stepped by Langevin dynamics; `n_evaluations` counts force evaluations.

    Parameters
    ----------
    system : openmm.System
        With whatever tilt, bias or wall was added to it in their own force groups.
    settings : LangevinSettings
    platform : PlatformChoice
    seed : int
        Of the noise, and of the velocities of each start, all independent of each other.
    """

    def __init__(
        self, system: openmm.System, settings: LangevinSettings, platform: PlatformChoice, seed: int
    ) -> None:
        noise, velocities = independent_seeds(seed, 2)
        self.settings = settings
        self.integrator = settings.integrator(noise)
        self._velocities = np.random.default_rng(velocities)
        self.context = openmm.Context(
            system, self.integrator, openmm.Platform.getPlatformByName(platform.name), platform.properties
        )
        self.n_evaluations = 0

    def start(self, positions: NDArray[np.floating]) -> None:
        """Place the atoms [nm], satisfy the constraints and draw Maxwell-Boltzmann velocities, new ones every time."""
        if not np.isfinite(positions).all():
            raise SimulationError("the starting structure has coordinates that are not finite numbers")
        self.context.setPositions(np.asarray(positions, dtype=np.float64))
        self.context.applyConstraints(1e-6)
        seed = openmm_seed(int(self._velocities.integers(2**32)))
        self.context.setVelocitiesToTemperature(self.settings.temperature, seed)

    def step(self, n_steps: int) -> None:
        """Advance by `n_steps`; one force evaluation each.

        Raises
        ------
        SimulationError
            If a coordinate stops being a number.
        """
        try:
            self.integrator.step(n_steps)
        except openmm.OpenMMException as error:
            raise SimulationError(f"dynamics failed: {error}") from error
        self.n_evaluations += n_steps

    def positions(self) -> NDArray[np.float64]:
        """Return positions (n_atoms, 3) [nm]."""
        return np.asarray(self.context.getState(positions=True).getPositions(asNumpy=True)._value)

    def frame(self) -> tuple[NDArray[np.float64], float]:
        """Return positions (n_atoms, 3) [nm] and the molecule's potential energy [kJ/mol], biases left out.

        Raises
        ------
        SimulationError
            If the energy is no finite number, or an atom is beyond all bounds: alone there it has a finite one.
        """
        state = self.context.getState(positions=True, energy=True, groups={MOLECULE_GROUP})
        self.n_evaluations += 1
        energy = state.getPotentialEnergy()._value
        if not np.isfinite(energy):
            raise SimulationError("dynamics failed: the potential energy is not a finite number")
        positions = np.asarray(state.getPositions(asNumpy=True)._value)
        if not np.abs(positions).max() < _FARTHEST:
            raise SimulationError("dynamics failed: an atom has flown off by more than a millimetre")
        return positions, float(energy)

    def phase(self) -> tuple[Phase, float]:
        """Return positions and velocities, for `resume`, and the molecule's potential energy [kJ/mol]."""
        state = self.context.getState(positions=True, velocities=True, energy=True, groups={MOLECULE_GROUP})
        self.n_evaluations += 1
        energy = float(state.getPotentialEnergy()._value)
        if not np.isfinite(energy):
            raise SimulationError("dynamics failed: the potential energy is not a finite number")
        return (state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value), energy

    def resume(self, phase: Phase) -> None:
        """Go on from the positions and velocities of another time."""
        self.context.setPositions(phase[0])
        self.context.setVelocities(phase[1])

    def bias_energy(self) -> float:
        """Return the energy of the forces in `BIAS_GROUP` [kJ/mol]."""
        state = self.context.getState(energy=True, groups={BIAS_GROUP})
        return float(state.getPotentialEnergy()._value)


def potential_energies(
    system: openmm.System,
    positions: NDArray[np.floating],
    platform: PlatformChoice,
    groups: set[int] | None = None,
) -> NDArray[np.float64]:
    """Return the potential energy of each frame.

    Parameters
    ----------
    system : openmm.System
    positions : (n_frames, n_atoms, 3) array
        [nm].
    platform : PlatformChoice
    groups : set of int, optional
        Force groups that count; all of them by default.

    Returns
    -------
    (n_frames,) array
        [kJ/mol]; not finite where a frame is broken.
    """
    context = openmm.Context(
        system,
        openmm.VerletIntegrator(0.001),
        openmm.Platform.getPlatformByName(platform.name),
        platform.properties,
    )
    energies = np.empty(len(positions))
    for index, frame in enumerate(positions):
        context.setPositions(np.asarray(frame, dtype=np.float64))
        state = context.getState(energy=True, groups=-1 if groups is None else groups)
        energies[index] = state.getPotentialEnergy()._value
    return energies
