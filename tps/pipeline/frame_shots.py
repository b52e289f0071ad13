"""Shots from a run's weighted frames: made once, by shooting or by the rate, and gone on with."""

from __future__ import annotations

from pathlib import Path

from tps.arrays import load_arrays
from tps.dynamics import TransitionDynamics
from tps.paths import LARGEST_MISFIT, FrameShots, ReweightedPaths, n_tasks, shoot_from_frames
from tps.pipeline.dynamics import RunDynamics
from tps.pipeline.folder import Chance, RunFolder
from tps.pipeline.progress import Progress, counted

#: The record of the shots, in the folders of shooting and of the rate.
FRAME_SHOTS = "frame_shots.npz"
#: Why there are none where imported frames have weights that the features do not tell.
UNKNOWN_SELECTION = (
    f"the file's weights are no function of the features (fits to frames miss others by more than {LARGEST_MISFIT:g} "
    "kT), so the distribution that frames were drawn from is not known off the frames: take the biased variables as "
    "features, or more frames"
)


def frame_shots(
    run: RunFolder,
    dynamics: RunDynamics,
    flights: TransitionDynamics,
    n_shots: int,
    progress: Progress,
    *,
    earlier: FrameShots | None = None,
) -> ReweightedPaths | None:
    """Shoot from the weighted frames, after half as many shots that teach from where; None where S is not known.

    With `earlier` shots, what those were taught is taken over, and chance goes on where they ended.
    """
    selection = dynamics.log_selection()
    if selection is None or n_shots < 1:
        return None
    seed = run.seeds(Chance.SHOOTING, 4)[3] + (0 if earlier is None else earlier.n_shots)
    n_learning = n_shots // 2 if earlier is None else 0
    with progress.task("shots from frames", n_tasks(flights, n_shots, n_learning)) as advance:
        return shoot_from_frames(
            flights,
            run.frame_positions(run.load_frames()),
            selection,
            n_shots=n_shots,
            n_learning=n_learning,
            seed=seed,
            max_frames=run.config.shooting.max_frames,
            executor=dynamics.executor,
            taught_by=earlier,
            done=counted(advance),
        )


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
