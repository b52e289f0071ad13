"""A flat-bottomed wall that keeps dynamics out of a region of collective variables."""

from __future__ import annotations

import math
from collections.abc import Mapping

import openmm

from tps.engine import joint_force
from tps.errors import ParameterError
from tps.features import CollectiveVariable
from tps.systems import Region


def add_wall(
    system: openmm.System,
    region: Region,
    collective_variables: Mapping[str, CollectiveVariable],
    stiffness: float,
    force_group: int,
    margin: float = 0.0,
) -> openmm.Force:
    """Add a wall that is zero outside a region and rises with the depth inside it.

    The energy is E = k/2 min_i(depth_i)**2, where the depth of a collective variable is its distance to the
    nearest bound of its range [internal unit], and 0 outside. So energy and force are
    continuous at the border of the region. What the variable cannot cross, such as
    infinity, a distance of 0 and the ends of a whole circle, are no bounds, since nothing can leave there.

    Parameters
    ----------
    system : openmm.System
        Gets the force.
    region : Region
        What to keep out of.
    collective_variables : mapping of str to CollectiveVariable
        At least those of the region.
    stiffness : float
        k [kJ/mol per internal unit squared].
    force_group : int
        Group of the force, so that its energy can be told apart.
    margin : float
        How far outside the region the wall begins [internal unit]: heat pushes a molecule into a wall by sqrt(kT/k).

    Returns
    -------
    openmm.Force
        The added force.

    Raises
    ------
    ParameterError
        If the stiffness is not positive, or the region has no bound to be pushed over.
    """
    if not 0 < stiffness < math.inf:
        raise ParameterError(f"the stiffness of a wall must be positive and finite, but got {stiffness}")
    variables = [collective_variables[name] for name in region.ranges]
    depths: list[str] = []
    definitions: list[str] = []
    for i, variable in enumerate(variables):
        low, high = region.ranges[variable.name]
        if not variable.periodic:
            low, high = low - margin, high + margin
            depths += [f"v{i} - ({low!r})"] if low > variable.lowest else []
            depths += [f"({high!r}) - v{i}"] if high < variable.highest else []
        elif (width := high - low if low < high else high - low + 2 * math.pi) + 2 * margin < 2 * math.pi:
            definitions.append(f"turns{i} = (v{i} - ({low + width / 2!r}))/{2 * math.pi!r}")
            depths.append(f"{width / 2 + margin!r} - {2 * math.pi!r}*abs(turns{i} - floor(turns{i} + 0.5))")
    if not depths:
        raise ParameterError(
            "a wall needs a region with a bound that can be crossed, but it covers everything"
        )
    deepest = depths[0]
    for depth in depths[1:]:
        deepest = f"min({deepest}, {depth})"
    expression = "; ".join([f"{0.5 * stiffness!r}*max(0, {deepest})^2", *definitions])
    force = joint_force(variables, expression, system.usesPeriodicBoundaryConditions())
    force.setName("wall")
    force.setForceGroup(force_group)
    system.addForce(force)
    return force
