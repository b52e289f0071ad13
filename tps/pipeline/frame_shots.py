"""Shots from a run's weighted frames: made once, by shooting or by the rate, and gone on with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tps.arrays import load_arrays
from tps.config import n_lessons
from tps.conformations import states_next_and_last
from tps.dynamics import OUTSIDE, TransitionDynamics
from tps.paths import LARGEST_MISFIT, FrameShots, ReweightedPaths, n_tasks, shoot_from_frames
from tps.pipeline.dynamics import RunDynamics
from tps.pipeline.folder import Chance, RunFolder
from tps.pipeline.progress import Progress, counted

#: The record of the shots, in the folders of shooting and of the rate.
FRAME_SHOTS = "frame_shots.npz"
#: Passages of plain dynamics that teach a committor, at least.
_LEAST_PASSAGES = 4
#: Why there are none where imported frames have weights that the features do not tell.
UNKNOWN_SELECTION = (
    f"the file's weights are no function of the features (fits to frames miss others by more than {LARGEST_MISFIT:g} "
    "kT), so the distribution that frames were drawn from is not known off the frames: take the biased variables as "
    "features, or more frames"
)


def frame_shots(
    run: RunFolder,
    dynamics: RunDynamics,
    n_shots: int,
    progress: Progress,
    *,
    earlier: FrameShots | None = None,
) -> ReweightedPaths | None:
    """Shoot from the weighted frames; None where S is not known.

    Plain dynamics that went over by itself teaches from where; where there is none, shots that come first.
    With `earlier` shots, what those were taught is taken over, and chance goes on where they ended.
    """
    selection = dynamics.log_selection()
    if selection is None or n_shots < 1:
        return None
    flights = dynamics.transition(run.config.shooting.frame_interval_steps, n_shots)
    seed = run.seeds(Chance.SHOOTING, 4)[3] + (0 if earlier is None else earlier.n_shots)
    positions = run.frame_positions(run.load_frames())
    known = _known_ends(run, flights, positions) if earlier is None else None
    n_learning = n_lessons(n_shots) if earlier is None and known is None else 0
    with progress.task("shots from frames", n_tasks(flights, n_shots, n_learning)) as advance:
        return shoot_from_frames(
            flights,
            positions,
            selection,
            n_shots=n_shots,
            n_learning=n_learning,
            known_ends=known,
            seed=seed,
            max_frames=run.config.shooting.max_frames,
            executor=dynamics.executor,
            taught_by=earlier,
            done=counted(advance),
        )


def _known_ends(
    run: RunFolder, flights: TransitionDynamics, positions: NDArray[np.floating]
) -> NDArray[np.int64] | None:
    """Return where plain dynamics among the frames goes next and was last (n_frames, 2); None where it goes not over.

    Grown frames have walkers of plain dynamics after those of their ladders.
    """
    method, walker = run.sampling.method, run.load_frames().walker
    if method not in ("md", "grow"):
        return None
    plain = walker >= (run.config.grow.n_ladders if method == "grow" else 0)
    ends = np.full((len(walker), 2), OUTSIDE, dtype=np.int64)
    ends[plain] = states_next_and_last(
        walker[plain], flights.states(flights.points(positions[plain])), OUTSIDE
    )
    known = (ends != OUTSIDE).all(axis=1)
    under_way = known & (ends[:, 0] != ends[:, 1])
    n_passages = int(np.count_nonzero(np.diff(under_way.astype(np.int8)) == 1))
    return ends if n_passages >= _LEAST_PASSAGES else None


def shots_key(run: RunFolder) -> str:
    """Return what shots depend on beside their number: the frames, the states, the seed, and how flights are seen."""
    section = run.config.shooting
    frames = run.manifest()["stages"]["conformations"]["key"]
    return f"{frames} {section.n_frame_shots} {section.frame_interval_steps} {section.max_frames}"


def stored_shots(run: RunFolder, *files: Path) -> FrameShots | None:
    """Return the first of some stored records that belongs to the present settings; None where none does."""
    for file in files:
        if file.is_file() and str(load_arrays(file).get("key")) == shots_key(run):
            return FrameShots.load(file)
    return None
