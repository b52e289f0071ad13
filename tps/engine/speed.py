"""How fast OpenMM's platforms run one molecule: measured, one context alone and several side by side, and cached."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray

from tps.engine.copies import with_copies
from tps.files import whole

#: A measurement lasts so long, in chunks of at least so long each [s].
_MEASURE_SECONDS, _CHUNK_SECONDS = 0.3, 0.03
#: Share of the cores that others use, and spread of the chunks' speeds, from which a machine is busy.
BUSY_LOAD, _BUSY_SPREAD = 0.5, 0.5
#: Threads, or more contexts on one device, pay from this speed-up on.
PAYS = 1.1
#: Contexts side by side on one device that are tried, one number after another while they pay.
_SIDE_BY_SIDE = (2, 4, 8, 16, 32)
#: Copies in one context are looked at every so many steps, as paths and shots are.
_LOOK_EVERY = 10


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
    side_by_side : mapping
        Of a device: MD steps per second of so many contexts together, by their number as a text.
    copies : mapping
        Of the fastest device: MD steps per second of so many copies of the molecule in one context together, of one
        and of the most, by their number as a text; empty where there is no device, or no copying.
    copies_on : str
        That device's platform.
    copies_setup : float
        What the context of the most copies took to make [s].
    repeated : bool
        Whether one on a busy machine came before; this one stays.
    """

    steps_per_second: Mapping[str, float]
    all_cores: float
    n_cores: int
    load: float
    spread: float
    when: str
    side_by_side: Mapping[str, float] = field(default_factory=dict)
    copies: Mapping[str, float] = field(default_factory=dict)
    copies_on: str = ""
    copies_setup: float = 0.0
    repeated: bool = False

    @property
    def busy(self) -> bool:
        """Whether the machine was doing other things, so that the speeds are not to be trusted."""
        return bool(self.doubt)

    @property
    def doubt(self) -> str:
        """What speaks against the speeds; nothing where all is well."""
        if self.load > BUSY_LOAD:
            return f"measured on a busy machine, load {self.load:.1f} a core"
        return f"speeds that spread by {self.spread:.0%}" if self.spread > _BUSY_SPREAD else ""

    @property
    def n_contexts(self) -> int:
        """Contexts that one device runs side by side: the most that still paid."""
        best, speed = 1, 0.0
        for number, together in self.side_by_side.items():
            if together > PAYS * speed:
                best, speed = int(number), together
        return best

    @property
    def most_copies(self) -> int:
        """Copies of the molecule that one context of a device was tried with; 1: none were."""
        return max(map(int, self.copies), default=1)

    def seconds_of_copies(self, n_simulations: int, n_steps: int) -> float:
        """Return how long so many simulations take as copies in one context, at most `most_copies` at a time.

        A step takes a time that grows evenly with the copies, from one to the most, which lie above it: a device works
        on few atoms as long as on one.
        """
        n_most = self.most_copies
        if n_most < 2:
            return math.inf
        n = min(n_simulations, n_most)
        one, most = 1 / self.copies["1"], n_most / self.copies[str(n_most)]
        step = one + max(0.0, most - one) * (n - 1) / (n_most - 1)
        return self.copies_setup + math.ceil(n_simulations / n) * n_steps * step


def speed_alone(
    system_xml: str, positions: NDArray[np.float64], name: str, properties: Mapping[str, str]
) -> tuple[float, float]:
    """Return the median steps per second of a context's chunks and their spread.

    Raises
    ------
    openmm.OpenMMException
        If there is no such device.
    """
    steps = _stepper(openmm.XmlSerializer.deserialize(system_xml), positions, name, properties)
    n_steps = 10
    while (elapsed := steps(n_steps)) < _CHUNK_SECONDS:
        n_steps *= 2
    chunks = [elapsed]
    while sum(chunks) < _MEASURE_SECONDS:
        chunks.append(steps(n_steps))
    speeds = n_steps / np.array(chunks)
    middle = float(np.median(speeds))
    return round(middle, 1), round(float(np.ptp(speeds)) / middle, 3)


def speeds_side_by_side(
    system_xml: str, positions: NDArray[np.float64], name: str, properties: Mapping[str, str], alone: float
) -> dict[str, float]:
    """Return the steps per second of 1, 2, 4, ... contexts together, each in a thread, until more do not pay."""
    found = {"1": alone}
    n_steps = max(10, int(_MEASURE_SECONDS * alone))
    for n in _SIDE_BY_SIDE:
        systems = [openmm.XmlSerializer.deserialize(system_xml) for _ in range(n)]
        steppers = [_stepper(system, positions, name, properties) for system in systems]
        share = n_steps // n + 1
        with ThreadPoolExecutor(n) as threads:
            start = time.perf_counter()
            for ended in [threads.submit(stepper, share) for stepper in steppers]:
                ended.result()
            together = n * share / (time.perf_counter() - start)
        found[str(n)] = round(together, 1)
        if together < PAYS * found[list(found)[-2]]:
            break
    return found


def speeds_of_copies(
    system: openmm.System,
    positions: NDArray[np.float64],
    n_most: int,
    name: str,
    properties: Mapping[str, str],
) -> tuple[dict[str, float], float]:
    """Return the steps per second of one copy, and of `n_most` in one context, and the seconds that this takes to make.

    Positions are looked at on the way: with so many it is what takes most of the time.
    """
    found, setup = {}, 0.0
    for n in (1, n_most):
        start = time.perf_counter()
        steps = _stepper(
            with_copies(system, n), np.tile(positions, (n, 1)), name, properties, look_every=_LOOK_EVERY
        )
        setup = time.perf_counter() - start
        n_steps = _LOOK_EVERY
        while (elapsed := steps(n_steps)) < _MEASURE_SECONDS:
            n_steps *= 2
        found[str(n)] = round(n * n_steps / elapsed, 1)
    return found, round(setup, 3)


def _stepper(
    system: openmm.System,
    positions: NDArray[np.float64],
    name: str,
    properties: Mapping[str, str],
    look_every: int = 0,
) -> Callable[[int], float]:
    """Return what makes so many steps of a context that is warm, and returns the seconds they took."""
    integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.001)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(name), dict(properties))
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=20)
    integrator.step(10)

    def seconds(n_steps: int) -> float:
        start = time.perf_counter()
        for _ in range(0, n_steps, look_every or n_steps):
            integrator.step(look_every or n_steps)
            if look_every:
                context.getState(positions=True).getPositions(asNumpy=True)
        context.getState(energy=True)  # waits for a GPU's queue
        return time.perf_counter() - start

    return seconds


def as_measurement(entry: Any) -> Measurement | None:
    """Return a measurement of the cache; None where it holds none, or something else."""
    try:
        found = Measurement(**entry)
        together = [*found.side_by_side.values(), *found.copies.values(), found.copies_setup]
        numbers = [found.all_cores, found.load, found.spread, found.most_copies, found.n_contexts]
        speeds = [*found.steps_per_second.values(), *together, *numbers]
    except (TypeError, AttributeError, ValueError):
        return None
    return (
        found if found.steps_per_second and all(isinstance(speed, int | float) for speed in speeds) else None
    )


def default_cache() -> Path:
    """Return the file of earlier measurements in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tps" / "platforms.json"


def read_cache(path: Path) -> dict[str, dict[str, Any]]:
    """Return what a cache holds; nothing where it cannot be read."""
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):  # a cache is only a cache
        return {}
    return known if isinstance(known, dict) else {}


def write_cache(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a cache, where that can be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial:
            partial.write_text(json.dumps(content, indent=1))
    except OSError:  # a read-only home: measure again next time
        return
