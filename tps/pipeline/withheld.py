"""What of a run's numbers is withheld, and why: the tests are of `tps.analysis` and `tps.spacetime`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tps.analysis import Metric, frames_anchored_difference, model_difference
from tps.conformations import Conformations
from tps.pipeline.folder import RunFolder
from tps.pipeline.geodesic import FISHER_CLOCK, MAIN, load_curve
from tps.pipeline.growth.rounds import GROWTH
from tps.pipeline.sample import frames_verdict
from tps.spacetime import SUPPORTED_FRAMES, indistinct_ends, needed_support
from tps.stored import read_json


def one_end(run: RunFolder, solved: Mapping[str, Any]) -> str:
    """Return why the anchored ends of a solved geodesic are one and the same; "" if they are two."""
    return indistinct_ends(solved["geodesic_length"], solved["anchor_log_snr"])


def weightless(run: RunFolder, frames: Conformations) -> str:
    """Return why the weighted frames do not tell how likely A is against B; "" if they do."""
    places = run.frame_positions(frames)
    doubt = grown_doubt(run.path / "conformations")
    return frames_verdict(run.system, run.sampling, frames, places, doubt).weightless


def few_carry(frames: Conformations, *, grid: bool) -> str:
    """Return why averages over all conformations, and the rates that they normalise, rest on a few frames; "" if not.

    Differences of two regions, each with frames of its own, may be known all the same. A grid is exact.
    """
    n = frames.effective_sample_size
    if grid or n >= SUPPORTED_FRAMES:
        return ""
    largest = float(np.exp(frames.log_weights.max()))
    return (
        f"{n:.1f} effective frames of {frames.n_frames:,} carry the weight of all conformations, one of them "
        f"{largest:.0%} of it, where {SUPPORTED_FRAMES:g} are needed: sample longer"
    )


def grown_doubt(folder: Path) -> str:
    """Return why grown frames in a folder do not tell how likely A is against B; "" if they do, or did not grow."""
    said = folder / GROWTH
    return str(read_json(said)["doubt"]) if said.is_file() else ""


def as_sure_as_grown(run: RunFolder, found: Metric, kt: float) -> Metric:
    """Return what the weighted frames say of B - A, with an error no smaller than that of growing, where they grew.

    Their weights come from one pool; what chains and rounds apart say of the difference [kT] is its error.
    """
    said = run.path / "conformations" / GROWTH
    if found.value is None or not said.is_file():
        return found
    while_growing = read_json(said)["rounds"][-1].get("difference_error")
    if while_growing is None:  # nothing could be weighed: the number is withheld by the doubt of growing
        return found
    least = kt * float(while_growing)
    if found.error is not None and found.error >= least:
        return found
    definition = (
        found.definition
        + " The error is that of F(B) - F(A) while growing: scatter of the ladders and drift from round to round."
    )
    return replace(found, error=least, definition=definition)


def model_free_energy(
    run: RunFolder, frames: Conformations, solved: Mapping[str, Any], doubt: str, method: str = MAIN
) -> Metric:
    """Return F(η_B) - F(η_A) by the model [kT], without springs, as it stands along a method's curve.

    `doubt` is why nothing that rests on the frames' weights of A and B is believed: `one_end`, `weightless`, or "".

    A model that knows ψ gives every curve between the same ends one number, which is judged along the main curve; one
    that knows μ alone integrates it along each.
    """
    curves = solved["curves"]
    curve = curves[MAIN if "max_psi_error" in curves[MAIN] or method == FISHER_CLOCK else method]
    space, eta = run.system.space, load_curve(run).eta
    by_frames = as_sure_as_grown(
        run,
        frames_anchored_difference(
            frames, space.statistic(frames.values), eta[0], eta[-1], kt=1.0, unit="kT"
        ),
        1.0,
    )
    found = model_difference(
        curve["delta_psi_model"],
        curve["delta_psi_frames"],
        frames_error=0.0 if run.on_grid else by_frames.error,
        largest_gap=curve.get("max_psi_error"),
        support=curve["min_effective_sample_size"],
        needed=needed_support(space.n_features, run.on_grid),
    )
    return Metric(None, None, "kT", found.definition, doubt) if doubt else found
