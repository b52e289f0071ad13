"""Molecules: topology, force field, end structures, collective variables and the states A and B."""

from tps.systems.catalogue import SystemSummary, available_systems, data_directory, load_system
from tps.systems.collective_variables import CollectiveVariable, Distance, Torsion, torsion_angles
from tps.systems.molecular import MolecularSystem
from tps.systems.regions import Region, State, format_region, parse_region, region_from_keys

__all__ = [
    "CollectiveVariable",
    "Distance",
    "MolecularSystem",
    "Region",
    "State",
    "SystemSummary",
    "Torsion",
    "available_systems",
    "data_directory",
    "format_region",
    "load_system",
    "parse_region",
    "region_from_keys",
    "torsion_angles",
]
