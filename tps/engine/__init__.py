"""OpenMM at work: platforms, contexts, counted force evaluations, executors."""

from tps.engine.choice import PlatformChoice, PlatformWish, available_platforms
from tps.engine.copies import why_no_copies, with_copies
from tps.engine.dynamics import (
    BIAS_GROUP,
    MOLECULE_GROUP,
    WALL_GROUP,
    Dynamics,
    LangevinSettings,
    Phase,
    independent_seeds,
    openmm_seed,
    periodic_box,
    potential_energies,
)
from tps.engine.executor import executor_kind, local_executor, map_tasks, shared_executor
from tps.engine.jobs import ClusterSection
from tps.engine.joint import joint_force
from tps.engine.platform import choose_platform, default_workers
from tps.engine.speed import Measurement
from tps.engine.symmetric import symmetric_integrator

__all__ = [
    "BIAS_GROUP",
    "MOLECULE_GROUP",
    "WALL_GROUP",
    "ClusterSection",
    "Dynamics",
    "LangevinSettings",
    "Measurement",
    "Phase",
    "PlatformChoice",
    "PlatformWish",
    "available_platforms",
    "choose_platform",
    "default_workers",
    "executor_kind",
    "independent_seeds",
    "joint_force",
    "local_executor",
    "map_tasks",
    "openmm_seed",
    "periodic_box",
    "potential_energies",
    "shared_executor",
    "symmetric_integrator",
    "why_no_copies",
    "with_copies",
]
