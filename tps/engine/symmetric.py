"""Langevin dynamics whose velocities belong to the times of the positions, for programs that reverse time by -v."""

from __future__ import annotations

import math

import openmm

from tps.engine.dynamics import LangevinSettings, openmm_seed
from tps.units import thermal_energy


def symmetric_integrator(settings: LangevinSettings, seed: int) -> openmm.CustomIntegrator:
    """Return an integrator that moves the positions as `LangevinSettings.integrator` does, constraints included.

    LangevinMiddleIntegrator kicks for a whole step and then drifts, so its velocities lie half a step behind its
    positions, and (x, -v) does not lead back: a program that shoots from there, as OpenPathSampling does, gives the
    molecule kT (ω dt)² per mode and reversal, and one-way shooting piles that up. Here the kick is cut in two, half
    before and half after the drift: the same positions, and velocities v + dt F/2m, for which -v is the exact reverse.

    References
    ----------
    Zhang, Liu, Yan, Tuckerman, Liu, J. Phys. Chem. A 123, 6056 (2019); Leimkuhler, Matthews, Appl. Math. Res. Express
    2013, 34 (BAOAB).
    """
    decay = math.exp(-settings.friction * settings.timestep)
    integrator = openmm.CustomIntegrator(settings.timestep)
    integrator.addGlobalVariable("decay", decay)
    integrator.addGlobalVariable("noise", math.sqrt(thermal_energy(settings.temperature) * (1 - decay**2)))
    integrator.addPerDofVariable("unconstrained", 0)
    integrator.addUpdateContextState()
    integrator.addComputePerDof("v", "v + 0.5*dt*f/m")
    integrator.addConstrainVelocities()
    integrator.addComputePerDof("x", "x + 0.5*dt*v")
    integrator.addComputePerDof("v", "decay*v + noise*gaussian/sqrt(m)")
    integrator.addComputePerDof("x", "x + 0.5*dt*v")
    integrator.addComputePerDof("unconstrained", "x")
    integrator.addConstrainPositions()
    integrator.addComputePerDof("v", "v + (x - unconstrained)/dt + 0.5*dt*f/m")
    integrator.addConstrainVelocities()
    integrator.setRandomNumberSeed(openmm_seed(seed))
    integrator.setConstraintTolerance(1e-6)
    return integrator
