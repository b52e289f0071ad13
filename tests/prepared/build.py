"""Write the Amber, GROMACS, CHARMM and OpenMM files that the tests of prepared systems read.

Two systems, built by OpenMM from its own force-field files: alanine dipeptide in vacuum (the structure of
systems/alanine-dipeptide), and two ions with some water in a small box. ParmEd writes them in the formats of the
other programs; only this script needs it (`pip install parmed`).

    python tests/prepared/build.py
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import openmm
import parmed
from openmm import app, unit
from parmed.charmm import CharmmParameterSet, CharmmPsfFile

HERE = Path(__file__).resolve().parent
ALANINE = HERE.parents[1] / "systems" / "alanine-dipeptide" / "c5.pdb"
#: Files of the small box: three by three by three sites, two of them ions.
BOX_NM = 1.6
SITES = 3
#: Water of TIP3P: bond [nm] and half its angle.
OH, HALF_ANGLE = 0.09572, np.radians(104.52 / 2)
CUTOFF_NM = 0.7


def alanine() -> tuple[app.Topology, np.ndarray, openmm.System]:
    """Return alanine dipeptide in vacuum, its c5 structure (22, 3) [nm], and its System without constraints."""
    pdb = app.PDBFile(str(ALANINE))
    system = app.ForceField("amber14-all.xml").createSystem(pdb.topology, constraints=None)
    return pdb.topology, np.array(pdb.positions.value_in_unit(unit.nanometer)), system


def salt_water() -> tuple[app.Topology, np.ndarray, openmm.System]:
    """Return Na+, Cl- and 25 waters at random orientations on a grid, with positions (77, 3) [nm]."""
    rng = np.random.default_rng(1)
    topology = app.Topology()
    topology.setPeriodicBoxVectors(BOX_NM * np.eye(3) * unit.nanometer)
    chain = topology.addChain("A")
    grid = np.stack(np.meshgrid(*[np.arange(SITES)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    sites = (grid + 0.5) * BOX_NM / SITES + rng.uniform(-0.05, 0.05, size=(SITES**3, 3))
    positions: list[np.ndarray] = []
    for name, symbol, site in (("NA", "Na", sites[0]), ("CL", "Cl", sites[-1])):
        topology.addAtom(name, app.Element.getBySymbol(symbol), topology.addResidue(name, chain))
        positions.append(site)
    for site in sites[1:-1]:
        residue = topology.addResidue("HOH", chain)
        oxygen, *hydrogens = (
            topology.addAtom(n, app.Element.getBySymbol(n[0]), residue) for n in ("O", "H1", "H2")
        )
        for hydrogen in hydrogens:
            topology.addBond(oxygen, hydrogen)
        axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        along, across = OH * np.cos(HALF_ANGLE) * axes[0], OH * np.sin(HALF_ANGLE) * axes[1]
        positions += [site, site + along + across, site + along - across]
    force_field = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    system = force_field.createSystem(
        topology,
        nonbondedMethod=app.PME,
        nonbondedCutoff=CUTOFF_NM * unit.nanometer,
        constraints=None,
        rigidWater=False,
    )
    return topology, np.array(positions), system


def write_charmm(structure: parmed.Structure, stem: str) -> None:
    """Write psf, prm and crd with Amber's 1-4 interactions: charges scaled by 1/1.2, Lennard-Jones by 1/2."""
    psf = CharmmPsfFile.from_structure(structure, copy=True)
    psf.write_psf(str(HERE / f"{stem}.psf"))
    parameters = CharmmParameterSet.from_structure(psf)
    for kind in parameters.atom_types.values():
        kind.epsilon_14 = kind.epsilon / 2
    # CHARMM's impropers are harmonic: k (1 + cos(2 x - 180 degree)) = 2 k sin(x)^2 is 2 k x^2 next to a plane
    for atoms, kind in parameters.improper_periodic_types.items():
        parameters.improper_types[atoms] = parmed.ImproperType(2 * kind.phi_k, kind.phase)
    parameters.improper_periodic_types.clear()
    parameters.write(par=str(HERE / f"{stem}.prm"))
    psf.save(str(HERE / f"{stem}.crd"), overwrite=True, format="charmmcrd")
    # OpenMM reads E14FAC from the line of NONBONDED alone
    edit(f"{stem}.prm", r"NONBONDED[^$]*?e14fac.*", f"NONBONDED nbxmod 5 e14fac {1 / 1.2:.8f}")


def edit(name: str, pattern: str, replacement: str) -> None:
    """Replace a pattern, found once, in a file that has been written."""
    text, count = re.subn(pattern, replacement, (HERE / name).read_text(), count=1)
    assert count == 1, (name, pattern)
    (HERE / name).write_text(text)


def write(stem: str, topology: app.Topology, positions: np.ndarray, system: openmm.System) -> None:
    """Write one system in every format."""
    (HERE / f"{stem}.xml").write_text(openmm.XmlSerializer.serialize(system), encoding="utf-8")
    with (HERE / f"{stem}.pdb").open("w", encoding="utf-8") as file:
        app.PDBFile.writeFile(topology, positions * unit.nanometer, file, keepIds=True)
    structure = parmed.openmm.load_topology(topology, system, xyz=positions * unit.nanometer)
    for suffix, kind in ((".prmtop", "amber"), (".rst7", "rst7"), (".top", "gromacs"), (".gro", "gro")):
        structure.save(str(HERE / f"{stem}{suffix}"), overwrite=True, format=kind)
    structure.save(str(HERE / f"{stem}.ncrst"), overwrite=True, format="ncrst")
    write_charmm(structure, stem)
    if structure.box is None:  # a gro file must have a line for the box
        edit(f"{stem}.gro", r"\S+ +\S+ +\S+\n\Z", "0.00000   0.00000   0.00000\n")
    # the same versions write the same bytes again: no dates, users or paths
    edit(f"{stem}.prmtop", r"DATE = .*", "DATE = 01/01/26  00:00:00")
    edit(f"{stem}.top", r"\A(;.*\n)+", "; written by build.py\n")


def main() -> None:
    """Write both systems beside this script."""
    warnings.simplefilter("ignore")
    write("alanine", *alanine())
    write("salt-water", *salt_water())


if __name__ == "__main__":
    main()
