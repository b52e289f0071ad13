"""The fastest OpenMM platform for one molecule: measured, cached, shown, and open to being forced."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import openmm
from numpy.typing import NDArray

from tps.errors import ParameterError

_MEASURE_SECONDS = 0.3
_SINGLE_THREADED = {"CPU": {"Threads": "1", "DeterministicForces": "true"}}


@dataclass(frozen=True)
class PlatformChoice:
    """The platform a molecule runs on, and why.

    Attributes
    ----------
    name : str
        OpenMM platform name.
    steps_per_second : mapping
        Measured MD steps per second of every platform tried (one thread each); empty when forced.
    source : str
        "measured", "cached" or "forced".
    """

    name: str
    steps_per_second: Mapping[str, float] = field(default_factory=dict)
    source: str = "forced"

    @property
    def properties(self) -> dict[str, str]:
        """Context properties: one thread a context, because walkers and paths fill the cores."""
        return dict(_SINGLE_THREADED.get(self.name, {}))

    def describe(self) -> str:
        """Say in one line which platform was chosen and how fast the others were."""
        if not self.steps_per_second:
            return f"{self.name} ({self.source})"
        speeds = ", ".join(f"{name} {speed:,.0f}" for name, speed in self.steps_per_second.items())
        return f"{self.name} ({self.source}; steps/s: {speeds})"


def available_platforms() -> tuple[str, ...]:
    """Return the names of the OpenMM platforms of this installation."""
    return tuple(openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms()))


def choose_platform(
    system_xml: str,
    positions: NDArray[np.float64],
    *,
    forced: str | None = None,
    cache: Path | None = None,
) -> PlatformChoice:
    """Return the platform on which this system makes the most MD steps per second.

    Parameters
    ----------
    system_xml : str
        Serialised OpenMM System.
    positions : (n_atoms, 3) array
        Any reasonable structure [nm].
    forced : str, optional
        A platform name that ends the discussion.
    cache : Path, optional
        JSON file of earlier measurements; the user's cache folder by default. A cache that cannot be written only
        costs the measurement next time.

    Raises
    ------
    ParameterError
        If the forced platform is not there.
    """
    names = available_platforms()
    if forced is not None:
        if forced not in names:
            raise ParameterError(
                f"OpenMM platform {forced!r} is not available here: choose one of {', '.join(names)}"
            )
        return PlatformChoice(forced)
    cache = cache or _default_cache()
    key = hashlib.sha256(
        "|".join([system_xml, openmm.Platform.getOpenMMVersion(), *names, str(os.cpu_count())]).encode()
    ).hexdigest()
    known = _read_cache(cache)
    if key in known:
        return _fastest(known[key], "cached")
    speeds = {}
    for name in names:
        speed = _measure(system_xml, positions, name)
        if speed is not None:
            speeds[name] = speed
    _write_cache(cache, {**known, key: speeds})
    return _fastest(speeds, "measured")


def _fastest(speeds: Mapping[str, float], source: str) -> PlatformChoice:
    return PlatformChoice(max(speeds, key=lambda name: speeds[name]), speeds, source)


def _measure(system_xml: str, positions: NDArray[np.float64], name: str) -> float | None:
    """Return the steps per second of one platform, or None where it has no device to run on."""
    integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.001)
    platform = openmm.Platform.getPlatformByName(name)
    system = openmm.XmlSerializer.deserialize(system_xml)
    try:
        context = openmm.Context(system, integrator, platform, _SINGLE_THREADED.get(name, {}))
    except openmm.OpenMMException:  # a GPU platform without a GPU
        return None
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=20)
    integrator.step(10)
    n_steps, chunk, start = 0, 10, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < _MEASURE_SECONDS:
        integrator.step(chunk)
        context.getState(energy=True)  # waits for a GPU's queue
        n_steps += chunk
        chunk = min(2 * chunk, 5000)
    return round(n_steps / elapsed)


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tps" / "platforms.json"


def _read_cache(path: Path) -> dict[str, dict[str, float]]:
    try:
        known = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return known if isinstance(known, dict) else {}


def _write_cache(path: Path, content: Mapping[str, Mapping[str, float]]) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(content, indent=1))
        partial.replace(path)
    except OSError:  # a read-only home: measure again next time
        return
