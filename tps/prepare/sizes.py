"""A run file sized to the molecule and to the time there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import openmm

from tps.config import RunConfig
from tps.prepare.estimate import estimate_stages
from tps.spacetime import SUPPORTED_FRAMES

#: Sizes tried, as shares of those that alanine dipeptide has, largest first.
SCALES = (1.0, 0.5, 0.25, 0.1)
#: A bias that is built in fewer steps does not lead over a barrier, and everything rests on the frames.
FEWEST_BUILD_STEPS, FEWEST_SAMPLE_STEPS = 300_000, 400_000
#: Log-SNR of the anchors of one or two features; of more it is found as tight as the frames near the ends allow.
FEW_FEATURES_ANCHOR = 4.0
#: With more features than these, frames grow.
MOST_BIASED = 2
#: Steps that growing takes at most at the largest size, and at the smallest.
MOST_GROWN, FEWEST_GROWN = 6_000_000, 3_000_000
#: A time step is at most this share of the fastest vibration's period, and one of these [ps].
PERIOD_SHARE = 1 / 9
TIMESTEPS = (0.004, 0.002, 0.001, 0.0005)
#: Longest time step while a hydrogen has its own mass [ps].
LIGHT_TIMESTEP = 0.002
_HEAVY_HYDROGEN = 2.9  # amu


def timestep_of(system: openmm.System) -> float:
    """Return a time step [ps] for a System, from the stiffest bond that is not constrained and the lightest atom."""
    masses = np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
    periods = [np.inf]
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for i in range(force.getNumBonds()):
                one, other, _, stiffness = force.getBondParameters(i)
                if min(masses[one], masses[other]) > 0 and stiffness._value > 0:
                    reduced = 1 / (1 / masses[one] + 1 / masses[other])
                    periods.append(2 * np.pi * float(np.sqrt(reduced / stiffness._value)))
    moving = masses[masses > 0]
    light = bool(len(moving)) and moving.min() < _HEAVY_HYDROGEN
    longest = min(min(periods) * PERIOD_SHARE, LIGHT_TIMESTEP if light else TIMESTEPS[0])
    if not light and system.getNumConstraints() == 0:
        longest = min(longest, LIGHT_TIMESTEP)
    return next((step for step in TIMESTEPS if step <= longest), TIMESTEPS[-1])


def sized_settings(
    features: Sequence[str],
    timestep: float,
    seed: int,
    *,
    steps_per_second: float,
    n_workers: int,
    n_atoms: int,
    hours: float,
) -> dict[str, dict[str, Any]]:
    """Return the sections of a run file, the largest whose estimate stays within the hours, or the smallest.

    Parameters
    ----------
    features : sequence of str
        The strongest first.
    timestep : float
        [ps].
    seed : int
    steps_per_second, n_workers, n_atoms
        As `estimate_stages` takes them.
    hours : float
    """
    for scale in SCALES:
        sections = _sections(features, timestep, seed, n_workers, scale)
        config = RunConfig.model_validate(sections)
        stages = estimate_stages(config, steps_per_second, n_workers, n_atoms)
        if sum(stage.seconds for stage in stages) <= 3600 * hours:
            break
    return sections


def _sections(
    features: Sequence[str], timestep: float, seed: int, n_workers: int, scale: float
) -> dict[str, dict[str, Any]]:
    n_paths = max(16, int(64 * scale))
    return {
        "run": {"system": ".", "seed": seed, "timestep_ps": timestep},
        **_frames(len(features), n_workers, scale),
        "paths": {
            "n_paths": n_paths,
            "n_steps": 64_000 if scale >= 0.5 else 32_000,
            "n_baseline_paths": n_paths // 2,
        },
        "shooting": {
            "n_moves": max(100, int(1000 * scale)),
            "n_frame_shots": max(100, int(600 * scale)),
        },
        "committor": {"n_paths": max(4, int(8 * scale)), "n_shots": max(40, int(100 * scale))},
        "free_energy": {
            "n_frames": max(200, int(1600 * scale)),
            "n_backward_paths": n_paths // 2,
        },
    }


def _frames(n_features: int, n_workers: int, scale: float) -> dict[str, dict[str, Any]]:
    """Return what makes frames, and the anchors that they carry."""
    if n_features > MOST_BIASED:
        return {
            "conformations": {"method": "grow"},
            "grow": {"max_steps": max(FEWEST_GROWN, int(MOST_GROWN * scale))},
            "geodesic": {"anchor_log_snr": "auto", "min_support": SUPPORTED_FRAMES},
        }
    return {
        "conformations": {
            "method": "metadynamics",
            "n_walkers": max(2, min(8, n_workers // 2 * 2)),
            "n_build_steps": max(FEWEST_BUILD_STEPS, int(1_000_000 * scale)),
            "n_sample_steps": max(FEWEST_SAMPLE_STEPS, int(1_500_000 * scale)),
        },
        "geodesic": {"anchor_log_snr": FEW_FEATURES_ANCHOR},
    }
