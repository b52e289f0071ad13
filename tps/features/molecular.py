"""The features of a molecule: some of its collective variables, their space, and their tilt as OpenMM forces."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray

from tps.errors import ParameterError
from tps.features.space import FeatureSpace
from tps.features.torsion import Torsion, torsion_angles
from tps.features.variable import CollectiveVariable

#: Energy [kJ/mol] of an angle's share of the tilt, -kT eta . T; {x} and {y} name its two global parameters.
CIRCLE_TILT = "-({kt!r})*({x}*cos(value) + {y}*sin(value))"
#: The same of a feature on a line: {x} names its own parameter, {square} the one of |x|^2, which all of them share.
LINE_TILT = "-({kt!r})*({x}*value/{scale!r} + {square}*(value/{scale!r})^2)"
_SQUARE = "tilt_square"


@dataclass(frozen=True, eq=False)
class Features:
    """Features of a molecule; their sufficient statistic is that of their `FeatureSpace`.

    Parameters
    ----------
    variables : tuple of CollectiveVariable (d,)
        Of different names, which also name the tilt's global parameters in OpenMM.

    Raises
    ------
    ParameterError
        If there are none, or two have one name.
    """

    variables: tuple[CollectiveVariable, ...]

    def __post_init__(self) -> None:
        assert self.space.names  # a space checks itself

    @cached_property
    def space(self) -> FeatureSpace:
        """The space of the features."""
        return FeatureSpace(
            tuple(v.name for v in self.variables),
            tuple(v.periodic for v in self.variables),
            tuple(v.unit for v in self.variables),
            tuple(v.reach for v in self.variables),
            np.array([v.range for v in self.variables], dtype=np.float64).reshape(-1, 2),
        )

    @cached_property
    def atoms(self) -> NDArray[np.intp]:
        """Every atom that a feature depends on, in rising order."""
        return np.unique([atom for variable in self.variables for atom in variable.atoms]).astype(np.intp)

    def local(self) -> Features:
        """Return the same features of positions that hold only `atoms`, in that order."""
        place = {int(atom): i for i, atom in enumerate(self.atoms)}
        return Features(tuple(replace(v, atoms=tuple(place[a] for a in v.atoms)) for v in self.variables))

    def values(self, positions: ArrayLike, box: ArrayLike | None = None) -> NDArray[np.float64]:
        """Map positions (..., n_atoms, 3) [nm], in a box (3, 3) [nm] or none, to feature values (..., d)."""
        return np.stack(list(variable_values(self.variables, positions, box).values()), axis=-1)

    def statistic(self, positions: ArrayLike, box: ArrayLike | None = None) -> NDArray[np.float64]:
        """Map positions (..., n_atoms, 3) [nm] to the sufficient statistic T (..., K)."""
        return self.space.statistic(self.values(positions, box))

    def gradient(
        self, positions: ArrayLike, eta: ArrayLike, box: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Map positions (..., n_atoms, 3) [nm] and eta (K,) to the gradient of eta . T (..., n_atoms, 3) [1/nm].

        kT times this is the force of the tilt: what `add_tilt` must give.
        """
        slope = self.space.tilt_gradient(self.values(positions, box), eta)
        parts = [v.gradient(positions, box) for v in self.variables]
        return np.asarray(sum(slope[..., i, None, None] * part for i, part in enumerate(parts)))

    @property
    def tilt_parameters(self) -> tuple[str, ...]:
        """Names of the tilt's global parameters in the order of eta."""
        circles = [f"tilt_{v.name}_{axis}" for v in self.variables if v.periodic for axis in "xy"]
        lines = [f"tilt_{v.name}" for v in self.variables if not v.periodic]
        return (*circles, *lines, *([_SQUARE] if lines else []))

    def tilt_forces(self, kt: float, periodic: bool = False) -> tuple[openmm.Force, ...]:
        """Return one force per feature whose energies sum to -kT eta . T(x) [kJ/mol], with eta = 0 at first.

        Parameters
        ----------
        kt : float
            Thermal energy kT of the bath [kJ/mol].
        periodic : bool
            Whether the system has a box, whose nearest images count.

        References
        ----------
        Karczewski et al., ICLR 2026, Eq. 57 to 59; |x|^2 is a sum over features, so that each has its own force.
        """
        if not kt > 0:
            raise ParameterError(f"kT must be positive [kJ/mol], but got {kt}")
        forces = []
        for variable in self.variables:
            if variable.periodic:
                names = (f"tilt_{variable.name}_x", f"tilt_{variable.name}_y")
                energy = CIRCLE_TILT.format(kt=float(kt), x=names[0], y=names[1])
            else:
                names = (f"tilt_{variable.name}", _SQUARE)
                energy = LINE_TILT.format(kt=float(kt), x=names[0], square=_SQUARE, scale=variable.reach)
            force = variable.force(energy, periodic)
            force.setName(f"tilt_{variable.name}")
            for name in names:
                force.addGlobalParameter(name, 0.0)
            forces.append(force)
        return tuple(forces)

    def add_tilt(self, system: openmm.System, kt: float, force_group: int) -> None:
        """Add the tilt to a System, in a force group of its own so that its energy can be told apart."""
        for force in self.tilt_forces(kt, system.usesPeriodicBoundaryConditions()):
            force.setForceGroup(force_group)
            system.addForce(force)

    def set_tilt(self, context: openmm.Context, eta: ArrayLike) -> None:
        """Set the natural parameter eta (K,) of a Context whose System has the tilt.

        Raises
        ------
        ParameterError
            If eta has another shape or is not finite.
        """
        vector, size = np.asarray(eta, dtype=np.float64), self.space.n_statistics
        if vector.shape != (size,) or not np.isfinite(vector).all():
            raise ParameterError(f"eta must be ({size},) and finite, but got {vector}")
        for name, value in zip(self.tilt_parameters, vector.tolist(), strict=True):
            context.setParameter(name, value)


def variable_values(
    variables: tuple[CollectiveVariable, ...], positions: ArrayLike, box: ArrayLike | None = None
) -> dict[str, NDArray[np.float64]]:
    """Return the values (...) of variables at positions (..., n_atoms, 3) [nm] by name, torsions all at once.

    On the single frames of a running simulation numpy's overhead is all there is.
    """
    torsions = [v for v in variables if isinstance(v, Torsion)]
    together = {}
    if torsions:
        angles = torsion_angles(positions, [v.atoms for v in torsions], box)
        together = {v.name: angles[..., k] for k, v in enumerate(torsions)}
    return {v.name: together[v.name] if v.name in together else v.values(positions, box) for v in variables}
