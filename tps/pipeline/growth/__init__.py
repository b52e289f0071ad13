"""Growing frames: basins, windows, weights, geodesic, new windows along it, and again."""

from tps.pipeline.growth.grow import grow_conformations
from tps.pipeline.growth.rounds import GROWTH, ROUNDS

__all__ = ["GROWTH", "ROUNDS", "grow_conformations"]
