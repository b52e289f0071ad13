"""Feature spaces for the tests of the geometry and of the networks."""

import math

import numpy as np

from tps.features import FeatureSpace


def feature_space(kinds: str, scale: float = 1.0) -> FeatureSpace:
    """A space of features by kind, "a" for an angle and "x" for a length of the scale given [nm], named a0, x1, ..."""
    circles = tuple(kind == "a" for kind in kinds)
    return FeatureSpace(
        tuple(f"{kind}{number}" for number, kind in enumerate(kinds)),
        circles,
        tuple("rad" if circle else "nm" for circle in circles),
        tuple(1.0 if circle else scale for circle in circles),
        np.array([(-math.pi, math.pi) if circle else (-math.inf, math.inf) for circle in circles]),
    )
