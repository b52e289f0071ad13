"""A force on several collective variables at once: one expression of all their values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import openmm

from tps.features import CollectiveVariable


def joint_force(
    variables: Sequence[CollectiveVariable], energy: str, periodic: bool
) -> openmm.CustomCompoundBondForce | openmm.CustomCVForce:
    """Return a force whose energy [kJ/mol] is an expression of v0, v1, ..., the values of the variables.

    One CustomCompoundBondForce where every variable has an expression of its own, as it is faster; else a
    CustomCVForce, of the same energy. Tabulated functions and global parameters are the caller's to add.

    Parameters
    ----------
    variables : sequence of CollectiveVariable
    energy : str
        Such as "bias(v0, v1)", definitions after semicolons.
    periodic : bool
        Whether the system has a box, whose nearest images count.
    """
    particles = [atom for variable in variables for atom in variable.atoms]
    points = iter(f"p{i + 1}" for i in range(len(particles)))
    values = [variable.expression(tuple(islice(points, len(variable.atoms)))) for variable in variables]
    if None in values:
        force = openmm.CustomCVForce(energy)
        for i, variable in enumerate(variables):
            force.addCollectiveVariable(f"v{i}", variable.force("value", periodic))
        return force
    definitions = [f"v{i} = {value}" for i, value in enumerate(values)]
    force = openmm.CustomCompoundBondForce(len(particles), "; ".join([energy, *definitions]))
    force.addBond(particles, [])
    force.setUsesPeriodicBoundaryConditions(periodic)
    return force
