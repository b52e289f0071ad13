"""Molecules in a box: whole, and about the solute."""

import mdtraj
import numpy as np
import pytest
from boxes import BOX, N_ATOMS, boxed_molecule, boxed_positions, wrapped_atom_by_atom
from scipy.spatial.transform import Rotation

from tps.analysis import heavy_atom_rmsd
from tps.systems.imaging import image_molecules, set_box, superpose
from tps.systems.molecular import solute_atoms

MOLECULES = [range(4), *(range(first, first + 4) for first in (4, 8, 12))]


@pytest.fixture(scope="module")
def system():
    return boxed_molecule()


@pytest.fixture(scope="module")
def broken():
    """Whole frames, moved about, and the same with every atom in the cell."""
    rng = np.random.default_rng(3)
    whole = np.array([boxed_positions(angle) for angle in rng.uniform(-3, 3, 50)])
    whole += 5 * rng.normal(size=(50, 1, 3))
    return whole, wrapped_atom_by_atom(whole)


def test_broken_molecules_come_out_whole_and_the_solute_in_the_middle(system, broken):
    """Within molecules all distances are those of the whole ones: single precision at 10 nm is 1e-6."""
    whole, cut = broken
    spans = np.linalg.norm(cut[:, :4] - cut[:, 1:2], axis=-1).max(axis=1)
    assert (spans > 0.6).sum() > 5  # of many frames the chain is broken
    frames = mdtraj.Trajectory(cut.astype(np.float32), system.mdtraj_topology)
    set_box(frames, BOX)
    image_molecules(frames, system.solute)
    for molecule in map(list, MOLECULES):
        inner = [xyz[:, molecule] - xyz[:, molecule[:1]] for xyz in (frames.xyz, whole)]
        np.testing.assert_allclose(*inner, atol=1e-5)
    middle = frames.xyz[:, :4].mean(axis=1)
    np.testing.assert_allclose(middle, np.broadcast_to(np.diag(BOX) / 2, middle.shape), atol=1e-5)
    # what was moved was moved by whole box vectors, and by one shift of all atoms
    moved = frames.xyz - whole - (frames.xyz[:, :1] - whole[:, :1])
    turns = moved @ np.linalg.inv(BOX)
    np.testing.assert_allclose(turns, np.rint(turns), atol=1e-4)


def test_nothing_is_done_without_a_box(system, broken):
    frames = mdtraj.Trajectory(broken[1].astype(np.float32), system.mdtraj_topology)
    set_box(frames, None)
    image_molecules(frames, system.solute)
    np.testing.assert_array_equal(frames.xyz, broken[1].astype(np.float32))


def test_a_topology_without_any_bond_keeps_residues_together(system, broken):
    whole, cut = broken
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for size in (4, 4, 4, 4):
        residue = topology.add_residue("LIG", chain)
        for i in range(size):
            topology.add_atom(f"C{i}", mdtraj.element.carbon, residue)
    frames = mdtraj.Trajectory(cut.astype(np.float32), topology)
    set_box(frames, BOX)
    image_molecules(frames, np.arange(4))
    for molecule in map(list, MOLECULES):
        inner = [xyz[:, molecule] - xyz[:, molecule[:1]] for xyz in (frames.xyz, whole)]
        np.testing.assert_allclose(*inner, atol=1e-5)


def test_rmsd_is_of_the_solute_alone_and_knows_images(system):
    """The chain broken by the border, water anywhere: RMSD 0 to the same torsion; to another one as without water."""
    target = boxed_positions(0.7)
    frames = np.array([boxed_positions(0.7, seed=5), boxed_positions(-1.0, seed=6)]) - 0.05
    cut = wrapped_atom_by_atom(frames)
    assert (np.linalg.norm(cut[:, 0] - cut[:, 1], axis=-1) > 1).all()  # atoms that are 0.1 nm apart
    found = heavy_atom_rmsd(system, cut, target)
    assert found[0] < 1e-4
    chain = mdtraj.Trajectory(frames[:, :4], None), mdtraj.Trajectory(target[None, :4], None)
    assert found[1] == pytest.approx(mdtraj.rmsd(*chain)[1], abs=1e-5)
    assert found[1] > 0.02
    assert len(frames[0]) == N_ATOMS


def test_a_pair_of_ions_comes_together_and_is_the_solute_of_a_box_of_water():
    """Without any bond; the waters of a box with nothing but ions are no solute, and water alone is."""
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for name, element in (("NA", mdtraj.element.sodium), ("CL", mdtraj.element.chlorine)):
        topology.add_atom(name, element, topology.add_residue(name, chain))
    water = topology.add_residue("HOH", chain)
    topology.add_atom("O", mdtraj.element.oxygen, water)
    assert solute_atoms(topology).tolist() == [0, 1]
    assert solute_atoms(topology.subset([2])).tolist() == [0]
    frames = mdtraj.Trajectory(np.array([[[0.1, 1.0, 1.0], [1.9, 1.0, 1.0]]]), topology.subset([0, 1]))
    set_box(frames, 2.0 * np.eye(3))
    image_molecules(frames, np.arange(2))
    assert np.linalg.norm(frames.xyz[0, 1] - frames.xyz[0, 0]) == pytest.approx(0.2, abs=1e-5)


def test_superposed_frames_lie_on_the_reference(system):
    """Frames turned and moved at random come back: 2e-6 nm, single precision at 10 nm."""
    rng = np.random.default_rng(1)
    reference = mdtraj.Trajectory(boxed_positions(1.0)[None].astype(np.float32), system.mdtraj_topology)
    turned = Rotation.random(40, random_state=1).as_matrix()
    xyz = reference.xyz[0] @ turned + 5 * rng.normal(size=(40, 1, 3))
    frames = mdtraj.Trajectory(xyz.astype(np.float32), system.mdtraj_topology)
    superpose(frames, reference, np.arange(N_ATOMS))
    np.testing.assert_allclose(frames.xyz, np.repeat(reference.xyz, 40, axis=0), atol=5e-6)
    mirrored = mdtraj.Trajectory(-reference.xyz, system.mdtraj_topology)
    superpose(mirrored, reference, np.arange(N_ATOMS))
    hand = [np.linalg.det(xyz[[1, 2, 8]] - xyz[0]) for xyz in (mirrored.xyz[0], reference.xyz[0])]
    assert hand[0] == pytest.approx(-hand[1], rel=1e-3)  # turned, never mirrored
