"""Molecules and surfaces: force field or potential, end points, collective variables and the states A and B."""

from tps.systems.catalogue import SystemSummary, available_systems, data_directory, load_system
from tps.systems.molecular import MolecularSystem
from tps.systems.regions import Ranged, Region, State, format_region, parse_region, region_from_keys
from tps.systems.surface import Potential, SurfaceSystem
from tps.systems.surface_axis import Axis
from tps.systems.surface_potentials import DoubleWell, DualChannel, MuellerBrown
from tps.systems.surface_table import TablePotential

#: What every stage takes: both kinds have the same names for ends, features, values, states and kT.
System = MolecularSystem | SurfaceSystem

__all__ = [
    "Axis",
    "DoubleWell",
    "DualChannel",
    "MolecularSystem",
    "MuellerBrown",
    "Potential",
    "Ranged",
    "Region",
    "State",
    "SurfaceSystem",
    "System",
    "SystemSummary",
    "TablePotential",
    "available_systems",
    "data_directory",
    "format_region",
    "load_system",
    "parse_region",
    "region_from_keys",
]
