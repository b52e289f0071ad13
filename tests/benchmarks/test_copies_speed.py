"""Copies of a molecule in one context of a device, beside one context a core: seconds of both within one run."""

import time

import numpy as np
import pytest

from tps.dynamics import OUTSIDE, CopiedDynamics, MoleculeDynamics
from tps.engine import (
    LangevinSettings,
    PlatformChoice,
    available_platforms,
    default_workers,
    local_executor,
)
from tps.paths import AnnealingSettings, annealed_paths, estimate_committor
from tps.systems import load_system

DEVICES = [name for name in available_platforms() if PlatformChoice(name).on_device]
pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(not DEVICES, reason="needs a platform with devices"),
]
REFERENCE, LANGEVIN = PlatformChoice("Reference"), LangevinSettings(300.0, 0.003)


def test_paths_and_shots_as_copies():
    """The same curve and frames on all cores and as copies: means agree, and how long each takes is shown."""
    system, n, n_cores = load_system("alanine-dipeptide"), 512, default_workers()
    angles = np.stack([np.linspace(a, b, 41) for a, b in ((-1.4, 1.0), (1.1, -0.7))], axis=1)
    curve = np.linspace(0, 1, 41), 40 * np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(41, 4)
    settings = AnnealingSettings(n, n_steps=44_800, n_updates=3200, n_equilibration_steps=3500)
    copies, found = PlatformChoice(DEVICES[0], n_copies=n), []
    with local_executor("processes", n_cores) as cores, local_executor("threads", 1) as one:
        annealed_paths(
            system,
            *curve,
            AnnealingSettings(n_cores, n_steps=3200),
            LANGEVIN,
            REFERENCE,
            list(range(n_cores)),
            cores,
        )
        for platform, executor in ((REFERENCE, cores), (copies, one)):
            start = time.perf_counter()
            paths, positions = annealed_paths(
                system, *curve, settings, LANGEVIN, platform, list(range(n)), executor
            )
            work = paths.cumulative_work[:, -1]
            found.append((work.mean(), work.std() / np.sqrt(n)))
            print(f"\n{n} paths, {platform.title}: {time.perf_counter() - start:.1f} s")
            print(f"work {work.mean():.2f} ± {work.std() / np.sqrt(n):.2f} kT")
        frames = np.concatenate([path[140:200:6] for path in positions[:40] if path is not None])
        alone, together = (
            kind.of(system, LANGEVIN, platform)
            for kind, platform in (
                (MoleculeDynamics, REFERENCE),
                (CopiedDynamics, PlatformChoice(DEVICES[0], n_copies=1024)),
            )
        )
        frames = frames[alone.states(alone.points(frames)) == OUTSIDE][:16]
        for dynamics, executor in ((alone, cores), (together, None)):
            start = time.perf_counter()
            shots = estimate_committor(dynamics, frames, 512, seed=1, max_frames=4000, executor=executor)
            print(
                f"{len(frames) * 512} shots, {dynamics.platform.title}: {time.perf_counter() - start:.1f} s"
            )
            print(f"{shots.n_steps / len(frames) / 512:.0f} steps each; p_B {np.round(shots.p_b, 2)}")
    (mean, error), (other, its) = found
    assert abs(mean - other) < 4 * np.hypot(error, its)
