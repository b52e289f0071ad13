"""The solute alone: the same force field without the particles of the solvent, in vacuum."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import openmm
from numpy.typing import NDArray

from tps.errors import SystemDefinitionError
from tps.systems.confinement import CONFINEMENT

#: Forces of bonded terms, with the number of particles of one term and the names of its readers and writers.
_BONDED: dict[type[openmm.Force], tuple[int, str]] = {
    openmm.HarmonicBondForce: (2, "Bond"),
    openmm.HarmonicAngleForce: (3, "Angle"),
    openmm.PeriodicTorsionForce: (4, "Torsion"),
    openmm.RBTorsionForce: (4, "Torsion"),
}
#: Forces without an energy.
_NO_ENERGY = (openmm.CMMotionRemover,)


def solute_alone(system: openmm.System, solute: NDArray[np.integer]) -> openmm.System:
    """Return the System of some atoms by themselves: bonded terms and all pairs among them, no cutoff and no images.

    Its potential energy is what the force field gives these atoms in vacuum, at the positions they have in the
    solution; what they feel of the solvent is not in it, nor are the walls of a confinement.

    Parameters
    ----------
    system : openmm.System
    solute : (n_solute,) int array
        Particles to keep, in their order.

    Raises
    ------
    SystemDefinitionError
        If a force is not one of those whose terms can be told apart (bonds, angles, torsions, CMAP, charges and
        Lennard-Jones), a term joins solute and solvent, or a particle of the solute is a virtual site.
    """
    place = {int(atom): k for k, atom in enumerate(solute)}
    found = openmm.System()
    for atom in place:
        if system.isVirtualSite(atom):
            raise SystemDefinitionError(
                f"the solute's own energy is not known: its atom {atom} is a virtual site"
            )
        found.addParticle(system.getParticleMass(atom))
    for force in system.getForces():
        if isinstance(force, _NO_ENERGY) or force.getName().startswith(CONFINEMENT):
            continue
        if isinstance(force, openmm.NonbondedForce):
            found.addForce(_pairs(force, place))
        elif isinstance(force, openmm.CMAPTorsionForce):
            found.addForce(_maps(force, place))
        elif type(force) in _BONDED:
            n_particles, term = _BONDED[type(force)]
            own = type(force)()
            read, add = getattr(force, f"get{term}Parameters"), getattr(own, f"add{term}")
            _copy_terms(range(getattr(force, f"getNum{term}s")()), read, add, slice(0, n_particles), place)
            found.addForce(own)
        else:
            raise SystemDefinitionError(
                f"the solute's own energy is not known: {type(force).__name__} cannot be parted into solute and solvent"
            )
    return found


def _copy_terms(
    terms: Sequence[int],
    read: Callable[[int], Sequence[object]],
    add: Callable[..., int],
    particles: slice,
    place: dict[int, int],
) -> None:
    """Copy the terms whose particles are all of the solute."""
    for index in terms:
        said = list(read(index))
        new = [place.get(int(str(p))) for p in said[particles]]
        if all(p is None for p in new):
            continue
        if None in new:
            raise SystemDefinitionError(
                "the solute's own energy is not known: a bonded term joins solute and solvent, atoms "
                f"{said[particles]}"
            )
        said[particles] = new
        add(*said)


def _maps(force: openmm.CMAPTorsionForce, place: dict[int, int]) -> openmm.CMAPTorsionForce:
    own = openmm.CMAPTorsionForce()
    for index in range(force.getNumMaps()):
        own.addMap(*force.getMapParameters(index))
    _copy_terms(range(force.getNumTorsions()), force.getTorsionParameters, own.addTorsion, slice(1, 9), place)
    return own


def _pairs(force: openmm.NonbondedForce, place: dict[int, int]) -> openmm.NonbondedForce:
    """Return the pairs within the solute; exceptions with the solvent, which a bond would need, go with the solvent."""
    if force.getNumParticleParameterOffsets() or force.getNumExceptionParameterOffsets():
        raise SystemDefinitionError(
            "the solute's own energy is not known: its charges depend on a global parameter"
        )
    own = openmm.NonbondedForce()
    own.setNonbondedMethod(openmm.NonbondedForce.NoCutoff)
    for atom in place:
        own.addParticle(*force.getParticleParameters(atom))
    for index in range(force.getNumExceptions()):
        i, j, *parameters = force.getExceptionParameters(index)
        if i in place and j in place:
            own.addException(place[i], place[j], *parameters)
    return own
