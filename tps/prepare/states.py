"""States A and B as ranges of features: all that a short run saw of the own end, nothing of the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tps.errors import SystemDefinitionError
from tps.features import wrap_angle
from tps.prepare.choose import Telling, spoken
from tps.prepare.short_runs import ShortRuns
from tps.systems import Region

Array = NDArray[np.float64]
Range = tuple[float, float]

#: Shares of frames left outside on each side of a range, tried in turn until the gap between the states is wanted.
TRIMMED = (0.0, 0.005, 0.025, 0.05)
#: Share of the way from end to end that shall lie between the states.
WANTED_GAP = 0.25
#: A range goes beyond the frames by their spread, and by at most this share of the gap to the other state.
GAP_SHARE = 0.2
#: Ranges are rounded outwards to a decimal step of at most this share of the gap.
ROUNDING_SHARE = 1 / 8
#: Least gap between ranges of an angle [rad].
LEAST_GAP = math.radians(4)
#: States are told by as many features at most.
MOST_RANGES = 3
#: Least share of the own frames that a state must hold, and most of the other's.
LEAST_HELD, MOST_WRONG = 0.9, 0.02


@dataclass(frozen=True, eq=False)
class ProposedStates:
    """States A and B.

    Parameters
    ----------
    a, b : mapping of str to (low, high)
        Ranges in the units that people write, such as degrees; low > high goes round through 180.
    held, wrong : (float, float)
        Share of the frames of A's runs in A, and of B's in B; and of A's in B, and of B's in A.
    """

    a: Mapping[str, Range]
    b: Mapping[str, Range]
    held: tuple[float, float]
    wrong: tuple[float, float]

    def spoken(self) -> tuple[str, str]:
        """Return what A and B hold, in words."""
        others = [f"{share:.1%}" if share else "none" for share in self.wrong]
        a = f"{self.held[0]:.0%} of the frames of short runs from A, {others[1]} of those from B"
        b = f"{self.held[1]:.0%} of the frames of short runs from B, {others[0]} of those from A"
        return a, b


def propose_states(features: Sequence[Telling], runs: ShortRuns) -> ProposedStates:
    """Return ranges of the features that part the ends best.

    On a circle a range is an arc about the frames; on a line it goes on outwards, away from the other state.

    Raises
    ------
    SystemDefinitionError
        If on no feature the two ends' frames lie apart.
    """
    a: dict[str, Range] = {}
    b: dict[str, Range] = {}
    for telling in sorted(features, key=lambda t: -t.separation):
        found = _ranges(telling, runs) if len(a) < MOST_RANGES else None
        if found is not None:
            a[telling.candidate.name], b[telling.candidate.name] = found
    if not a:
        raise SystemDefinitionError(f"no feature parts A from B: {_overlap(features, runs)}")
    names = [t.candidate.name for t in features if t.candidate.name in a]
    a, b = ({name: ranges[name] for name in names} for ranges in (a, b))
    held = _share(a, features, runs, 0), _share(b, features, runs, 1)
    wrong = _share(b, features, runs, 0), _share(a, features, runs, 1)
    if min(held) < LEAST_HELD or max(wrong) > MOST_WRONG:
        raise SystemDefinitionError(
            f"the states that the features allow hold {held[0]:.0%} of A's short runs and {held[1]:.0%} of B's, and "
            f"{wrong[1]:.0%} and {wrong[0]:.0%} of the other's: name features that part A from B better"
        )
    return ProposedStates(a, b, held, wrong)


def _ranges(telling: Telling, runs: ShortRuns) -> tuple[Range, Range] | None:
    """Return the ranges of A and B of one feature in the units that people write; None where frames overlap."""
    build = _arcs if telling.candidate.variable.periodic else _halves
    found = None
    for trimmed in TRIMMED:
        found, gap = build(telling, runs, trimmed)
        if gap >= WANTED_GAP * abs(telling.change):
            break
    return found


def _hull(offsets: Array, trimmed: float) -> Range:
    """Return the range of offsets, the end structure's first, without a share of them on each side."""
    low, high = np.quantile(offsets[1:], [trimmed, 1 - trimmed])
    return float(min(low, offsets[0])), float(max(high, offsets[0]))


def _arcs(telling: Telling, runs: ShortRuns, trimmed: float) -> tuple[tuple[Range, Range] | None, float]:
    """Return arcs about the frames of A and B, and the gap between the frames [rad]; no arcs if it is too small."""
    hulls = []
    for end in (0, 1):
        values = np.append(telling.ends[end], runs.values[end][:, telling.column])
        low, high = _hull(wrap_angle(values - telling.mean[end]), trimmed)
        hulls.append((telling.mean[end] + low, telling.mean[end] + high))
    (low_a, high_a), (low_b, high_b) = hulls
    gaps = (low_b - high_a) % (2 * math.pi), (low_a - high_b) % (2 * math.pi)
    around = high_a - low_a + high_b - low_b + sum(gaps)
    if min(gaps) < LEAST_GAP or around > 2 * math.pi + 1e-9:
        return None, 0.0
    step = 1.0 if math.degrees(min(gaps)) * ROUNDING_SHARE >= 1 else 0.1
    wide = [min(telling.spread.max(), GAP_SHARE * gap) for gap in gaps]
    a = _outwards(math.degrees(low_a - wide[1]), math.degrees(high_a + wide[0]), step)
    b = _outwards(math.degrees(low_b - wide[0]), math.degrees(high_b + wide[1]), step)
    return (_turned(*a), _turned(*b)), min(gaps)


def _turned(low: float, high: float) -> Range:
    """Return an arc with its ends between -180 and 180 degrees."""
    return round((low + 180) % 360 - 180, 1), round(180 - (180 - high) % 360, 1)


def _halves(telling: Telling, runs: ShortRuns, trimmed: float) -> tuple[tuple[Range, Range] | None, float]:
    """Return the two sides of a line with the frames of A and B, and the gap between these [internal units]."""
    hulls = [
        _hull(np.append(telling.ends[end], runs.values[end][:, telling.column]), trimmed) for end in (0, 1)
    ]
    lower = int(hulls[1][0] < hulls[0][0])  # the end with the lower values
    top, bottom = hulls[lower][1], hulls[1 - lower][0]
    gap = (bottom - top) / telling.candidate.variable.user_scale
    if gap <= 0:
        return None, 0.0
    step = 10.0 ** math.floor(math.log10(gap * ROUNDING_SHARE))
    scale = telling.candidate.variable.user_scale
    wide = min(telling.spread.max() / scale, GAP_SHARE * gap)
    _, top = _outwards(0.0, top / scale + wide, step)
    bottom, _ = _outwards(bottom / scale - wide, 0.0, step)
    both = (telling.candidate.variable.lowest / scale, top), (bottom, math.inf)
    return both if lower == 0 else (both[1], both[0]), gap * scale


def _outwards(low: float, high: float, step: float) -> Range:
    digits = max(0, -round(math.log10(step)))
    return round(math.floor(low / step) * step, digits), round(math.ceil(high / step) * step, digits)


def _share(ranges: Mapping[str, Range], features: Sequence[Telling], runs: ShortRuns, end: int) -> float:
    by_name = {telling.candidate.name: telling for telling in features}
    scale = {name: by_name[name].candidate.variable.user_scale for name in ranges}
    region = Region({name: (low * scale[name], high * scale[name]) for name, (low, high) in ranges.items()})
    values = {name: runs.values[end][:, by_name[name].column] for name in ranges}
    return float(region.contains(values).mean())


def _overlap(features: Sequence[Telling], runs: ShortRuns) -> str:
    best = max(features, key=lambda t: t.separation)
    seen = [runs.values[end][:, best.column] for end in (0, 1)]
    a, b = (f"from {spoken(best, x.min())} to {spoken(best, x.max())}" for x in seen)
    return (
        f"{best.candidate.name}, the best of them, goes {a} in short runs from A and {b} in those from B: "
        "name others, or give structures of basins that are farther apart"
    )
