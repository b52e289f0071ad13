"""Friction along the curve that paths follow: measured in runs under tilts that stand still, kept beside the paths."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tps.analysis import Friction, Metric, friction_from_series
from tps.arrays import load_arrays, save_arrays
from tps.errors import RunFolderError
from tps.paths import CurveFriction, HeldSettings, Windows, starts_along
from tps.pipeline.dynamics import RunDynamics
from tps.pipeline.folder import Chance, RunFolder, digest
from tps.pipeline.geodesic import StoredCurve, load_curve
from tps.pipeline.progress import Progress

#: Where it lies in the run folder.
FRICTION_FILE = "paths/friction.npz"
#: Runs go on where the relative error is larger, at most so many times, each time as long as all before.
_RELATIVE_ERROR, _ROUNDS = 0.3, 4
#: Longest relaxation, as a part of a path's duration, for which its dissipation is predicted.
_SLOW = 0.1
#: Part of a run's steps that comes first and is thrown away.
_EQUILIBRATION = 0.2


@dataclass(frozen=True, eq=False)
class MeasuredFriction:
    """Friction at n places of a curve, as stored.

    Attributes
    ----------
    s : (n,) array
    eta, tangent : (n, K) arrays
        Of the curve; the tangent is dη/ds.
    zeta, covariance : (n, K, K) arrays
        ζ [time], and the metric Cov[T].
    interval : (n,) array
        Time between moves of the tilt there.
    friction_error : (n,) array
        Standard error of η'ᵀ ζ η' [time].
    resolved : (n,) bool array
        Whether the runs outlast the relaxation.
    """

    s: NDArray[np.float64]
    eta: NDArray[np.float64]
    tangent: NDArray[np.float64]
    zeta: NDArray[np.float64]
    covariance: NDArray[np.float64]
    interval: NDArray[np.float64]
    friction_error: NDArray[np.float64]
    resolved: NDArray[np.bool_]

    @property
    def friction_along(self) -> NDArray[np.float64]:
        """η'ᵀ ζ η' (n,) [time]."""
        return np.einsum("na,nab,nb->n", self.tangent, self.zeta, self.tangent)

    @property
    def metric_along(self) -> NDArray[np.float64]:
        """η'ᵀ Cov[T] η' (n,)."""
        return np.einsum("na,nab,nb->n", self.tangent, self.covariance, self.tangent)

    @property
    def curve(self) -> CurveFriction:
        """The friction of the protocol's moves along the curve."""
        return CurveFriction(self.s, self.friction_along / self.interval, self.friction_error / self.interval)


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
    arrays = load_arrays(run / FRICTION_FILE)
    del arrays["key"]
    return MeasuredFriction(**arrays)


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
    slopes = np.gradient(curve.eta, curve.s, axis=0)
    tangent = np.stack([np.interp(windows.s, curve.s, column) for column in slopes.T], axis=1)
    found, n_evaluations = _measured(run, dynamics, windows.eta, tangent, starts, interval, progress)
    measured = MeasuredFriction(
        s=windows.s,
        eta=windows.eta,
        tangent=tangent,
        zeta=np.stack([f.zeta for f in found]),
        covariance=np.stack([f.covariance for f in found]),
        interval=np.array([f.interval for f in found]),
        friction_error=np.array([f.error_along(t) for f, t in zip(found, tangent, strict=True)]),
        resolved=np.array([f.resolved for f in found]),
    )
    save_arrays(out / FRICTION_FILE, key=np.array(key), **vars(measured))
    return measured, n_starts + n_evaluations, _notes(measured)


def predicted_dissipation(run: RunFolder, *, fisher: bool) -> Metric:
    """Return the work that a slow protocol along the main curve dissipates [kT], by the friction that was measured.

    `fisher` asks for equal Fisher-Rao steps instead of equal steps of the friction length.
    """
    measured, curve = load_friction(run.path), load_curve(run.path)
    clock = curve.s if fisher else measured.curve.clock(curve.s)
    value, error = measured.curve.dissipation(curve.s, clock, run.config.paths.n_updates)
    found = Metric(
        value,
        error,
        "kT",
        "Work that linear response expects to be lost, Σ Δηᵀ ζ Δη/Δt over the moves of the tilt in equal steps of "
        + ("Fisher-Rao length" if fisher else "friction length")
        + ", ζ from runs under tilts that stand still; standard error of ζ.",
    )
    return found.unless(_not_slow(run, measured))


def _not_slow(run: RunFolder, measured: MeasuredFriction) -> str:
    """Return why linear response does not hold along the curve; "" if it does."""
    if not measured.resolved.all():
        places = ", ".join(f"{s:.2f}" for s in measured.s[~measured.resolved])
        return f"T relaxes at s = {places} more slowly than the runs last that measure friction"
    relaxation = measured.friction_along / measured.metric_along
    longest, lasts = int(np.argmax(relaxation)), run.config.paths.n_updates * float(measured.interval.mean())
    if relaxation[longest] <= _SLOW * lasts:
        return ""
    return (
        f"linear response needs a slow protocol, but T relaxes in {relaxation[longest]:.3g} "
        f"{run.system.time_unit} at s = {measured.s[longest]:.2f}, and a path lasts {lasts:.3g}"
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
    places = ", ".join(f"{s:.2f}" for s in measured.s[~measured.resolved])
    return [
        f"friction at s = {places} is a lower bound: T relaxes there more slowly than the runs last; raise "
        "paths.n_friction_steps"
    ]
