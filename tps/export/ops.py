"""Write paths as initial trajectories of OpenPathSampling, with all that it takes to sample on from them there."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray

from tps.conformations.frames import write_dcd
from tps.dynamics import IN_A, IN_B, MoleculeDynamics, reactive_segment
from tps.dynamics.transition import Points
from tps.engine import LangevinSettings, PlatformChoice, openmm_seed, symmetric_integrator
from tps.errors import ParameterError, RunFolderError
from tps.export.folder import check_folder
from tps.export.record import NO_SEGMENT, TOPOLOGY_FILE
from tps.export.source import PathSource, check_indices, open_paths, structure
from tps.features import CollectiveVariable, Distance, Torsion
from tps.lock import scratch_beside
from tps.paths import ShootingSettings
from tps.systems import MolecularSystem, Region
from tps.systems.regions import range_key

SETUP_FILE, SCRIPT_FILE, TRAJECTORIES_FILE = "setup.json", "setup_ops.py", "trajectories.npz"

#: Reason for leaving out a path that no shooting move can start from.
NO_FRAME_OUTSIDE = "no frame outside both states"

#: The collective variables that setup_ops.py can compute, and what it calls them.
_KINDS: Mapping[type[CollectiveVariable], str] = {Torsion: "torsion", Distance: "distance"}
_DCD = re.compile(r"path_\d+\.dcd")


@dataclass(frozen=True)
class OpsExport:
    """What was written: the trajectories' indices and lengths, and why other paths were left out."""

    source: str
    n_frames: Mapping[int, int]
    left_out: Mapping[int, str]
    frame_time: float
    """Time between frames of the dynamics in OPS [ps]."""

    def sentence(self) -> str:
        """Return one line for a summary."""
        text = (
            f"{len(self.n_frames)} trajectories of {self.source} for OpenPathSampling, "
            f"{sum(self.n_frames.values())} frames with velocities, {1000 * self.frame_time:g} fs between frames there"
        )
        return text + (f"; left out: {_counted(self.left_out)}" if self.left_out else "")


def export_ops(
    run: Path,
    out: Path,
    system: MolecularSystem,
    langevin: LangevinSettings,
    platform: PlatformChoice,
    *,
    source: str | None = None,
    which: Sequence[int] | None = None,
    seed: int = 0,
    force: bool = False,
) -> OpsExport:
    """Write a folder from which OpenPathSampling samples the ensemble that `tps.paths.shoot` samples.

    It holds topology.pdb, system.xml, integrator.xml, setup.json (states, frame spacing), trajectories.npz, a DCD of
    each trajectory to look at, and setup_ops.py, which runs OPS. A trajectory has one frame in A, at least one in
    neither state and one in B; its frames have velocities drawn from the Maxwell-Boltzmann distribution.

    Parameters
    ----------
    run : Path
        Run folder.
    out : Path
        Folder to write, made when missing.
    system : MolecularSystem
    langevin : LangevinSettings
    platform : PlatformChoice
    source : str, optional
        Where in the run folder the paths are; "shooting" if it is there, or else "paths".
    which : sequence of int, optional
        Indices of the paths to write; by default the last one of each chain, of candidates all.
    seed : int
        Of the velocities.
    force : bool
        Replace an earlier export in `out`.

    Raises
    ------
    ParameterError
        If there is no path of an index, the frames of shooting fit no whole number of the run's MD steps, or a state
        is defined by another kind of collective variable than torsions and distances.
    RunFolderError
        If the stage has not been run, no path can be used, or `out` is not empty.
    TrajectoryError
        If a stored path is damaged.
    """
    source = source or ("shooting" if (run / "shooting" / "paths.npz").is_file() else "paths")
    paths = open_paths(run, source, system)
    dynamics = MoleculeDynamics.of(system, langevin, platform)
    if paths.chain is not None:
        which = which or [int(np.flatnonzero(paths.chain == c)[-1]) for c in np.unique(paths.chain)]
        dynamics = replace(dynamics, steps_per_frame=_steps_per_frame(paths, langevin))
    indices = check_indices(which, paths.n_paths)
    check_folder(out, force)
    thermostat = _Thermostat(system, langevin, platform, seed)
    found = {index: _trajectory(paths, index, dynamics, thermostat) for index in indices}
    trajectories = {index: points for index, points in found.items() if not isinstance(points, str)}
    left_out = {index: why for index, why in found.items() if isinstance(why, str)}
    if not trajectories:
        raise RunFolderError(
            f"none of the paths in {run / source} can start OpenPathSampling ({_counted(left_out)}): store frames of "
            "candidates more often (paths.n_frames), or shoot first"
        )
    with scratch_beside(out) as scratch:
        structure(system, system.positions_a).save_pdb(str(scratch / TOPOLOGY_FILE))
        (scratch / "system.xml").write_text(system.system_xml)
        (scratch / "integrator.xml").write_text(openmm.XmlSerializer.serialize(thermostat.integrator))
        shutil.copy(Path(__file__).with_name(SCRIPT_FILE), scratch)
        together = np.concatenate(list(trajectories.values()))
        np.savez_compressed(
            scratch / TRAJECTORIES_FILE,
            positions=together[:, 0],
            velocities=together[:, 1],
            lengths=[len(points) for points in trajectories.values()],
            index=list(trajectories),
        )
        for index, points in trajectories.items():
            seen = structure(system, points[:, 0])
            write_dcd(scratch / f"path_{index:04d}.dcd", seen.xyz, system.box)
        setup = _setup(system, dynamics, source, left_out)
        (scratch / SETUP_FILE).write_text(json.dumps(setup, indent=1) + "\n")
        _move_into_place(scratch, out)
    lengths = {index: len(points) for index, points in trajectories.items()}
    return OpsExport(source, lengths, left_out, dynamics.frame_time)


def _steps_per_frame(paths: PathSource, langevin: LangevinSettings) -> int:
    ratio = paths.frame_interval_ps / langevin.timestep
    if not math.isclose(ratio, round(ratio), rel_tol=1e-6):
        raise ParameterError(
            f"frames {paths.frame_interval_ps:g} ps apart are no whole number of steps of {langevin.timestep:g} ps: "
            "was run.timestep_ps changed after shooting?"
        )
    return round(ratio)


class _Thermostat:
    """Draws velocities for the integrator of the export, for which they are not half a step behind the positions."""

    def __init__(
        self, system: MolecularSystem, langevin: LangevinSettings, platform: PlatformChoice, seed: int
    ) -> None:
        self.temperature, self.seed = langevin.temperature, seed
        self.integrator = symmetric_integrator(langevin, seed)
        self.context = openmm.Context(
            system.create_openmm_system(),
            self.integrator,
            openmm.Platform.getPlatformByName(platform.name),
            platform.properties,
        )

    def phase_points(self, positions: NDArray[np.floating], path: int) -> Points:
        """Return (n_frames, 2, n_atoms, 3): positions [nm] on the constraints and Maxwell-Boltzmann velocities."""
        found = np.empty((len(positions), 2, *positions.shape[1:]))
        seeds = np.random.SeedSequence(self.seed, spawn_key=(path,)).generate_state(len(positions))
        for frame, xyz, seed in zip(found, positions, seeds.tolist(), strict=True):
            self.context.setPositions(np.asarray(xyz, dtype=np.float64))
            self.context.applyConstraints(self.integrator.getConstraintTolerance())
            self.context.setVelocitiesToTemperature(self.temperature, openmm_seed(seed))
            state = self.context.getState(positions=True, velocities=True)
            frame[:] = state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value
        return found


def _trajectory(
    paths: PathSource, index: int, dynamics: MoleculeDynamics, thermostat: _Thermostat
) -> Points | str:
    """Return phase points from A to B (n_frames, 2, n_atoms, 3), or why there are none."""
    span = paths.frames(index, reactive_only=False)
    if isinstance(span, str):
        return span
    points = thermostat.phase_points(paths.load(index).xyz, index)
    where = dynamics.states(points)
    segment = reactive_segment(where == IN_A, where == IN_B)
    if segment is None:
        return NO_SEGMENT
    first, last = segment
    return points[first : last + 1] if last - first > 1 else NO_FRAME_OUTSIDE


def _setup(
    system: MolecularSystem, dynamics: MoleculeDynamics, source: str, left_out: Mapping[int, str]
) -> dict[str, Any]:
    """Return setup.json: angles in degrees, distances in nm, as in a system.toml."""
    variables = {variable.name: variable for variable in dynamics.variables}
    other = [v for v in variables.values() if type(v) not in _KINDS]
    if other:
        raise ParameterError(
            f"setup_ops.py computes {' and '.join(f'{name}s' for name in _KINDS.values())}, but {other[0].name} is a "
            f"{other[0].kind}: define the states by others, or write its OpenPathSampling variable yourself"
        )

    def ranges(region: Region) -> dict[str, list[float]]:
        """Leave out full circles, which limit nothing and which OPS does not store."""
        return {
            range_key(variables[name]): [float(f"{x / variables[name].user_scale:.12g}") for x in bounds]
            for name, bounds in region.ranges.items()
            if not (variables[name].periodic and bounds == (-math.pi, math.pi))
        }

    return {
        "system": system.name,
        "source": source,
        "temperature_kelvin": dynamics.langevin.temperature,
        "steps_per_frame": dynamics.steps_per_frame,
        "max_frames": ShootingSettings.max_frames,
        "platform": dynamics.platform.name,
        "box_nm": None if system.box is None else system.box.tolist(),
        "collective_variables": {
            range_key(v): {"kind": _KINDS[type(v)], "atoms": list(v.atoms)} for v in variables.values()
        },
        "states": {"A": ranges(dynamics.region_a), "B": ranges(dynamics.region_b)},
        "left_out": {str(index): why for index, why in left_out.items()},
    }


def _counted(reasons: Mapping[int, str]) -> str:
    return ", ".join(f"{count} with {why}" for why, count in Counter(reasons.values()).items())


def _move_into_place(scratch: Path, out: Path) -> None:
    """Rename the new files into `out`, setup.json last, and drop the DCD files of an earlier export."""
    out.mkdir(exist_ok=True)
    if (out / SETUP_FILE).is_file():
        (out / SETUP_FILE).unlink()
        for file in out.iterdir():
            if _DCD.fullmatch(file.name):
                file.unlink()
    for file in sorted(scratch.iterdir(), key=lambda file: file.name == SETUP_FILE):
        file.replace(out / file.name)
