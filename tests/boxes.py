"""A chain of four carbons in a slanted box of water, without interactions, to be broken by the box's borders."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import openmm
from molecules import chain_positions, torsion_molecule
from openmm import app

from tps.features import Distance, Torsion
from tps.systems import MolecularSystem

BOX = np.array([[1.6, 0, 0], [0.5, 1.5, 0], [-0.4, 0.3, 1.4]])
N_WATERS, N_ATOMS = 3, 16
#: Oxygen, hydrogens, and a site without mass on the oxygen's axis [nm].
WATER = np.array([[0, 0, 0], [0.08, 0.06, 0], [-0.08, 0.06, 0], [0, 0.015, 0]])


def boxed_positions(angle: float, seed: int = 0) -> np.ndarray:
    """Whole positions (16, 3) [nm]: the chain at this torsion [rad] and three waters anywhere."""
    places = np.random.default_rng(seed).uniform(size=(N_WATERS, 1, 3)) @ BOX
    return np.concatenate([chain_positions(angle), (places + WATER).reshape(-1, 3)])


def boxed_molecule() -> MolecularSystem:
    """The chain and its waters as a periodic system; features are the torsion and the distance of the chain's ends."""
    alone = torsion_molecule()
    topology, system = app.Topology(), openmm.System()
    chain = topology.addChain("A")
    residue = topology.addResidue("LIG", chain)
    carbons = [topology.addAtom(f"C{i}", app.element.carbon, residue) for i in (1, 2, 3, 4)]
    for pair in pairwise(carbons):
        topology.addBond(*pair)
    for _ in range(N_WATERS):
        residue = topology.addResidue("HOH", chain)
        oxygen = topology.addAtom("O", app.element.oxygen, residue)
        for name in ("H1", "H2"):
            topology.addBond(oxygen, topology.addAtom(name, app.element.hydrogen, residue))
        topology.addAtom("M", None, residue)
    for _ in range(N_ATOMS):
        system.addParticle(12.0)
    system.setDefaultPeriodicBoxVectors(*BOX.tolist())
    topology.setPeriodicBoxVectors(BOX.tolist())
    ends = openmm.HarmonicBondForce()
    ends.addBond(0, 1, 0.1, 100.0)
    ends.setUsesPeriodicBoundaryConditions(True)
    system.addForce(ends)
    variables = {"theta": Torsion("theta", (0, 1, 2, 3)), "ends": Distance("ends", (0, 3))}
    return replace(
        alone,
        topology=topology,
        system_xml=openmm.XmlSerializer.serialize(system),
        positions_a=boxed_positions(-1.5),
        positions_b=boxed_positions(1.5),
        collective_variables=variables,
        feature_names=("theta", "ends"),
        box=BOX,
        chosen_solute=None,
    )


def wrapped_atom_by_atom(positions: np.ndarray) -> np.ndarray:
    """Every atom in the cell, whatever it belongs to."""
    inside = positions @ np.linalg.inv(BOX)
    return (inside - np.floor(inside)) @ BOX
