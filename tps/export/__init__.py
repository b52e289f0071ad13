"""Trajectories and viewer scripts for other programs."""

from tps.export.formats import ALIASES, FORMATS, TrajectoryFormat, find_format
from tps.export.ops import OpsExport, export_ops
from tps.export.ops_results import OpsPaths, read_ops_paths
from tps.export.record import ExportedPath, ExportRecord, read_record
from tps.export.trajectories import export_paths
from tps.export.viewers import VIEWER_FORMATS, write_viewer_scripts

__all__ = [
    "ALIASES",
    "FORMATS",
    "VIEWER_FORMATS",
    "ExportRecord",
    "ExportedPath",
    "OpsExport",
    "OpsPaths",
    "TrajectoryFormat",
    "export_ops",
    "export_paths",
    "find_format",
    "read_ops_paths",
    "read_record",
    "write_viewer_scripts",
]
