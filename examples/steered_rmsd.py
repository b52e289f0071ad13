"""Steered dynamics on the RMSD to structure B: what annealed paths of a molecule are to be compared with.

    python examples/steered_rmsd.py chignolin --paths 8 --steps 5000 --timestep 0.001

A harmonic spring pulls the heavy-atom RMSD to B from its value in A down to 0 at constant speed, after equilibration
in A. Printed are what `tps analyse` says of paths: RMSD and native contacts of the last frame, the largest potential
energy (of the molecule alone) and the work.
"""

from __future__ import annotations

import argparse

import numpy as np
import openmm

from tps.analysis import heavy_atom_rmsd, native_contacts
from tps.analysis.structure import NATIVE
from tps.engine import BIAS_GROUP, Dynamics, LangevinSettings, choose_platform, independent_seeds
from tps.features.rmsd import Rmsd
from tps.systems import MolecularSystem, load_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("system", help="name, or folder of a system.toml")
    parser.add_argument("--paths", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5_000)
    parser.add_argument(
        "--equilibration", type=int, default=5_000, help="steps in A, with the spring at rest"
    )
    parser.add_argument("--timestep", type=float, default=0.001, help="[ps]")
    parser.add_argument("--friction", type=float, default=1.0, help="[1/ps]")
    parser.add_argument("--stiffness", type=float, default=100_000.0, help="[kJ/mol/nm^2]")
    parser.add_argument("--update", type=int, default=5, help="steps between moves of the spring")
    parser.add_argument("--frames", type=int, default=100, help="at which the energy is looked at")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    system = load_system(options.system)
    if not isinstance(system, MolecularSystem):
        raise SystemExit(f"{options.system} is a surface: give a molecule")
    ends, energies, works = [], [], []
    for seed in independent_seeds(options.seed, options.paths):
        last, highest, work = pull(system, options, seed)
        ends.append(last)
        energies.append(highest)
        works.append(work)
        rmsd = heavy_atom_rmsd(system, last[None], system.positions_b)[0]
        print(f"RMSD {rmsd:.3f} nm, largest energy {highest:.1f} kJ/mol, work {work:.0f} kT", flush=True)
    report(system, np.array(ends), np.array(energies), np.array(works))


def spring(system: MolecularSystem, stiffness: float) -> tuple[openmm.Force, Rmsd]:
    """Return a spring on the heavy-atom RMSD to B, whose rest is the global parameter `rest` [nm], and the RMSD."""
    heavy = tuple(atom.index for atom in system.topology.atoms() if atom.element.symbol != "H")
    reference = tuple(tuple(float(x) for x in system.positions_b[i]) for i in heavy)
    variable = Rmsd("rmsd", heavy, reference=reference, n_particles=system.n_atoms)
    force = variable.force(f"{stiffness / 2!r}*(value - rest)^2")
    force.addGlobalParameter("rest", float(variable.values(system.positions_a)))
    force.setForceGroup(BIAS_GROUP)
    return force, variable


def pull(system: MolecularSystem, options: argparse.Namespace, seed: int) -> tuple[np.ndarray, float, float]:
    """Return the last frame (n_atoms, 3) [nm], the largest energy [kJ/mol] and the work [kT] of one path."""
    openmm_system = system.create_openmm_system()
    force, variable = spring(system, options.stiffness)
    openmm_system.addForce(force)
    settings = LangevinSettings(system.temperature, options.timestep, options.friction)
    platform = choose_platform(system.system_xml, system.positions_a)
    dynamics = Dynamics(openmm_system, settings, platform, seed)
    dynamics.start(system.positions_a)
    dynamics.step(options.equilibration)
    n_updates = options.steps // options.update
    rest = np.linspace(dynamics.context.getParameter("rest"), 0.0, n_updates + 1)
    work, energies = 0.0, []
    for k in range(n_updates):
        value = float(variable.values(dynamics.positions()))
        work += options.stiffness / 2 * ((value - rest[k + 1]) ** 2 - (value - rest[k]) ** 2)
        dynamics.context.setParameter("rest", rest[k + 1])
        dynamics.step(options.update)
        if (k + 1) % max(1, n_updates // options.frames) == 0:
            last, energy = dynamics.frame()
            energies.append(energy)
    return last, max(energies), work / system.kt


def report(system: MolecularSystem, ends: np.ndarray, energies: np.ndarray, works: np.ndarray) -> None:
    rmsd = heavy_atom_rmsd(system, ends, system.positions_b)
    print(f"paths                  {len(ends)}")
    print(f"rmsd_last              {rmsd.mean():.3f} ± {rmsd.std(ddof=1):.3f} nm")
    if (contacts := native_contacts(system, ends)) is not None:
        print(f"native_contacts        {contacts.mean():.3f} ± {contacts.std(ddof=1):.3f}")
        print(f"native_rate            {100 * np.mean(contacts > NATIVE):.1f} %")
    print(f"u_max                  {energies.mean():.1f} ± {energies.std(ddof=1):.1f} kJ/mol")
    print(f"work                   {works.mean():.1f} ± {works.std(ddof=1) / np.sqrt(len(works)):.1f} kT")


if __name__ == "__main__":
    main()
