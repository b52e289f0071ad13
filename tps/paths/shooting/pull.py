"""Candidates with frames as close in time as shooting needs them: the molecule pulled along a coarse path's features.

A path of annealed Langevin dynamics stores a frame every few tenths of a picosecond and crosses a barrier between two
of them, so that none of its frames can be shot from. Pulled anew along the same features, slowly, the molecule
leaves frames all over the crossing. The pull is no dynamics to report: only what is shot from it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import NDArray

from tps.engine import BIAS_GROUP, Dynamics, LangevinSettings, PlatformChoice, periodic_box
from tps.errors import ParameterError
from tps.features import Features
from tps.systems import MolecularSystem
from tps.units import thermal_energy


@dataclass(frozen=True)
class PullSettings:
    """How a molecule is pulled along a coarse path.

    Attributes
    ----------
    stiffness : float
        κ = e^log_snr of the tilt; every feature follows within 1/sqrt(κ) of its scale (of a radian, for torsions).
    n_steps_per_frame : int
        MD steps from one frame of the coarse path to the next.
    frame_interval : int
        MD steps between stored frames, at each of which the pull moves on; divides `n_steps_per_frame`.
    n_equilibration_steps : int
        MD steps at the first frame before the pull moves.
    """

    stiffness: float = 100.0
    n_steps_per_frame: int = 500
    frame_interval: int = 5
    n_equilibration_steps: int = 500

    def __post_init__(self) -> None:
        whole = self.frame_interval > 0 and self.n_steps_per_frame % self.frame_interval == 0
        if not (self.stiffness > 0 and whole and self.n_steps_per_frame > 0 <= self.n_equilibration_steps):
            raise ParameterError(
                "a pull needs a positive stiffness and steps per frame that are a multiple of its frame interval, "
                f"but got {self}"
            )


@dataclass(frozen=True, eq=False)
class PullTask:
    """One pull, picklable; `positions` are frames (n_frames, n_atoms, 3) [nm] of a coarse path."""

    system_xml: str
    features: Features
    positions: NDArray[np.floating]
    settings: PullSettings
    langevin: LangevinSettings
    platform: PlatformChoice
    seed: int


def pull_task(
    system: MolecularSystem,
    positions: NDArray[np.floating],
    langevin: LangevinSettings,
    platform: PlatformChoice,
    seed: int,
    settings: PullSettings | None = None,
) -> PullTask:
    """Return the pull of a system along a coarse path, for `pulled_candidate` here or in an executor."""
    return PullTask(
        system.system_xml,
        system.features,
        np.asarray(positions),
        settings or PullSettings(),
        langevin,
        platform,
        seed,
    )


def pulled_candidate(task: PullTask) -> NDArray[np.float32]:
    """Return positions (n, n_atoms, 3) [nm] of the molecule pulled along a coarse path's features, frame by frame.

    Between two coarse frames every angle turns the shorter way. The last coarse frame is held for one more interval.

    Raises
    ------
    ParameterError
        If there are fewer than two frames.
    SimulationError
        If the dynamics leaves the numbers.
    """
    if len(task.positions) < 2:
        raise ParameterError(f"a pull follows at least two frames, but got {len(task.positions)}")
    settings, space = task.settings, task.features.space
    system, kt = openmm.XmlSerializer.deserialize(task.system_xml), thermal_energy(task.langevin.temperature)
    values = space.unwrap(task.features.values(task.positions, periodic_box(system)))
    per_frame = settings.n_steps_per_frame // settings.frame_interval
    at = np.minimum(np.arange(len(values) * per_frame) / per_frame, len(values) - 1)
    centers = np.stack([np.interp(at, np.arange(len(values)), column) for column in values.T], axis=1)
    task.features.add_tilt(system, kt, BIAS_GROUP)
    dynamics = Dynamics(system, task.langevin, task.platform, task.seed)
    frames = np.empty((len(centers), *task.positions.shape[1:]), dtype=np.float32)
    for row, center in enumerate(centers):
        task.features.set_tilt(dynamics.context, settings.stiffness * space.eta(center, 0.0))
        if row == 0:
            dynamics.start(task.positions[0])
            dynamics.step(settings.n_equilibration_steps)
        dynamics.step(settings.frame_interval)
        frames[row] = dynamics.positions()
    return frames
