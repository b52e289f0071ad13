"""Minimisation, springs that keep a solute in shape meanwhile, and superposition."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from tps.engine import PlatformChoice, available_platforms
from tps.errors import SimulationError

Positions = NDArray[np.float64]

#: Springs join heavy atoms that are closer than this [nm], as stiff as this [kJ/mol/nm^2].
SPRING_REACH, SPRING_STIFFNESS = 0.8, 2000.0


@dataclass(frozen=True, eq=False)
class Minimised:
    """A structure (n_atoms, 3) [nm] at rest, and its potential energy before and after [kJ/mol]."""

    positions: Positions
    before: float
    after: float


def minimise(system: openmm.System, positions: Positions, what: str) -> Minimised:
    """Bring a structure to the next minimum of its energy, constraints satisfied.

    Parameters
    ----------
    system : openmm.System
    positions : array (n_atoms, 3)
        [nm].
    what : str
        What the structure is, for the message.

    Raises
    ------
    SimulationError
        If its energy is not a number, minimised or not.
    """
    platform = PlatformChoice("CPU" if "CPU" in available_platforms() else "Reference")
    context = openmm.Context(
        system,
        openmm.VerletIntegrator(0.001),
        openmm.Platform.getPlatformByName(platform.name),
        platform.properties,
    )
    context.setPositions(positions)
    context.computeVirtualSites()
    before = _energy(context)
    try:
        openmm.LocalEnergyMinimizer.minimize(context)
    except openmm.OpenMMException as reason:
        raise SimulationError(f"{what} cannot be minimised: {reason}") from None
    after = _energy(context)
    if not np.isfinite(after):
        raise SimulationError(
            f"{what} has no finite energy ({before:g} kJ/mol, minimised {after:g}): do atoms lie on one another?"
        )
    found = np.array(context.getState(positions=True).getPositions(asNumpy=True)._value)
    return Minimised(found, before, after)


def _energy(context: openmm.Context) -> float:
    return float(context.getState(energy=True).getPotentialEnergy()._value)


def shape_springs(positions: Positions, heavy: NDArray[np.intp], periodic: bool) -> openmm.HarmonicBondForce:
    """Return springs between near heavy atoms, which hold a shape but not its place: a barostat does not feel them."""
    force = openmm.HarmonicBondForce()
    at = positions[heavy]
    pairs = cKDTree(at).query_pairs(SPRING_REACH, output_type="ndarray")
    joined = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(at), len(at)))
    n_parts, part = connected_components(joined, directed=False)
    first = [int(np.argmax(part == k)) for k in range(n_parts)]
    between = np.array([(first[0], other) for other in first[1:]], dtype=pairs.dtype).reshape(-1, 2)
    for i, j in np.concatenate([pairs, between]):
        length = float(np.linalg.norm(at[i] - at[j]))
        force.addBond(int(heavy[i]), int(heavy[j]), length, SPRING_STIFFNESS)
    force.setUsesPeriodicBoundaryConditions(periodic)
    return force


def superposed(moving: Positions, fixed: Positions, atoms: NDArray[np.intp]) -> Positions:
    """Return all positions (n_atoms, 3) moved and turned so that some of their atoms lie best on the fixed ones."""
    here, there = fixed[atoms].mean(axis=0), moving[atoms].mean(axis=0)
    if len(atoms) < 2:
        return moving - there + here
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # atoms on a line may be turned about it
        rotation, _ = Rotation.align_vectors(fixed[atoms] - here, moving[atoms] - there)
    return np.asarray(rotation.apply(moving - there) + here)


def rmsd(one: Positions, other: Positions, atoms: NDArray[np.intp]) -> float:
    """Return the root mean square distance of some atoms after superposition on them [nm]."""
    apart = superposed(other, one, atoms)[atoms] - one[atoms]
    return float(np.sqrt(np.mean(np.sum(apart**2, axis=1))))
