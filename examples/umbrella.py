"""Free energy of B minus A of a prepared system by plain umbrella sampling of one distance: to check `tps run` with.

    python examples/umbrella.py FOLDER --windows 12 --steps 40000

FOLDER holds the system.toml of `tps init`, with one distance as feature. Harmonic windows from A's end to the outer
bound, each started where the one before ended; pymbar puts them together. Nothing of `tps` takes part but the reading
of the system.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import openmm
import pymbar
from openmm import unit

from tps.systems import load_system

#: Steps between stored values, and of each window before the first one.
INTERVAL, EQUILIBRATION = 20, 2_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--windows", type=int, default=12)
    parser.add_argument("--steps", type=int, default=40_000, help="of each window")
    parser.add_argument("--timestep", type=float, default=0.004, help="[ps]")
    parser.add_argument("--from", dest="low", type=float, default=0.26, help="innermost window [nm]")
    parser.add_argument("--to", dest="high", type=float, default=0.88, help="outermost window [nm]")
    parser.add_argument("--platform", default="CPU")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    system = load_system(options.folder)
    name, (i, j) = distance_of(system)
    centers = np.linspace(options.low, options.high, options.windows)
    kt = system.kt
    stiffness = kt / (0.7 * (centers[1] - centers[0])) ** 2
    context, integrator = bias(system, i, j, stiffness, options)
    series = []
    for number, center in enumerate(centers):
        context.setParameter("center", center)
        integrator.step(EQUILIBRATION)
        found = []
        for _ in range(options.steps // INTERVAL):
            integrator.step(INTERVAL)
            found.append(distance(context, i, j))
        series.append(np.array(found))
        print(
            f"window {number + 1} of {len(centers)} at {center:.3f} nm: {np.mean(found):.3f} nm", flush=True
        )
    value, error, n = difference(series, centers, stiffness / kt, (system.state_a, system.state_b), name)
    print(f"F(B) - F(A) = {value * kt:.2f} ± {error * kt:.2f} kJ/mol from {n} independent frames")


def distance_of(system) -> tuple[str, tuple[int, int]]:
    """Return the name and the atoms of the one feature, which must be a distance."""
    (feature,) = system.features.variables
    i, j = feature.atoms
    return feature.name, (i, j)


def bias(system, i: int, j: int, stiffness: float, options) -> tuple[openmm.Context, openmm.Integrator]:
    """Return a Context of the system with a spring on the distance, at end A."""
    model = system.create_openmm_system()
    spring = openmm.CustomBondForce("0.5 * stiffness * (r - center)^2")
    spring.addPerBondParameter("stiffness")
    spring.addGlobalParameter("center", 0.3)
    spring.setUsesPeriodicBoundaryConditions(model.usesPeriodicBoundaryConditions())
    spring.addBond(i, j, [stiffness])
    model.addForce(spring)
    integrator = openmm.LangevinMiddleIntegrator(
        system.temperature * unit.kelvin, 1 / unit.picosecond, options.timestep * unit.picosecond
    )
    integrator.setRandomNumberSeed(options.seed)
    platform = openmm.Platform.getPlatformByName(options.platform)
    threads = {"Threads": "1"} if options.platform == "CPU" else {}
    context = openmm.Context(model, integrator, platform, threads)
    context.setPositions(system.positions_a)
    context.setVelocitiesToTemperature(system.temperature * unit.kelvin, options.seed)
    return context, integrator


def distance(context: openmm.Context, i: int, j: int) -> float:
    """Return the distance [nm], of the nearest images."""
    state = context.getState(getPositions=True)
    positions = state.getPositions(asNumpy=True)._value
    edges = np.diag(state.getPeriodicBoxVectors(asNumpy=True)._value)
    apart = positions[j] - positions[i]
    return float(np.linalg.norm(apart - edges * np.round(apart / edges)))


def difference(series, centers, stiffness, states, name) -> tuple[float, float, int]:
    """Return -ln p(B) / p(A), its error, and how many independent frames it comes from."""
    thinned = [s[pymbar.timeseries.subsample_correlated_data(s)] for s in series]
    values = np.concatenate(thinned)
    reduced = 0.5 * stiffness * (values - centers[:, None]) ** 2
    mbar = pymbar.MBAR(reduced, [len(s) for s in thinned])
    inside = [state.region.contains({name: values}) for state in states]
    # each region as a state of its own: reduced energy 0 inside, prohibitive outside
    wanted = np.array([np.where(region, 0.0, 1e3) for region in inside])
    found = mbar.compute_perturbed_free_energies(wanted)
    return float(found["Delta_f"][0, 1]), float(found["dDelta_f"][0, 1]), len(values)


if __name__ == "__main__":
    main()
