"""A reported number: value, error, unit and definition, always together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Metric:
    """A number a reader can check.

    Attributes
    ----------
    value : float or None
        None where there is nothing to compute it from.
    error : float or None
        What it is (standard deviation over paths, standard error) stands in the definition; None: exact, or unknown.
    unit : str
        "" for a pure number.
    definition : str
        One sentence.
    """

    value: float | None
    error: float | None
    unit: str
    definition: str

    def __post_init__(self) -> None:
        for name in ("value", "error"):
            number = getattr(self, name)
            if number is not None:
                object.__setattr__(self, name, float(number) if np.isfinite(number) else None)

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


Metrics = Mapping[str, Metric]


def mean_and_deviation(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Return mean and standard deviation (n - 1) of values (n,); None where there are too few."""
    if len(values) == 0:
        return None, None
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def mean_and_standard_error(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Return the mean of independent values (n,) and its standard error; None where there are too few."""
    mean, deviation = mean_and_deviation(values)
    return mean, None if deviation is None else deviation / np.sqrt(len(values))


def fraction_metric(hits: NDArray[np.bool_], definition: str) -> Metric:
    """Return the percentage of hits (n,) with its binomial standard error (of the Wilson centre, never zero)."""
    n = len(hits)
    if n == 0:
        return Metric(None, None, "%", definition)
    shifted = (hits.sum() + 2) / (n + 4)  # Agresti and Coull 1998
    error = 100 * np.sqrt(shifted * (1 - shifted) / (n + 4))
    return Metric(100 * hits.mean(), error, "%", definition)
