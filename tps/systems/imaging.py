"""Molecules in a periodic box: whole, and about the solute."""

from __future__ import annotations

from copy import deepcopy

import mdtraj
import numpy as np
from numpy.typing import ArrayLike, NDArray


def set_box(frames: mdtraj.Trajectory, box: ArrayLike | None) -> None:
    """Give every frame the unit cell `box` (3, 3) [nm], or none."""
    if box is None:
        frames.unitcell_vectors = None
    else:
        frames.unitcell_vectors = np.tile(np.asarray(box, dtype=np.float32), (frames.n_frames, 1, 1))


def image_molecules(frames: mdtraj.Trajectory, solute: NDArray[np.integer]) -> None:
    """Make every molecule whole, with those of the solute near one another and in the middle of the box, in place.

    Without a unit cell nothing is done.

    Parameters
    ----------
    frames : mdtraj.Trajectory
        With bonds. What a residue holds without one, such as a virtual site, is kept near the residue's first atom.
    solute : array of int
        Atoms; the molecules they belong to are in the middle.
    """
    if frames.unitcell_vectors is None:
        return
    topology = _with_links(frames.topology)
    wanted = set(solute.tolist())
    sides: tuple[list[set[mdtraj.core.topology.Atom]], ...] = ([], [])
    for molecule in topology.find_molecules():
        sides[wanted.isdisjoint(atom.index for atom in molecule)].append(molecule)
    linked = mdtraj.Trajectory(frames.xyz, topology)
    linked.unitcell_vectors = frames.unitcell_vectors
    linked.image_molecules(
        inplace=True,
        anchor_molecules=sides[0],
        other_molecules=sides[1],
        make_whole=topology.n_bonds > 0,  # MDTraj cannot make single atoms whole, which are
    )
    frames.xyz = linked.xyz


def _with_links(topology: mdtraj.Topology) -> mdtraj.Topology:
    """Return the topology with a bond from each residue's first atom to what no bond joins to it."""
    found = deepcopy(topology)
    molecule = {atom.index: k for k, atoms in enumerate(_bonded(topology)) for atom in atoms}
    for residue in found.residues:
        first, *others = residue.atoms
        joined = {molecule[first.index]}
        for atom in others:
            if molecule[atom.index] not in joined:
                joined.add(molecule[atom.index])
                found.add_bond(first, atom)
    return found


def _bonded(topology: mdtraj.Topology) -> list[set[mdtraj.core.topology.Atom]]:
    if topology.n_bonds == 0:  # which MDTraj takes for a mistake
        return [{atom} for atom in topology.atoms]
    return list(topology.find_molecules())


def superpose(frames: mdtraj.Trajectory, reference: mdtraj.Trajectory, atoms: NDArray[np.integer]) -> None:
    """Move and turn every frame so that some of its atoms lie best on those of a reference's first frame, in place.

    MDTraj's own leaves a frame as it is where its iteration does not converge.

    References
    ----------
    Kabsch, Acta Cryst. A 34, 827 (1978).
    """
    xyz, fixed = frames.xyz.astype(np.float64), reference.xyz[0, atoms].astype(np.float64)
    middle = xyz[:, atoms].mean(axis=1, keepdims=True)
    u, _, vt = np.linalg.svd(np.swapaxes(xyz[:, atoms] - middle, 1, 2) @ (fixed - fixed.mean(axis=0)))
    u[:, :, 2] *= np.sign(np.linalg.det(u) * np.linalg.det(vt))[:, None]
    frames.xyz = ((xyz - middle) @ (u @ vt) + fixed.mean(axis=0)).astype(np.float32)
