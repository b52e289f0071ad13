"""Which OpenMM platform is asked for, and which one simulations run on."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

import openmm

from tps.engine.speed import PAYS, Measurement
from tps.errors import ParameterError

#: The one platform of OpenMM's whose contexts take more than one core.
THREADED = "CPU"
#: Those that compute on a device, in a precision of choice.
ON_DEVICES = ("CUDA", "HIP", "OpenCL")
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
            name for name in there if self.name in (None, name) and (not self.devices or name in ON_DEVICES)
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
        return self.name in ON_DEVICES

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
        if self.name != THREADED:
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
        if found is None or THREADED not in found.steps_per_second:
            return self
        threads = min(n_cores, found.n_cores) // max(1, n_tasks)
        single = found.steps_per_second[THREADED]
        if threads < 2 or found.all_cores < PAYS * single:
            return self
        parallel = min(1.0, (1 - single / found.all_cores) / (1 - 1 / found.n_cores))
        speed = single / (1 - parallel + parallel / threads)
        if speed <= found.steps_per_second[self.name]:
            return self
        return replace(self, name=THREADED, n_threads=threads)

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
            speeds += f", {THREADED} on {found.n_cores} cores {found.all_cores:,.0f}"
        threads = f" with {self.n_threads} threads each" if self.n_threads > 1 else ""
        doubt = f"; {found.doubt}" if found.doubt else ""
        if len(found.side_by_side) > 1:
            speeds += f", {found.n_contexts} side by side {found.side_by_side[str(found.n_contexts)]:,.0f}"
        if (n := found.most_copies) > 1:
            speeds += f", {n} copies in one context of {found.copies_on} {found.copies[str(n)]:,.0f}"
        return f"{self.title}{threads} ({self.source}; steps/s: {speeds}{doubt})"


def available_platforms() -> tuple[str, ...]:
    """Return the names of the OpenMM platforms of this installation."""
    return tuple(openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms()))


def _place() -> int:
    """Return the number of this thread among those that asked for a device."""
    if not hasattr(_PLACE, "number"):
        _PLACE.number = next(_PLACES)
    return int(_PLACE.number)
