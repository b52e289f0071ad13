"""The geometry of tilted distributions: families, curves, constraints and geodesics."""

from tps.spacetime.baselines import straight_line
from tps.spacetime.constraints import (
    Constraint,
    ConstraintReport,
    KLDistance,
    LogSnrFloor,
    RegionProbability,
    StdCeiling,
    UserConstraint,
    UserPenalty,
)
from tps.spacetime.coordinates import (
    EuclideanSpacetime,
    Spacetime,
    SpacetimePoint,
    TorusSpacetime,
    eta_of,
    point_of,
)
from tps.spacetime.curve import SpacetimeCurve, curve_energy, fisher_rao_length, resample, squared_chords
from tps.spacetime.empirical import EmpiricalFamily
from tps.spacetime.family import Family, LogPartitionFamily, fisher_metric
from tps.spacetime.geodesic import Geodesic, find_geodesic, find_geodesics
from tps.spacetime.information import kl_divergence, symmetrised_kl
from tps.spacetime.starts import chart_line, winding_line

__all__ = [
    "Constraint",
    "ConstraintReport",
    "EmpiricalFamily",
    "EuclideanSpacetime",
    "Family",
    "Geodesic",
    "KLDistance",
    "LogPartitionFamily",
    "LogSnrFloor",
    "RegionProbability",
    "Spacetime",
    "SpacetimeCurve",
    "SpacetimePoint",
    "StdCeiling",
    "TorusSpacetime",
    "UserConstraint",
    "UserPenalty",
    "chart_line",
    "curve_energy",
    "eta_of",
    "find_geodesic",
    "find_geodesics",
    "fisher_metric",
    "fisher_rao_length",
    "kl_divergence",
    "point_of",
    "resample",
    "squared_chords",
    "straight_line",
    "symmetrised_kl",
    "winding_line",
]
