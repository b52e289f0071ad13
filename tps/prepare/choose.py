"""Which candidates become features: those whose means differ by more than their spread, the strongest few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tps.errors import SystemDefinitionError
from tps.features import FeatureSpace
from tps.prepare.candidates import Candidate, Rank, resolve
from tps.prepare.short_runs import ShortRuns

#: Least separation |mean_A - mean_B| / sqrt(var_A + var_B) of what tells A from B.
SEPARATION = 2.0
#: Features taken unless the user names them: metadynamics fills the space of two in reasonable time.
MOST_FEATURES = 2
#: What comes first, whatever its separation: what is slow, then what is about the whole, then what is near the core.
RANKS: tuple[Rank, ...] = ("peptide bond", "association", "fold", "torsion", "side chain", "span")
#: Features that go together more than this within the ends say the same thing.
MOST_CORRELATED = 0.9


@dataclass(frozen=True, eq=False)
class Telling:
    """One candidate, seen from both ends; values in internal units.

    Parameters
    ----------
    candidate : Candidate
    column : int
        Its place among the candidates.
    ends, mean, spread : array (2,)
        Value in the end structures; mean and standard deviation in the short runs.
    separation : float
        |mean_A - mean_B| / sqrt(var_A + var_B), the shorter way round on a circle.
    """

    candidate: Candidate
    column: int
    ends: NDArray[np.float64]
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    separation: float

    @property
    def change(self) -> float:
        """B's end structure minus A's, the shorter way round on a circle, in internal units."""
        found = self.ends[1] - self.ends[0]
        return (
            float((found + np.pi) % (2 * np.pi) - np.pi) if self.candidate.variable.periodic else float(found)
        )


def separations(candidates: Sequence[Candidate], runs: ShortRuns) -> tuple[Telling, ...]:
    """Return how well each candidate tells A from B, in the order of the candidates."""
    moments = [_moments(runs.space, values) for values in runs.values]
    means, spreads = (np.stack([one[k] for one in moments]) for k in (0, 1))
    found = separation(runs.space, *runs.values)
    return tuple(
        Telling(candidate, k, runs.ends[:, k], means[:, k], spreads[:, k], float(found[k]))
        for k, candidate in enumerate(candidates)
    )


def separation(space: FeatureSpace, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return |mean_A - mean_B| / sqrt(var_A + var_B) (d,) of values (n, d), on circles the shorter way round."""
    (mean_a, spread_a), (mean_b, spread_b) = (_moments(space, values) for values in (a, b))
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(space.difference(mean_a, mean_b)) / np.hypot(spread_a, spread_b)
    return np.nan_to_num(apart, nan=0.0)


def choose_features(
    asked: tuple[str, ...], tellings: Sequence[Telling], runs: ShortRuns
) -> tuple[Telling, ...]:
    """Return the features: those asked for, or the strongest few that tell A from B.

    Raises
    ------
    SystemDefinitionError
        If nothing asked for, or nothing at all, tells A from B.
    """
    if asked:
        names = {candidate.name for candidate in resolve(asked, tuple(t.candidate for t in tellings))}
        chosen = tuple(t for t in tellings if t.candidate.name in names)
        if max(t.separation for t in chosen) < SEPARATION:
            raise SystemDefinitionError(
                f"--features {', '.join(asked)} cannot tell A from B: {_strongest_of(chosen)}"
            )
        return chosen
    strong = sorted(
        (t for t in tellings if t.separation >= SEPARATION),
        key=lambda t: (RANKS.index(t.candidate.rank), -t.separation),
    )
    if not strong:
        raise SystemDefinitionError(
            f"A and B are closer than the noise: {_strongest_of(tellings)}; give structures of different basins"
        )
    found = strong[:1]
    for telling in strong[1:]:
        if len(found) < MOST_FEATURES and _says_more(telling, found, runs):
            found.append(telling)
    return tuple(sorted(found, key=lambda t: t.column))


def spoken(telling: Telling, value: float, digits: int = 3) -> str:
    """Return a value of a candidate in the unit that people write."""
    variable = telling.candidate.variable
    number = value / variable.user_scale
    if variable.user_unit == "degree":
        return f"{round(number)}°"
    return f"{number:.{digits}g} {variable.user_unit}".strip()


def _moments(
    space: FeatureSpace, values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where the mean of the statistic T lies (d,), and the standard deviation about it (d,)."""
    mean = space.center(space.statistic(values).mean(axis=0))
    return mean, np.sqrt(np.mean(space.difference(mean, values) ** 2, axis=0))


def _says_more(telling: Telling, chosen: Sequence[Telling], runs: ShortRuns) -> bool:
    if telling.candidate.rank == "span":
        return False
    columns = [telling.column, *(t.column for t in chosen)]
    within = np.concatenate(
        [runs.space.difference(_moments(runs.space, values)[0], values)[:, columns] for values in runs.values]
    )
    correlation = np.corrcoef(within, rowvar=False)[0, 1:]
    return bool(np.abs(np.nan_to_num(correlation)).max() < MOST_CORRELATED)


def _strongest_of(tellings: Sequence[Telling]) -> str:
    best = max(tellings, key=lambda t: t.separation)
    a, b = (f"{spoken(best, best.mean[k])} ± {spoken(best, best.spread[k], 2)}" for k in (0, 1))
    return (
        f"what differs most is {best.candidate.name} ({best.candidate.spoken}), {a} in short runs from A and {b} from "
        f"B, {best.separation:.1f} times its spread, and {SEPARATION:g} are needed"
    )
