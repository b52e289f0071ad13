"""The geometry of tilted distributions: families, curves, constraints, geodesics and their neighbours."""

from tps.spacetime.baselines import straight_line
from tps.spacetime.channels import Channel, cluster_points, find_channels, winding_starts
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
from tps.spacetime.distance import (
    DiffusionEditDistance,
    DistanceMatrix,
    diffusion_edit_distance,
    distance_matrix,
)
from tps.spacetime.empirical import EmpiricalFamily
from tps.spacetime.family import Family, LogPartitionFamily, fisher_metric
from tps.spacetime.feature_curves import (
    FeatureCurve,
    onsager_machlup_path,
    score_jacobian_geodesic,
    score_metric_geodesic,
)
from tps.spacetime.flat_geodesics import e_geodesic, m_geodesic
from tps.spacetime.geodesic import find_geodesic, find_geodesics
from tps.spacetime.grid import GridFamily
from tps.spacetime.half_plane import half_plane_distance, half_plane_geodesic
from tps.spacetime.health import CurveHealth, anchor_sensitivity, curve_health
from tps.spacetime.information import (
    bregman_divergence,
    kl_along_curve,
    kl_divergence,
    kl_from_point,
    natural_from_expectation,
    symmetrised_kl,
)
from tps.spacetime.mixture import Box, GaussianFamily, GaussianMixtureFamily
from tps.spacetime.probability_flow import probability_flow, pullback_geodesic
from tps.spacetime.score import posterior_mean, score
from tps.spacetime.solution import Geodesic
from tps.spacetime.starts import chart_line, winding_line, winding_numbers
from tps.spacetime.string_method import MinimumFreeEnergyPath, minimum_free_energy_path

__all__ = [
    "Box",
    "Channel",
    "Constraint",
    "ConstraintReport",
    "CurveHealth",
    "Denoiser",
    "DenoiserFamily",
    "DiffusionEditDistance",
    "DistanceMatrix",
    "EmpiricalFamily",
    "EuclideanSpacetime",
    "Family",
    "FeatureCurve",
    "GaussianFamily",
    "GaussianMixtureFamily",
    "Geodesic",
    "GridFamily",
    "KLDistance",
    "LogPartitionFamily",
    "LogSnrFloor",
    "MinimumFreeEnergyPath",
    "RegionProbability",
    "Spacetime",
    "SpacetimeCurve",
    "SpacetimePoint",
    "StdCeiling",
    "TorusDenoiserFamily",
    "TorusSpacetime",
    "UserConstraint",
    "UserPenalty",
    "anchor_sensitivity",
    "bregman_divergence",
    "chart_line",
    "cluster_points",
    "curve_energy",
    "curve_health",
    "diffusion_edit_distance",
    "distance_matrix",
    "e_geodesic",
    "eta_of",
    "find_channels",
    "find_geodesic",
    "find_geodesics",
    "fisher_metric",
    "fisher_rao_length",
    "half_plane_distance",
    "half_plane_geodesic",
    "kl_along_curve",
    "kl_divergence",
    "kl_from_point",
    "m_geodesic",
    "minimum_free_energy_path",
    "natural_from_expectation",
    "negative_chord_fraction",
    "onsager_machlup_path",
    "point_of",
    "posterior_mean",
    "probability_flow",
    "pullback_geodesic",
    "resample",
    "score",
    "score_jacobian_geodesic",
    "score_metric_geodesic",
    "squared_chords",
    "straight_line",
    "symmetrised_kl",
    "winding_line",
    "winding_numbers",
    "winding_starts",
]
