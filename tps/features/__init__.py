"""Features T(x) of conformations, and what they add to an OpenMM System: tilts and walls."""

from tps.features.torsions import TorsionFeatures
from tps.features.wall import add_wall

__all__ = ["TorsionFeatures", "add_wall"]
