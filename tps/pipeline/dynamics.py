"""What flies in a run: annealed paths, shooting and windows, of a molecule or on a surface, through one interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tps.analysis import log_selection_of_energy
from tps.arrays import load_array, load_arrays
from tps.config import ConformationsSection, PathsSection
from tps.conformations import bias_energies
from tps.dynamics import CopiedDynamics, MoleculeDynamics, SurfaceDynamics, TransitionDynamics
from tps.engine import (
    LangevinSettings,
    PlatformChoice,
    choose_platform,
    executor_kind,
    map_tasks,
    potential_energies,
    shared_executor,
)
from tps.paths import (
    LARGEST_MISFIT,
    AnnealingSettings,
    HeldSeries,
    HeldSettings,
    LogSelection,
    OverdampedSettings,
    PathEnsemble,
    PullSettings,
    Windows,
    WindowSamples,
    WindowSettings,
    annealed_paths,
    biased_selection,
    fitted_selection,
    held_series,
    held_timesteps,
    overdamped_annealed_paths,
    pooled_selection,
    pull_task,
    pulled_candidate,
    sample_surface_windows,
    sample_windows,
    surface_held_series,
    unselected,
)
from tps.pipeline.constraints import avoided_regions
from tps.pipeline.folder import Chance, RunFolder
from tps.pipeline.geodesic import StoredCurve
from tps.pipeline.progress import Progress, counted
from tps.pipeline.replica_exchange import replica_exchange
from tps.pipeline.sample import (
    SampledConformations,
    biased_variables,
    sample_conformations,
    sample_surface_frames,
)
from tps.systems import SurfaceSystem

Positions = NDArray[np.floating]
#: Takes the number of units done so far.
Advance = Callable[[int], None]

#: Time that a shot or a trial path is taken to fly until it is in A or B [ps]; nobody knows before it has.
FLIGHT = 1.0
#: A coarse path is pulled anew in about so many MD steps, whatever its number of frames.
_PULL_STEPS = 30_000


class RunDynamics(Protocol):
    """The dynamics of a run's system, with the run's settings and its workers."""

    executor: Executor

    @property
    def platform(self) -> PlatformChoice | None:
        """OpenMM platform, where one is used."""

    @property
    def platform_name(self) -> str | None:
        """Its name."""

    def conformations(self, section: ConformationsSection) -> SampledConformations:
        """Return weighted frames by the method that the section names."""

    def annealed(
        self,
        curve: StoredCurve,
        seeds: list[int],
        advance: Advance,
        *,
        clock: NDArray[np.float64] | None = None,
        walled: bool = False,
        backward: bool = False,
        section: PathsSection | None = None,
    ) -> tuple[PathEnsemble, list[Positions | None]]:
        """Return annealed paths along a curve, and the positions of each as `System.values` takes them.

        `clock` (n_points,) is the fraction of the time at which the curve's points are passed; equal Fisher-Rao steps
        unless given; `section` says how long and how many frames, [paths] of the run unless given.
        """

    def held(
        self,
        eta: NDArray[np.float64],
        starts: NDArray[np.floating],
        settings: HeldSettings,
        seeds: Sequence[int],
        advance: Advance,
    ) -> HeldSeries:
        """Run the system under tilts eta (n, K) that stand still, from starts (n, ...); one seed for each."""

    def timesteps(self, eta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the time step (n,) of annealed paths under tilts eta (n, K) [the system's unit of time]."""

    def transition(self, steps_per_frame: int, n_flights: int = 1) -> TransitionDynamics:
        """Return the unbiased dynamics between the states.

        Of many flights that wait for nothing, `n_flights` may say about how many there are: they may share a context.
        """

    def fine(
        self, coarse: Sequence[Positions], seeds: Sequence[int], advance: Advance
    ) -> tuple[list[Positions], int]:
        """Return candidates with frames close enough in time to be shot from, and the force evaluations it took."""

    def windows(
        self,
        windows: Windows,
        starts: NDArray[np.floating],
        settings: WindowSettings,
        seeds: Sequence[int],
    ) -> WindowSamples:
        """Sample windows; one seed for each ladder."""

    def energies(self, positions: Positions) -> NDArray[np.float64]:
        """Return potential energies (n,) of positions (n, ...) in the system's unit."""

    def log_selection(self) -> LogSelection | None:
        """Return ln S of the distribution ρ S that the conformations were drawn from; None where it is not known."""


@dataclass(eq=False)
class MoleculeRun:
    """OpenMM's Langevin dynamics of a molecule."""

    run: RunFolder
    platform: PlatformChoice
    executor: Executor
    progress: Progress
    _devices: list[str] = field(default_factory=list)

    @property
    def platform_name(self) -> str | None:
        """See `RunDynamics`."""
        return " and ".join(dict.fromkeys([self.platform.title, *self._devices]))

    def _for_copies(self, n_simulations: int, n_steps: int) -> PlatformChoice:
        """Return the platform for simulations that may be copies in one context of a device of this machine."""
        if self.run.config.used_cluster:
            return self.platform
        found = self.platform.for_copies(n_simulations, n_steps, n_cores(self.run))
        if found.n_copies > 1:
            self._devices.append(found.title)
        return found

    def _platform(self, n_tasks: int) -> PlatformChoice:
        """Return the platform for so many simulations side by side."""
        return self.platform.for_tasks(n_tasks, n_cores(self.run))

    def conformations(self, section: ConformationsSection) -> SampledConformations:
        """See `RunDynamics`."""
        replicas = section.method == "replica-exchange"
        sample, n_seeds = (replica_exchange, 1) if replicas else (sample_conformations, 2)
        # in metadynamics Python itself works
        with _workers(self.run, self.progress, "processes", section.n_walkers) as executor:
            return sample(
                self.run.molecule,
                section,
                langevin(self.run),
                self.platform,
                self.run.seeds(Chance.CONFORMATIONS, n_seeds * section.n_walkers),
                n_cores(self.run),
                executor,
                self.progress,
            )

    def annealed(
        self,
        curve: StoredCurve,
        seeds: list[int],
        advance: Advance,
        *,
        clock: NDArray[np.float64] | None = None,
        walled: bool = False,
        backward: bool = False,
        section: PathsSection | None = None,
    ) -> tuple[PathEnsemble, list[Positions | None]]:
        """See `RunDynamics`; `walled` keeps the dynamics out of the regions to avoid."""
        molecule, section = self.run.molecule, section or self.run.config.paths
        regions = avoided_regions(molecule, self.run.config.geodesic) if walled else []
        settings = AnnealingSettings(
            n_paths=len(seeds),
            n_steps=section.n_steps,
            n_updates=section.n_updates,
            n_frames=section.n_frames,
            n_equilibration_steps=section.n_equilibration_steps,
            wall_stiffness=section.wall_stiffness_kj_per_mol,
        )
        platform = self._for_copies(len(seeds), settings.n_equilibration_steps + settings.n_steps)
        ensemble, positions = annealed_paths(
            molecule,
            curve.s,
            curve.eta,
            settings,
            langevin(self.run),
            platform if platform.n_copies > 1 else self._platform(len(seeds)),
            seeds,
            self.executor,
            clock=clock,
            walls=tuple(regions),
            backward=backward,
            done=counted(advance),
        )
        return ensemble, list(positions)

    def held(
        self,
        eta: NDArray[np.float64],
        starts: NDArray[np.floating],
        settings: HeldSettings,
        seeds: Sequence[int],
        advance: Advance,
    ) -> HeldSeries:
        """See `RunDynamics`."""
        return held_series(
            self.run.molecule,
            eta,
            starts,
            settings,
            langevin(self.run),
            self._platform(len(seeds)),
            seeds,
            self.executor,
            done=counted(advance),
        )

    def timesteps(self, eta: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `RunDynamics`; [ps]."""
        return np.full(len(eta), self.run.config.run.timestep_ps)

    def transition(self, steps_per_frame: int, n_flights: int = 1) -> TransitionDynamics:
        """See `RunDynamics`."""
        settings = langevin(self.run)
        platform = self._for_copies(n_flights, round(FLIGHT / settings.timestep))
        kind = CopiedDynamics if platform.n_copies > 1 else MoleculeDynamics
        return kind.of(self.run.molecule, settings, platform, steps_per_frame)

    def fine(
        self, coarse: Sequence[Positions], seeds: Sequence[int], advance: Advance
    ) -> tuple[list[Positions], int]:
        """Pull the molecule along the coarse paths' features, slowly."""
        interval, n_steps = PullSettings.frame_interval, 0
        platform, tasks = self._platform(len(coarse)), []
        for positions, seed in zip(coarse, seeds, strict=True):
            rounds = min(max(1, _PULL_STEPS // (interval * len(positions))), 500 // interval)
            settings = PullSettings(n_steps_per_frame=interval * rounds)
            n_steps += settings.n_equilibration_steps + interval * rounds * len(positions)
            tasks.append(
                pull_task(self.run.molecule, positions, langevin(self.run), platform, seed, settings)
            )
        return list(map_tasks(self.executor, pulled_candidate, tasks, counted(advance))), n_steps

    def windows(
        self,
        windows: Windows,
        starts: NDArray[np.floating],
        settings: WindowSettings,
        seeds: Sequence[int],
    ) -> WindowSamples:
        """See `RunDynamics`."""
        with self.progress.task("windows", len(seeds)) as advance:
            return sample_windows(
                self.run.molecule,
                windows,
                starts,
                settings,
                langevin(self.run),
                self._platform(len(seeds)),
                seeds,
                self.executor,
                done=counted(advance),
            )

    def energies(self, positions: Positions) -> NDArray[np.float64]:
        """See `RunDynamics`; [kJ/mol]."""
        return potential_energies(self.run.molecule.create_openmm_system(), positions, self.platform)

    def log_selection(self) -> LogSelection | None:
        """See `RunDynamics`.

        -V/kT of metadynamics' bias; by the energy where temperatures were exchanged; fitted to weights of a file.
        """
        section, molecule = self.run.sampling, self.run.molecule
        if section.method == "grow":
            return grown_selection(self.run)
        if section.method == "replica-exchange":
            stored = load_arrays(self.run.path / "conformations" / "selection.npz")
            return lambda x: log_selection_of_energy(self.energies(x), stored["kt"], stored["log_strength"])
        if section.method == "md" or (section.method == "import" and section.weights_file is None):
            return unselected
        if section.method == "import":
            frames = self.run.load_frames()
            fitted, misfit = fitted_selection(
                molecule.space, molecule.feature_values, frames.values, frames.log_weights
            )
            return fitted if misfit <= LARGEST_MISFIT else None
        file = self.run.path / "conformations" / "bias.npy"
        bias, variables = load_array(file), biased_variables(molecule, section)
        n_atoms, platform, box = molecule.n_atoms, self.platform, molecule.box
        return biased_selection(
            lambda x: bias_energies(n_atoms, variables, bias, x, platform, box), molecule.kt
        )


@dataclass(eq=False)
class SurfaceRun:
    """Overdamped Langevin dynamics on a surface, many walkers at once."""

    run: RunFolder
    system: SurfaceSystem
    executor: Executor
    progress: Progress
    platform: PlatformChoice | None = None
    platform_name: str | None = None

    def conformations(self, section: ConformationsSection) -> SampledConformations:
        """See `RunDynamics`."""
        seed = self.run.seeds(Chance.CONFORMATIONS, 1)[0]
        return sample_surface_frames(self.system, section, seed)

    def annealed(
        self,
        curve: StoredCurve,
        seeds: list[int],
        advance: Advance,
        *,
        clock: NDArray[np.float64] | None = None,
        walled: bool = False,
        backward: bool = False,
        section: PathsSection | None = None,
    ) -> tuple[PathEnsemble, list[Positions | None]]:
        """See `RunDynamics`; a step that would enter a region to avoid is not taken where `walled`."""
        section = section or self.run.config.paths
        settings = OverdampedSettings(
            n_steps=section.n_steps,
            n_updates=section.n_updates,
            n_frames=section.n_frames,
            n_equilibration_steps=section.n_equilibration_steps,
        )
        ensemble, _ = overdamped_annealed_paths(
            self.system,
            curve.s,
            curve.eta,
            settings,
            seeds,
            advance,
            clock=clock,
            walls=avoided_regions(self.system, self.run.config.geodesic) if walled else (),
            backward=backward,
        )
        done = zip(ensemble.values, ensemble.completed, strict=True)
        return ensemble, [x if ready else None for x, ready in done]

    def held(
        self,
        eta: NDArray[np.float64],
        starts: NDArray[np.floating],
        settings: HeldSettings,
        seeds: Sequence[int],
        advance: Advance,
    ) -> HeldSeries:
        """See `RunDynamics`."""
        found = surface_held_series(self.system, eta, starts, settings, seeds[0])
        advance(len(seeds))
        return found

    def timesteps(self, eta: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `RunDynamics`."""
        return held_timesteps(self.system, eta)

    def transition(self, steps_per_frame: int, n_flights: int = 1) -> TransitionDynamics:
        """See `RunDynamics`."""
        return SurfaceDynamics.stable(self.system, steps_per_frame=steps_per_frame)

    def fine(
        self, coarse: Sequence[Positions], seeds: Sequence[int], advance: Advance
    ) -> tuple[list[Positions], int]:
        """Return the paths as they are: walkers on surfaces are stored often enough."""
        return list(coarse), 0

    def windows(
        self,
        windows: Windows,
        starts: NDArray[np.floating],
        settings: WindowSettings,
        seeds: Sequence[int],
    ) -> WindowSamples:
        """See `RunDynamics`."""
        with self.progress.task("windows", settings.n_frames + settings.n_equilibration_frames) as advance:
            return sample_surface_windows(
                self.system, windows, starts, settings, seeds, done=counted(advance)
            )

    def energies(self, positions: Positions) -> NDArray[np.float64]:
        """See `RunDynamics`."""
        return self.system.energy(np.asarray(positions, dtype=np.float64))

    def log_selection(self) -> LogSelection | None:
        """See `RunDynamics`: the points of a grid lie evenly, as under a bias of -U."""
        if self.run.sampling.method == "grow":
            return grown_selection(self.run)
        return (
            biased_selection(lambda x: -self.energies(x), self.system.kt) if self.run.on_grid else unselected
        )


@contextmanager
def run_dynamics(run: RunFolder, progress: Progress) -> Iterator[RunDynamics]:
    """Yield the dynamics of a run's system; its workers live as long as the context."""
    if run.surface is not None:
        # numpy's loops over walkers hold the GIL
        with _workers(run, progress, "threads", 1) as executor:
            yield SurfaceRun(run, run.surface, executor, progress)
    else:
        platform = run_platform(run, progress)
        n_most = None if run.config.run.n_workers else platform.n_side_by_side
        with _workers(run, progress, executor_kind(platform), n_most) as executor:
            yield MoleculeRun(run, platform, executor, progress)


def _workers(
    run: RunFolder, progress: Progress, kind: Literal["threads", "processes"], n_most: int | None = None
) -> AbstractContextManager[Executor]:
    """Return the workers of a run: of its cluster, or here as many as there are cores, at most `n_most`."""
    cluster, n = run.config.used_cluster, run.config.n_workers
    return shared_executor(kind, n if n_most is None else min(n, n_most), cluster, progress.say)


def grown_selection(run: RunFolder) -> LogSelection:
    """Return ln S of grown frames: their windows' tilts and their basins, each as strongly as MBAR found."""
    system, stored = run.system, load_arrays(run.path / "conformations" / "selection.npz")
    regions = (system.state_a.region, system.state_b.region)
    return pooled_selection(
        lambda x: system.space.statistic(system.feature_values(x)),
        lambda x: np.stack([region.contains(system.values(x)) for region in regions]),
        stored["eta"],
        stored["log_strength"],
    )


def langevin(run: RunFolder) -> LangevinSettings:
    """Return the dynamics of this run's molecule."""
    section = run.config.run
    return LangevinSettings(run.molecule.temperature, section.timestep_ps, section.friction_per_ps)


def n_cores(run: RunFolder) -> int:
    """Return the cores that one stage's simulations share: of a cluster's workers, each has its own."""
    return 1 if run.config.used_cluster else run.config.n_workers


def run_platform(run: RunFolder, progress: Progress) -> PlatformChoice:
    """Choose the platform and say so."""
    molecule = run.molecule
    choice = choose_platform(molecule.system_xml, molecule.positions_a, run.config.run.wish)
    progress.say(f"platform: {choice.describe()}")
    return choice
