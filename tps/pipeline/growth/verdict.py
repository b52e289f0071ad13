"""What ends growing, and why its frames are believed or not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tps.analysis import LEAST_OVERLAP
from tps.pipeline.growth.layout import next_windows
from tps.pipeline.growth.rounds import GrownRound
from tps.pipeline.growth.setting import Growth

#: Chains from A and from B contradict each other beyond this many kT, where it is also this many of their errors.
_LARGEST_HYSTERESIS, _ERRORS = 2.0, 3.0
#: A difference known to no more than this many kT is not given.
_LARGEST_ERROR = 2.0


def ended_because(growth: Growth, rounds: Sequence[GrownRound], seconds: float) -> str:
    """Return why growing has come to its end; empty while it has not."""
    if not rounds:
        return ""
    section, last = growth.section, rounds[-1].said
    moved, error = last.get("moved"), last.get("curve_error")
    still = moved is not None and error is not None and moved <= error
    if still and not doubt_of(last) and last["difference_error"] <= section.target_error_kt:
        return (
            f"the curve moved by {moved:.2g}, no more than its error of {error:.2g}, and the difference is known to "
            f"{last['difference_error']:.2g} kT"
        )
    if len(rounds) >= section.max_rounds:
        return f"{len(rounds)} rounds are all that grow.max_rounds allows"
    steps = growth.plain.n_steps + sum(grown.said["steps"] for grown in rounds)
    cost = growth.cost(next_windows(growth, rounds)[0])
    if steps + cost > section.max_steps:
        return f"another round of {cost:,} steps would go beyond grow.max_steps = {section.max_steps:,}"
    expected = cost * last["seconds"] / last["steps"]
    if seconds + expected > 60 * section.max_minutes:
        minutes = section.max_minutes
        return f"another round of {expected / 60:.1f} minutes would go beyond grow.max_minutes = {minutes:g}"
    return ""


def doubt_of(last: Mapping[str, Any]) -> str:
    """Return why the grown frames do not tell how likely A is against B, by what the last round says; empty if not."""
    if last["overlap"] is None or last["overlap"] < LEAST_OVERLAP:
        loose = last["windows"] - last["counted"]
        if loose:
            worst = max(last["gap"])
            return (
                f"in {loose} of {last['windows']} windows chains from A and from B do not agree (their means lie up to "
                f"{worst:.1f} standard deviations apart), or walkers do not forget where they were: how likely A is "
                "against B is not known; sample longer (grow.n_window_steps, grow.max_steps)"
            )
        return (
            f"the windows overlap by {last['overlap'] or 0:.3f}, less than {LEAST_OVERLAP}: how likely A is against B "
            "is not known; take more of them (grow.window_distance)"
        )
    if 0 in (last.get("crossings") or ()):
        there, back = last["crossings"]
        return (
            f"windows hold parts that only walkers from A to B can weigh, and those went there {there} times and back "
            f"{back} times: how likely A is against B is not known; sample longer (grow.n_window_steps, "
            "grow.max_steps), or start from other end structures"
        )
    gap, error, known = abs(last["hysteresis"]), last["hysteresis_error"], last["difference_error"]
    if not math.isfinite(known):
        return (
            "some ladders alone do not join A and B: how likely A is against B is not known; sample longer "
            "(grow.n_window_steps, grow.max_steps)"
        )
    if known > _LARGEST_ERROR:
        return (
            f"ladders and rounds give differences of A and B that scatter by {known:.1f} kT, more than "
            f"{_LARGEST_ERROR:g}: how likely A is against B is not known; sample longer (grow.n_window_steps, "
            "grow.max_steps)"
        )
    if gap > _LARGEST_HYSTERESIS and gap > _ERRORS * error:
        return (
            f"chains that started from A and from B give differences {gap:.1f} ± {error:.1f} kT apart: how likely A is "
            "against B is not known; sample longer (grow.n_window_steps, grow.max_steps)"
        )
    return ""


def round_sentence(said: Mapping[str, Any]) -> str:
    """Return what a round says, in one line."""
    text = f"{said['counted']} of {said['windows']} windows count"
    if said["overlap"] is not None:
        text += (
            f", overlap {said['overlap']:.2f}, F(B) - F(A) = {said['difference']:.2f} ± "
            f"{said['difference_error']:.2f} kT, from A and from B {said['hysteresis']:+.2f} apart"
        )
    if said.get("crossings") is not None:
        text += ", walkers went over {} times and back {}".format(*said["crossings"])
    if said["length"] is not None:
        text += f"; curve of length {said['length']:.2f}, support {said['support']:.0f}, {said['status']}"
    if said.get("moved") is not None:
        error = said["curve_error"]
        text += f", moved by {said['moved']:.2f}" + ("" if error is None else f" ± {error:.2f}")
    return text
