"""What the system.toml of a surface says, and loading it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, PositiveFloat

from tps.errors import SystemDefinitionError
from tps.sections import Section, nearest, read_toml, validate
from tps.systems.definition import Range
from tps.systems.regions import State, region_from_keys
from tps.systems.surface import Potential, SurfaceSystem
from tps.systems.surface_axis import Axis
from tps.systems.surface_potentials import DoubleWell, DualChannel, MuellerBrown
from tps.systems.surface_table import TablePotential, read_table


class MuellerBrownParameters(Section):
    """[surface.parameters] of mueller-brown."""

    scale: PositiveFloat = Field(1.0, description="Factor on the energy.")


class DoubleWellParameters(Section):
    """[surface.parameters] of double-well."""

    barrier: PositiveFloat = Field(description="Energy at the saddle point.")


class DoubleWell2DParameters(DoubleWellParameters):
    """[surface.parameters] of double-well with two axes."""

    stiffness: PositiveFloat = Field(description="Force constant of the second axis.")


class DualChannelParameters(Section):
    """[surface.parameters] of dual-channel."""

    stiffness: PositiveFloat = Field(description="Of the ring the channels lie on.")
    barrier: PositiveFloat = Field(description="About the height of both channels.")
    asymmetry: float = Field(0.0, description="About half their difference.")


#: Kind and number of axes -> what parameters there are, and the potential made of them.
_ANALYTIC: dict[tuple[str, int], tuple[type[Section], Callable[..., Potential]]] = {
    ("mueller-brown", 2): (MuellerBrownParameters, MuellerBrown),
    ("double-well", 1): (DoubleWellParameters, DoubleWell),
    ("double-well", 2): (DoubleWell2DParameters, DoubleWell),
    ("dual-channel", 2): (DualChannelParameters, DualChannel),
}
TABLE = "table"
KINDS = tuple(sorted({name for name, _ in _ANALYTIC} | {TABLE}))


class SurfaceSection(Section):
    """[surface] A potential over one or two axes, and the bath."""

    name: str = Field(min_length=1, description="Name shown to the user.")
    description: str = Field("", description="One sentence about the surface and the transition.")
    kind: str = Field(description="mueller-brown, double-well, dual-channel or table.")
    axes: tuple[str, ...] = Field(min_length=1, max_length=2, description="Names of the axes.")
    periodic: bool = Field(False, description="Whether the axes are angles; of a table only.")
    kt: PositiveFloat = Field(description="Thermal energy, in the unit of the energy.")
    energy_unit: str = Field("", description="Label of the unit of energies.")
    bounds: tuple[tuple[float, float], ...] | None = Field(
        None, description="Where grids and pictures go, [low, high] per axis; a table has its own."
    )
    parameters: dict[str, float] = Field(default={}, description="Of the kind.")
    file: str | None = Field(None, description="Of a table: text columns or npz beside system.toml.")


class SurfaceStateSection(Section):
    """[states.A], [states.B] Name, end point, and ranges such as x = [-1.5, -0.5] or phi_degree = [-180, -40]."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Range]

    name: str = Field(min_length=1, description="Name of the state.")
    point: tuple[float, ...] | None = Field(None, description="End point, one number per axis.")
    point_degree: tuple[float, ...] | None = Field(None, description="The same for angles.")


class SurfaceStatesSection(Section):
    """[states] The two states that the transition connects."""

    A: SurfaceStateSection
    B: SurfaceStateSection


class SurfaceFile(Section):
    """A whole system.toml of a surface."""

    surface: SurfaceSection
    states: SurfaceStatesSection


def load_surface(directory: Path) -> SurfaceSystem:
    """Load the surface of a folder.

    Raises
    ------
    SystemDefinitionError
        In one sentence, naming file and key.
    """
    file = directory / "system.toml"
    settings = read_toml(file, SurfaceFile, SystemDefinitionError)
    section = settings.surface
    try:
        potential = _potential(section, directory)
        axes = _axes(section, potential)
    except SystemDefinitionError as reason:
        raise SystemDefinitionError(f"{file} [surface] {reason}") from None
    variables = {axis.name: axis for axis in axes}
    states, points = [], []
    for label, state in (("A", settings.states.A), ("B", settings.states.B)):
        here = f"{file} [states.{label}]"
        points.append(_point(state, axes, here))
        states.append(State(state.name, region_from_keys(dict(state.__pydantic_extra__), variables, here)))
    try:
        return SurfaceSystem(
            name=section.name,
            description=section.description,
            directory=directory,
            potential=potential,
            axes=axes,
            kt=section.kt,
            energy_unit=section.energy_unit,
            point_a=points[0],
            point_b=points[1],
            state_a=states[0],
            state_b=states[1],
            definition=_definition(section, potential),
        )
    except SystemDefinitionError as reason:
        raise SystemDefinitionError(f"{file}: {reason}") from None


def _potential(section: SurfaceSection, directory: Path) -> Potential:
    if section.kind not in KINDS:
        raise SystemDefinitionError(
            f"kind: no surface is of kind {section.kind!r}{nearest(section.kind, KINDS)}"
        )
    if section.kind == TABLE:
        return _table(section, directory)
    if section.periodic or section.file is not None:
        raise SystemDefinitionError(
            f"kind: periodic and file belong to kind 'table', not to {section.kind!r}"
        )
    found = _ANALYTIC.get((section.kind, len(section.axes)))
    if found is None:
        needed = " or ".join(str(n) for name, n in _ANALYTIC if name == section.kind)
        raise SystemDefinitionError(
            f"axes: {section.kind} has {needed} axes, but got {len(section.axes)} ({', '.join(section.axes)})"
        )
    model, build = found
    return build(**validate(section.parameters, model, "parameters", SystemDefinitionError).model_dump())


def _table(section: SurfaceSection, directory: Path) -> TablePotential:
    if section.file is None or section.parameters:
        raise SystemDefinitionError("file: a table needs its file, and has no parameters")
    file = directory / section.file
    if not file.is_file():
        raise SystemDefinitionError(f"file: {file} does not exist")
    keys = [f"{name}_degree" if section.periodic else name for name in section.axes]
    try:
        return read_table(file, keys, section.periodic)
    except SystemDefinitionError as reason:
        raise SystemDefinitionError(f"file: {file.name} {reason}") from None


def _axes(section: SurfaceSection, potential: Potential) -> tuple[Axis, ...]:
    names, bounds = section.axes, section.bounds
    if len(set(names)) != len(names):
        raise SystemDefinitionError(f"axes: every axis needs a name of its own, but got {', '.join(names)}")
    if isinstance(potential, TablePotential):
        if bounds is not None:
            raise SystemDefinitionError("bounds: a table has its own, remove them")
        bounds = tuple((float(axis[0]), float(axis[-1])) for axis in potential.grid)
    if section.periodic:
        bounds = ((-math.pi, math.pi),) * len(names)
    if bounds is None or len(bounds) != len(names):
        raise SystemDefinitionError(
            f"bounds: give [low, high] for each of the {len(names)} axes ({', '.join(names)})"
        )
    return tuple(
        Axis(name, i, low, high, section.periodic)
        for i, (name, (low, high)) in enumerate(zip(names, bounds, strict=True))
    )


def _point(state: SurfaceStateSection, axes: tuple[Axis, ...], where: str) -> NDArray[np.float64]:
    key, other = ("point_degree", "point") if axes[0].periodic else ("point", "point_degree")
    given = getattr(state, key)
    if given is None or getattr(state, other) is not None:
        raise SystemDefinitionError(
            f"{where}: give the end point as {key} = [{', '.join(axis.name for axis in axes)}]"
        )
    if len(given) != len(axes):
        raise SystemDefinitionError(
            f"{where} {key}: needs {len(axes)} numbers, one per axis, but got {list(given)}"
        )
    return np.array([x * axis.user_scale for x, axis in zip(given, axes, strict=True)])


def _definition(section: SurfaceSection, potential: Potential) -> bytes:
    parts = [repr((section.kind, section.axes, section.periodic, section.kt, section.bounds)).encode()]
    if isinstance(potential, TablePotential):
        parts += [np.ascontiguousarray(a).tobytes() for a in (*potential.grid, potential.values)]
    else:
        parts.append(repr(potential).encode())
    return b"\0".join(parts)
