"""From a run file to a run folder: stages, their order, and what is up to date."""

from tps.pipeline.channels import barrier_text, constraint_text
from tps.pipeline.committor import (
    TRANSITION_STATES,
    FrameCommittors,
    committor_of_file,
    committor_of_path,
    save_committors,
)
from tps.pipeline.folder import RunFolder
from tps.pipeline.geodesic import MAIN
from tps.pipeline.progress import Progress, Silent
from tps.pipeline.report import COMPARED, spoken, summary_groups, summary_rows
from tps.pipeline.runner import asked_stages, run_all, run_stage
from tps.pipeline.shooting import load_chains
from tps.pipeline.stages import STAGES, find_stage, stage_state
from tps.pipeline.stopping import StoppedEarly
from tps.pipeline.unbiased import Unbiased

__all__ = [
    "COMPARED",
    "MAIN",
    "STAGES",
    "TRANSITION_STATES",
    "FrameCommittors",
    "Progress",
    "RunFolder",
    "Silent",
    "StoppedEarly",
    "Unbiased",
    "asked_stages",
    "barrier_text",
    "committor_of_file",
    "committor_of_path",
    "constraint_text",
    "find_stage",
    "load_chains",
    "run_all",
    "run_stage",
    "save_committors",
    "spoken",
    "stage_state",
    "summary_groups",
    "summary_rows",
]
