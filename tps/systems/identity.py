"""Whether an openmm.System belongs to a molecule: element by mass, and bonds by length, atom by atom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from tps.errors import SystemDefinitionError
from tps.features.variable import nearest_image
from tps.systems.structures import describe_atom

#: Force fields round masses to 0.01 amu, heavy ones to four digits; no two elements of biomolecules are that close.
MASS_TOLERANCE = 0.02
RELATIVE_MASS_TOLERANCE = 1e-3
#: A united-atom carbon carries up to four hydrogens: CH2 (14.027) must stay apart from N (14.007).
HYDROGEN_MASS = 1.008
UNITED_ATOM_TOLERANCE = 0.012
#: Heaviest hydrogen that mass repartitioning makes [amu].
HEAVIEST_HYDROGEN = 5.0
#: No structure worth starting from stretches a bond by so much [kJ/mol], or a constraint [nm].
STRETCH_ENERGY = 1000.0
STRETCHED_CONSTRAINT = 0.1

Bond = tuple[int, int]


def check_system_fits(
    system: openmm.System, topology: app.Topology, structures: Sequence[NDArray[np.float64]], source: str
) -> None:
    """Check that particle i of a System is atom i of the topology, for all i.

    Masses must be those of the elements, where a heavy atom may have passed some of its own on to its hydrogens, a
    carbon may carry hydrogens that are not in the topology (united atoms), and virtual sites weigh nothing. Then
    each harmonic bond and constraint must be about as long in the structures as the System wants it, which finds
    atoms of one element in another order.

    Parameters
    ----------
    system : openmm.System
    topology : openmm.app.Topology
    structures : sequence of array (n_atoms, 3)
        Positions [nm].
    source : str
        What the System comes from, for the message.

    Raises
    ------
    SystemDefinitionError
        Naming the first atom or bond that does not fit.
    """
    n_atoms = topology.getNumAtoms()
    if system.getNumParticles() != n_atoms:
        raise SystemDefinitionError(
            f"{source} has {system.getNumParticles()} particles, but the end structures have {n_atoms} atoms"
        )
    _check_masses(system, topology, source)
    for positions in structures:
        _check_lengths(system, topology, positions, source)


def periodic_box(system: openmm.System) -> NDArray[np.float64] | None:
    """Return the reduced box vectors (3, 3) [nm] of a periodic System, None for one that is not."""
    if not system.usesPeriodicBoundaryConditions():
        return None
    vectors = system.getDefaultPeriodicBoxVectors()
    return np.array([vector.value_in_unit(unit.nanometer) for vector in vectors])


def _check_masses(system: openmm.System, topology: app.Topology, source: str) -> None:
    atoms = list(topology.atoms())
    masses = np.array([system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(len(atoms))])
    expected = np.array(
        [atom.element.mass.value_in_unit(unit.dalton) if atom.element else np.nan for atom in atoms]
    )
    fits = np.isnan(expected) | _close(masses, expected)
    fits |= np.array([system.isVirtualSite(i) for i in range(len(atoms))]) & (masses == 0)
    hydrogens = _hydrogens(system, atoms, topology)
    for heavy, bonded in hydrogens.items():
        group = [heavy, *bonded]
        own = masses[bonded]
        light = (own > 0.9 * expected[bonded]) & (own < HEAVIEST_HYDROGEN)
        if light.all() and masses[heavy] > 0 and _close(masses[group].sum(), expected[group].sum()):
            fits[group] = True
    carried = (masses[:, None] - expected[:, None]) - HYDROGEN_MASS * np.arange(5)
    united = (np.abs(carried) < UNITED_ATOM_TOLERANCE).any(axis=1)
    fits |= united & np.array(
        [atom.element is app.element.carbon and atom.index not in hydrogens for atom in atoms]
    )
    for i in np.flatnonzero(~fits):
        raise SystemDefinitionError(
            f"{source}: particle {i} (from zero) weighs {masses[i]:.3f} amu, but the end structures have "
            f"{describe_atom(atoms[i])} of {expected[i]:.3f} amu there: "
            "give the System of this molecule in its atom order"
        )


def _close(masses: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.abs(masses - expected) <= np.maximum(MASS_TOLERANCE, RELATIVE_MASS_TOLERANCE * expected)


def _hydrogens(
    system: openmm.System, atoms: list[app.topology.Atom], topology: app.Topology
) -> dict[int, list[int]]:
    """Return heavy atom -> its hydrogens, by the bonds of the topology, or of the System where it has none."""
    bonds = [(first.index, second.index) for first, second in topology.bonds()]
    if not bonds:
        bonds = [pair for pair, *_ in _bonds(system)] + [pair for pair, _ in _constraints(system)]
    numbers = [atom.element.atomic_number if atom.element else 0 for atom in atoms]
    table: dict[int, set[int]] = defaultdict(set)
    for first, second in bonds:
        for heavy, light in ((first, second), (second, first)):
            if numbers[heavy] > 1 and numbers[light] == 1:
                table[heavy].add(light)
    return {heavy: sorted(light) for heavy, light in table.items()}


def _check_lengths(
    system: openmm.System, topology: app.Topology, positions: NDArray[np.float64], source: str
) -> None:
    box = periodic_box(system)
    found: list[tuple[Bond, float, float | None]] = list(_bonds(system))
    found += [(pair, length, None) for pair, length in _constraints(system)]
    if not found:
        return
    pairs = np.array([pair for pair, *_ in found])
    lost = pairs[((pairs < 0) | (pairs >= len(positions))).any(axis=1)]
    if len(lost):
        raise SystemDefinitionError(
            f"{source} has a bond or constraint of particles {lost[0, 0]} and {lost[0, 1]}, but particles are 0 to "
            f"{len(positions) - 1}: write it anew"
        )
    distances = np.linalg.norm(nearest_image(positions[pairs[:, 0]] - positions[pairs[:, 1]], box), axis=-1)
    atoms = list(topology.atoms())
    for (pair, length, force_constant), distance in zip(found, distances, strict=True):
        stretch = abs(distance - length)
        if force_constant is None:
            too_far = stretch > STRETCHED_CONSTRAINT
        else:
            too_far = 0.5 * force_constant * stretch**2 > STRETCH_ENERGY
        if too_far:
            first, second = (f"{i} ({describe_atom(atoms[i])})" for i in pair)
            raise SystemDefinitionError(
                f"{source} holds atoms {first} and {second} at {length:.3f} nm, but they are {distance:.3f} nm apart "
                "in an end structure: give the System of this molecule in its atom order"
            )


def _bonds(system: openmm.System) -> Iterator[tuple[Bond, float, float]]:
    """Yield (atoms, length [nm], force constant [kJ/mol/nm^2]) of harmonic bonds."""
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for i in range(force.getNumBonds()):
                first, second, length, force_constant = force.getBondParameters(i)
                yield (
                    (first, second),
                    length.value_in_unit(unit.nanometer),
                    force_constant.value_in_unit(unit.kilojoule_per_mole / unit.nanometer**2),
                )


def _constraints(system: openmm.System) -> Iterator[tuple[Bond, float]]:
    for i in range(system.getNumConstraints()):
        first, second, length = system.getConstraintParameters(i)
        yield (first, second), length.value_in_unit(unit.nanometer)
