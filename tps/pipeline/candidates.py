"""The paths stage: dynamics under a tilt that moves along the curve, and along the straight lines beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tps.engine import (
    LangevinSettings,
    PlatformChoice,
    choose_platform,
    default_workers,
    executor_kind,
    local_executor,
)
from tps.errors import ConfigError
from tps.paths import (
    AnnealingSettings,
    OverdampedSettings,
    PathEnsemble,
    annealed_paths,
    overdamped_annealed_paths,
    save_paths,
)
from tps.pipeline.folder import RunFolder
from tps.pipeline.geodesic import BASELINES, MAIN, curve_file
from tps.pipeline.progress import Progress, counted
from tps.pipeline.stage import StageResult
from tps.systems import MolecularSystem, SurfaceSystem, parse_region

#: From a curve (s, eta), seeds, whether walls stand, and a progress bar to paths and their positions, where stored.
PathMaker = Callable[
    [NDArray[np.float64], NDArray[np.float64], list[int], bool, Callable[[int], None]],
    tuple[PathEnsemble, Sequence[NDArray[np.float32] | None]],
]


def make_paths(run: RunFolder, out: Path, progress: Progress) -> StageResult:
    """Run the paths of the main curve and of the straight lines, and write them."""
    section = run.config.paths
    platform = run_platform(run, progress) if isinstance(run.system, MolecularSystem) else None
    notes: list[str] = []
    evaluations, details = 0, {}
    with _path_maker(run, platform) as make:
        for number, method in enumerate((MAIN, *BASELINES)):
            n_paths = section.n_paths if method == MAIN else section.n_baseline_paths
            if n_paths == 0:
                continue
            with np.load(run.path / "geodesic" / curve_file(method)) as curve:
                s, eta = curve["s"], curve["eta"]
            spoken = method.replace("_", " ")
            with progress.task(spoken, n_paths) as advance:
                ensemble, positions = make(s, eta, run.seeds(3 + number, n_paths), method == MAIN, advance)
            save_paths(out / path_folder(method), ensemble, positions)
            evaluations += ensemble.n_evaluations
            n_failed = int((~ensemble.completed).sum())
            details[method] = {
                "started": n_paths,
                "completed": n_paths - n_failed,
                "reactive": int(ensemble.reactive.sum()),
            }
            if n_failed:
                first = ensemble.status[~ensemble.completed][0]
                notes.append(f"{n_failed} of {n_paths} {spoken} failed; the first: {first}")
    main = details[MAIN]
    failure = f"all {main['started']} paths failed: {notes[0]}" if main["completed"] == 0 else ""
    return StageResult(
        evaluations, None if platform is None else platform.name, tuple(notes), details, failure
    )


def path_folder(method: str) -> str:
    """Return where the paths of a method lie in the run folder."""
    return "paths" if method == MAIN else f"baselines/{method}"


def langevin(run: RunFolder) -> LangevinSettings:
    """Return the dynamics of this run's molecule."""
    section = run.config.run
    return LangevinSettings(run.molecule.temperature, section.timestep_ps, section.friction_per_ps)


def n_workers(run: RunFolder) -> int:
    """Return the number of workers to use."""
    return run.config.run.n_workers or default_workers()


def run_platform(run: RunFolder, progress: Progress) -> PlatformChoice:
    """Choose the platform and say so."""
    molecule = run.molecule
    choice = choose_platform(molecule.system_xml, molecule.positions_a, forced=run.config.run.platform)
    progress.say(f"platform: {choice.describe()}")
    return choice


@contextmanager
def _path_maker(run: RunFolder, platform: PlatformChoice | None) -> Iterator[PathMaker]:
    """Yield what makes the paths of this run's system."""
    if isinstance(run.system, SurfaceSystem) or platform is None:
        yield _on_surface(run)
        return
    with local_executor(executor_kind(platform), n_workers(run)) as executor:
        molecule, section = run.molecule, run.config.paths
        walls = tuple(
            parse_region(text, molecule.collective_variables)
            for text in run.config.geodesic.avoid
            if section.enforce
        )

        def make(
            s: NDArray[np.float64],
            eta: NDArray[np.float64],
            seeds: list[int],
            walled: bool,
            advance: Callable[[int], None],
        ) -> tuple[PathEnsemble, Sequence[NDArray[np.float32] | None]]:
            settings = AnnealingSettings(
                n_paths=len(seeds),
                n_steps=section.n_steps,
                n_updates=section.n_updates,
                n_frames=section.n_frames,
                n_equilibration_steps=section.n_equilibration_steps,
                wall_stiffness=section.wall_stiffness_kj_per_mol,
            )
            return annealed_paths(
                molecule,
                s,
                eta,
                settings,
                langevin(run),
                platform,
                seeds,
                executor,
                walls=walls if walled else (),
                done=counted(advance),
            )

        yield make


def _on_surface(run: RunFolder) -> PathMaker:
    system, section = run.system, run.config.paths
    assert isinstance(system, SurfaceSystem)
    if section.enforce:
        raise ConfigError(
            f"paths.enforce walls regions off in OpenMM, and {system.name} is a surface: leave it out, and keep "
            "geodesic.avoid for the geometry"
        )
    settings = OverdampedSettings(
        n_steps=section.n_steps,
        n_updates=section.n_updates,
        n_frames=section.n_frames,
        n_equilibration_steps=section.n_equilibration_steps,
    )

    def make(
        s: NDArray[np.float64],
        eta: NDArray[np.float64],
        seeds: list[int],
        walled: bool,
        advance: Callable[[int], None],
    ) -> tuple[PathEnsemble, Sequence[NDArray[np.float32] | None]]:
        ensemble, _ = overdamped_annealed_paths(system, s, eta, settings, seeds, advance)
        return ensemble, [None] * len(seeds)

    return make
