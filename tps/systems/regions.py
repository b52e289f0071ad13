"""Regions as ranges of collective variables, and the states they define."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tps.errors import SystemDefinitionError
from tps.sections import nearest

_RANGE_TEXT = re.compile(r"\s*(?P<name>\w+)\s*=\s*(?P<low>\S+?)\s*\.\.\s*(?P<high>\S+)\s*")


class Ranged(Protocol):
    """What a range can be of: a collective variable of a molecule, or an axis of a surface."""

    @property
    def name(self) -> str:
        """What region strings call it."""

    @property
    def kind(self) -> str:
        """What messages call it, such as torsion."""

    @property
    def periodic(self) -> bool:
        """Whether it is an angle, so that a range may wrap."""

    @property
    def user_unit(self) -> str:
        """Unit at the borders, such as degree; empty for none."""

    @property
    def user_scale(self) -> float:
        """Internal units per user unit."""

    @property
    def lowest(self) -> float:
        """Least value there can be, in internal units."""

    @property
    def extent(self) -> tuple[float, float]:
        """Least and largest value there can be, in internal units."""


@dataclass(frozen=True)
class Region:
    """A box of collective variables: where every one of them lies in its range, bounds included.

    Parameters
    ----------
    ranges : mapping of str to (low, high)
        Bounds in internal units [rad, nm] per collective variable. A range with low > high wraps through pi,
        which only periodic variables may do; a bound of a distance may be infinite.

    Raises
    ------
    SystemDefinitionError
        If there is no range, a bound is not a number, or low equals high.
    """

    ranges: Mapping[str, tuple[float, float]]

    def __post_init__(self) -> None:
        if not self.ranges:
            raise SystemDefinitionError(
                "a region needs at least one range of a collective variable, but got none"
            )
        for name, (low, high) in self.ranges.items():
            if math.isnan(low) or math.isnan(high) or low == high:
                raise SystemDefinitionError(
                    f"the range of {name} must have two different bounds, got {low}..{high}"
                )

    def contains(self, values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
        """Return whether each frame lies in the region.

        Parameters
        ----------
        values : mapping of str to array (n_frames,)
            Values of at least this region's collective variables; angles in (-pi, pi] [rad], distances [nm].

        Returns
        -------
        array (n_frames,) of bool
        """
        inside = []
        for name, (low, high) in self.ranges.items():
            value = np.asarray(values[name], dtype=np.float64)
            above, below = value >= low, value <= high
            inside.append(above & below if low < high else above | below)
            if math.pi in (-low, high):  # pi and -pi are one angle, and single precision goes beyond
                inside[-1] |= np.abs(value) >= math.pi
        return np.logical_and.reduce(inside)

    def overlaps(self, other: Region) -> bool:
        """Return whether the two boxes share a volume; boxes that only touch do not."""
        shared = self.ranges.keys() & other.ranges.keys()
        return all(_meet(self.ranges[name], other.ranges[name]) for name in shared)


@dataclass(frozen=True)
class State:
    """A named metastable state, such as C5."""

    name: str
    region: Region


def make_range(variable: Ranged, low: float, high: float, where: str) -> tuple[float, float]:
    """Convert a range from the user's units to internal ones.

    Parameters
    ----------
    variable : Ranged
        What the range is of.
    low, high : float
        Bounds [degree for angles, nm for distances]; an angle's range runs from low upwards to high, so it
        wraps through 180 degrees when low > high.
    where : str
        File and key, for the message of an error.

    Returns
    -------
    (low, high)
        Bounds [rad, in -pi..pi; nm].

    Raises
    ------
    SystemDefinitionError
        If the bounds are out of order, equal, or of a wrong unit.
    """
    if math.isnan(low) or math.isnan(high) or low == high:
        raise SystemDefinitionError(
            f"{where}: a range needs two different bounds, but got {low:g} and {high:g}"
        )
    if not variable.periodic:
        if not variable.lowest <= low < high:
            bound = f"{variable.lowest:g} <= " if math.isfinite(variable.lowest) else ""
            unit = f" [{variable.user_unit}]" if variable.user_unit else ""
            raise SystemDefinitionError(
                f"{where}: a {variable.kind} range needs {bound}low < high{unit}, but got {low:g} and {high:g}"
            )
        return low, high
    if max(abs(low), abs(high)) > 360 or high - low > 360:
        raise SystemDefinitionError(
            f"{where}: a {variable.kind} range is given in degrees between -360 and 360 and spans at most 360, "
            f"but got {low:g} and {high:g}"
        )
    if high - low == 360:
        return -math.pi, math.pi
    lowest, highest = (low + 180) % 360 - 180, 180 - (180 - high) % 360  # [-180, 180) and (-180, 180]
    return math.radians(lowest), math.radians(highest)


def range_key(variable: Ranged) -> str:
    """Return the key of a variable's range in a file, such as phi_degree; without a unit, the bare name."""
    return f"{variable.name}_{variable.user_unit}" if variable.user_unit else variable.name


def region_from_keys(
    keys: Mapping[str, tuple[float, float]], variables: Mapping[str, Ranged], where: str
) -> Region:
    """Read a region from keys that carry a unit, such as ``phi_degree = [-60, 60]`` or ``oh_nm = [0, 0.25]``.

    Raises
    ------
    SystemDefinitionError
        For an unknown key, a wrong unit or an impossible range, with `where` (file and table) in front.
    """
    known = {range_key(variable): variable for variable in variables.values()}
    ranges = {}
    for key, (low, high) in keys.items():
        if key not in known:
            raise SystemDefinitionError(f"{where} {key}: {_explain_unknown_key(key, known)}")
        ranges[known[key].name] = make_range(known[key], low, high, f"{where} {key}")
    if not ranges:
        raise SystemDefinitionError(
            f"{where}: give at least one range, such as {next(iter(known))} = [low, high]"
        )
    return Region(ranges)


def parse_region(text: str, variables: Mapping[str, Ranged]) -> Region:
    """Read a region such as ``"phi=-60..60,psi=-120..0"``: degrees for torsions, nm for distances.

    Raises
    ------
    SystemDefinitionError
        For a text of another form, an unknown collective variable or an impossible range.
    """
    ranges: dict[str, tuple[float, float]] = {}
    for part in text.split(","):
        match = _RANGE_TEXT.fullmatch(part)
        where = f"region {text!r}: {part.strip()!r}"
        if match is None:
            raise SystemDefinitionError(
                f"{where} is not of the form name=low..high, such as {_example(variables)}"
            )
        name = match["name"]
        if name not in variables:
            raise SystemDefinitionError(f"{where}: no collective variable {name!r}{nearest(name, variables)}")
        if name in ranges:
            raise SystemDefinitionError(f"{where}: {name} is given twice")
        try:
            low, high = float(match["low"]), float(match["high"])
        except ValueError:
            raise SystemDefinitionError(
                f"{where}: the bounds must be numbers, such as {_example(variables)}"
            ) from None
        ranges[name] = make_range(variables[name], low, high, where)
    return Region(ranges)


def format_region(region: Region, variables: Mapping[str, Ranged]) -> str:
    """Return the text that `parse_region` reads, in degrees and nm."""
    scaled = {
        name: [x / variables[name].user_scale for x in bounds] for name, bounds in region.ranges.items()
    }
    return ",".join(f"{name}={low:.12g}..{high:.12g}" for name, (low, high) in scaled.items())


def _meet(first: tuple[float, float], second: tuple[float, float]) -> bool:
    return any(max(a[0], b[0]) < min(a[1], b[1]) for a in _pieces(*first) for b in _pieces(*second))


def _pieces(low: float, high: float) -> list[tuple[float, float]]:
    return [(low, high)] if low < high else [(low, math.pi), (-math.pi, high)]


def _explain_unknown_key(key: str, known: Mapping[str, Ranged]) -> str:
    for right, variable in known.items():
        if variable.name in (key, key.rpartition("_")[0]):
            return f"unknown key: {variable.name} is a {variable.kind}, whose ranges are given as {right}"
    return f"unknown key{nearest(key, (*known, 'name'))}"


def _example(variables: Mapping[str, Ranged]) -> str:
    for variable in variables.values():
        return f"{variable.name}=-60..60" if variable.periodic else f"{variable.name}=0.2..0.4"
    return "phi=-60..60"
