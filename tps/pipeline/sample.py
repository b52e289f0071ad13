"""The conformations stage: metadynamics, plain MD or the user's trajectories; for surfaces a grid or plain dynamics."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tps.arrays import save_arrays
from tps.config import ConformationsSection
from tps.conformations import (
    Conformations,
    FramesVerdict,
    MetadynamicsSettings,
    SamplingTask,
    Source,
    check_mean_forces,
    import_trajectories,
    judge_frames,
    run_metadynamics,
    sample_frames,
    write_dcd,
)
from tps.dynamics import sample_surface
from tps.engine import LangevinSettings, PlatformChoice, map_tasks, potential_energies
from tps.errors import ConfigError, TrajectoryError
from tps.features import CollectiveVariable
from tps.pipeline.progress import Progress, counted
from tps.systems import MolecularSystem, SurfaceSystem, System


@dataclass(frozen=True, eq=False)
class SampledConformations:
    """Weighted frames, of a molecule with positions (n_frames, n_atoms, 3) and box [nm], and how they were made.

    `selection` holds the numbers that ln S of their distribution is made of, where it needs any; `at_target`
    (n_frames,) says which were drawn at the system's own temperature, where others were not.
    """

    frames: Conformations
    positions: NDArray[np.float32] | None
    n_evaluations: int
    notes: tuple[str, ...] = ()
    bias: NDArray[np.float64] | None = None
    box: NDArray[np.float64] | None = None
    selection: Mapping[str, NDArray[np.float64]] | None = None
    at_target: NDArray[np.bool_] | None = None

    def at_own_temperature(self) -> SampledConformations:
        """Return what was drawn at the system's own temperature, of which no frame needs a weight."""
        if self.at_target is None:
            return self
        kept, frames = self.at_target, self.frames
        unweighted = Conformations(
            frames.values[kept], np.zeros(kept.sum()), frames.potential_energy[kept], frames.walker[kept]
        )
        positions = None if self.positions is None else self.positions[kept]
        return SampledConformations(unweighted, positions, self.n_evaluations, self.notes, box=self.box)

    def save(self, folder: Path) -> None:
        """Write frames.dcd, data.npz and, after metadynamics, bias.npy [kJ/mol], or selection.npz."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.positions is not None:
            write_dcd(folder / "frames.dcd", self.positions, self.box)
        self.frames.save(folder / "data.npz")
        if self.bias is not None:
            np.save(folder / "bias.npy", self.bias)
        if self.selection is not None:
            save_arrays(folder / "selection.npz", **self.selection)


def sample_surface_frames(
    system: SurfaceSystem, section: ConformationsSection, seed: int
) -> SampledConformations:
    """Return weighted points of a surface: its grid, cells without an energy left out, or frames of plain dynamics.

    Raises
    ------
    ConfigError
        If the method is one of molecules, or plain dynamics left the surface.
    """
    if section.method in ("auto", "grid"):
        axes, energies = system.energy_grid(section.n_grid_points)
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, system.n_axes)
        held = np.isfinite(energies.ravel())
        energy = energies.ravel()[held]
        frames = Conformations.of_grid(points[held], energy, system.kt)
        notes = () if held.all() else (f"{(~held).sum()} of {len(held)} cells of the grid have no energy",)
        return SampledConformations(frames, None, len(held), notes)
    if section.method != "md":
        raise ConfigError(
            f"the method {section.method!r} of conformations is for molecules, and {system.name} is a surface: take "
            '"grid" or "md"'
        )
    n, n_frames = section.n_walkers, section.n_sample_steps // section.frame_interval_steps
    sampled = sample_surface(
        system,
        system.ends[np.arange(n) % 2],
        n_frames,
        section.frame_interval_steps,
        np.random.default_rng(seed),
    )
    kept = np.isfinite(sampled.positions).all(axis=(1, 2))
    if not kept.any():
        raise ConfigError(f"all {n} walkers left the surface {system.name}: sample its grid instead")
    points = system.feature_values(sampled.positions[kept].reshape(-1, system.n_axes))
    frames = Conformations(
        points, np.zeros(len(points)), system.energy(points), np.repeat(np.arange(kept.sum()), n_frames)
    )
    notes = () if kept.all() else (f"{(~kept).sum()} of {n} walkers left the surface",)
    return SampledConformations(frames, None, sampled.n_evaluations + len(points), notes)


def sample_conformations(
    system: MolecularSystem,
    section: ConformationsSection,
    langevin: LangevinSettings,
    platform: PlatformChoice,
    seeds: list[int],
    n_cores: int,
    executor: Executor,
    progress: Progress,
) -> SampledConformations:
    """Return weighted frames of a molecule by the method the section names; two seeds for each walker.

    Raises
    ------
    ConfigError
        If the method is one of surfaces, or a variable to bias is no feature.
    """
    if section.method == "grid":
        raise ConfigError(
            f'conformations.method = "grid" is for surfaces, and {system.name} is a molecule: take "metadynamics"'
        )
    if section.method == "import":
        return _imported(system, section, platform)
    n, plain, bias = section.n_walkers, section.method == "md", None
    platform = platform.for_tasks(n, n_cores)
    starts = [system.positions_a if walker % 2 == 0 else system.positions_b for walker in range(n)]
    with progress.task("md" if plain else "metadynamics", n if plain else 2 * n) as advance:
        if plain:
            tasks = [
                SamplingTask(
                    system.system_xml,
                    start,
                    section.n_sample_steps,
                    section.frame_interval_steps,
                    langevin,
                    platform,
                    seed,
                )
                for start, seed in zip(starts, seeds[n:], strict=True)
            ]
            walkers, n_built = map_tasks(executor, sample_frames, tasks, counted(advance)), 0
        else:
            walkers, bias = run_metadynamics(
                system.system_xml,
                biased_variables(system, section),
                starts,
                metadynamics_settings(section),
                langevin,
                platform,
                seeds,
                executor,
                counted(advance),
            )
            n_built = n * section.n_build_steps
    positions = np.concatenate([walker.positions for walker in walkers])
    frames = Conformations(
        values=system.feature_values(positions),
        log_weights=np.concatenate([walker.log_weights for walker in walkers]),
        potential_energy=np.concatenate([walker.potential_energy for walker in walkers]),
        walker=np.repeat(np.arange(n), [len(walker.log_weights) for walker in walkers]),
    )
    n_evaluations = n_built + sum(walker.n_evaluations for walker in walkers)
    return SampledConformations(frames, positions, n_evaluations, bias=bias, box=system.box)


def frames_verdict(
    system: System,
    section: ConformationsSection,
    frames: Conformations,
    positions: NDArray[np.floating],
    doubt: str = "",
) -> FramesVerdict:
    """Return what the weighted frames can say of A against B.

    `positions` are as `system.values` takes them; `doubt` is why weights of grown frames are not believed.
    """
    values = system.values(positions)
    in_a, in_b = (state.region.contains(values) for state in (system.state_a, system.state_b))
    ladder = frames.walker // section.n_temperatures
    return judge_frames(frames.walker, in_a, in_b, _source(system, section), doubt, ladder)


def metadynamics_settings(section: ConformationsSection) -> MetadynamicsSettings:
    """Translate the section into the settings of metadynamics."""
    return MetadynamicsSettings(
        n_build_steps=section.n_build_steps,
        n_sample_steps=section.n_sample_steps,
        frame_interval=section.frame_interval_steps,
        bias_factor=section.bias_factor,
        hill_height=section.hill_height_kj_per_mol,
        hill_width=float(np.deg2rad(section.hill_width_degree)),
        hill_interval=section.hill_interval_steps,
    )


def biased_variables(
    system: MolecularSystem, section: ConformationsSection
) -> tuple[CollectiveVariable, ...]:
    """Return the features that metadynamics biases."""
    names = section.bias_features or system.feature_names
    unknown = [name for name in names if name not in system.feature_names]
    if unknown:
        raise ConfigError(
            f"conformations.bias_features: {unknown[0]!r} is not a feature of {system.name}: choose among "
            f"{', '.join(system.feature_names)}"
        )
    return tuple(system.collective_variables[name] for name in names)


def _source(system: System, section: ConformationsSection) -> Source:
    """Return where the weights of the section's frames come from."""
    if section.method == "import":
        return "file" if section.weights_file else "plain"
    if section.method == "md":
        return "plain"
    if section.method == "grow":
        return "windows"
    if section.method == "replica-exchange":
        return "temperatures"
    return "grid" if section.method == "grid" else "bias"


def _imported(
    system: MolecularSystem, section: ConformationsSection, platform: PlatformChoice
) -> SampledConformations:
    imported = import_trajectories(
        system,
        [Path(file) for file in section.trajectories],
        stride=section.stride,
        weights_file=None if section.weights_file is None else Path(section.weights_file),
        weights_kind=section.weights_kind,
        weights_column=section.weights_column,
        skip_bad_frames=section.skip_bad_frames,
    )
    frames = Conformations(
        values=system.feature_values(imported.positions),
        log_weights=imported.log_weights,
        potential_energy=potential_energies(system.create_openmm_system(), imported.positions, platform),
        walker=imported.trajectory,
    )
    clashes = np.flatnonzero(~np.isfinite(frames.potential_energy))
    if len(clashes):
        file = section.trajectories[imported.trajectory[clashes[0]]]
        raise TrajectoryError(
            f"{len(clashes)} of {frames.n_frames} frames have no finite energy, the first of them in {file}: atoms lie "
            "on each other there, write the trajectory anew"
        )
    notes, n_evaluations = imported.notes, frames.n_frames
    if section.weights_file is not None:
        said, n_forces = check_mean_forces(
            system, frames, imported.positions, Path(section.weights_file), platform
        )
        notes, n_evaluations = (*notes, *said), n_evaluations + n_forces
    return SampledConformations(frames, imported.positions, n_evaluations, notes, box=system.box)
