"""A bias on a grid of one to three collective variables, and walls that keep those on lines inside their ranges."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray

from tps.engine import BIAS_GROUP, PlatformChoice, joint_force, potential_energies
from tps.errors import ParameterError
from tps.features import CollectiveVariable

MAX_BIASED = 3  # OpenMM tabulates a bias in up to three dimensions
_MAX_POINTS = 2**20
_TABLES = {
    1: openmm.Continuous1DFunction,
    2: openmm.Continuous2DFunction,
    3: openmm.Continuous3DFunction,
}
#: Points by which the table of an angle reaches past its turn where it cannot be periodic: the influence of a spline's
#: end falls by 0.27 per point (de Boor, A Practical Guide to Splines), so 1e-6 is left of it.
_PADDING = 10
#: Part of its range by which a value on a line is held inside: OpenMM ends the process at the very end of a table whose
#: last point is rounded down.
_INSIDE = 1e-9
#: Of the walls at the ends of ranges [kJ/mol per scale squared]: heat pushes a tenth of a scale into them at 300 K.
_WALL_STIFFNESS = 250.0


@dataclass(frozen=True)
class BiasGrid:
    """The grid of a bias: whole turns of angles on circles, the finite ranges of others.

    OpenMM's tables are periodic in every direction or in none. Where circles and lines meet, the table of an angle
    reaches past its turn instead. Beyond the range of a variable on a line the bias stays what it is at the end.

    Parameters
    ----------
    variables : tuple of CollectiveVariable
        One to three.
    counts : tuple of int
        Points of each, the ends of its range included.

    Raises
    ------
    ParameterError
        If there are too many variables, one has no finite range, or there are too many points.
    """

    variables: tuple[CollectiveVariable, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.variables) <= MAX_BIASED:
            raise ParameterError(
                f"metadynamics biases one to {MAX_BIASED} collective variables, but got {len(self.variables)}: name "
                "the slow ones in conformations.bias_features, or use plain MD or your own trajectories"
            )
        for variable in self.variables:
            low, high = variable.range
            if not (math.isfinite(low) and math.isfinite(high)):
                raise ParameterError(
                    f"metadynamics needs a finite range of what it biases, but {variable.name} reaches from "
                    f"{low:g} to {high:g}: set its bounds in [collective_variables.{variable.name}]"
                )
        if math.prod(self.sizes) > _MAX_POINTS:
            raise ParameterError(
                f"a bias is tabulated at {_MAX_POINTS} points at most, but these variables need "
                f"{' x '.join(map(str, self.sizes))}: narrow their bounds or widen their scales"
            )

    @classmethod
    def spaced(cls, variables: tuple[CollectiveVariable, ...], per_turn: int) -> Self:
        """Return a grid of `per_turn` points per turn of an angle, as dense on lines in units of their scales."""
        counts = []
        for variable in variables:
            low, high = variable.range
            turns = (high - low) / (2 * math.pi * variable.reach)
            finite = math.isfinite(turns) and not variable.periodic
            counts.append(1 + math.ceil(turns * (per_turn - 1)) if finite else per_turn)
        return cls(variables, tuple(counts))

    @property
    def periodic(self) -> bool:
        """Whether all variables are angles on circles."""
        return all(variable.periodic for variable in self.variables)

    @property
    def padding(self) -> tuple[int, ...]:
        """Points by which each table reaches past the range, at either end."""
        return tuple(_PADDING if v.periodic and not self.periodic else 0 for v in self.variables)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Points of each table."""
        return tuple(n + 2 * more for n, more in zip(self.counts, self.padding, strict=True))

    @property
    def limits(self) -> tuple[tuple[float, float], ...]:
        """First and last point of each table."""
        found = []
        for variable, n, more in zip(self.variables, self.counts, self.padding, strict=True):
            low, high = variable.range
            past = more * (high - low) / (n - 1)
            found.append((low - past, high + past))
        return tuple(found)

    @property
    def images(self) -> list[tuple[float, ...]]:
        """Shifts at which a hill is added to the table: a turn to either side where it reaches past one."""
        turns = [(-2 * math.pi, 0.0, 2 * math.pi) if more else (0.0,) for more in self.padding]
        return list(itertools.product(*turns))

    def argument(self, index: int, value: str) -> str:
        """Return OpenMM's expression of what the table is asked for: a value, on a line held inside the range."""
        variable = self.variables[index]
        if variable.periodic:
            return value
        low, high = variable.range
        inside = _INSIDE * (high - low)
        return f"max({float(low + inside)!r}, min({float(high - inside)!r}, {value}))"

    def table(self, bias: NDArray[np.float64]) -> openmm.TabulatedFunction:
        """Return OpenMM's table of a bias [kJ/mol] whose axes are the variables, the last one first."""
        for axis, more in zip(range(bias.ndim), reversed(self.padding), strict=True):
            if more:
                turn = bias.take(range(bias.shape[axis] - 1), axis)
                width = [(more, more + 1) if k == axis else (0, 0) for k in range(bias.ndim)]
                bias = np.pad(turn, width, mode="wrap")
        sizes = self.sizes if len(self.sizes) > 1 else ()
        limits = [end for ends in self.limits for end in ends]
        return _TABLES[len(self.sizes)](*sizes, bias.flatten(), *limits, self.periodic)

    def trimmed(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a table without what reaches past the ranges; the two ends of an angle agree."""
        for axis, more in zip(range(table.ndim), reversed(self.padding), strict=True):
            if more:
                turn = table.take(range(more, table.shape[axis] - more - 1), axis)
                table = np.concatenate([turn, turn.take([0], axis)], axis)
        return table


def add_frozen_bias(
    system: openmm.System,
    variables: tuple[CollectiveVariable, ...],
    bias: NDArray[np.float64],
    *,
    periodic: bool | None = None,
) -> None:
    """Add a tabulated bias over up to three variables to a System, and the walls of `add_range_walls`.

    Parameters
    ----------
    system : openmm.System
        Gets the forces, in `BIAS_GROUP`.
    variables : tuple of CollectiveVariable
    bias : array
        [kJ/mol] at equally spaced points of the variables' ranges, the last variable first.
    periodic : bool, optional
        Whether nearest images count; as the System's own forces say unless given.
    """
    box = system.usesPeriodicBoundaryConditions() if periodic is None else periodic
    grid = BiasGrid(variables, bias.shape[::-1])
    arguments = ",".join(grid.argument(i, f"v{i}") for i in range(len(variables)))
    force = joint_force(variables, f"bias({arguments})", box)
    force.addTabulatedFunction("bias", grid.table(bias))
    force.setForceGroup(BIAS_GROUP)
    system.addForce(force)
    add_range_walls(system, variables, box)


def add_range_walls(system: openmm.System, variables: tuple[CollectiveVariable, ...], periodic: bool) -> None:
    """Keep variables on lines inside their ranges by flat-bottomed walls in `BIAS_GROUP`, so that weights undo them.

    An end that a variable cannot pass anyway, such as a distance of zero, gets none.
    """
    for variable in variables:
        low, high = variable.range
        sides = [f"max(0, {float(low)!r} - value)^2"] if low > variable.lowest else []
        sides += [f"max(0, value - {float(high)!r})^2"] if high < variable.highest else []
        if variable.periodic or not sides:
            continue
        stiffness = _WALL_STIFFNESS / variable.reach**2
        force = variable.force(f"{0.5 * stiffness!r}*({' + '.join(sides)})", periodic)
        force.setName(f"range_{variable.name}")
        force.setForceGroup(BIAS_GROUP)
        system.addForce(force)


def bias_energies(
    n_atoms: int,
    variables: tuple[CollectiveVariable, ...],
    bias: NDArray[np.float64],
    positions: NDArray[np.floating],
    platform: PlatformChoice,
    box: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Return the energy (n_frames,) [kJ/mol] of a frozen bias and its walls at positions (n_frames, n_atoms, 3) [nm].

    `box` (3, 3) [nm] is that of the system, or None.
    """
    system = openmm.System()
    for _ in range(n_atoms):
        system.addParticle(1.0)
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*np.asarray(box, dtype=np.float64))
    add_frozen_bias(system, variables, bias, periodic=box is not None)
    return potential_energies(system, positions, platform)
