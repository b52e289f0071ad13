"""Numbers about paths, each with value, error, unit and definition; knows nothing of diffusion."""

from tps.analysis.ensembles import (
    N_BINS,
    channel_switches,
    channel_weights,
    divergence_by_moves,
    ensemble_divergence,
    frame_histogram,
    halves,
    jensen_shannon,
    path_channels,
    reweighted_channel_weights,
    reweighted_mean,
    reweighted_transition_time,
)
from tps.analysis.flood_fill import LowerBound, flood_fill, frames_lower_bound, surface_lower_bound
from tps.analysis.free_energy.frames import frames_anchored_difference, frames_region_difference
from tps.analysis.free_energy.integration import integrated_difference, integrated_psi
from tps.analysis.free_energy.mbar import WindowAnalysis, analyse_windows
from tps.analysis.free_energy.surface import FreeEnergySurface, free_energy_surface, surface_barriers
from tps.analysis.free_energy.table import Agreement, Comparison, agreement, number_metric
from tps.analysis.free_energy.windows import (
    WindowProfile,
    anchored_difference,
    barrier_metrics,
    region_difference,
    region_energies,
    sampling_metrics,
    window_profile,
)
from tps.analysis.free_energy.work import work_differences
from tps.analysis.metrics import Metric, Metrics, fraction_metric
from tps.analysis.paths import (
    avoidance_metric,
    channel_name,
    channels,
    closest_frame_metrics,
    energy_metrics,
    heavy_atom_rmsd,
    hit_metrics,
    shape_metrics,
    work_metrics,
)
from tps.analysis.rates import Flux, Rate, flux_from_a, mean_transition_time, rate_from_flux

__all__ = [
    "N_BINS",
    "Agreement",
    "Comparison",
    "Flux",
    "FreeEnergySurface",
    "LowerBound",
    "Metric",
    "Metrics",
    "Rate",
    "WindowAnalysis",
    "WindowProfile",
    "agreement",
    "analyse_windows",
    "anchored_difference",
    "avoidance_metric",
    "barrier_metrics",
    "channel_name",
    "channel_switches",
    "channel_weights",
    "channels",
    "closest_frame_metrics",
    "divergence_by_moves",
    "energy_metrics",
    "ensemble_divergence",
    "flood_fill",
    "flux_from_a",
    "fraction_metric",
    "frame_histogram",
    "frames_anchored_difference",
    "frames_lower_bound",
    "frames_region_difference",
    "free_energy_surface",
    "halves",
    "heavy_atom_rmsd",
    "hit_metrics",
    "integrated_difference",
    "integrated_psi",
    "jensen_shannon",
    "mean_transition_time",
    "number_metric",
    "path_channels",
    "rate_from_flux",
    "region_difference",
    "region_energies",
    "reweighted_channel_weights",
    "reweighted_mean",
    "reweighted_transition_time",
    "sampling_metrics",
    "shape_metrics",
    "surface_barriers",
    "surface_lower_bound",
    "window_profile",
    "work_differences",
    "work_metrics",
]
