"""What the conformations stage says of a third basin, and its structure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tps.conformations import Conformations, find_third_basin, read_dcd
from tps.pipeline.folder import RunFolder
from tps.pipeline.growth import ROUNDS
from tps.pipeline.sample import SampledConformations

#: The structure of a third basin, in conformations/, and its name among the details of that stage.
THIRD_BASIN, THIRD = "third_basin.pdb", "third_basin"


def third_basin(
    run: RunFolder, folder: Path, sampled: SampledConformations
) -> tuple[str, dict[str, Any] | None]:
    """Return what is to be said of a third basin, and its numbers, and write its structure into conformations/.

    "" and None where there is none. It shows in the time of walkers: of frames that grew, in that of the plain dynamics
    which they began with.
    """
    walks, positions, per_frame = _walks(run, folder, sampled)
    system = run.system
    at = system.values(walks.values if positions is None else positions)
    in_a, in_b = (state.region.contains(at) for state in (system.state_a, system.state_b))
    found = find_third_basin(system.space, walks.values, walks.walker, in_a, in_b)
    if found is None:
        return "", None
    if positions is not None:
        run.write_structure(folder / THIRD_BASIN, positions[found.frame])
    frames = sampled.frames
    places = system.values(frames.values if sampled.positions is None else sampled.positions)
    outside = ~(system.state_a.region.contains(places) | system.state_b.region.contains(places))
    inside = found.contains(system.space, frames.values) & outside
    share = float(np.exp(frames.log_weights[inside]).sum())
    return found.sentence(share, per_frame), found.as_dict(share, per_frame)


def _walks(
    run: RunFolder, folder: Path, sampled: SampledConformations
) -> tuple[Conformations, NDArray[np.floating] | None, float | None]:
    """Return frames whose walkers went on in time, their positions, and the time from one to the next [ps]."""
    config, molecular = run.config, run.surface is None
    step = config.run.timestep_ps
    if run.sampling.method == "grow":
        basins = folder / ROUNDS / "basins"
        frames = Conformations.load(basins / "data.npz")
        positions = read_dcd(basins / "frames.dcd") if molecular else None
        return frames, positions, step * config.grow.basin_interval_steps if molecular else None
    timed = molecular and run.sampling.method != "import"
    interval = step * config.conformations.frame_interval_steps
    return sampled.frames, sampled.positions, interval if timed else None
