"""Molecules of four atoms whose torsion has an exactly known distribution, whatever the rest does."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import openmm
from openmm import app

from tps.features import Torsion
from tps.systems import MolecularSystem, Region, State

ATOMS = (0, 1, 2, 3)


def chain_positions(angle: float) -> np.ndarray:
    """Positions (4, 3) [nm] of a chain with right angles whose torsion is `angle` [rad]."""
    far = [0.1 * math.cos(angle), 0.1 * math.sin(angle), 0.15]
    return np.array([[0.1, 0, 0], [0, 0, 0], [0, 0, 0.15], far])


def torsion_molecule(expression: str = "0*theta", temperature: float = 300.0) -> MolecularSystem:
    """A chain of four atoms with a potential of its torsion alone [kJ/mol].

    Bonds and angles are harmonic and do not know the torsion, and the Jacobian from Cartesian to internal coordinates
    does not either: so p(θ) ∝ exp(-U(θ)/kT) exactly.
    """
    topology = app.Topology()
    residue = topology.addResidue("LIG", topology.addChain("A"))
    atoms = [topology.addAtom(f"C{i + 1}", app.Element.getBySymbol("C"), residue) for i in range(4)]
    for first, second in pairwise(atoms):
        topology.addBond(first, second)
    system = openmm.System()
    for _ in ATOMS:
        system.addParticle(12.0)
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for i, length in enumerate((0.1, 0.15, 0.1)):
        bonds.addBond(i, i + 1, length, 20_000.0)
    for i in range(2):
        angles.addAngle(i, i + 1, i + 2, math.pi / 2, 300.0)
    torsion = openmm.CustomTorsionForce(expression)
    torsion.addTorsion(*ATOMS, [])
    for force in (bonds, angles, torsion):
        system.addForce(force)
    return MolecularSystem(
        name="torsion-alone",
        description="a chain of four atoms",
        directory=Path(),
        topology=topology,
        system_xml=openmm.XmlSerializer.serialize(system),
        temperature=temperature,
        positions_a=chain_positions(-1.5),
        positions_b=chain_positions(1.5),
        collective_variables={"theta": Torsion("theta", ATOMS)},
        feature_names=("theta",),
        state_a=State("left", Region({"theta": (-2.2, -0.8)})),
        state_b=State("right", Region({"theta": (0.8, 2.2)})),
    )
