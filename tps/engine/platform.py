"""The fastest OpenMM platform for one molecule: measured, cached, shown, and open to being forced."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import openmm
from numpy.typing import NDArray

from tps.engine.choice import ON_DEVICES, THREADED, PlatformChoice, PlatformWish
from tps.engine.copies import most_copies
from tps.engine.speed import (
    BUSY_LOAD,
    Measurement,
    as_measurement,
    default_cache,
    read_cache,
    speed_alone,
    speeds_of_copies,
    speeds_side_by_side,
    write_cache,
)
from tps.errors import ParameterError

_ANYTHING = PlatformWish()
#: Says which kind of entry the cache holds.
_CACHE_FORMAT = "4"


def default_workers() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine_load() -> float:
    """Return the load average of the last minute over the number of cores; 0 where the system does not tell."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 0.0


def choose_platform(
    system_xml: str,
    positions: NDArray[np.float64],
    wish: PlatformWish = _ANYTHING,
    *,
    cache: Path | None = None,
    load: Callable[[], float] = machine_load,
) -> PlatformChoice:
    """Return the platform on which this system makes the most MD steps per second, one thread each.

    It is measured once, and again when the measurement was made on a busy machine and the machine is idle now. Of a
    platform with devices it is measured too how many contexts pay side by side on one of them.

    Parameters
    ----------
    system_xml : str
        Serialised OpenMM System.
    positions : (n_atoms, 3) array
        Any reasonable structure [nm].
    wish : PlatformWish
        Anything by default.
    cache : Path, optional
        JSON file of earlier measurements; the user's cache folder by default. A cache that cannot be written only
        costs the measurement next time.
    load : callable
        Returns the load of the machine over its number of cores.

    Raises
    ------
    ParameterError
        If a platform or a device is not there.
    """
    choices = wish.choices()
    if wish.name is not None and wish.name not in ON_DEVICES:
        return choices[wish.name]
    cache = cache or default_cache()
    n_cores = default_workers()
    on = f"{wish.precision} {wish.devices}"
    said = [_CACHE_FORMAT, system_xml, openmm.Platform.getOpenMMVersion(), *choices, str(n_cores), on]
    key = hashlib.sha256("|".join(said).encode()).hexdigest()
    known, now = read_cache(cache), load()
    earlier = as_measurement(known.get(key))
    if earlier is not None and (earlier.repeated or not earlier.busy or now > BUSY_LOAD):
        return _fastest(choices, earlier, "cached")
    found = _measure_all(system_xml, positions, choices, n_cores, now)
    found = replace(found, repeated=earlier is not None)
    write_cache(cache, {**known, key: asdict(found)})
    return _fastest(choices, found, "measured" if earlier is None else "measured again")


def _fastest(choices: Mapping[str, PlatformChoice], found: Measurement, source: str) -> PlatformChoice:
    speeds = found.steps_per_second
    return replace(choices[max(speeds, key=lambda name: speeds[name])], measurement=found, source=source)


def _measure_all(
    system_xml: str,
    positions: NDArray[np.float64],
    choices: Mapping[str, PlatformChoice],
    n_cores: int,
    load: float,
) -> Measurement:
    """Measure platforms; those with devices are left out where they have none, unless nothing else is asked for."""
    measured, complaints = {}, []
    for name, choice in choices.items():
        try:
            measured[name] = speed_alone(system_xml, positions, name, choice.properties)
        except openmm.OpenMMException as error:
            complaints.append(f"{choice.title}: {error}")
    if not measured:
        raise ParameterError(
            f"no device can be computed on ({'; '.join(complaints) or 'OpenMM has no platform with devices here'}): "
            "choose another platform, precision or device"
        )
    fastest = max(measured, key=lambda name: measured[name][0])
    threaded, together = 0.0, {}
    copies, copies_on, copies_setup = _measure_copies(system_xml, positions, choices, measured)
    if THREADED in measured and n_cores > 1:
        properties = PlatformChoice(THREADED, n_threads=n_cores).properties
        threaded = speed_alone(system_xml, positions, THREADED, properties)[0]
    if choices[fastest].on_device:
        alone = measured[fastest][0]
        together = speeds_side_by_side(system_xml, positions, fastest, choices[fastest].properties, alone)
    return Measurement(
        {name: speed for name, (speed, _) in measured.items()},
        threaded,
        n_cores,
        load,
        max(spread for _, spread in measured.values()),
        datetime.now(UTC).isoformat(timespec="seconds"),
        together,
        copies,
        copies_on,
        copies_setup,
    )


def _measure_copies(
    system_xml: str,
    positions: NDArray[np.float64],
    choices: Mapping[str, PlatformChoice],
    measured: Mapping[str, tuple[float, float]],
) -> tuple[dict[str, float], str, float]:
    """Return the speeds of copies in one context of the fastest device, its platform, and what the context takes."""
    devices = [name for name in measured if choices[name].on_device]
    system = openmm.XmlSerializer.deserialize(system_xml)
    if not devices or (n_most := most_copies(system)) < 2:
        return {}, "", 0.0
    fastest = max(devices, key=lambda name: measured[name][0])
    copies, setup = speeds_of_copies(system, positions, n_most, fastest, choices[fastest].properties)
    return copies, fastest, setup
