"""Build the end structures of alanine dipeptide, c5.pdb and c7ax.pdb, from chemistry alone.

The molecule (ACE-ALA-NME, L-alanine) comes from its SMILES string with RDKit, which only this script needs
(`pip install rdkit`). OpenMM then minimises it in the force field of system.toml, first with phi and psi held
near the wanted basin, then freely, so that both files hold true local minima. The same versions write the
same bytes again.

    python systems/alanine-dipeptide/build.py
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit
from rdkit import Chem
from rdkit.Chem import AllChem
from rdkit.Chem.rdMolTransforms import SetDihedralDeg

#: N-acetyl-L-alanine N'-methylamide; the map numbers name the heavy atoms (see HEAVY_ATOMS).
SMILES = "[CH3:1][C:2](=[O:3])[NH:4][C@@H:5]([CH3:6])[C:7](=[O:8])[NH:9][CH3:10]"
#: Map number -> (residue name, atom name, names of its hydrogens), Amber's names.
HEAVY_ATOMS = {
    1: ("ACE", "CH3", ("HH31", "HH32", "HH33")),
    2: ("ACE", "C", ()),
    3: ("ACE", "O", ()),
    4: ("ALA", "N", ("H",)),
    5: ("ALA", "CA", ("HA",)),
    6: ("ALA", "CB", ("HB1", "HB2", "HB3")),
    7: ("ALA", "C", ()),
    8: ("ALA", "O", ()),
    9: ("NME", "N", ("H",)),
    10: ("NME", "CH3", ("HH31", "HH32", "HH33")),
}
#: Amber's atom order, the one the literature uses: phi = 4 6 8 14, psi = 6 8 14 16.
ATOM_ORDER = (
    *(("ACE", name) for name in ("HH31", "CH3", "HH32", "HH33", "C", "O")),
    *(("ALA", name) for name in ("N", "H", "CA", "HA", "CB", "HB1", "HB2", "HB3", "C", "O")),
    *(("NME", name) for name in ("N", "H", "CH3", "HH31", "HH32", "HH33")),
)
PHI, PSI = (4, 6, 8, 14), (6, 8, 14, 16)
#: File name -> (phi, psi) [degree] to start from.
BASINS = {"c5.pdb": (-155.0, 155.0), "c7ax.pdb": (65.0, -55.0)}
RANDOM_SEED = 1
HOLDING_STIFFNESS = 2000.0  # of phi and psi [kJ/mol/rad**2]
TOLERANCE = 1e-3  # root mean square force of a minimum [kJ/mol/nm]


def embed() -> tuple[Chem.Mol, list[int]]:
    """Return the molecule with hydrogens in three dimensions, and its atom indices in `ATOM_ORDER`."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(SMILES))
    index: dict[tuple[str, str], int] = {}
    for atom in molecule.GetAtoms():
        if atom.GetAtomMapNum():
            residue, name, hydrogens = HEAVY_ATOMS[atom.GetAtomMapNum()]
            bonded = [
                neighbour.GetIdx() for neighbour in atom.GetNeighbors() if neighbour.GetAtomicNum() == 1
            ]
            index |= {(residue, name): atom.GetIdx()}
            index |= {(residue, h): i for h, i in zip(hydrogens, bonded, strict=True)}
    if AllChem.EmbedMolecule(molecule, randomSeed=RANDOM_SEED) != 0:
        raise SystemExit("RDKit could not embed the molecule in three dimensions")
    return molecule, [index[key] for key in ATOM_ORDER]


def set_torsions(molecule: Chem.Mol, order: list[int], phi: float, psi: float) -> np.ndarray:
    """Return positions (22, 3) [nm] in `ATOM_ORDER` with given phi, psi [degree] and trans peptide bonds."""
    conformer = molecule.GetConformer()
    for atoms, angle in ((PHI, phi), (PSI, psi), ((1, 4, 6, 8), 180.0), ((8, 14, 16, 18), 180.0)):
        SetDihedralDeg(conformer, *(order[i] for i in atoms), angle)
    return conformer.GetPositions()[order] / 10


def make_topology(molecule: Chem.Mol, order: list[int]) -> app.Topology:
    """Return the OpenMM topology in `ATOM_ORDER`, with the molecule's bonds."""
    topology = app.Topology()
    chain = topology.addChain("A")
    residues = {name: topology.addResidue(name, chain) for name in ("ACE", "ALA", "NME")}
    atoms = {}
    for i, (residue, name) in zip(order, ATOM_ORDER, strict=True):
        atoms[i] = topology.addAtom(name, app.Element.getBySymbol(name[0]), residues[residue])
    for bond in molecule.GetBonds():
        topology.addBond(atoms[bond.GetBeginAtomIdx()], atoms[bond.GetEndAtomIdx()])
    return topology


def minimise(
    topology: app.Topology, positions: np.ndarray, phi: float, psi: float
) -> tuple[np.ndarray, float]:
    """Return the local minimum (22, 3) [nm] next to the given torsions [degree], and its energy [kJ/mol]."""
    system = app.ForceField("amber99sbildn.xml").createSystem(topology, constraints=app.HBonds)
    hold = openmm.CustomTorsionForce("hold*(1 - cos(theta - theta0))")
    hold.addGlobalParameter("hold", HOLDING_STIFFNESS)
    hold.addPerTorsionParameter("theta0")
    hold.addTorsion(*PHI, [np.radians(phi)])
    hold.addTorsion(*PSI, [np.radians(psi)])
    system.addForce(hold)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, TOLERANCE)
    context.setParameter("hold", 0.0)
    openmm.LocalEnergyMinimizer.minimize(context, TOLERANCE)
    state = context.getState(getPositions=True, getEnergy=True)
    return (
        state.getPositions(asNumpy=True).value_in_unit(unit.nanometer),
        state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole),
    )


def standard_frame(positions: np.ndarray) -> np.ndarray:
    """Return positions with CA at the origin, N on the x axis and C in the upper xy plane."""
    n, ca, c = positions[6], positions[8], positions[14]
    x = (n - ca) / np.linalg.norm(n - ca)
    z = np.cross(x, c - ca)
    z /= np.linalg.norm(z)
    return (positions - ca) @ np.stack([x, np.cross(z, x), z], axis=1)


def is_l_alanine(positions: np.ndarray) -> bool:
    """Return whether CO, R, N turn clockwise seen from HA (the 'CORN' rule of L-amino acids)."""
    n, ca, ha, cb, c = (positions[i] for i in (6, 8, 9, 10, 14))
    normal = np.cross(n - ca, c - ca)
    return bool(normal @ (cb - ca) > 0 > normal @ (ha - ca))


def main() -> None:
    """Write c5.pdb and c7ax.pdb beside this script."""
    for name, (phi, psi) in BASINS.items():
        molecule, order = embed()
        topology = make_topology(molecule, order)
        start = set_torsions(molecule, order, phi, psi)
        positions, energy = minimise(topology, start, phi, psi)
        positions = standard_frame(positions)
        if not is_l_alanine(positions):
            raise SystemExit(f"{name} is not L-alanine: correct the chirality mark of the SMILES string")
        text = io.StringIO()
        app.PDBFile.writeModel(topology, positions * unit.nanometer, text)
        remark = f"REMARK   1 ALANINE DIPEPTIDE, {name[:-4].upper()}: MINIMUM OF AMBER99SBILDN IN VACUUM"
        (Path(__file__).parent / name).write_text(f"{remark}\n{text.getvalue()}END\n")
        print(f"{name}: {energy:.3f} kJ/mol")


if __name__ == "__main__":
    main()
