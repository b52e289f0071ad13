"""The solver's options, checked, and how a curve is represented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypedDict

import torch
from scipy.interpolate import BSpline
from torch import Tensor

from tps.errors import ParameterError
from tps.spacetime.constraints import CONSTRAINT_TOLERANCE, Constraint, UserPenalty
from tps.spacetime.family import Family
from tps.spacetime.noise_level import NoiseLevel
from tps.spacetime.points import Chart

Representation = Literal["spline", "points"]

#: Of a spline unless told otherwise; a model that is no true family is rough, and its curves bend around its errors.
_MAX_COEFFICIENTS, _MAX_COEFFICIENTS_ROUGH = 24, 42
#: Points per coefficient at least: on fewer, curves through rough models are low at their points and climb between.
_POINTS, _POINTS_ROUGH = 2, 3
#: Coefficients per point of the spline that is tried where that one cannot bend round what is forbidden.
_FINER_SPLINE = 5 / 8


@dataclass(frozen=True)
class SolverSettings:
    """The options of `find_geodesic`, which explains them, with their defaults."""

    n_points: int = 64
    representation: Representation = "spline"
    n_coefficients: int | None = None
    constraints: Sequence[Constraint | UserPenalty] = ()
    constraint_tolerance: float = CONSTRAINT_TOLERANCE
    rtol: float = 1e-6
    max_iterations: int = 500
    free_energy_weight: float = 0.0
    log_snr: float | None = None

    def __post_init__(self) -> None:
        if self.n_points < 4 or self.max_iterations < 1:
            raise ParameterError(
                f"a geodesic needs n_points >= 4 and max_iterations >= 1, but got {self.n_points} and "
                f"{self.max_iterations}"
            )
        if not self.rtol > 0 or not self.constraint_tolerance > 0:
            raise ParameterError(
                f"tolerances must be positive, but got rtol {self.rtol} and constraint_tolerance "
                f"{self.constraint_tolerance}"
            )
        if not 0 <= self.free_energy_weight < float("inf"):
            raise ParameterError(
                f"free_energy_weight must be a finite number from 0 on, but got {self.free_energy_weight}"
            )
        if self.representation not in ("spline", "points"):
            raise ParameterError(
                f"representation must be 'spline' or 'points', but got {self.representation!r}"
            )
        if self.n_coefficients is not None and not 4 <= self.n_coefficients <= self.n_points:
            raise ParameterError(
                f"n_coefficients must lie between 4 and n_points = {self.n_points}, but got {self.n_coefficients}"
            )

    @property
    def hard(self) -> list[Constraint]:
        """Conditions that must hold."""
        return [c for c in self.constraints if not isinstance(c, UserPenalty)]

    @property
    def soft(self) -> list[UserPenalty]:
        """Costs."""
        return [c for c in self.constraints if isinstance(c, UserPenalty)]

    @property
    def finer(self) -> SolverSettings | None:
        """The same on a spline that bends more, for curves under constraints; None where that is settled."""
        n = round(_FINER_SPLINE * self.n_points)
        usual = max(6, min(self.n_points // 2, _MAX_COEFFICIENTS))
        free = self.n_coefficients is None and self.representation == "spline"
        return replace(self, n_coefficients=n) if self.hard and free and n > usual else None

    @property
    def dense(self) -> SolverSettings:
        """The same on as many points as a curve through a rough model has to be looked at."""
        if self.representation == "points":
            return self
        n = self.n_coefficients or min(2 * self.n_points // 3, _MAX_COEFFICIENTS_ROUGH)
        return replace(self, n_points=max(self.n_points, _POINTS_ROUGH * n))

    def chart(self, family: Family) -> Chart:
        """Return the coordinates: of spacetime, or of the one noise level that is kept to."""
        return family.spacetime if self.log_snr is None else NoiseLevel(family, self.log_snr)

    def design(self, n_points: int, *, rough: bool = False) -> Tensor:
        """Return the matrix (n_points, n_coefficients) from coefficients to points, of a smooth or a rough model."""
        if self.representation == "points":
            return torch.eye(n_points, dtype=torch.float64)
        share, most = (_POINTS_ROUGH, _MAX_COEFFICIENTS_ROUGH) if rough else (_POINTS, _MAX_COEFFICIENTS)
        default = max(6, min(n_points // share, most))
        return spline_design(n_points, min(self.n_coefficients or default, n_points))


class SolverOptions(TypedDict, total=False):
    """Keyword options of `find_geodesic` that other functions pass on."""

    n_points: int
    representation: Representation
    n_coefficients: int | None
    constraints: Sequence[Constraint | UserPenalty]
    constraint_tolerance: float
    rtol: float
    max_iterations: int
    free_energy_weight: float
    log_snr: float | None


def spline_design(n_points: int, n_coefficients: int) -> Tensor:
    """Return the cubic B-spline design matrix (n_points, n_coefficients), clamped at both ends."""
    inner = torch.linspace(0, 1, n_coefficients - 2, dtype=torch.float64)
    knots = torch.cat([torch.zeros(3), inner, torch.ones(3)]).double().numpy()
    where = torch.linspace(0, 1, n_points, dtype=torch.float64).numpy()
    return torch.tensor(BSpline.design_matrix(where, knots, 3).toarray())
