"""The fastest OpenMM platform for one molecule: measured, cached, shown, and open to being forced."""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import openmm
from numpy.typing import NDArray

from tps.engine.copies import most_copies
from tps.engine.speed import (
    BUSY_LOAD,
    PAYS,
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

#: Says which kind of entry the cache holds.
_CACHE_FORMAT = "4"
#: The one platform of OpenMM's whose contexts take more than one core.
_THREADED = "CPU"
#: Those that compute on a device, in a precision of choice.
_ON_DEVICES = ("CUDA", "HIP", "OpenCL")
_PLACE, _PLACES = threading.local(), itertools.count()


@dataclass(frozen=True)
class PlatformWish:
    """What is asked of a platform.

    Attributes
    ----------
    name : str or None
        Of an OpenMM platform, which ends the discussion; None: the fastest.
    precision : str
        Of platforms with devices: single, mixed or double.
    devices : tuple of int
        Devices by OpenMM's index, which only platforms with devices have; none: the one that OpenMM takes.
    """

    name: str | None = None
    precision: str = "mixed"
    devices: tuple[int, ...] = ()

    def choices(self) -> dict[str, PlatformChoice]:
        """Return the platforms of this installation among which the fastest is to be found.

        Raises
        ------
        ParameterError
            If there is none.
        """
        there = available_platforms()
        if self.name is not None and self.name not in there:
            raise ParameterError(
                f"OpenMM platform {self.name!r} is not available here: choose one of {', '.join(there)}"
            )
        fit = [
            name for name in there if self.name in (None, name) and (not self.devices or name in _ON_DEVICES)
        ]
        if not fit:
            raise ParameterError(
                f"{self.name or 'none of the OpenMM platforms here'} computes on devices that could be chosen: leave "
                f"out devices, got {', '.join(map(str, self.devices))}"
            )
        return {name: PlatformChoice(name, precision=self.precision, devices=self.devices) for name in fit}


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
    precision : str
        Of a platform with devices: single, mixed or double.
    devices : tuple of int
        Those it computes on, in turn; none: the one that OpenMM takes.
    n_copies : int
        Copies of the molecule that simulations which know how put into each context.
    """

    name: str
    measurement: Measurement | None = None
    source: str = "forced"
    n_threads: int = 1
    precision: str = "mixed"
    devices: tuple[int, ...] = ()
    n_copies: int = 1

    @property
    def on_device(self) -> bool:
        """Whether it computes on devices, such as GPUs."""
        return self.name in _ON_DEVICES

    @property
    def title(self) -> str:
        """Its name, with precision, devices and copies where it has them."""
        together = f", {self.n_copies} copies in a context" if self.n_copies > 1 else ""
        if not self.on_device:
            return f"{self.name}{together}"
        on = f" on device{'s' * (len(self.devices) > 1)} {', '.join(map(str, self.devices))}"
        return f"{self.name} in {self.precision} precision{on if self.devices else ''}{together}"

    @property
    def n_side_by_side(self) -> int | None:
        """Contexts that all devices run side by side, as many as pay; None where cores decide."""
        if not self.on_device or self.measurement is None:
            return None
        return self.measurement.n_contexts * max(1, len(self.devices))

    @property
    def steps_per_second(self) -> Mapping[str, float]:
        """Measured MD steps per second of every platform tried, one thread each; empty when forced."""
        return {} if self.measurement is None else self.measurement.steps_per_second

    @property
    def properties(self) -> dict[str, str]:
        """Context properties; forces that come out the same each time, where the platform knows how.

        Of several devices, the threads of a program take one after another.
        """
        if self.on_device:
            same = {} if self.name == "OpenCL" else {"DeterministicForces": "true"}
            chosen = {"DeviceIndex": str(self.devices[_place() % len(self.devices)])} if self.devices else {}
            return {"Precision": self.precision, **same, **chosen}
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
        if threads < 2 or found.all_cores < PAYS * single:
            return self
        parallel = min(1.0, (1 - single / found.all_cores) / (1 - 1 / found.n_cores))
        speed = single / (1 - parallel + parallel / threads)
        if speed <= found.steps_per_second[self.name]:
            return self
        return replace(self, name=_THREADED, n_threads=threads)

    def for_copies(self, n_simulations: int, n_steps: int, n_cores: int) -> PlatformChoice:
        """Return the choice for simulations that may be copies of the molecule in one context, where that is sooner.

        Parameters
        ----------
        n_simulations : int
        n_steps : int
            MD steps of each, about.
        n_cores : int
            Cores to use otherwise.
        """
        found = self.measurement
        if found is None or n_simulations < 2:
            return self
        if self.on_device:
            speed = found.side_by_side[str(found.n_contexts)] * max(1, len(self.devices))
        else:
            speed = found.steps_per_second[self.name] * min(n_cores, n_simulations)
        if found.seconds_of_copies(n_simulations, n_steps) * PAYS > n_simulations * n_steps / speed:
            return self
        return replace(self, name=found.copies_on, n_copies=min(n_simulations, found.most_copies))

    def describe(self) -> str:
        """Say in one line which platform was chosen, how fast the others were, and what there is to doubt about it."""
        found = self.measurement
        if found is None:
            return f"{self.title} ({self.source})"
        speeds = ", ".join(f"{name} {speed:,.0f}" for name, speed in found.steps_per_second.items())
        if found.all_cores:
            speeds += f", {_THREADED} on {found.n_cores} cores {found.all_cores:,.0f}"
        threads = f" with {self.n_threads} threads each" if self.n_threads > 1 else ""
        doubt = f"; measured on a busy machine, load {found.load:.1f} a core" if found.busy else ""
        if len(found.side_by_side) > 1:
            speeds += f", {found.n_contexts} side by side {found.side_by_side[str(found.n_contexts)]:,.0f}"
        if (n := found.most_copies) > 1:
            speeds += f", {n} copies in one context of {found.copies_on} {found.copies[str(n)]:,.0f}"
        return f"{self.title}{threads} ({self.source}; steps/s: {speeds}{doubt})"


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
    wish: PlatformWish = PlatformWish(),
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
    if wish.name is not None and wish.name not in _ON_DEVICES:
        return choices[wish.name]
    cache = cache or default_cache()
    n_cores = default_workers()
    on = f"{wish.precision} {wish.devices}"
    said = [_CACHE_FORMAT, system_xml, openmm.Platform.getOpenMMVersion(), *choices, str(n_cores), on]
    key = hashlib.sha256("|".join(said).encode()).hexdigest()
    known, now = read_cache(cache), load()
    earlier = as_measurement(known.get(key))
    if earlier is not None and not (earlier.busy and now <= BUSY_LOAD):
        return _fastest(choices, earlier, "cached")
    found = _measure_all(system_xml, positions, choices, n_cores, now)
    write_cache(cache, {**known, key: asdict(found)})
    return _fastest(choices, found, "measured" if earlier is None else "measured again")


def _place() -> int:
    """Return the number of this thread among those that asked for a device."""
    if not hasattr(_PLACE, "number"):
        _PLACE.number = next(_PLACES)
    return int(_PLACE.number)


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
    if _THREADED in measured and n_cores > 1:
        properties = PlatformChoice(_THREADED, n_threads=n_cores).properties
        threaded = speed_alone(system_xml, positions, _THREADED, properties)[0]
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
