"""What the verbs of shooting, committors and free energies print of their results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tps.analysis import DIFFERENCES
from tps.pipeline import FrameCommittors, RunFolder, Unbiased, load_chains
from tps.report import format_quantity

Quantities = Mapping[str, Mapping[str, Any]]
#: Columns of a terminal that tables keep to, and the least that a column of numbers takes.
WIDTH, _COLUMN = 100, 24


def side_by_side(rows: Mapping[str, str], columns: Mapping[str, Quantities], width: int) -> str:
    """Return numbers of several sets side by side, one table below the other where they are too many for a line.

    Parameters
    ----------
    rows : mapping of str to str
        What a reader calls each number, by its name; those that no set has are left out.
    columns : mapping of str to mapping
        The numbers of each set by its name, which keeps its end where it is longer than a line.
    width : int
        Of the first column.
    """
    shown = {name: text for name, text in rows.items() if any(name in found for found in columns.values())}
    heads = [
        label if len(label) <= WIDTH - width - 2 else "…" + label[width + 3 - WIDTH :] for label in columns
    ]
    widths = [max(_COLUMN, len(head) + 2) for head in heads]
    tables: list[list[int]] = []
    for column, size in enumerate(widths):
        if not tables or width + size + sum(widths[other] for other in tables[-1]) > WIDTH:
            tables.append([])
        tables[-1].append(column)
    sets = list(columns.values())
    texts = []
    for table in tables:
        lines = [" " * width + "".join(f"{heads[column]:>{widths[column]}}" for column in table)]
        for name, text in shown.items():
            cells = (format_quantity(sets[k][name]) if name in sets[k] else "–" for k in table)
            lines.append(
                f"{text:{width}}" + "".join(f"{c:>{widths[k]}}" for c, k in zip(cells, table, strict=True))
            )
        texts.append("\n".join(lines))
    return "\n\n".join(texts)


def metrics_text(metrics: Quantities) -> str:
    """Return one line per number: name, value with error and unit, or why it is withheld."""
    width = max((len(name) for name in metrics), default=0) + 2
    return "\n".join(f"{name:{width}}{_with_reason(metric)}" for name, metric in metrics.items())


def _with_reason(metric: Mapping[str, Any]) -> str:
    reason = metric.get("withheld")
    return format_quantity(metric) + (f": {reason}" if reason else "")


def shooting_text(folder: Path) -> str:
    """Return what the chains of a run have made, as lines."""
    run = RunFolder.open(folder)
    made = load_chains(run)
    found = made.statistics
    steps = found.steps_per_decorrelated_path
    outcomes = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in found.outcomes.items() if n)
    lines = [
        f"{'moves':24}{found.n_moves} in {len(found.burn_in)} chains, after {found.n_candidate_moves} from candidates",
        f"{'acceptance':24}{100 * found.acceptance:.1f} % ({outcomes})",
    ]
    if not made.n_paths:
        return "\n".join(lines)
    unbiased = Unbiased.load(run)
    lines += [
        f"{'decorrelated paths':24}{sum(found.n_decorrelated)}, {steps:,.0f} force evaluations each",
        f"{'mean transition time':24}{_with_reason(unbiased.transition_time.as_dict())}",
    ]
    for name, share in unbiased.channels().items():
        lines.append(f"{'channel':24}{name}: {_with_reason(share)}")
    lines.append(f"{'switches of channel':24}{unbiased.n_switches()} by the chains")
    return "\n".join(lines)


def shooting_found(folder: Path) -> dict[str, Any]:
    """Return the same for a program, by the names of metrics.json; nothing where no chain has a path that counts."""
    run = RunFolder.open(folder)
    if not load_chains(run).n_paths:
        return {}
    unbiased = Unbiased.load(run)
    metrics = {name: metric.as_dict() for name, metric in unbiased.chain_metrics().items()}
    return {"metrics": metrics, "channels": unbiased.channels(), "switches": unbiased.n_switches()}


def free_energy_text(content: Mapping[str, Any]) -> str:
    """Return the table of roads to each difference, whether they agree, and the barriers."""
    lines = []
    for name, title in DIFFERENCES.items():
        roads = content["roads"][name] | {"all together": content["metrics"][f"free_energy_{name}"]}
        lines += [title, *(f"  {line}" for line in metrics_text(roads).splitlines())]
        lines += [f"  {content['agreement'][name]}"]
    differences = {f"free_energy_{name}" for name in DIFFERENCES}
    shown = {name: metric for name, metric in content["metrics"].items() if name not in differences}
    return "\n".join([*lines, metrics_text(shown)])


def committor_text(found: FrameCommittors) -> str:
    """Return p_B of every frame with its binomial error."""
    estimate = found.estimate
    lines = [f"{'frame':>8}{'p_B':>10}{'error':>9}{'in A':>8}{'in B':>8}{'neither':>9}"]
    lost = estimate.n_unfinished + estimate.n_failed
    rows = zip(found.frames, estimate.p_b, estimate.error, estimate.n_a, estimate.n_b, lost, strict=True)
    lines += [f"{f:8d}{p:10.3f}{e:9.3f}{a:8d}{b:8d}{n:9d}" for f, p, e, a, b, n in rows]
    n_states = int(np.sum(estimate.in_transition_ensemble))
    lines.append(f"{n_states} of {len(found.frames)} frames have 0.4 ≤ p_B ≤ 0.6")
    return "\n".join(lines)
