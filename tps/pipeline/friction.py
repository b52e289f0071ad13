"""Friction along the curve that paths follow: measured in runs under tilts that stand still, kept beside the paths."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tps.analysis import Friction, MeasuredFriction, Metric, dissipation_metric, friction_from_series
from tps.arrays import load_arrays, save_arrays
from tps.errors import RunFolderError
from tps.paths import HeldSettings, Windows, starts_along, tangents
from tps.pipeline.dynamics import RunDynamics
from tps.pipeline.folder import Chance, RunFolder, digest
from tps.pipeline.geodesic import StoredCurve, load_curve
from tps.pipeline.progress import Progress

#: Where it lies in the run folder.
FRICTION_FILE = "paths/friction.npz"
#: Runs go on where the relative error is larger, at most so many times, each time as long as all before.
_RELATIVE_ERROR, _ROUNDS = 0.3, 4
#: What the reader of that file looks at: see `load_arrays`.
_LAYOUT = {
    "s": "f n",
    "eta": "f n t",
    "tangent": "f n t",
    "zeta": "f n t t",
    "covariance": "f n t t",
    "interval": "f n",
    "friction_error": "F n",
    "resolved": "b n",
}
#: Part of a run's steps that comes first and is thrown away.
_EQUILIBRATION = 0.2


def load_friction(run: Path) -> MeasuredFriction:
    """Return the friction of a run folder.

    Raises
    ------
    RunFolderError
        If there is none.
    """
    if not (run / FRICTION_FILE).is_file():
        raise RunFolderError(
            f"there is no friction in {run}: run `tps paths {run} --protocol friction`, which measures it"
        )
    return MeasuredFriction(**load_arrays(run / FRICTION_FILE, layout=_LAYOUT))


def measure_friction(
    run: RunFolder, out: Path, dynamics: RunDynamics, curve: StoredCurve, progress: Progress
) -> tuple[MeasuredFriction, int, list[str]]:
    """Measure the friction along a curve into `out`, or take what is there if it is of the same curve and settings.

    Returns
    -------
    measured : MeasuredFriction
    n_evaluations : int
        Force evaluations that it took now.
    notes : list of str
    """
    section, old = run.config.paths, run.path / FRICTION_FILE
    interval = section.n_steps // section.n_updates
    key = digest(
        curve.eta.tobytes(),
        run.system_digest.encode(),
        repr((section.n_friction_places, section.n_friction_steps, interval, *_dynamics(run))).encode(),
    )
    (out / FRICTION_FILE).parent.mkdir(exist_ok=True)
    if old.is_file() and str(load_arrays(old)["key"]) == key:
        shutil.copyfile(old, out / FRICTION_FILE)
        return load_friction(run.path), 0, []
    windows = Windows.along(curve.s, curve.eta, section.n_friction_places, untilted=False)
    starts, n_starts = _starts(run, dynamics, curve, windows)
    tangent = tangents(curve.s, curve.eta, windows.s)
    found, n_evaluations = _measured(run, dynamics, windows.eta, tangent, starts, interval, progress)
    measured = MeasuredFriction.of(windows.s, windows.eta, tangent, found)
    save_arrays(out / FRICTION_FILE, key=np.array(key), **vars(measured))
    return measured, n_starts + n_evaluations, _notes(measured)


def predicted_dissipation(run: RunFolder, *, fisher: bool) -> Metric:
    """Return the work that a slow protocol along the main curve dissipates [kT], by the friction that was measured.

    `fisher` asks for equal Fisher-Rao steps instead of equal steps of the friction length.
    """
    return dissipation_metric(
        load_friction(run.path),
        load_curve(run).s,
        run.config.paths.n_updates,
        fisher=fisher,
        time_unit=run.system.time_unit,
    )


def _dynamics(run: RunFolder) -> tuple[object, ...]:
    """Return what of the run's section fixes its dynamics and its chance."""
    section = run.config.run
    return (section.seed, section.timestep_ps, section.friction_per_ps)


def _starts(
    run: RunFolder, dynamics: RunDynamics, curve: StoredCurve, windows: Windows
) -> tuple[NDArray[np.float64], int]:
    """Return starts (2, n, ...) from one annealed path from A and one from B, and what they cost."""
    seeds, found, n_evaluations = run.seeds(Chance.FRICTION_STARTS, 2), [], 0
    for seed, backward in zip(seeds, (False, True), strict=True):
        paths, positions = dynamics.annealed(curve, [seed], lambda n: None, backward=backward)
        n_evaluations += paths.n_evaluations
        if positions[0] is None:
            raise RunFolderError(f"friction starts from a path along the curve, but it {paths.status[0]}")
        statistics = run.system.space.statistic(run.system.feature_values(positions[0]))
        found.append(starts_along(windows, paths.s, positions[0], statistics))
    return np.stack(found), n_evaluations


def _measured(
    run: RunFolder,
    dynamics: RunDynamics,
    eta: NDArray[np.float64],
    tangent: NDArray[np.float64],
    starts: NDArray[np.float64],
    interval: int,
    progress: Progress,
) -> tuple[list[Friction], int]:
    """Return the friction at every place, and what it cost: twice as long where T relaxes slowly, again and again."""
    n_chains, n = starts.shape[:2]
    n_frames = max(8, -(-run.config.paths.n_friction_steps // interval))
    times = interval * dynamics.timesteps(eta)
    seeds = iter(run.seeds(Chance.FRICTION, n_chains * n * _ROUNDS))
    series: list[list[NDArray[np.float64]]] = [[] for _ in range(n)]
    found: list[Friction | None] = [None] * n
    todo, x, n_evaluations = list(range(n)), starts.copy(), 0
    settings = HeldSettings(n_frames, interval, int(_EQUILIBRATION * n_frames) * interval)
    for _ in range(_ROUNDS):
        runs = n_chains * len(todo)
        with progress.task("friction", runs) as advance:
            held = dynamics.held(
                np.tile(eta[todo], (n_chains, 1)),
                x[:, todo].reshape(runs, *x.shape[2:]),
                settings,
                [next(seeds) for _ in range(runs)],
                advance,
            )
        n_evaluations += held.n_evaluations
        x[:, todo] = held.last.reshape(n_chains, len(todo), *x.shape[2:])
        seen = held.statistics.reshape(n_chains, len(todo), *held.statistics.shape[1:])
        for column, place in enumerate(todo):
            series[place].append(seen[:, column])
            found[place] = friction_from_series(np.concatenate(series[place], axis=1), times[place])
        n_frames = sum(part.shape[1] for part in series[todo[0]])
        todo = [k for k in todo if (f := found[k]) is not None and not _settled(f, tangent[k])]
        if not todo:
            break
        settings = HeldSettings(n_frames, interval)
    return [f for f in found if f is not None], n_evaluations


def _settled(found: Friction, direction: NDArray[np.float64]) -> bool:
    return found.resolved and found.error_along(direction) <= _RELATIVE_ERROR * found.along(direction)


def _notes(measured: MeasuredFriction) -> list[str]:
    if measured.resolved.all():
        return []
    return [
        f"friction at s = {measured.unresolved} is a lower bound: T relaxes there more slowly than the runs last; "
        "raise paths.n_friction_steps"
    ]
