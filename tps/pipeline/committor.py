"""Committors of a run: the transition states of its unbiased paths, and p_B of any frames a user asks for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from numpy.typing import NDArray

from tps.analysis import Metric, Metrics
from tps.analysis.metrics import mean_and_deviation
from tps.apart import SUFFIXES as APART
from tps.apart import load_apart
from tps.arrays import load_arrays, read_npy, save_arrays
from tps.conformations import write_dcd
from tps.errors import ParameterError, RunFolderError, reason_of
from tps.files import check_unpacked, whole
from tps.paths import (
    CommittorEstimate,
    committor_histogram,
    estimate_committor,
    find_transition_states,
    load_transition_paths,
)
from tps.pipeline.dynamics import Positions, run_dynamics
from tps.pipeline.folder import Chance, RunFolder, write_json
from tps.pipeline.progress import Progress
from tps.pipeline.stage import StageResult
from tps.quiet import silent_stdout
from tps.stored import remedy

#: Where the transition states lie in a run folder.
TRANSITION_STATES = "committor/ts"
#: What the reader of a file of committors looks at: see `load_arrays`.
_LAYOUT = {
    "frame": "n n",
    "values": "f n d",
    "n_a": "n n",
    "n_b": "n n",
    "p_b": "F n",
    "path_index": "?n n",
}


@dataclass(frozen=True, eq=False)
class FrameCommittors:
    """p_B of frames that a user asked for.

    Attributes
    ----------
    frames : (n,) int array
        Their numbers in the path or the file.
    positions : (n, ...) array
    estimate : CommittorEstimate
    """

    frames: NDArray[np.int64]
    positions: Positions
    estimate: CommittorEstimate


def transition_states(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Look for a transition state on paths of the ensemble, and shoot from each anew."""
    section, max_frames = run.config.committor, run.config.shooting.max_frames
    paths = load_transition_paths(run.path / "shooting")
    spread = np.flatnonzero(paths.decorrelated)
    chosen = spread[np.unique(np.linspace(0, len(spread) - 1, section.n_paths).astype(int))]
    with run_dynamics(run, progress) as dynamics, progress.task("committor", 1) as advance:
        n_flights = len(chosen) * section.n_shots
        flights = dynamics.transition(run.config.shooting.frame_interval_steps, n_flights)
        found = find_transition_states(
            flights,
            [paths.positions[i] for i in chosen],
            n_shots=section.n_shots,
            n_search_shots=-(-section.n_shots // 2),
            seed=run.seeds(Chance.COMMITTOR, 1)[0],
            max_frames=max_frames,
            executor=dynamics.executor,
        )
        advance(1)
    folder, estimate = out / TRANSITION_STATES, found.estimate
    folder.mkdir(parents=True)
    _save(run, folder, "states", found.positions)
    _save(run, folder, "transition_states", found.ensemble)
    save_arrays(
        folder / "committor.npz",
        path_index=chosen,
        frame=found.frames,
        values=run.system.feature_values(found.positions),
        **_arrays(estimate),
    )
    metrics = committor_metrics(estimate)
    write_json(folder / "result.json", {name: metric.as_dict() for name, metric in metrics.items()})
    lost = int(estimate.n_unfinished.sum() + estimate.n_failed.sum())
    notes = () if lost == 0 else (f"{lost} committor shots reached neither state within {max_frames} frames",)
    known = estimate.p_b[estimate.n_finished > 0]
    details = {
        "states": len(found.frames),
        "in_transition_ensemble": int(estimate.in_transition_ensemble.sum()),
        **({"mean_p_b": round(float(np.mean(known)), 3)} if len(known) else {}),
    }
    return StageResult(found.n_search_steps + estimate.n_steps, dynamics.platform_name, notes, details)


def committor_metrics(estimate: CommittorEstimate) -> Metrics:
    """Return what the committors of the states found say."""
    histogram = committor_histogram(estimate)
    known = estimate.p_b[estimate.n_finished > 0]
    return {
        "transition_states": Metric(
            int(estimate.in_transition_ensemble.sum()),
            None,
            "count",
            f"States with 0.4 ≤ p_B ≤ 0.6, of {len(known)} found by bisection, by shots of their own.",
        ),
        "committor": Metric(
            *mean_and_deviation(known),
            "",
            "Mean p_B of the states found, by shots of their own; the error is the standard deviation over states, of "
            f"which {histogram.binomial_deviation:.3f} comes from the number of shots alone.",
        ),
    }


def committor_of_path(
    run: RunFolder, path: int, n_frames: int, n_shots: int, progress: Progress
) -> FrameCommittors:
    """Return p_B of frames spread over one path of the ensemble, its ends included."""
    paths = load_transition_paths(run.path / "shooting")
    if path >= len(paths):
        raise ParameterError(
            f"the ensemble of {run.path} has paths 0 to {len(paths) - 1}, but {path} was asked for"
        )
    positions = paths.positions[path]
    frames = np.unique(np.linspace(0, len(positions) - 1, n_frames).round().astype(np.int64))
    return _committors(run, positions, frames, n_shots, progress, key=path)


def committor_of_file(
    run: RunFolder, file: Path, n_frames: int | None, n_shots: int, progress: Progress
) -> FrameCommittors:
    """Return p_B of the frames of a trajectory, or of `n_frames` of them.

    Raises
    ------
    ParameterError
        If it cannot be read as a trajectory of this molecule.
    """
    positions = read_positions(run, file)
    n = len(positions) if n_frames is None else min(n_frames, len(positions))
    frames = np.unique(np.linspace(0, len(positions) - 1, n).round().astype(np.int64))
    return _committors(run, positions, frames, n_shots, progress, key=-1)


def read_positions(run: RunFolder, file: Path) -> Positions:
    """Read a trajectory of this run's molecule [nm], or points of a surface from text columns or an npy file."""
    system = run.system
    if not file.is_file():
        raise RunFolderError(f"there is no file {file}: give ts, path, or a trajectory")
    try:
        check_unpacked(file)
        if run.surface is not None:
            positions: Positions = np.atleast_2d(
                read_npy(file) if file.suffix == ".npy" else np.loadtxt(file)
            )
        else:
            with silent_stdout():
                topology = run.molecule.mdtraj_topology
                if file.suffix.lower() in APART:
                    positions = load_apart(file, topology)[0].xyz
                else:
                    positions = mdtraj.load(str(file), top=topology).xyz
    except Exception as error:  # MDTraj's readers raise whatever a damaged file leads them to
        raise ParameterError(
            f"{file} cannot be read as frames of {system.name}: {reason_of(error)}"
        ) from error
    if positions.dtype.kind not in "iuf":
        raise ParameterError(f"{file} should hold numbers, but holds {positions.dtype}")
    if positions.shape[1:] != system.ends.shape[1:] or not np.isfinite(positions).all():
        raise ParameterError(
            f"{file} should hold frames of shape {system.ends.shape[1:]} and finite numbers, but its frames have shape "
            f"{positions.shape[1:]} and {int((~np.isfinite(positions)).sum())} numbers that are not finite"
        )
    return positions


def save_committors(run: RunFolder, name: str, found: FrameCommittors) -> Path:
    """Write committor/NAME.npz, replacing it at one stroke, and return it."""
    file = run.path / "committor" / f"{name}.npz"
    file.parent.mkdir(exist_ok=True)
    values = run.system.feature_values(found.positions)
    with whole(file) as partial:
        save_arrays(partial, frame=found.frames, values=values, **_arrays(found.estimate))
    return file


def load_committors(file: Path, lengths: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Read committors of frames of unbiased paths.

    Parameters
    ----------
    file : Path
        One that knows its paths by `path_index`, or holds frames of one path.
    lengths : (n_paths,) int array
        Frames of each path; of the one path, (1,).

    Raises
    ------
    RunFolderError
        If it is damaged, or of frames that are not there.
    """
    data = load_arrays(file, layout=_LAYOUT)
    path = data.get("path_index", np.zeros_like(data["frame"]))
    if (path >= len(lengths)).any() or (data["frame"] >= lengths[path]).any():
        raise RunFolderError(f"{file} is damaged, it names frames that are not there: {remedy(file)}")
    return data


def _committors(
    run: RunFolder,
    positions: Positions,
    frames: NDArray[np.int64],
    n_shots: int,
    progress: Progress,
    key: int,
) -> FrameCommittors:
    section = run.config.shooting
    with run_dynamics(run, progress) as dynamics, progress.task("committor", 1) as advance:
        estimate = estimate_committor(
            dynamics.transition(section.frame_interval_steps, len(frames) * n_shots),
            positions[frames],
            n_shots,
            seed=run.seeds(Chance.COMMITTOR, 2)[1],
            max_frames=section.max_frames,
            executor=dynamics.executor,
            key=(key + 1,),
        )
        advance(1)
    return FrameCommittors(frames, positions[frames], estimate)


def _arrays(estimate: CommittorEstimate) -> dict[str, Any]:
    counts = asdict(estimate)
    del counts["n_steps"]
    return {**counts, "p_b": estimate.p_b, "error": estimate.error}


def _save(run: RunFolder, folder: Path, name: str, positions: Positions) -> None:
    if not len(positions):
        return
    if run.surface is None:
        write_dcd(folder / f"{name}.dcd", np.asarray(positions, dtype=np.float32), run.box)
    else:
        np.save(folder / f"{name}.npy", positions)
