"""From two structures and a force field to a folder that a run starts from, and what the run will cost."""

from tps.prepare.choose import SEPARATION
from tps.prepare.describe import describe, warnings_of
from tps.prepare.estimate import (
    StageEstimate,
    estimate_stages,
    seconds_left,
    spoken_size,
    spoken_time,
    steps_per_second,
)
from tps.prepare.preparation import Initialised, initialise
from tps.prepare.request import Request

__all__ = [
    "SEPARATION",
    "Initialised",
    "Request",
    "StageEstimate",
    "describe",
    "estimate_stages",
    "initialise",
    "seconds_left",
    "spoken_size",
    "spoken_time",
    "steps_per_second",
    "warnings_of",
]
