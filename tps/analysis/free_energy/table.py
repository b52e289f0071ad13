"""One difference by many roads, and whether they agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tps.analysis.metrics import Metric, contradict
from tps.errors import ParameterError

#: Roads agree when they differ by no more than this [kJ/mol], or by two combined standard errors.
AGREEMENT = 1.0
_N_ERRORS = 2.0


@dataclass(frozen=True)
class Comparison:
    """Two roads to one number.

    Attributes
    ----------
    first, second : str
        Names of the roads.
    difference : float
        Second minus first.
    error : float
        Combined standard error; an error that is not known counts as 0.
    within_tolerance, within_errors : bool
        Whether |difference| is at most the tolerance; at most two combined errors.
    """

    first: str
    second: str
    difference: float
    error: float
    within_tolerance: bool
    within_errors: bool

    @property
    def agrees(self) -> bool:
        """Whether one of the two holds."""
        return self.within_tolerance or self.within_errors


@dataclass(frozen=True)
class Agreement:
    """All pairs of roads to one number, and the roads that gave none.

    Attributes
    ----------
    roads : mapping of str to Metric
        With a value.
    missing : tuple of str
        Roads without a value.
    pairs : tuple of Comparison
    tolerance : float
    """

    roads: Mapping[str, Metric]
    missing: tuple[str, ...]
    pairs: tuple[Comparison, ...]
    tolerance: float

    @property
    def agree(self) -> bool:
        """Whether there are two roads or more, and all of their pairs agree."""
        return len(self.pairs) > 0 and all(pair.agrees for pair in self.pairs)

    @property
    def largest(self) -> Comparison | None:
        """The pair that differs most."""
        return max(self.pairs, key=lambda pair: abs(pair.difference), default=None)

    def sentence(self) -> str:
        """State the agreement."""
        if self.largest is None:
            return "There is nothing to compare: fewer than two roads gave a number."
        unit = next(iter(self.roads.values())).unit
        apart = (
            f"the largest difference is {abs(self.largest.difference):.2f} ± {self.largest.error:.2f} {unit} "
            f"({self.largest.first}, {self.largest.second})"
        )
        wrong = [f"{pair.first} and {pair.second}" for pair in self.pairs if not pair.agrees]
        if wrong:
            return f"{len(wrong)} of {len(self.pairs)} pairs disagree ({'; '.join(wrong)}); {apart}."
        loose = sum(not pair.within_tolerance for pair in self.pairs)
        how = f"within {self.tolerance:g} {unit}"
        if loose:
            how += f", or for {loose} of {len(self.pairs)} pairs only within {_N_ERRORS:g} combined errors"
        return f"All {len(self.roads)} roads agree {how}; {apart}."

    def table(self) -> str:
        """Return the roads, one a line: name, value, standard error."""
        width = max((len(name) for name in (*self.roads, *self.missing)), default=0)
        lines = [
            f"{name:<{width}}  {metric.value:8.2f} ± "
            f"{'   ?' if metric.error is None else format(metric.error, '4.2f')} {metric.unit}"
            for name, metric in self.roads.items()
        ]
        return "\n".join([*lines, *(f"{name:<{width}}  no value" for name in self.missing)])


def together(roads: Mapping[str, Metric]) -> Metric:
    """Return the mean of independent roads to one number, each weighed by its inverse variance.

    Where they scatter more than their errors allow, the error grows by as much (the scale factor of Birge).

    Parameters
    ----------
    roads : mapping of str to Metric
        In one unit; those without a value or an error do not count. If none has both, the first is returned.

    Returns
    -------
    Metric
        Withheld where two roads disagree by so much that no mean of them means anything.

    References
    ----------
    R. T. Birge, Phys. Rev. 40, 207 (1932).
    """
    table = agreement({name: metric for name, metric in roads.items() if metric.error})
    if len(table.roads) < 2:
        return next(iter([*table.roads.values(), *roads.values()]))
    first = next(iter(table.roads.values()))
    names = f"{', '.join(list(table.roads)[:-1])} and {list(table.roads)[-1]}"
    values = np.array([metric.value for metric in table.roads.values()], dtype=float)
    precision = np.array([metric.error for metric in table.roads.values()], dtype=float) ** -2
    mean = float(precision @ values / precision.sum())
    scale = max(1.0, float(precision @ (values - mean) ** 2) / (len(values) - 1)) ** 0.5
    definition = f"{first.definition} Mean of {names}, which share no simulation, by inverse variances; standard error."
    apart = [
        pair
        for pair in table.pairs
        if not pair.agrees and contradict(table.roads[pair.first], table.roads[pair.second])
    ]
    found = Metric(mean, scale * float(precision.sum()) ** -0.5, first.unit, definition)
    return found.unless(f"{apart[0].first} and {apart[0].second} contradict each other" if apart else "")


def agreement(roads: Mapping[str, Metric], tolerance: float = AGREEMENT) -> Agreement:
    """Compare every pair of roads to one number.

    Parameters
    ----------
    roads : mapping of str to Metric
        All of one quantity, in one unit; those without a value are listed as missing.
    tolerance : float
        In that unit.

    Raises
    ------
    ParameterError
        If the units differ.
    """
    units = {metric.unit for metric in roads.values()}
    if len(units) > 1:
        raise ParameterError(f"roads to one number need one unit, but got {', '.join(sorted(units))}")
    found = {name: metric for name, metric in roads.items() if metric.value is not None}
    pairs = []
    for (first, a), (second, b) in combinations(found.items(), 2):
        difference = float(b.value or 0.0) - float(a.value or 0.0)
        error = float(np.hypot(a.error or 0.0, b.error or 0.0))
        pairs.append(
            Comparison(
                first,
                second,
                difference,
                error,
                abs(difference) <= tolerance,
                abs(difference) <= _N_ERRORS * error,
            )
        )
    return Agreement(found, tuple(name for name in roads if name not in found), tuple(pairs), tolerance)
