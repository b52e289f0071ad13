"""Figures and the one-page report of a run."""

from tps.report.channels import ChannelCurve, free_energy_along_channels
from tps.report.committors import committor_histogram_figure, committor_path_figure
from tps.report.comparison import comparison_figure
from tps.report.convergence import convergence_figure
from tps.report.ensemble import ensemble_figure
from tps.report.figures import (
    friction_along_curve,
    learning_curve,
    log_snr_along_curve,
    potential_energy_along_paths,
    work_along_paths,
)
from tps.report.free_energy import free_energy_map
from tps.report.growing import growth_figure
from tps.report.html import CANDIDATE_NOTE, ReportFigure, write_report
from tps.report.quantities import format_quantity, format_value, grouped, withheld_sentences
from tps.report.reweighted import reweighted_map_figure
from tps.report.roads import profile_figure, roads_figure
from tps.report.style import save_figure
from tps.report.surface import SurfaceScene, surface_map
from tps.report.verdicts import groups_text, notebook_section, verdict_section, verdict_text

__all__ = [
    "CANDIDATE_NOTE",
    "ChannelCurve",
    "ReportFigure",
    "SurfaceScene",
    "committor_histogram_figure",
    "committor_path_figure",
    "comparison_figure",
    "convergence_figure",
    "ensemble_figure",
    "format_quantity",
    "format_value",
    "free_energy_along_channels",
    "free_energy_map",
    "friction_along_curve",
    "grouped",
    "groups_text",
    "growth_figure",
    "learning_curve",
    "log_snr_along_curve",
    "notebook_section",
    "potential_energy_along_paths",
    "profile_figure",
    "reweighted_map_figure",
    "roads_figure",
    "save_figure",
    "surface_map",
    "verdict_section",
    "verdict_text",
    "withheld_sentences",
    "work_along_paths",
    "write_report",
]
