"""A reported number: value, error, unit and definition, always together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tps.errors import ParameterError

#: Positions of each path as `system.values` takes them, None for one that failed.
Positions = Sequence[NDArray[np.floating] | None]

#: Fewest effective observations that a proportion is taken from.
FEWEST_EFFECTIVE = 10


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
    withheld : str
        Why there is no value although one could be computed: no data support it, or another number contradicts it.

    Raises
    ------
    ParameterError
        If a number is withheld and given all the same.
    """

    value: float | None
    error: float | None
    unit: str
    definition: str
    withheld: str = ""

    def __post_init__(self) -> None:
        if self.withheld and (self.value is not None or self.error is not None):
            raise ParameterError(
                f"a number is either given or withheld, but got {self.value} ± {self.error} and {self.withheld!r}"
            )
        for name in ("value", "error"):
            number = getattr(self, name)
            if number is not None:
                object.__setattr__(self, name, float(number) if np.isfinite(number) else None)

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON object; the reason stands in it only where the number is withheld."""
        content = asdict(self)
        return content if self.withheld else {key: content[key] for key in content if key != "withheld"}

    def unless(self, reason: str) -> Metric:
        """Return the number without its value if there is a reason to withhold it; itself for an empty reason."""
        if not reason or self.withheld:
            return self
        return replace(self, value=None, error=None, withheld=reason)


Metrics = Mapping[str, Metric]

#: Two estimates of one number contradict each other when they lie so many combined standard errors apart.
_CONTRADICTION = 4.0


def contradict(first: Metric, second: Metric) -> bool:
    """Return whether two estimates of one number lie too far apart; those without value or error do not."""
    if first.value is None or second.value is None or first.error is None or second.error is None:
        return False
    return abs(first.value - second.value) > _CONTRADICTION * math.hypot(first.error, second.error)


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
    share = float(hits.mean())
    return Metric(100 * share, 100 * proportion_error(share, n), "%", definition)


def proportion_error(share: float, n_effective: float) -> float:
    """Return the binomial standard error of a share seen among n independent observations: never zero.

    It is that of the share with two hits and two misses added, the centre of Wilson's 95 % interval: for 0 or 1 out of
    n about sqrt(2)/n, whose double is the rule of three, 3/n.

    Parameters
    ----------
    share : float
        In [0, 1].
    n_effective : float
        Number of independent observations, Kish's for weighted ones.

    References
    ----------
    Agresti and Coull, Am. Stat. 52, 119 (1998).
    """
    shifted = (share * n_effective + 2) / (n_effective + 4)
    return float(np.sqrt(shifted * (1 - shifted) / (n_effective + 4)))
