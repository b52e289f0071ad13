"""Trajectories and viewer scripts for other programs."""

from tps.export.formats import ALIASES, FORMATS, TrajectoryFormat, find_format
from tps.export.record import TIME_NOTE, ExportedPath, ExportRecord, read_record
from tps.export.trajectories import export_paths
from tps.export.viewers import VIEWER_FORMATS, write_viewer_scripts

__all__ = [
    "ALIASES",
    "FORMATS",
    "TIME_NOTE",
    "VIEWER_FORMATS",
    "ExportRecord",
    "ExportedPath",
    "TrajectoryFormat",
    "export_paths",
    "find_format",
    "read_record",
    "write_viewer_scripts",
]
