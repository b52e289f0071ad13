"""The channels of a run in its report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tps.pipeline.channels import barrier_text, channel_file
from tps.pipeline.folder import RunFolder
from tps.pipeline.geodesic import MAIN, load_curve, load_solved
from tps.pipeline.report_unbiased import Picture
from tps.report import ChannelCurve, free_energy_along_channels


def barrier_row(solved: Mapping[str, Any]) -> str:
    """Return the barrier on the curve that the paths follow, above both ends, or why there is none."""
    said = solved["curves"][MAIN]
    if said["barrier"] is None:
        return f"none: {said['no_barrier']}"
    heights = [
        f"{barrier_text(said['barrier'], end)} {said['barrier']['unit']} above {end.upper()}" for end in "ab"
    ]
    return ", ".join(heights)


def channel_curves(run: RunFolder) -> list[ChannelCurve]:
    """Return the channels of a run as a picture draws them."""
    solved, curves = load_solved(run.path), []
    for number, said in enumerate(solved["channels"]):
        curve, barrier = load_curve(run, channel_file(number).removesuffix(".npz")), said["barrier"]
        free = np.array(said["free_energy"] or [np.nan] * len(curve.s), dtype=np.float64)
        error = said["free_energy_error"]
        curves.append(
            ChannelCurve(
                number=number,
                s=curve.s,
                values=run.system.space.center(curve.mu),
                free_energy=free,
                error=np.full_like(free, np.nan) if error is None else np.array(error, dtype=np.float64),
                barrier=barrier_text(barrier, "a") if barrier else "",
                at=int(np.nanargmax(free)) if barrier else len(free) // 2,
                taken=number == solved["channel"],
            )
        )
    return curves


def channel_pictures(run: RunFolder) -> dict[str, Picture]:
    """Return the picture of the free energy along every channel, where there is one to draw."""
    curves = channel_curves(run)
    if not any(np.isfinite(curve.free_energy).any() for curve in curves):
        return {}
    caption = (
        "-kT (ψ - ψ of the tilt alone) along every geodesic: the free energy of the molecule, smoothed by the tilt, "
        "where this is tight enough to mean a place; with the error from the frames."
    )
    figure = free_energy_along_channels(curves, run.system.energy_unit)
    return {"channels": (figure, "Free energy along the channels", caption)}
