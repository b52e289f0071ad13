"""Features T(x) of conformations, and what they add to an OpenMM System: tilts."""

from tps.features.torsions import TorsionFeatures

__all__ = ["TorsionFeatures"]
