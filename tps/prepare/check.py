"""What must hold before the first long step: energies, ends, features that tell A from B, data, time and disk."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm
from numpy.typing import NDArray

from tps.config import RunConfig
from tps.conformations import MAX_BIASED, SamplingTask, sample_frames
from tps.diffusion import MIN_FRAMES
from tps.engine import LangevinSettings, PlatformChoice, PlatformWish, choose_platform
from tps.errors import ConfigError, SimulationError, SystemDefinitionError
from tps.pipeline.folder import sampling_method
from tps.prepare.choose import SEPARATION, separation
from tps.prepare.estimate import StageEstimate, estimate_stages, spoken_size, spoken_time, steps_per_second
from tps.systems import MolecularSystem, System

#: A short run in each end takes about so long [s], within these numbers of MD steps.
_SECONDS, _FEWEST_STEPS, _MOST_STEPS = 2.0, 400, 20_000
_N_FRAMES = 40
#: Share of the frames of a short run that should be in the state of their end.
_STAYING = 0.5
#: Fewest frames in a state by which its features are judged.
_FEWEST_INSIDE = 5
#: Forces beyond this are those of atoms that overlap [kJ/mol/nm].
_LARGEST_FORCE = 1e6


@dataclass(frozen=True)
class CheckResult:
    """What a check has seen.

    Parameters
    ----------
    lines : tuple of (label, text)
        For the user, in the order of the checks.
    warnings : tuple of str
        What need not stop a run, but will be seen in its results.
    estimate : tuple of StageEstimate
        Of each stage; empty where no run file was given.
    """

    lines: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...] = ()
    estimate: tuple[StageEstimate, ...] = ()


def check_system(system: System, *, seed: int = 0, wish: PlatformWish = PlatformWish()) -> CheckResult:  # noqa: B008 - frozen
    """Check a system by itself: a context, energies and forces of both ends, and a short run in each.

    That its files are there and readable, its atoms fit its force field one by one, and its ends lie in their states
    and nowhere else, loading it has checked already.

    Parameters
    ----------
    system : MolecularSystem or SurfaceSystem
    seed : int
        Of the short runs.
    wish : PlatformWish
        The fastest platform unless given.

    Raises
    ------
    SystemDefinitionError
        If an energy or force is not one of a molecule at rest, an end leaves its state at once, or no feature tells A
        from B.
    SimulationError
        If a short run breaks down.
    """
    if not isinstance(system, MolecularSystem):
        a, b = system.energy(system.ends)
        return CheckResult(
            (
                ("surface", f"{system.name}, axes {', '.join(system.feature_names)}"),
                ("energies", f"A {a:.4g}, B {b:.4g} {system.energy_unit}".rstrip()),
            )
        )
    choice = choose_platform(system.system_xml, system.positions_a, wish)
    energies = [_energy(system, end, choice) for end in range(2)]
    box = "none" if system.box is None else " x ".join(f"{np.linalg.norm(v):.3f}" for v in system.box) + " nm"
    lines = [
        (
            "molecule",
            f"{system.name}, {system.n_atoms} atoms, {len(system.solute)} of them solute, box {box}",
        ),
        ("platform", choice.describe()),
        ("potential energy", f"A {energies[0]:.6f}, B {energies[1]:.6f} kJ/mol, of the whole system"),
    ]
    runs = [_short_run(system, end, choice, seed) for end in range(2)]
    warnings = [text for end in range(2) if (text := _staying(system, end, runs[end]))]
    values = [_of_their_end(system, end, runs[end]) for end in range(2)]
    apart = separation(system.space, *values)
    lines += [
        (f"feature {name}", f"{_range(system, k, values)}: {apart[k]:.1f} times its spread apart")
        for k, name in enumerate(system.feature_names)
    ]
    if apart.max() < SEPARATION:
        best = int(apart.argmax())
        raise SystemDefinitionError(
            f"{system.directory / 'system.toml'} [system] features: none of {len(apart)} tells A from B: the best, "
            f"{system.feature_names[best]}, is {apart[best]:.1f} times its spread apart in short runs, and "
            f"{SEPARATION:g} are needed; name features that do, such as `tps init` proposes"
        )
    return CheckResult(tuple(lines), tuple(warnings))


def check_run(config: RunConfig, system: System, folder: Path, result: CheckResult) -> CheckResult:
    """Check what a run asks of its data, its time and its disk, and add that to the result of `check_system`.

    Parameters
    ----------
    config : RunConfig
    system : MolecularSystem or SurfaceSystem
    folder : Path
        Where the run will be; its parents need not be there yet.
    result : CheckResult

    Raises
    ------
    ConfigError
        If the frames cannot be enough for the training asked for, a method does not fit, or the disk is too small.
    """
    if not isinstance(system, MolecularSystem):
        return result
    section, warnings = config.conformations, list(result.warnings)
    method = sampling_method(section, system)
    n_biased = len(section.bias_features or system.feature_names)
    if method == "metadynamics" and n_biased > MAX_BIASED:
        raise ConfigError(
            f"conformations.method: metadynamics biases at most {MAX_BIASED} features, but {system.name} has "
            f'{n_biased}: take "grow", name the slow ones in conformations.bias_features, or take "md" or "import"'
        )
    if method not in ("import", "grow"):
        n_frames = section.n_walkers * (section.n_sample_steps // section.frame_interval_steps)
        if n_frames < MIN_FRAMES and config.train.model != "frames":
            raise ConfigError(
                f"conformations: {section.n_walkers} walkers will leave {n_frames} frames, and training needs at least "
                f"{MIN_FRAMES}: raise n_sample_steps or lower frame_interval_steps"
            )
    if section.method == "md":
        warnings.append(
            "plain dynamics from each end says nothing about the weight of one basin against the other until its "
            "walkers have gone over and back"
        )
    speed, found = estimate_run(config, system)
    disk = sum(stage.disk_bytes for stage in found)
    free = shutil.disk_usage(_existing(folder)).free
    if disk > free:
        raise ConfigError(
            f"the run will write about {spoken_size(disk)} to {folder}, where {spoken_size(free)} are free: choose "
            "another folder with -o, or store fewer frames"
        )
    seconds = sum(stage.seconds for stage in found)
    lines = [
        ("will take about", f"{spoken_time(seconds)} and {spoken_size(disk)}, at {speed:,.0f} MD steps/s")
    ]
    for stage in found:
        assumed = f" ({stage.assumed})" if stage.assumed else ""
        lines.append((f"  {stage.stage}", f"{spoken_time(stage.seconds)}{assumed}"))
    return CheckResult((*result.lines, *lines), tuple(warnings), found)


def estimate_run(config: RunConfig, system: System) -> tuple[float, tuple[StageEstimate, ...]]:
    """Return the MD steps per second of one simulation here, and what each stage will cost; nothing of a surface."""
    if not isinstance(system, MolecularSystem):
        return 0.0, ()
    choice = choose_platform(system.system_xml, system.positions_a, config.run.wish)
    speed = steps_per_second(system.system_xml, system.positions_a, choice)
    method = sampling_method(config.conformations, system)
    stages = estimate_stages(
        config.updated("conformations", {"method": method}),
        speed,
        config.n_workers,
        system.n_atoms,
        angles=not system.space.n_lines,
    )
    return speed, stages


def _energy(system: MolecularSystem, end: int, choice: PlatformChoice) -> float:
    context = openmm.Context(
        system.create_openmm_system(),
        openmm.VerletIntegrator(0.001),
        openmm.Platform.getPlatformByName(choice.name),
        choice.properties,
    )
    context.setPositions(system.ends[end])
    context.computeVirtualSites()
    state = context.getState(energy=True, forces=True)
    energy, forces = state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value
    largest = np.linalg.norm(forces, axis=1).max()
    if not np.isfinite(energy) or not largest < _LARGEST_FORCE:
        atom = int(np.nan_to_num(np.linalg.norm(forces, axis=1), nan=np.inf).argmax())
        raise SystemDefinitionError(
            f"end structure {'AB'[end]} of {system.name} has a potential energy of {energy:.4g} kJ/mol and a force of "
            f"{largest:.3g} kJ/mol/nm on atom {atom} (from zero): minimise the structure in its force field first"
        )
    return float(energy)


def _short_run(system: MolecularSystem, end: int, choice: PlatformChoice, seed: int) -> NDArray[np.float32]:
    langevin = LangevinSettings(system.temperature, 0.001)
    speed = steps_per_second(system.system_xml, system.positions_a, choice)
    interval = int(np.clip(_SECONDS * speed, _FEWEST_STEPS, _MOST_STEPS)) // _N_FRAMES
    start, n_steps = system.ends[end], interval * _N_FRAMES
    task = SamplingTask(
        system.system_xml,
        start,
        n_steps,
        interval,
        langevin,
        choice,
        seed + end,
        n_equilibration_steps=interval,
    )
    try:
        return sample_frames(task).positions
    except SimulationError as reason:
        raise SimulationError(
            f"a short run from end {'AB'[end]} of {system.name} with steps of 1 fs broke down: {reason}; minimise the "
            "structure in its force field first"
        ) from None


def _of_their_end(system: MolecularSystem, end: int, positions: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the features of the frames in the state of their end; of all frames where hardly any is."""
    inside = (system.state_a, system.state_b)[end].region.contains(system.values(positions))
    return system.feature_values(positions[inside] if inside.sum() >= _FEWEST_INSIDE else positions)


def _staying(system: MolecularSystem, end: int, positions: NDArray[np.float32]) -> str:
    """Return what is wrong with a short run that does not stay in its state, empty if it does."""
    state, other = (system.state_a, system.state_b)[:: 1 - 2 * end]
    values = system.values(positions)
    inside, crossed = state.region.contains(values), other.region.contains(values)
    if crossed.any():
        return f"a short run from end {'AB'[end]} reached state {'BA'[end]}: no barrier parts the two here"
    if inside.mean() < _STAYING:
        return (
            f"only {inside.mean():.0%} of a short run from end {'AB'[end]} lie in state {'AB'[end]} ({state.name}): "
            "widen its ranges to take in where the molecule lives"
        )
    return ""


def _range(system: MolecularSystem, k: int, values: list[NDArray[np.float64]]) -> str:
    space, parts = system.space, []
    for label, found in zip("AB", values, strict=True):
        mean = space.mean(found)
        spread = np.sqrt(np.mean(space.difference(mean, found) ** 2, axis=0))
        unit = space.user_units[k].replace("degree", "°")
        parts.append(
            f"{label} {mean[k] / space.user_scale[k]:.3g} ± {spread[k] / space.user_scale[k]:.2g} {unit}".rstrip()
        )
    return ", ".join(parts)


def _existing(folder: Path) -> Path:
    folder = folder.resolve()
    while not folder.exists():
        folder = folder.parent
    return folder
