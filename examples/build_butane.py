"""Write n-butane, anti and gauche, with a serialised OpenMM System: a molecule that no force-field file of OpenMM has.

    python examples/build_butane.py -o DIR

The parameters are OPLS-AA's, typed from Jorgensen, Maxwell and Tirado-Rives, J. Am. Chem. Soc. 118, 11225 (1996), with
its geometric combining rule. The structures are minima of that energy next to C-C-C-C = 180 and 65 degrees.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
import openmm
from build_peptide import place, torsion
from networkx import Graph, shortest_path_length
from numpy.typing import NDArray
from openmm import app, unit

KCAL = 4.184
CHARGE = {"CH3": -0.18, "CH2": -0.12, "H": 0.06}
SIGMA_NM, EPSILON = {"C": 0.350, "H": 0.250}, {"C": 0.066 * KCAL, "H": 0.030 * KCAL}
SCALE_14 = 0.5  # of Coulomb and Lennard-Jones energy between atoms three bonds apart
#: Length [nm] and force constant k of k (r - r0)^2 [kcal/mol/Å^2]; angle [degree] and k [kcal/mol/rad^2].
BONDS = {"CC": (0.1529, 268.0), "CH": (0.1090, 340.0)}
ANGLES = {"CCC": (112.7, 58.35), "CCH": (110.7, 37.5), "HCH": (107.8, 33.0)}
#: V1, V2, V3 [kcal/mol] of V1/2 (1 + cos x) + V2/2 (1 - cos 2x) + V3/2 (1 + cos 3x).
TORSIONS = {"CCCC": (1.740, -0.157, 0.279), "CCCH": (0.0, 0.0, 0.366), "HCCH": (0.0, 0.0, 0.318)}
NAMES = ("C1", "C2", "C3", "C4", "H11", "H12", "H13", "H21", "H22", "H31", "H32", "H41", "H42", "H43")
CARBONS = (0, 1, 2, 3)
CONFORMATIONS = {"butane-anti.pdb": 180.0, "butane-gauche.pdb": 65.0}


def make_topology() -> app.Topology:
    """Return the topology: four carbons, then their hydrogens."""
    topology = app.Topology()
    residue = topology.addResidue("BUT", topology.addChain("A"))
    atoms = [topology.addAtom(name, app.Element.getBySymbol(name[0]), residue) for name in NAMES]
    for i, name in enumerate(NAMES):
        if i in CARBONS[1:]:
            topology.addBond(atoms[i - 1], atoms[i])
        elif name[0] == "H":
            topology.addBond(atoms[int(name[1]) - 1], atoms[i])
    return topology


def make_system(topology: app.Topology) -> openmm.System:
    """Return the System: bonds of hydrogens constrained, no cutoff."""
    system = openmm.System()
    for atom in topology.atoms():
        system.addParticle(atom.element.mass)
    graph = Graph((one.index, two.index) for one, two in topology.bonds())
    bonds, angles, torsions = (
        openmm.HarmonicBondForce(),
        openmm.HarmonicAngleForce(),
        openmm.PeriodicTorsionForce(),
    )
    for i, j in graph.edges:
        length, k = BONDS[_key(i, j)]
        if _key(i, j) == "CH":
            system.addConstraint(i, j, length)
        else:
            bonds.addBond(i, j, length, 2 * k * KCAL * 100)
    for j in CARBONS:
        for i, k in combinations(graph[j], 2):
            angle, stiffness = ANGLES[_key(i, j, k)]
            angles.addAngle(i, j, k, np.radians(angle), 2 * stiffness * KCAL)
    for j, k in [(0, 1), (1, 2), (2, 3)]:
        for i in set(graph[j]) - {k}:
            for m in set(graph[k]) - {j}:
                for periodicity, v in enumerate(TORSIONS[_key(i, j, k, m)], start=1):
                    if v != 0:
                        torsions.addTorsion(i, j, k, m, periodicity, np.pi * (periodicity == 2), v / 2 * KCAL)
    for force in (bonds, angles, torsions, _nonbonded(graph)):
        system.addForce(force)
    return system


def _key(*atoms: int) -> str:
    """Return the elements along a chain of atoms, in the order that the tables have."""
    letters = "".join(NAMES[i][0] for i in atoms)
    return min(letters, letters[::-1])


def _nonbonded(graph: Graph) -> openmm.NonbondedForce:
    """Return Coulomb and Lennard-Jones forces; each pair by itself, since OpenMM would combine sigma otherwise."""
    force = openmm.NonbondedForce()
    charges = [
        CHARGE["H" if name[0] == "H" else "CH3" if i in (0, 3) else "CH2"] for i, name in enumerate(NAMES)
    ]
    for charge, name in zip(charges, NAMES, strict=True):
        force.addParticle(charge, SIGMA_NM[name[0]], EPSILON[name[0]])
    apart = dict(shortest_path_length(graph))
    for i, j in combinations(range(len(NAMES)), 2):
        scale = {1: 0.0, 2: 0.0, 3: SCALE_14}.get(apart[i][j], 1.0)
        one, two = NAMES[i][0], NAMES[j][0]
        sigma = float(np.sqrt(SIGMA_NM[one] * SIGMA_NM[two]))
        epsilon = float(np.sqrt(EPSILON[one] * EPSILON[two]))
        force.addException(i, j, scale * charges[i] * charges[j], sigma, scale * epsilon)
    return force


def make_positions(angle: float) -> NDArray[np.float64]:
    """Return positions (14, 3) [nm] of tetrahedral butane with the torsion C-C-C-C [degree]."""
    c1, c2 = np.zeros(3), np.array([0.1529, 0.0, 0.0])
    c3 = place(c2, c1, np.array([0.0, 0.1, 0.0]), 0.1529, 112.7, 180.0)
    c4 = place(c3, c2, c1, 0.1529, 112.7, angle)
    methyl = (60.0, 180.0, -60.0)
    hydrogens = [place(c1, c2, c3, 0.109, 110.7, turn) for turn in methyl]
    hydrogens += [place(c2, c3, c4, 0.109, 109.5, angle + turn) for turn in (121.0, -121.0)]
    hydrogens += [place(c3, c2, c1, 0.109, 109.5, angle + turn) for turn in (121.0, -121.0)]
    hydrogens += [place(c4, c3, c2, 0.109, 110.7, turn) for turn in methyl]
    return np.array([c1, c2, c3, c4, *hydrogens])


def minimise(system: openmm.System, positions: NDArray) -> tuple[NDArray[np.float64], float]:
    """Return the local minimum (14, 3) [nm] and its energy [kJ/mol]."""
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, 1e-3)
    state = context.getState(getPositions=True, getEnergy=True)
    return (
        state.getPositions(asNumpy=True).value_in_unit(unit.nanometer),
        state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole),
    )


def main() -> None:
    """Write butane-anti.pdb, butane-gauche.pdb and butane.xml."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).resolve().parent / "structures")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    topology = make_topology()
    system = make_system(topology)
    (folder / "butane.xml").write_text(openmm.XmlSerializer.serialize(system), encoding="utf-8")
    for name, angle in CONFORMATIONS.items():
        positions, energy = minimise(system, make_positions(angle))
        with (folder / name).open("w", encoding="utf-8") as out:
            app.PDBFile.writeHeader(topology, out)
            app.PDBFile.writeModel(
                topology, (positions - positions.mean(axis=0)) * unit.nanometer, out, keepIds=True
            )
            app.PDBFile.writeFooter(topology, out)
        lines = [line for line in (folder / name).read_text().splitlines() if not line.startswith("REMARK")]
        (folder / name).write_text("\n".join(lines) + "\n")
        print(f"{name}: C-C-C-C = {torsion(positions, CARBONS):.1f} degree, {energy:.3f} kJ/mol")


if __name__ == "__main__":
    main()
