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
from tps.spacetime.curve import (
    SpacetimeCurve,
    curve_energy,
    fisher_rao_length,
    negative_chord_fraction,
    resample,
    squared_chords,
)
from tps.spacetime.denoiser import Denoiser, DenoiserFamily, TorusDenoiserFamily
from tps.spacetime.empirical import EmpiricalFamily
from tps.spacetime.family import Family, LogPartitionFamily, fisher_metric
from tps.spacetime.geodesic import Geodesic, find_geodesic, find_geodesics
from tps.spacetime.grid import GridFamily
from tps.spacetime.information import kl_divergence, symmetrised_kl
from tps.spacetime.mixture import Box, GaussianFamily, GaussianMixtureFamily
from tps.spacetime.starts import chart_line, winding_line

__all__ = [
    "Box",
    "Constraint",
    "ConstraintReport",
    "Denoiser",
    "DenoiserFamily",
    "EmpiricalFamily",
    "EuclideanSpacetime",
    "Family",
    "GaussianFamily",
    "GaussianMixtureFamily",
    "Geodesic",
    "GridFamily",
    "KLDistance",
    "LogPartitionFamily",
    "LogSnrFloor",
    "RegionProbability",
    "Spacetime",
    "SpacetimeCurve",
    "SpacetimePoint",
    "StdCeiling",
    "TorusDenoiserFamily",
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
    "negative_chord_fraction",
    "point_of",
    "resample",
    "squared_chords",
    "straight_line",
    "symmetrised_kl",
    "winding_line",
]
