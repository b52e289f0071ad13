"""Sound inputs of every kind, small, which are then spoilt."""

from __future__ import annotations

import gzip
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import mdtraj
import numpy as np
import openmm
from click.testing import CliRunner
from openmm import XmlSerializer, app

from tps.cli import main
from tps.config import load_config
from tps.pipeline import RunFolder
from tps.systems import data_directory, load_system

PREPARED = Path(__file__).parents[1] / "prepared"
MINI = """
[run]
system = "double-well-2d"
seed = 1
n_workers = 1

[conformations]
n_grid_points = 20

[geodesic]
n_points = 8

[paths]
n_paths = 3
n_baseline_paths = 1
n_steps = 400
n_updates = 40
n_frames = 20
n_equilibration_steps = 20

[shooting]
n_moves = 24
n_chains = 2
n_frame_shots = 20

[committor]
n_paths = 2
n_shots = 4

[free_energy]
n_windows = 4
n_bridge_windows = 2
n_frames = 20
frame_interval_steps = 5
n_backward_paths = 2
"""
MOLECULE = MINI.replace('"double-well-2d"', '"../molecule"\nplatform = "Reference"').replace(
    "n_grid_points = 20", "n_build_steps = 8_000\nn_sample_steps = 8_000\nframe_interval_steps = 20"
)
IMPORT = """
[run]
system = "../molecule"
platform = "Reference"

[conformations]
method = "import"
trajectories = ["../frames/frames.{suffix}"]
{weights}
"""
RICH = """
[collective_variables.ends]
distance = [1, 18]
[collective_variables.bend]
angle = [4, 8, 14]
[collective_variables.near]
contact = [[1, 18], [4, 16]]
r0_nm = 0.4
[collective_variables.far]
rmsd = "ref.pdb"
atoms = "element != H"
[collective_variables.turns]
torsions = "backbone"
[confinement]
ends_nm = [0.0, 2.0]
"""
#: File of weights -> what a run file says of it.
WEIGHTS = {
    "weights.npy": 'weights_kind = "weight"',
    "weights.npz": 'weights_column = "logw"',
    "weights.txt": 'weights_kind = "bias-kj-per-mol"',
    "COLVAR": 'weights_column = "metad.rbias"',
    "COLVAR.gz": 'weights_column = "metad.rbias"',
}
TRAJECTORIES = ("dcd", "xtc", "trr", "h5", "nc", "pdb", "gro", "pdb.gz")


def call(*arguments: object) -> None:
    """Run a command that must work."""
    result = CliRunner().invoke(main, [str(word) for word in arguments])
    assert result.exit_code == 0, result.output


def make_systems(folder: Path) -> None:
    """Write a molecule with a force field of its own, its System as XML, prepared files, and surfaces."""
    molecule = shutil.copytree(data_directory("systems") / "alanine-dipeptide", folder / "molecule")
    text = (molecule / "system.toml").read_text()
    write_force_field(molecule / "mine.xml")
    (molecule / "system.toml").write_text(text.replace("amber99sbildn.xml", "mine.xml"))
    given = shutil.copytree(molecule, folder / "given")
    (given / "system.xml").write_text(XmlSerializer.serialize(load_system(molecule).create_openmm_system()))
    old = 'files = ["mine.xml"]\nconstraints = "h-bonds"'
    text = (given / "system.toml").read_text()
    assert old in text
    (given / "system.toml").write_text(text.replace(old, 'system_xml = "system.xml"'))
    (folder / "prepared").mkdir()
    for file in PREPARED.glob("alanine.*"):
        shutil.copy(file, folder / "prepared")
    make_doubles(folder / "prepared" / "doubles")
    shutil.copy(molecule / "c7ax.pdb", folder / "prepared" / "b.pdb")
    make_custom(given)
    make_rich(folder / "rich")
    make_surface(folder / "surface")


def make_doubles(folder: Path) -> None:
    """Write files that include the next one twice each, and the last one nothing."""
    folder.mkdir()
    for i in range(30):
        (folder / f"{i}.itp").write_text(f'#include "{i + 1}.itp"\n' * 2)
    (folder / "30.itp").write_text("; nothing\n")


def make_custom(given: Path) -> None:
    """Write the given System with forces whose energy is an expression, in a folder beside it."""
    system = XmlSerializer.deserialize((given / "system.xml").read_text())
    outside, bonds = openmm.CustomExternalForce("k*x^2"), openmm.CustomBondForce("0.5*k*(r-0.1)^2")
    outside.addGlobalParameter("k", 0.1)
    outside.addParticle(0, [])
    bonds.addPerBondParameter("k")
    bonds.addBond(0, 1, [1.0])
    for force in (outside, bonds):
        system.addForce(force)
    (given / "custom.xml").write_text(XmlSerializer.serialize(system))
    (given / "custom").mkdir()
    text = (given / "system.toml").read_text()
    for name in ("c5.pdb", "c7ax.pdb"):
        text = text.replace(name, f"../{name}")
    (given / "custom" / "system.toml").write_text(text.replace('"system.xml"', '"../custom.xml"'))


def make_rich(folder: Path) -> None:
    """Write a molecule that has every kind of variable, walls and a solute, its ends as mmCIF."""
    source = data_directory("systems") / "alanine-dipeptide"
    folder.mkdir()
    for end, name in (("a", "c5"), ("b", "c7ax")):
        loaded = app.PDBFile(str(source / f"{name}.pdb"))
        with (folder / f"{end}.cif").open("w") as file:
            app.PDBxFile.writeFile(loaded.topology, loaded.positions, file, keepIds=True)
    shutil.copy(source / "c5.pdb", folder / "ref.pdb")
    text = (source / "system.toml").read_text().replace("c5.pdb", "a.cif").replace("c7ax.pdb", "b.cif")
    head, rest = text.split("[system]", 1)
    (folder / "system.toml").write_text(head + '[system]\nsolute = "not water"' + rest + RICH)


def write_force_field(file: Path) -> None:
    """Write what the peptide needs of a force field of OpenMM's as one of the user's own."""
    root = ElementTree.parse(Path(app.__file__).parent / "data" / "amber99sbildn.xml").getroot()
    residues = root.find("Residues")
    for residue in [r for r in residues if r.get("name") not in ("ACE", "ALA", "NME")]:
        residues.remove(residue)
    types = {atom.get("type") for atom in residues.iter("Atom")}
    kept = [kind for kind in root.find("AtomTypes") if kind.get("name") in types]
    classes = {kind.get("class") for kind in kept}
    for section in root:
        for entry in [e for e in section if section.tag != "Residues" and not _needed(e, types, classes)]:
            section.remove(entry)
    ElementTree.ElementTree(root).write(file)


def _needed(entry: ElementTree.Element, types: set[str | None], classes: set[str | None]) -> bool:
    names = [value for key, value in entry.attrib.items() if key.startswith("class") and value]
    numbers = [value for key, value in entry.attrib.items() if key.startswith("type")]
    named = entry.get("name") in types if entry.tag == "Type" else True
    return named and set(names) <= classes and set(numbers) <= types


def make_surface(folder: Path) -> None:
    """Write a surface with a table, as text and as npz."""
    folder.mkdir()
    angle = np.arange(-180, 180, 30)
    phi, psi = np.meshgrid(angle, angle, indexing="ij")
    u = 3 * np.cos(np.deg2rad(2 * phi)) + np.cos(np.deg2rad(psi))
    np.savetxt(folder / "table.txt", np.stack([phi.ravel(), psi.ravel(), u.ravel()], axis=1), fmt="%.4f")
    np.savez(folder / "table.npz", phi_degree=angle, psi_degree=angle, u=u)
    text = (data_directory("systems") / "alanine-surface" / "system.toml").read_text()
    (folder / "system.toml").write_text(text)
    (folder / "npz").mkdir()
    (folder / "npz" / "system.toml").write_text(text.replace('"table.txt"', '"../table.npz"'))


def make_frames(folder: Path) -> None:
    """Write trajectories of the molecule and weights, and a run folder to import each into."""
    system = load_system(folder / "molecule")
    rng = np.random.default_rng(1)
    ends = np.repeat(np.stack([system.positions_a, system.positions_b]), 30, axis=0)
    xyz = ends + rng.normal(0, 0.002, ends.shape)
    frames = folder / "frames"
    frames.mkdir()
    trajectory = mdtraj.Trajectory(xyz, system.mdtraj_topology)
    for suffix in TRAJECTORIES:
        trajectory.save(str(frames / f"frames.{suffix}"))
    weights = rng.uniform(0.5, 1, len(xyz))
    np.save(frames / "weights.npy", weights)
    np.savez(frames / "weights.npz", logw=np.log(weights))
    np.savetxt(frames / "weights.txt", weights)
    np.savetxt(
        frames / "COLVAR",
        np.stack([np.arange(len(xyz)), weights], 1),
        header="! FIELDS time metad.rbias",
        comments="#",
    )
    (frames / "COLVAR.gz").write_bytes(gzip.compress((frames / "COLVAR").read_bytes()))
    for suffix in TRAJECTORIES:
        _import(folder / f"import-{suffix}", suffix, "")
    for file, said in WEIGHTS.items():
        _import(folder / f"import-{file}", "dcd", f'weights_file = "../frames/{file}"\n{said}')


def _import(folder: Path, suffix: str, weights: str) -> None:
    """Make a run folder whose first stage, which has not run yet, imports frames that lie beside it."""
    folder.mkdir()
    (folder / "run.toml").write_text(IMPORT.format(suffix=suffix, weights=weights))
    run = RunFolder.create(folder, load_config(folder / "run.toml"))
    (folder / "run.toml").write_text(run.config.to_toml().replace(str(folder.parent), ".."))


def make_run(folder: Path, text: str = MINI, until: str = "report") -> None:
    """Run the whole pipeline at its shortest, into `folder`; its run file lies beside it."""
    file = folder.with_name(f"{folder.name}.toml")
    file.write_text(text)
    call("run", file, "-o", folder, "--until", until)
