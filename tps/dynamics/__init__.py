"""The dynamics of a system between its states: molecules, surfaces, walls, reactive segments."""

from tps.dynamics.copies import CopiedDynamics
from tps.dynamics.exchange import exchanged
from tps.dynamics.molecule import MoleculeDynamics
from tps.dynamics.overdamped import STABILITY, SurfaceSamples, sample_surface
from tps.dynamics.segments import reactive_segment
from tps.dynamics.surface import SurfaceDynamics
from tps.dynamics.transition import FAILED, IN_A, IN_B, OUTSIDE, Flight, TransitionDynamics
from tps.dynamics.wall import add_wall

__all__ = [
    "FAILED",
    "IN_A",
    "IN_B",
    "OUTSIDE",
    "STABILITY",
    "CopiedDynamics",
    "Flight",
    "MoleculeDynamics",
    "SurfaceDynamics",
    "SurfaceSamples",
    "TransitionDynamics",
    "add_wall",
    "exchanged",
    "reactive_segment",
    "sample_surface",
]
