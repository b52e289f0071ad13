"""The geometry of tilted distributions: families, curves, constraints, geodesics and their neighbours."""

from tps.spacetime.avoidance import KLDistance, RegionProbability, TetherDistance, TetherProbability
from tps.spacetime.barrier import (
    WEAK_SPREAD_DEGREE,
    Barrier,
    FreeEnergyProfile,
    free_energy_profile,
    means_place,
    tethered_free_energy,
)
from tps.spacetime.baselines import straight_line
from tps.spacetime.bridge import Bridge, bridge_curve, schroedinger_bridge
from tps.spacetime.channel_starts import (
    MAX_COMBINED_ANGLES,
    cluster_points,
    default_starts,
    feasible_starts,
    winding_name,
    winding_starts,
)
from tps.spacetime.channels import Channel, Rank, find_channels, ranked
from tps.spacetime.constraints import (
    Bound,
    Constraint,
    ConstraintReport,
    LogSnrFloor,
    StdCeiling,
    SupportFloor,
    UserConstraint,
    UserPenalty,
    constraint_reports,
)
from tps.spacetime.curve import (
    SpacetimeCurve,
    clamped_energy,
    curve_distance,
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
from tps.spacetime.doubt import doubtful_share
from tps.spacetime.empirical import EmpiricalFamily
from tps.spacetime.euclidean import EuclideanSpacetime
from tps.spacetime.family import Family, LogPartitionFamily, MeanFamily, fisher_metric
from tps.spacetime.feature_curves import (
    FeatureCurve,
    onsager_machlup_path,
    score_jacobian_geodesic,
    score_metric_geodesic,
)
from tps.spacetime.flat_geodesics import e_geodesic, m_geodesic
from tps.spacetime.frame_cells import FrameCells
from tps.spacetime.frame_graph import graph_starts
from tps.spacetime.frame_walk import FrameWalk, Passage
from tps.spacetime.frames import anchors, empirical_family, named_point, point_at
from tps.spacetime.geodesic import find_geodesic, find_geodesics
from tps.spacetime.grid import GridFamily
from tps.spacetime.half_plane import half_plane_distance, half_plane_geodesic
from tps.spacetime.health import SUPPORTED_FRAMES, CurveHealth, anchor_sensitivity, curve_health
from tps.spacetime.information import (
    bregman_divergence,
    integrated_psi,
    kl_along_curve,
    kl_divergence,
    kl_from_point,
    natural_from_expectation,
    symmetrised_kl,
)
from tps.spacetime.methods import (
    CONSTRAINED,
    CURVE_METHODS,
    CurveMethod,
    MethodCurve,
    MethodProblem,
    follow,
    geodesic_windings,
)
from tps.spacetime.mixture import Box, GaussianFamily, GaussianMixtureFamily
from tps.spacetime.models import model_family
from tps.spacetime.noise_level import noise_metric
from tps.spacetime.points import Spacetime, SpacetimePoint, eta_of, point_of
from tps.spacetime.probability_flow import probability_flow, pullback_geodesic
from tps.spacetime.product import ProductSpacetime, spacetime_of
from tps.spacetime.score import posterior_mean, score
from tps.spacetime.solution import Geodesic
from tps.spacetime.starts import Start, chart_line, winding_line, winding_numbers
from tps.spacetime.string_method import MinimumFreeEnergyPath, minimum_free_energy_path
from tps.spacetime.support import (
    ANCHOR_FRAMES,
    curve_support,
    indistinct_ends,
    needed_support,
    support_warning,
    tightest_anchor,
)
from tps.spacetime.tether import TetherBox, tether_kl, tether_lengths
from tps.spacetime.torus import TorusSpacetime
from tps.spacetime.via import via_curves

__all__ = [
    "ANCHOR_FRAMES",
    "CONSTRAINED",
    "CURVE_METHODS",
    "MAX_COMBINED_ANGLES",
    "SUPPORTED_FRAMES",
    "WEAK_SPREAD_DEGREE",
    "Barrier",
    "Bound",
    "Box",
    "Bridge",
    "Channel",
    "Constraint",
    "ConstraintReport",
    "CurveHealth",
    "CurveMethod",
    "Denoiser",
    "DenoiserFamily",
    "DiffusionEditDistance",
    "DistanceMatrix",
    "EmpiricalFamily",
    "EuclideanSpacetime",
    "Family",
    "FeatureCurve",
    "FrameCells",
    "FrameWalk",
    "FreeEnergyProfile",
    "GaussianFamily",
    "GaussianMixtureFamily",
    "Geodesic",
    "GridFamily",
    "KLDistance",
    "LogPartitionFamily",
    "LogSnrFloor",
    "MeanFamily",
    "MethodCurve",
    "MethodProblem",
    "MinimumFreeEnergyPath",
    "Passage",
    "ProductSpacetime",
    "Rank",
    "RegionProbability",
    "Spacetime",
    "SpacetimeCurve",
    "SpacetimePoint",
    "Start",
    "StdCeiling",
    "SupportFloor",
    "TetherBox",
    "TetherDistance",
    "TetherProbability",
    "TorusDenoiserFamily",
    "TorusSpacetime",
    "UserConstraint",
    "UserPenalty",
    "anchor_sensitivity",
    "anchors",
    "bregman_divergence",
    "bridge_curve",
    "chart_line",
    "clamped_energy",
    "cluster_points",
    "constraint_reports",
    "curve_distance",
    "curve_energy",
    "curve_health",
    "curve_support",
    "default_starts",
    "diffusion_edit_distance",
    "distance_matrix",
    "doubtful_share",
    "e_geodesic",
    "empirical_family",
    "eta_of",
    "feasible_starts",
    "find_channels",
    "find_geodesic",
    "find_geodesics",
    "fisher_metric",
    "fisher_rao_length",
    "follow",
    "free_energy_profile",
    "geodesic_windings",
    "graph_starts",
    "half_plane_distance",
    "half_plane_geodesic",
    "indistinct_ends",
    "integrated_psi",
    "kl_along_curve",
    "kl_divergence",
    "kl_from_point",
    "m_geodesic",
    "means_place",
    "minimum_free_energy_path",
    "model_family",
    "named_point",
    "natural_from_expectation",
    "needed_support",
    "negative_chord_fraction",
    "noise_metric",
    "onsager_machlup_path",
    "point_at",
    "point_of",
    "posterior_mean",
    "probability_flow",
    "pullback_geodesic",
    "ranked",
    "resample",
    "schroedinger_bridge",
    "score",
    "score_jacobian_geodesic",
    "score_metric_geodesic",
    "spacetime_of",
    "squared_chords",
    "straight_line",
    "support_warning",
    "symmetrised_kl",
    "tether_kl",
    "tether_lengths",
    "tethered_free_energy",
    "tightest_anchor",
    "via_curves",
    "winding_line",
    "winding_name",
    "winding_numbers",
    "winding_starts",
]
