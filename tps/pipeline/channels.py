"""The channels of a run: solved, or read again from its folder, and what result.json says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tps.arrays import load_arrays
from tps.config import GeodesicSection
from tps.conformations import Conformations
from tps.pipeline.progress import Progress
from tps.said import SaidGeodesic
from tps.spacetime import (
    MAX_COMBINED_ANGLES,
    Channel,
    Constraint,
    ConstraintReport,
    EmpiricalFamily,
    Family,
    FreeEnergyProfile,
    Geodesic,
    SpacetimeCurve,
    SpacetimePoint,
    Start,
    default_starts,
    feasible_starts,
    find_channels,
    graph_starts,
    via_curves,
    winding_name,
)
from tps.stored import read_json
from tps.systems import System

#: What a file of a curve holds: see `load_arrays`.
CURVE_LAYOUT = {
    "s": "f n",
    "eta": "f n t",
    "center": "f n c",
    "log_snr": "f n",
    "mu": "f n t",
    "psi": "F n",
}
_N_BLOCKS = 10
#: What result.json keeps of a geodesic under the same name.
_TRUST = ("n_iterations", "clamped_energy", "doubtful", "warning")
#: Ways through the frames to start from, where windings do not lead every way round.
_N_GRAPH_PATHS = 3


def channel_file(number: int) -> str:
    """Return the name of a channel's curve in geodesic/."""
    return f"channels/{number}.npz"


def frame_blocks(frames: Conformations, grid: bool) -> Tensor:
    """Return to which of some independent blocks each frame belongs (n_frames,): for errors of free energies.

    Stretches of the walkers' time; of the points of a grid every second one, whose two sums differ by more than the
    grid's own error.
    """
    return torch.arange(frames.n_frames) % 2 if grid else torch.as_tensor(frames.stretches(_N_BLOCKS))


def solve_channels(
    system: System,
    section: GeodesicSection,
    family: Family,
    ends: tuple[SpacetimePoint, SpacetimePoint],
    constraints: list[Constraint],
    frames: EmpiricalFamily,
    blocks: Tensor,
    progress: Progress,
) -> tuple[Channel, ...]:
    """Return the distinct geodesics between the ends, telling how many of the starts are solved."""
    starts: dict[str, Start] = {}
    starts |= via_curves(
        system.space,
        family.spacetime,
        *ends,
        section.via,
        log_snr=section.anchor_level,
        n_points=section.n_points,
    )
    if section.windings is not None:
        starts[winding_name(section.windings)] = section.windings
    if not starts:
        starts |= default_starts(family.spacetime, *ends, section.n_points)
        everywhere = not system.space.n_lines and system.space.n_circles <= MAX_COMBINED_ANGLES
        if not everywhere:
            starts |= graph_starts(
                frames, *ends, section.n_points, n_paths=_N_GRAPH_PATHS, constraints=constraints
            )
        starts = feasible_starts(family, starts, constraints)
    # each start twice: on few points, then on all
    with progress.task("geodesics from each start, coarse then fine", 2 * len(starts)) as advance:
        return find_channels(
            family,
            *ends,
            starts=starts,
            frames=frames,
            blocks=blocks,
            progress=advance,
            n_points=section.n_points,
            representation=section.representation,
            constraints=constraints,
            max_iterations=section.max_iterations,
            free_energy_weight=section.metric_weight,
        )


def read_channels(run: Path, family: Family, frames: EmpiricalFamily, blocks: Tensor) -> tuple[Channel, ...]:
    """Return the channels that the geodesic stage has left in a run folder."""
    folder = run / "geodesic"
    return tuple(
        Channel.of(
            _geodesic(folder / channel_file(number), family, said), tuple(said["starts"]), frames, blocks
        )
        for number, said in enumerate(read_json(folder / "result.json", SaidGeodesic)["channels"])
    )


def _geodesic(file: Path, family: Family, said: dict[str, Any]) -> Geodesic:
    arrays = {name: torch.as_tensor(array) for name, array in load_arrays(file, layout=CURVE_LAYOUT).items()}
    curve = SpacetimeCurve(
        family.spacetime, arrays["eta"], arrays["mu"], arrays["psi"] if family.has_psi else None, arrays["s"]
    )
    reports = [{k: v for k, v in report.items() if k != "satisfied"} for report in said["constraints"]]
    return Geodesic(
        curve=curve,
        length=said["length"],
        curve_energy=said["curve_energy"],
        status=said["status"],
        n_gradient_evaluations=said["n_gradient_evaluations"],
        constraints=tuple(ConstraintReport(**report) for report in reports),
        **{key: said[key] for key in _TRUST},
    )


def channel_said(channel: Channel, system: System, needed: float) -> dict[str, Any]:
    """Return what result.json says of a channel; `needed` is the support without which it has no barrier."""
    geodesic, size = channel.geodesic, channel.effective_sample_size
    return {
        "length": geodesic.length,
        "status": geodesic.status,
        "starts": list(channel.starts),
        "min_log_snr": float(geodesic.curve.log_snr.min()),
        "min_effective_sample_size": None if size is None else float(size.min()),
        **free_energy_said(channel.free_energy, geodesic.curve, system, size, needed),
        "curve_energy": geodesic.curve_energy,
        "n_gradient_evaluations": geodesic.n_gradient_evaluations,
        **{key: getattr(geodesic, key) for key in _TRUST},
        "constraints": reports_said(geodesic.constraints),
    }


def reports_said(reports: Sequence[ConstraintReport]) -> list[dict[str, Any]]:
    """Return what result.json says of constraints."""
    return [{**asdict(report), "satisfied": report.satisfied} for report in reports]


def barrier_text(barrier: Mapping[str, Any], end: str) -> str:
    """Return the height of a barrier of result.json above an end, "a" or "b", with its error."""
    error = barrier[f"error_{end}"]
    return f"{barrier[f'above_{end}']:.1f}" + ("" if error is None else f" ± {error:.1f}")


def constraint_text(report: Mapping[str, Any]) -> str:
    """Return what is said of a constraint of result.json: whether it holds, and what it bounds at its worst."""
    held = "held" if report["satisfied"] else "BROKEN"
    number = report.get("number")
    worst = (
        f"largest violation {report['largest']:.2g}"
        if number is None
        else f"{number:.3g} {report['unit']}".rstrip() + " at its worst"
    )
    return f"{report['name']}: {held}, {worst}, s = {report['at_s']:.2f}"


def free_energy_said(
    profile: FreeEnergyProfile, curve: SpacetimeCurve, system: System, support: Tensor | None, needed: float
) -> dict[str, Any]:
    """Return the free energy along a curve and its barrier, in the system's unit of energy.

    A barrier stands on frames at its top and at both ends: `support` (n_points,) is the effective number of them, and
    at least `needed` must be there.

    Returns
    -------
    dict
        "free_energy" and "free_energy_error": lists, above A, None where the tilt is too weak to mean a place;
        "barrier": heights above A and B with their errors, and where, in the features' user units; None with
        "no_barrier", a sentence, where there is none.
    """
    known, error = profile.means_place.tolist(), profile.error()

    def shown(values: Tensor | None) -> list[float | None] | None:
        if values is None:
            return None
        pairs = zip((system.kt * values).tolist(), known, strict=True)
        return [round(value, 4) if place else None for value, place in pairs]

    said: dict[str, Any] = {"free_energy": shown(profile.values), "free_energy_error": shown(error)}
    barrier = profile.barrier
    if barrier is None:
        first, last = (float(curve.s[index]) for index in profile.loose or (0, -1))
        why = f"the tilt is too weak to mean a place from s = {first:.2f} to {last:.2f}"
        return {**said, "barrier": None, "no_barrier": why}
    if support is not None:
        least = min((0, barrier.index, len(support) - 1), key=lambda index: float(support[index]))
        if support[least] < needed:
            why = (
                f"{float(support[least]):.2g} effective frames carry the data at s = {float(curve.s[least]):.2f}, "
                f"where {needed:g} are needed"
            )
            return {**said, "barrier": None, "no_barrier": why}
    place = system.space.center(curve.eta[barrier.index].numpy()) / system.space.user_scale
    return {
        **said,
        "barrier": {
            "above_a": system.kt * barrier.above_a,
            "error_a": None if barrier.error_a is None else system.kt * barrier.error_a,
            "above_b": system.kt * barrier.above_b,
            "error_b": None if barrier.error_b is None else system.kt * barrier.error_b,
            "unit": system.energy_unit,
            "at_s": float(curve.s[barrier.index]),
            "at": dict(zip(system.space.names, place.tolist(), strict=True)),
        },
    }
