"""The numbers of a run that a reader looks at first, beside those of its candidates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tps.report import format_quantity

Rows = list[tuple[str, str]]


def ensemble_rows(content: Mapping[str, Any]) -> Rows:
    """Return what shooting and committors say of the unbiased ensemble."""
    metrics, rows = content["metrics"], []
    if "ensemble" in content:
        moves, n = metrics["shooting_moves"]["value"], metrics["decorrelated_paths"]["value"]
        rows += [
            ("paths", f"{n:.0f} decorrelated ones of {moves:.0f} moves"),
            ("maximum energy above A", format_quantity(metrics["ensemble_u_max_minus_a"])),
            ("mean transition time", format_quantity(metrics["mean_transition_time"])),
        ]
        if "transition_time_from_frames" in metrics:
            rows.append(("the same, from frames", format_quantity(metrics["transition_time_from_frames"])))
        rows.append(("between halves of the chains", format_quantity(metrics["divergence_between_halves"])))
        rows += [
            (f"channel {number + 1}", f"{name}: {format_quantity(share)}")
            for number, (name, share) in enumerate(content["ensemble"]["channels"].items())
        ]
    if "committor" in metrics:
        rows.append(("p_B of transition states", format_quantity(metrics["committor"])))
    return rows


def free_energy_rows(content: Mapping[str, Any]) -> Rows:
    """Return the free energies from windows."""
    metrics = content["metrics"]
    if "free_energy" not in content:
        return []
    return [
        ("B - A, anchored, all roads", format_quantity(metrics["free_energy_anchored"])),
        ("B - A, regions, all roads", format_quantity(metrics["free_energy_regions"])),
        ("barrier above A", format_quantity(metrics["free_energy_barrier_a"])),
        ("barrier above B", format_quantity(metrics["free_energy_barrier_b"])),
    ]


def rate_rows(metrics: Mapping[str, Any]) -> Rows:
    """Return the rates both ways, and that by the flux."""
    rows = [
        (label, _rate_text(metrics[f"rate_{way}"], metrics[f"first_passage_{way}"]))
        for way, label in (("a_to_b", "from A to B"), ("b_to_a", "from B to A"))
        if f"rate_{way}" in metrics
    ]
    if "rate_by_flux" in metrics:
        rows.append(("from A to B by the flux", format_quantity(metrics["rate_by_flux"])))
    return rows


def cost_rows(metrics: Mapping[str, Any]) -> Rows:
    """Return the force evaluations of everything, of the candidates and of an unbiased path."""
    counts = {
        "force evaluations": "evaluations_total",
        "for the candidates": "evaluations_for_paths",
        "per decorrelated path": "evaluations_per_decorrelated_path",
    }
    return [
        (label, f"{metrics[name]['value']:,.0f}") for label, name in counts.items() if _known(metrics, name)
    ]


def _known(metrics: Mapping[str, Any], name: str) -> bool:
    return name in metrics and metrics[name]["value"] is not None


def _rate_text(rate: Mapping[str, Any], time: Mapping[str, Any]) -> str:
    text = format_quantity(rate)
    return text if rate["value"] is None else f"{text}, after {format_quantity(time)}"
