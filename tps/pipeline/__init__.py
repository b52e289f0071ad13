"""From a run file to a run folder: stages, their order, and what is up to date."""

from tps.pipeline.folder import RunFolder
from tps.pipeline.geodesic import MAIN
from tps.pipeline.progress import Progress, Silent
from tps.pipeline.report import COMPARED, spoken, summary_rows
from tps.pipeline.runner import run_all, run_stage, stage_state
from tps.pipeline.stages import STAGES, find_stage

__all__ = [
    "COMPARED",
    "MAIN",
    "STAGES",
    "Progress",
    "RunFolder",
    "Silent",
    "find_stage",
    "run_all",
    "run_stage",
    "spoken",
    "stage_state",
    "summary_rows",
]
