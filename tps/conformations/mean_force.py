"""Weights against forces: whether weighted frames are a Boltzmann distribution along the torsions.

Turning all atoms beyond a bond about it changes a torsion θ and keeps volumes, bonds, angles and constraints. So for
any periodic g, integration by parts gives <g'(θ)> = <g(θ) dU/dθ>/kT over p0, U taken along that turn. Weights of the
wrong sign or unit make another distribution of the frames, and fail.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openmm
from numpy.typing import NDArray

from tps.conformations.dataset import Conformations
from tps.engine import PlatformChoice
from tps.errors import TrajectoryError
from tps.features import Torsion
from tps.systems import MolecularSystem
from tps.systems.molecular_graph import graph_of
from tps.systems.structures import Structure

#: Frames whose forces are looked at.
_MAX_FRAMES = 2000
#: Weights contradict the forces where some g misses by so many standard errors of ten blocks, and by so much; others
#: agree where all g come this close.
_CONTRADICTS, _LEAST_MISS, _AGREES = 6.0, 0.2, 3.0

#: A torsion, and the atoms beyond its middle bond.
Turn = tuple[Torsion, NDArray[np.intp]]


def check_mean_forces(
    system: MolecularSystem,
    frames: Conformations,
    positions: NDArray[np.floating],
    file: Path,
    platform: PlatformChoice,
) -> tuple[tuple[str, ...], int]:
    """Check weights against the forces along the torsions among the features.

    Parameters
    ----------
    system : MolecularSystem
    frames : Conformations
        Whose weights are to be checked; frames of one walker in the order of time.
    positions : (n_frames, n_atoms, 3) array
        [nm], molecules whole.
    file : Path
        Where the weights are from.
    platform : PlatformChoice

    Returns
    -------
    notes : tuple of str
        What was seen, where the weights contradict the forces and no other sign or unit of theirs would not.
    n_evaluations : int
        Evaluations of forces.

    Raises
    ------
    TrajectoryError
        If the weights contradict the forces and would not with another sign or unit.
    """
    turns = _turns(system)
    if not turns:
        return (), 0
    chosen = np.unique(np.linspace(0, frames.n_frames - 1, _MAX_FRAMES).astype(np.intp))
    x = np.asarray(positions[chosen], dtype=np.float64)
    angles = np.stack([variable.values(x, system.box) for variable, _ in turns], axis=1)
    pulls = _turning_derivatives(system, x, turns, platform) / system.kt
    log_weights = frames.log_weights[chosen]
    miss, sigmas, name = _largest_miss(angles, pulls, log_weights, turns)
    if not (sigmas > _CONTRADICTS and miss > _LEAST_MISS):
        return (), len(x)
    kt = system.kt
    for factor, remedy in {
        -1.0: "with the other sign (a bias V weighs exp(+V/kT))",
        1 / kt: 'divided by kT (weights_kind = "bias-kj-per-mol" where energies were taken for logarithms)',
        -1 / kt: "with the other sign and divided by kT (a bias V weighs exp(+V/kT))",
        kt: 'times kT (weights_kind = "log-weight" where logarithms were taken for energies)',
    }.items():
        if _largest_miss(angles, pulls, factor * log_weights, turns)[1] < _AGREES:
            raise TrajectoryError(
                f"the weights in {file} contradict the forces along {name} by {sigmas:.0f} standard errors, and their "
                f"logarithms would agree {remedy}: correct them, or conformations.weights_kind"
            )
    return (
        f"the weights in {file} contradict the forces along {name} by {sigmas:.0f} standard errors: is it the same "
        f"force field, temperature ({system.temperature:g} K) and line of frames?",
    ), len(x)


def _turns(system: MolecularSystem) -> list[Turn]:
    """Return the torsions among the features that a turn about a bond changes: not those of rings, no improper ones."""
    structure = Structure(system.directory, system.topology, system.positions_a, system.box)
    neighbours, found = graph_of(structure).neighbours, []
    for variable in system.features.variables:
        if not isinstance(variable, Torsion):
            continue
        first, near, far, last = variable.atoms
        beyond, waiting = {far}, [far]
        while waiting:
            atom = waiting.pop()
            new = [i for i in neighbours[atom] if i not in beyond and {atom, i} != {near, far}]
            beyond.update(new)
            waiting += new
        if far in neighbours[near] and last in beyond and beyond.isdisjoint((first, near)):
            found.append((variable, np.array(sorted(beyond), dtype=np.intp)))
    return found


def _turning_derivatives(
    system: MolecularSystem,
    x: NDArray[np.float64],
    turns: list[Turn],
    platform: PlatformChoice,
) -> NDArray[np.float64]:
    """Return dU/dθ (n_frames, n_turns) [kJ/mol/rad] of turning what lies beyond each middle bond."""
    context = openmm.Context(
        system.create_openmm_system(),
        openmm.VerletIntegrator(0.001),
        openmm.Platform.getPlatformByName(platform.name),
        platform.properties,
    )
    found = np.empty((len(x), len(turns)))
    for index, frame in enumerate(x):
        context.setPositions(frame)
        forces = context.getState(forces=True).getForces(asNumpy=True)._value
        for column, (variable, beyond) in enumerate(turns):
            _, near, far, _ = variable.atoms
            axis = (frame[far] - frame[near]) / np.linalg.norm(frame[far] - frame[near])
            torque = np.cross(frame[beyond] - frame[far], forces[beyond]).sum(axis=0)
            found[index, column] = -axis @ torque
    return found


def _largest_miss(
    angles: NDArray[np.float64],
    pulls: NDArray[np.float64],
    log_weights: NDArray[np.float64],
    turns: list[Turn],
) -> tuple[float, float, str]:
    """Return the worst |<g' - g dU/dθ/kT>|, in itself and in standard errors, and of which torsion.

    g is the sine and cosine of θ and 2θ.
    """
    n = len(log_weights)
    frames = Conformations(angles, log_weights, np.zeros(n), np.zeros(n, dtype=np.int64))
    worst = (0.0, 0.0, "")
    for (variable, _), theta, pull in zip(turns, angles.T, pulls.T, strict=True):
        for order in (1, 2):
            sine, cosine = np.sin(order * theta), np.cos(order * theta)
            for terms in (order * cosine - sine * pull, -order * sine - cosine * pull):
                mean, error = frames.weighted_mean(terms, np.ones(n, dtype=bool))
                if error > 0 and abs(mean) / error > worst[1]:
                    worst = (abs(mean), abs(mean) / error, variable.name)
    return worst
