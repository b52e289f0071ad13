"""Physical constants in OpenMM's unit system: nm, ps, kJ/mol, K, amu, rad."""

from __future__ import annotations

import math

from tps.errors import ParameterError

#: Molar gas constant [kJ/mol/K] (exact since the 2019 SI).
GAS_CONSTANT = 8.31446261815324e-3


def thermal_energy(temperature: float) -> float:
    """Return kT [kJ/mol] at a temperature [K].

    Raises
    ------
    ParameterError
        If `temperature` is not positive and finite.
    """
    if not 0 < temperature < math.inf:
        raise ParameterError(f"temperature must be positive and finite, but got {temperature} K")
    return GAS_CONSTANT * temperature
