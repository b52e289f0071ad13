"""The fastest OpenMM platform for one molecule: measured, cached, shown, and open to being forced."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray

from tps.errors import ParameterError
from tps.files import whole

#: A measurement lasts so long, in chunks of at least so long each [s].
_MEASURE_SECONDS, _CHUNK_SECONDS = 0.3, 0.03
#: Share of the cores that others use, and spread of the chunks' speeds, from which a machine is busy.
_BUSY_LOAD, _BUSY_SPREAD = 0.5, 0.5
#: Threads pay from this speed-up on all cores on.
_PAYS = 1.1
#: Says which kind of entry the cache holds.
_CACHE_FORMAT = "2"
#: The one platform of OpenMM's whose contexts take more than one core.
_THREADED = "CPU"


@dataclass(frozen=True)
class Measurement:
    """How fast the platforms ran one molecule, when, and what else the machine was doing.

    Attributes
    ----------
    steps_per_second : mapping
        MD steps per second of every platform there is, one thread each.
    all_cores : float
        The same of the CPU platform with a thread on each of `n_cores`; 0 where it was not tried.
    n_cores : int
    load : float
        Load average of the last minute over the number of cores, before; 0 where the system does not tell.
    spread : float
        Largest (fastest - slowest)/median of one platform's repeated chunks.
    when : str
        ISO 8601.
    """

    steps_per_second: Mapping[str, float]
    all_cores: float
    n_cores: int
    load: float
    spread: float
    when: str

    @property
    def busy(self) -> bool:
        """Whether the machine was doing other things, so that the speeds are not to be trusted."""
        return self.load > _BUSY_LOAD or self.spread > _BUSY_SPREAD


@dataclass(frozen=True)
class PlatformChoice:
    """The platform a molecule runs on, and why.

    Attributes
    ----------
    name : str
        OpenMM platform name.
    measurement : Measurement or None
        What the choice rests on; None when forced.
    source : str
        "measured", "measured again", "cached" or "forced".
    n_threads : int
        Threads of each context on the CPU platform.
    """

    name: str
    measurement: Measurement | None = None
    source: str = "forced"
    n_threads: int = 1

    @property
    def steps_per_second(self) -> Mapping[str, float]:
        """Measured MD steps per second of every platform tried, one thread each; empty when forced."""
        return {} if self.measurement is None else self.measurement.steps_per_second

    @property
    def properties(self) -> dict[str, str]:
        """Context properties; forces that come out the same each time, whatever the order of threads."""
        if self.name != _THREADED:
            return {}
        return {"Threads": str(self.n_threads), "DeterministicForces": "true"}

    def for_tasks(self, n_tasks: int, n_cores: int) -> PlatformChoice:
        """Return the choice for simulations side by side, with more threads each where cores are left and that pays.

        Threads times simulations never exceed the cores. The speed between one thread and all cores is taken from
        Amdahl's law, s(t) = s(1)/(1 - p + p/t), with p from the two that were measured. What was forced stays as it is.

        Parameters
        ----------
        n_tasks : int
        n_cores : int
            Cores to use.

        References
        ----------
        Amdahl, AFIPS Conf. Proc. 30, 483 (1967).
        """
        found = self.measurement
        if found is None or _THREADED not in found.steps_per_second:
            return self
        threads = min(n_cores, found.n_cores) // max(1, n_tasks)
        single = found.steps_per_second[_THREADED]
        if threads < 2 or found.all_cores < _PAYS * single:
            return self
        parallel = min(1.0, (1 - single / found.all_cores) / (1 - 1 / found.n_cores))
        speed = single / (1 - parallel + parallel / threads)
        if speed <= found.steps_per_second[self.name]:
            return self
        return replace(self, name=_THREADED, n_threads=threads)

    def describe(self) -> str:
        """Say in one line which platform was chosen, how fast the others were, and what there is to doubt about it."""
        found = self.measurement
        if found is None:
            return f"{self.name} ({self.source})"
        speeds = ", ".join(f"{name} {speed:,.0f}" for name, speed in found.steps_per_second.items())
        if found.all_cores:
            speeds += f", {_THREADED} on {found.n_cores} cores {found.all_cores:,.0f}"
        threads = f" with {self.n_threads} threads each" if self.n_threads > 1 else ""
        doubt = f"; measured on a busy machine, load {found.load:.1f} a core" if found.busy else ""
        return f"{self.name}{threads} ({self.source}; steps/s: {speeds}{doubt})"


def default_workers() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine_load() -> float:
    """Return the load average of the last minute over the number of cores; 0 where the system does not tell."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 0.0


def available_platforms() -> tuple[str, ...]:
    """Return the names of the OpenMM platforms of this installation."""
    return tuple(openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms()))


def choose_platform(
    system_xml: str,
    positions: NDArray[np.float64],
    *,
    forced: str | None = None,
    cache: Path | None = None,
    load: Callable[[], float] = machine_load,
) -> PlatformChoice:
    """Return the platform on which this system makes the most MD steps per second, one thread each.

    It is measured once, and again when the measurement was made on a busy machine and the machine is idle now.

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
    load : callable
        Returns the load of the machine over its number of cores.

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
    n_cores = default_workers()
    said = [_CACHE_FORMAT, system_xml, openmm.Platform.getOpenMMVersion(), *names, str(n_cores)]
    key = hashlib.sha256("|".join(said).encode()).hexdigest()
    known, now = _read_cache(cache), load()
    earlier = _measurement(known.get(key))
    if earlier is not None and not (earlier.busy and now <= _BUSY_LOAD):
        return _fastest(earlier, "cached")
    found = _measure_all(system_xml, positions, names, n_cores, now)
    _write_cache(cache, {**known, key: asdict(found)})
    return _fastest(found, "measured" if earlier is None else "measured again")


def _measurement(entry: Any) -> Measurement | None:
    """Return a measurement of the cache; None where it holds none, or something else."""
    try:
        found = Measurement(**entry)
        speeds = [*found.steps_per_second.values(), found.all_cores, found.load, found.spread]
    except (TypeError, AttributeError):
        return None
    return found if len(speeds) > 3 and all(isinstance(speed, int | float) for speed in speeds) else None


def _fastest(found: Measurement, source: str) -> PlatformChoice:
    speeds = found.steps_per_second
    return PlatformChoice(max(speeds, key=lambda name: speeds[name]), found, source)


def _measure_all(
    system_xml: str, positions: NDArray[np.float64], names: tuple[str, ...], n_cores: int, load: float
) -> Measurement:
    measured = {name: _measure(system_xml, positions, PlatformChoice(name)) for name in names}
    there = {name: found for name, found in measured.items() if found is not None}
    threaded = None
    if _THREADED in there and n_cores > 1:
        threaded = _measure(system_xml, positions, PlatformChoice(_THREADED, n_threads=n_cores))
    return Measurement(
        {name: speed for name, (speed, _) in there.items()},
        0.0 if threaded is None else threaded[0],
        n_cores,
        load,
        max(spread for _, spread in there.values()),
        datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _measure(
    system_xml: str, positions: NDArray[np.float64], choice: PlatformChoice
) -> tuple[float, float] | None:
    """Return the median steps per second of one platform's chunks and their spread; None if it has no device."""
    integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.001)
    platform = openmm.Platform.getPlatformByName(choice.name)
    system = openmm.XmlSerializer.deserialize(system_xml)
    try:
        context = openmm.Context(system, integrator, platform, choice.properties)
    except openmm.OpenMMException:  # a GPU platform without a GPU
        return None
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=20)
    integrator.step(10)

    def seconds(n_steps: int) -> float:
        start = time.perf_counter()
        integrator.step(n_steps)
        context.getState(energy=True)  # waits for a GPU's queue
        return time.perf_counter() - start

    n_steps = 10
    while (elapsed := seconds(n_steps)) < _CHUNK_SECONDS:
        n_steps *= 2
    chunks = [elapsed]
    while sum(chunks) < _MEASURE_SECONDS:
        chunks.append(seconds(n_steps))
    speeds = n_steps / np.array(chunks)
    middle = float(np.median(speeds))
    return round(middle, 1), round(float(np.ptp(speeds)) / middle, 3)


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tps" / "platforms.json"


def _read_cache(path: Path) -> dict[str, dict[str, Any]]:
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):  # a cache is only a cache
        return {}
    return known if isinstance(known, dict) else {}


def _write_cache(path: Path, content: Mapping[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial:
            partial.write_text(json.dumps(content, indent=1))
    except OSError:  # a read-only home: measure again next time
        return
