"""Numbers for readers: as many digits as their error allows, with their unit."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

_NO_UNIT = {None, "", "-", "count"}
#: Longer units of time [ps], to which a number of `_LONG` or more of the unit before moves on.
_TIMES = {"ns": 1e3, "µs": 1e6, "ms": 1e9, "s": 1e12}
_LONG = 1e3
#: How the names of numbers begin, by what they are about; all others are of the candidates and of their curve.
_ABOUT = {
    "ensemble": (
        "ensemble_",
        "mean_transition_time",
        "transition_time_",
        "shooting_",
        "decorrelated_paths",
        "divergence_between_halves",
        "transition_states",
        "committor",
    ),
    "free energy": ("free_energy_", "effective_barrier_", "window_"),
    "rate": ("rate_", "first_passage_", "transitions", "weight_of_b", "detailed_balance", "flux_"),
    "cost": ("evaluations_",),
}
_CANDIDATES = "candidates"
#: Digits of a number that comes without an error.
_SIGNIFICANT = 4


def format_value(value: object, error: float | None = None, unit: str | None = None) -> str:
    """Return a value with its error and unit, for instance "27.1 ± 10.9 kJ/mol".

    The error keeps two significant digits (three between 10 and 1000) and the value the same decimals. A
    number without an error keeps four digits; integers are shown in full. A number that is missing or not
    finite says so. Anything else becomes its text. A time of 1000 ps and more is told in ns, µs, ms or s.

    Parameters
    ----------
    value : object
        A number, or any other entry of a table.
    error : float, optional
        Standard error or deviation, in the unit of the value.
    unit : str, optional
        "-" and "count" are not printed.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "not available"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if unit == "count" and isinstance(value, float) and value.is_integer():
        value = int(value)
    if unit == "ps" and isinstance(value, int | float) and math.isfinite(value):
        value, error, unit = _readable_time(value, error)
    suffix = "" if unit in _NO_UNIT else f" {unit}"
    if not isinstance(value, int | float):
        return str(value) + suffix
    if math.isinf(value):
        return ("-" if value < 0 else "") + "infinite" + suffix
    if error is None or not math.isfinite(error):
        return _plain(value) + suffix
    return _with_error(float(value), abs(float(error))) + suffix


def format_quantity(quantity: Mapping[str, object]) -> str:
    """Return a metric {"value", "error", "unit", ...} as text; the reason for one withheld is not in it."""
    if quantity.get("withheld"):
        return "withheld"
    error, unit = quantity.get("error"), quantity.get("unit")
    return format_value(
        quantity.get("value"),
        float(error) if isinstance(error, int | float) else None,
        None if unit is None else str(unit),
    )


def _readable_time(value: float, error: float | None) -> tuple[float, float | None, str]:
    """Return a time [ps] and its error in the longest unit of which it holds one."""
    unit, size = "ps", 1.0
    for longer, length in _TIMES.items():
        if abs(value) >= length and abs(value) >= _LONG:
            unit, size = longer, length
    return (
        (value, error, unit) if size == 1 else (value / size, None if error is None else error / size, unit)
    )


def _plain(value: float) -> str:
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15 and abs(value) >= 1000):
        return f"{int(value):,}"
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{_SIGNIFICANT - 1}e}"
    if value == 0:
        return "0"
    decimals = _SIGNIFICANT - 1 - math.floor(math.log10(abs(value)))
    return f"{value:,.{max(decimals, 0)}f}"


def _with_error(value: float, error: float) -> str:
    if error == 0:
        return f"{_plain(value)} ± 0"
    size = max(abs(value), error)
    if not 1e-3 <= size < 1e6:
        exponent = math.floor(math.log10(size))
        return f"({_with_error(value / 10.0**exponent, error / 10.0**exponent)})e{exponent:+03d}"
    decimals = _decimals(error)
    if decimals < 0:
        value, error = round(value, decimals), round(error, decimals)
    return f"{value:,.{max(decimals, 0)}f} ± {error:,.{max(decimals, 0)}f}"


def _decimals(error: float) -> int:
    """Return the decimals that leave an error two significant digits, three between 10 and 1000."""
    exponent = int(f"{error:.1e}".split("e")[1])  # rounded first: 0.0996 counts as 0.10
    return 2 - exponent if exponent in (1, 2) else 1 - exponent


def grouped(metrics: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, Mapping[str, object]]]:
    """Return numbers by what they are about: candidates, ensemble, free energy, rate and cost; none is lost."""
    groups: dict[str, dict[str, Mapping[str, object]]] = {name: {} for name in (_CANDIDATES, *_ABOUT)}
    for name, quantity in metrics.items():
        about = (group for group, beginnings in _ABOUT.items() if name.startswith(beginnings))
        groups[next(about, _CANDIDATES)][name] = quantity
    return {name: numbers for name, numbers in groups.items() if numbers}


def withheld_sentences(metrics: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Return one sentence for each reason, with the names of all the numbers that are withheld for it."""
    names: dict[str, list[str]] = {}
    for name, quantity in metrics.items():
        if quantity.get("withheld"):
            names.setdefault(str(quantity["withheld"]), []).append(name)
    return [f"withheld: {', '.join(found)}: {reason}" for reason, found in names.items()]
