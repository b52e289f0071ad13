"""Numbers about paths, each with value, error, unit and definition; knows nothing of diffusion."""

from tps.analysis.metrics import Metric, Metrics, fraction_metric
from tps.analysis.paths import (
    avoidance_metric,
    channels,
    energy_metrics,
    heavy_atom_rmsd,
    hit_metrics,
    shape_metrics,
    work_metrics,
)

__all__ = [
    "Metric",
    "Metrics",
    "avoidance_metric",
    "channels",
    "energy_metrics",
    "fraction_metric",
    "heavy_atom_rmsd",
    "hit_metrics",
    "shape_metrics",
    "work_metrics",
]
