"""Windows: dynamics under fixed tilts, with replica exchange between neighbours."""
