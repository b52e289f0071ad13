"""What `tps init` has found, as lines for a chemist."""

from __future__ import annotations

import numpy as np

from tps.prepare.candidates import NEIGHBOURS, label
from tps.prepare.choose import SEPARATION, Telling, spoken
from tps.prepare.estimate import spoken_size, spoken_time
from tps.prepare.preparation import Initialised
from tps.prepare.states import Range
from tps.systems.regions import range_key

#: Lines of a table that are shown, at most: those that tell A from B best.
MOST_ROWS = 8
#: Torsions that turn by less are not worth a line [rad].
LEAST_TURN = np.radians(20)
#: A run whose mean is this many spreads from its end structure has drifted.
DRIFTED = 3.0


def describe(found: Initialised) -> list[str]:
    """Return the lines that say what was done, what tells A from B, and what a run costs."""
    return [
        found.description,
        *found.notes,
        *found.ends.notes,
        "",
        *_differences(found),
        "",
        *_short_runs(found),
        "",
        *_states(found),
        "",
        *_cost(found),
        "",
        f"written        {found.folder}: system.toml, run.toml and the files they name",
        f"next           tps check {found.folder / 'run.toml'}",
        f"               tps run {found.folder / 'run.toml'} -o RUN",
    ]


def warnings_of(found: Initialised) -> list[str]:
    """Return what a user should look at before the run."""
    lines = []
    for end, left in zip("AB", found.runs.left, strict=True):
        if left is not None:
            other = "B" if end == "A" else "A"
            lines.append(
                f"a short run from {end} came nearer to {other} after {left:.3g} ps, and its frames from then on are "
                "left out: the barrier between them is low, or the structure is not that of a basin"
            )
    for telling in found.features:
        for k, name in enumerate("AB"):
            away = telling.mean[k] - telling.ends[k]
            if telling.candidate.variable.periodic:
                away = (away + np.pi) % (2 * np.pi) - np.pi
            if abs(away) > DRIFTED * telling.spread[k] > 0:
                lines.append(
                    f"{telling.candidate.name} is {spoken(telling, telling.ends[k])} in structure {name}, but "
                    f"{_mean(telling, k)} in short runs from it: the structure is at the edge of its basin"
                )
    for telling in found.tellings:
        if telling.candidate.rank == "peptide bond" and abs(telling.change) > np.pi / 2:
            cis = "A" if abs(telling.ends[0]) < np.pi / 2 else "B"
            lines.append(
                f"the peptide bond {telling.candidate.name} is cis in {cis} and trans in the other end: unless this is "
                "what the transition is about, correct the structure"
            )
    total = sum(stage.seconds for stage in found.stages)
    if total > 3600 * found.hours:
        lines.append(
            f"even a small run takes {spoken_time(total)} here, more than --hours {found.hours:g}: use more cores or a "
            "GPU, or a smaller system"
        )
    return lines


def _differences(found: Initialised) -> list[str]:
    lines = ["What tells A from B", f"  heavy atoms    RMSD {found.rmsd:.3f} nm"]
    turned = [t for t in found.tellings if t.candidate.variable.periodic and abs(t.change) >= LEAST_TURN]
    for telling in sorted(turned, key=lambda t: -abs(t.change))[:MOST_ROWS]:
        a, b = (spoken(telling, telling.ends[k]) for k in (0, 1))
        lines.append(
            f"  {telling.candidate.name:14} turns by {spoken(telling, telling.change)}, from {a} to {b}"
        )
    if len(turned) > MOST_ROWS:
        lines.append(
            f"  and {len(turned) - MOST_ROWS} more torsions by {spoken(turned[0], LEAST_TURN)} or more"
        )
    for telling in found.tellings:
        if telling.candidate.group == "distances":
            a, b = (spoken(telling, telling.ends[k]) for k in (0, 1))
            lines.append(f"  {telling.candidate.name:14} {telling.candidate.spoken}, {a} in A, {b} in B")
    if not (found.contacts.formed or found.contacts.broken):
        return [
            *lines,
            f"  contacts       the same (heavy atoms more than {NEIGHBOURS} bonds or residues apart)",
        ]
    for word, pairs in (("formed", found.contacts.formed), ("broken", found.contacts.broken)):
        lines += [f"  contacts       {word}: {_pairs(found, pairs)}"] if pairs else []
    return lines


def _pairs(found: Initialised, pairs: tuple[tuple[int, int], ...]) -> str:
    graph, shown = found.ends.graph(), pairs[:3]
    names = ", ".join(f"{label(graph, i)}...{label(graph, j)}" for i, j in shown)
    return f"{len(pairs)}, such as {names}"


def _short_runs(found: Initialised) -> list[str]:
    n_frames = [len(values) for values in found.runs.values]
    lines = [
        f"Short runs: two of {found.runs.picoseconds:.3g} ps from each end at {found.langevin.temperature:g} K, time "
        f"step {1000 * found.langevin.timestep:g} fs ({n_frames[0]} and {n_frames[1]} frames)"
    ]
    chosen = {t.candidate.name for t in found.features}
    ranked = sorted(found.tellings, key=lambda t: (t.candidate.name not in chosen, -t.separation))
    telling = [t for t in ranked if t.separation >= SEPARATION or t.candidate.name in chosen]
    lines.append(f"  {'':14} {'from A':>20} {'from B':>20}  difference over spread")
    for one in telling[: max(MOST_ROWS, len(chosen))]:
        mark = f"feature ({one.candidate.rank})" if one.candidate.name in chosen else ""
        lines.append(
            f"  {one.candidate.name:14} {_mean(one, 0):>20} {_mean(one, 1):>20}  {one.separation:6.1f}  {mark}".rstrip()
        )
    others = len(telling) - len(chosen)
    if others:
        lines.append(
            f"  {others} more tell A from B as well as that ({SEPARATION:g} or more): --features takes names and groups"
        )
    return lines


def _mean(telling: Telling, end: int) -> str:
    return f"{spoken(telling, telling.mean[end])} ± {spoken(telling, telling.spread[end], 2)}"


def _states(found: Initialised) -> list[str]:
    variables = {t.candidate.name: t.candidate.variable for t in found.tellings}
    lines = ["States"]
    for name, ranges, said in zip("AB", (found.states.a, found.states.b), found.states.spoken(), strict=True):
        text = ", ".join(_range(range_key(variables[key]), bounds) for key, bounds in ranges.items())
        lines.append(f"  {name}  {text}: {said}")
    for name, (_, high) in found.walls.items():
        lines.append(f"  wall: {name} is kept below {high:g} nm")
    return lines


def _range(key: str, bounds: Range) -> str:
    low, high = (f"{x:g}" for x in bounds)
    return f"{key} {low}..{high}"


def _cost(found: Initialised) -> list[str]:
    lines = [
        f"A run here: {found.n_workers} simulations at a time, each {found.steps_per_second:,.0f} steps/s on platform "
        f"{found.platform.name}"
    ]
    for stage in found.stages:
        steps = f"{stage.md_steps / 1e6:9.2f} million steps" if stage.md_steps else ""
        size = spoken_size(stage.disk_bytes) if stage.disk_bytes else ""
        lines.append(
            f"  {stage.stage:16} {spoken_time(stage.seconds):>8} {steps:24} {size:>10}  {stage.assumed}".rstrip()
        )
    total = sum(stage.seconds for stage in found.stages)
    disk = sum(stage.disk_bytes for stage in found.stages)
    return [*lines, f"  {'together':16} {spoken_time(total):>8} {'':24} {spoken_size(disk):>10}"]
