"""What states, end points and regions to avoid must satisfy, for molecules and surfaces alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tps.errors import SystemDefinitionError
from tps.systems.passage import connected
from tps.systems.regions import Ranged, Region, State, format_region


@dataclass(frozen=True, eq=False)
class End:
    """One end of the transition.

    Parameters
    ----------
    label : str
        "A" or "B".
    state : State
        The state of the same label.
    noun : str
        What the end is: "structure" or "point".
    values : mapping of str to array (1,)
        What a range can be of, at this end, in internal units.
    variables : mapping of str to Ranged
        The same, with their units.
    """

    label: str
    state: State
    noun: str
    values: Mapping[str, NDArray[np.float64]]
    variables: Mapping[str, Ranged]

    def inside(self, region: Region) -> bool:
        """Return whether this end lies in a region."""
        return bool(region.contains(self.values)[0])

    def describe(self, region: Region) -> str:
        """Return the values of a region's variables here, in the user's units."""
        parts = []
        for name in region.ranges:
            variable = self.variables[name]
            value = self.values[name][0] / variable.user_scale
            parts.append(f"{name} = {value:.4g} {variable.user_unit}".rstrip())
        return ", ".join(parts)


def check_avoided_regions(regions: Sequence[Region], a: End, b: End) -> None:
    """Check that regions that paths shall stay out of contain neither end, and leave a way between them.

    Raises
    ------
    SystemDefinitionError
        Naming the end that lies in one, or the regions that wall it off.
    """
    for region in regions:
        for end in (a, b):
            if end.inside(region):
                raise SystemDefinitionError(
                    f"the region to avoid contains end {end.noun} {end.label} ({end.state.name}: "
                    f"{end.describe(region)}), so no path can end there: make it smaller"
                )
    if not connected(regions, a.variables, a.values, b.values):
        walls = ", ".join(repr(format_region(region, a.variables)) for region in regions)
        raise SystemDefinitionError(
            f"no way leads from {a.noun} A ({a.state.name}) to {b.noun} B ({b.state.name}) outside the regions to "
            f"avoid ({walls}): they wall one end off on every side; open one of geodesic.avoid"
        )


def check_states(a: End, b: End) -> None:
    """Check that the states are disjoint, and that each contains its own end and not the other.

    Raises
    ------
    SystemDefinitionError
        Naming the state, the end and its values.
    """
    if a.state.region.overlaps(b.state.region):
        raise SystemDefinitionError(
            f"[states.A] ({a.state.name}) and [states.B] ({b.state.name}) overlap: give both a range of one "
            "collective variable such that the two ranges do not meet"
        )
    noun = a.noun
    if b.inside(a.state.region) and a.inside(b.state.region):
        raise SystemDefinitionError(
            f"[states.A] ({a.state.name}) contains end {noun} B and [states.B] ({b.state.name}) contains A: "
            f"swap {noun}_a and {noun}_b, or the two states"
        )
    for own, other in ((a, b), (b, a)):
        region, label = own.state.region, own.label
        if other.inside(region):
            raise SystemDefinitionError(
                f"[states.{label}] ({own.state.name}) contains end {noun} {other.label} "
                f"({other.describe(region)}): state {label} must contain {noun} {label} only"
            )
        if not own.inside(region):
            raise SystemDefinitionError(
                f"[states.{label}] ({own.state.name}) contains neither end {noun}: {noun} {label} has "
                f"{own.describe(region)}, widen the ranges to take it in"
            )
