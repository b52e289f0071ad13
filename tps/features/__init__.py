"""Features of conformations: their space with the statistic T, and the kinds there are, each with its force."""

from tps.features.definition import Surroundings, define_variables
from tps.features.distance import Distance
from tps.features.molecular import Features, variable_values
from tps.features.space import FeatureSpace, wrap_angle
from tps.features.torsion import Torsion, torsion_angles
from tps.features.variable import CollectiveVariable

__all__ = [
    "CollectiveVariable",
    "Distance",
    "FeatureSpace",
    "Features",
    "Surroundings",
    "Torsion",
    "define_variables",
    "torsion_angles",
    "variable_values",
    "wrap_angle",
]
