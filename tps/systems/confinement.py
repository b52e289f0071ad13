"""Flat-bottomed walls that are part of a molecule's own energy: what keeps two solutes together, for instance."""

from __future__ import annotations

import math
from collections.abc import Mapping

import openmm

from tps.features import CollectiveVariable
from tps.systems.regions import Region, format_region

#: Begins the names of these forces.
CONFINEMENT = "confinement_"


def add_confinement(
    system: openmm.System, region: Region, variables: Mapping[str, CollectiveVariable], stiffness: float
) -> None:
    """Add k/2 d^2 for every variable that lies outside its range by d: nothing inside, and a part of U outside.

    Parameters
    ----------
    system : openmm.System
        Gets one force per variable, in the force group of the molecule itself.
    region : Region
        What the molecule is kept in.
    variables : mapping of str to CollectiveVariable
        At least those of the region.
    stiffness : float
        k [kJ/mol per internal unit squared].
    """
    periodic = system.usesPeriodicBoundaryConditions()
    for name, (low, high) in region.ranges.items():
        variable = variables[name]
        if variable.periodic:
            half = (high - low if low < high else high - low + 2 * math.pi) / 2
            turns = f"(value - ({low + half!r}))/{2 * math.pi!r}"
            away = f"{2 * math.pi!r}*abs({turns} - floor({turns} + 0.5)) - {half!r}"
            energy = f"{0.5 * stiffness!r}*max(0, {away})^2"
        else:
            sides = [f"max(0, {low!r} - value)^2"] if low > variable.lowest else []
            sides += [f"max(0, value - {high!r})^2"] if high < math.inf else []
            energy = f"{0.5 * stiffness!r}*({' + '.join(sides) or '0*value'})"
        force = variable.force(energy, periodic)
        force.setName(f"{CONFINEMENT}{name}")
        system.addForce(force)


def describe_confinement(
    region: Region, variables: Mapping[str, CollectiveVariable], stiffness: float
) -> str:
    """Return one sentence about the walls, for whoever reads an energy or a weight of this molecule."""
    return (
        f"flat-bottomed walls keep {format_region(region, variables)} ({stiffness:g} kJ/mol per nm² or rad² outside): "
        "they are part of the potential energy, so of every weight, free energy and rate"
    )
