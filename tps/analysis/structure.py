"""How near a molecule comes to structure B, atom by atom: RMSD and native contacts."""

from __future__ import annotations

import mdtraj
import numpy as np
from numpy.typing import NDArray

from tps.analysis.metrics import Metric, Metrics, Positions, fraction_metric, mean_and_deviation
from tps.systems import MolecularSystem
from tps.systems.imaging import image_molecules, set_box

#: Native contacts as Best, Hummer and Eaton count them: heavy atoms closer than this in B [nm], more than so many
#: residues apart along the chain, each worth 1/(1 + exp(β (r - λ r_B))) with β [1/nm] and λ.
CONTACT_CUTOFF, RESIDUES_APART, STEEPNESS, TOLERANCE = 0.45, 3, 50.0, 1.8
#: Share of native contacts from which a frame counts as native.
NATIVE = 0.9


def heavy_atom_rmsd(
    system: MolecularSystem, frames: NDArray[np.floating], reference: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the RMSD (n_frames,) [nm] of the solute's heavy atoms to a reference (n_atoms, 3), aligned on them."""
    return np.asarray(mdtraj.rmsd(_heavy(system, frames), _heavy(system, reference[None])), dtype=np.float64)


def native_contacts(system: MolecularSystem, frames: NDArray[np.floating]) -> NDArray[np.float64] | None:
    """Return the fraction of B's native contacts in frames (n_frames, n_atoms, 3) [nm].

    Returns
    -------
    (n_frames,) array or None
        None where structure B has no contact between residues that far apart along a chain.

    References
    ----------
    Best, Hummer and Eaton, PNAS 110, 17874 (2013), Eq. 1 of the methods.
    """
    native = _heavy(system, system.positions_b[None])
    residues = [atom.residue for atom in native.topology.atoms]
    apart = [
        (i, j)
        for i in range(native.n_atoms)
        for j in range(i)
        if residues[i].chain is not residues[j].chain
        or abs(residues[i].index - residues[j].index) > RESIDUES_APART
    ]
    if not apart:
        return None
    in_b = mdtraj.compute_distances(native, apart, periodic=False)[0]
    near = in_b < CONTACT_CUTOFF
    if not near.any():
        return None
    pairs = np.array(apart)[near]
    r = mdtraj.compute_distances(_heavy(system, frames), pairs, periodic=False).astype(np.float64)
    stretch = np.clip(STEEPNESS * (r - TOLERANCE * in_b[near]), None, 500.0)  # no overflow: e^-500 is 0 here
    return np.asarray(np.mean(1 / (1 + np.exp(stretch)), axis=1))


def last_frame_metrics(system: MolecularSystem, positions: Positions) -> Metrics:
    """Return RMSD and native contacts of the last frame of each path [nm], None for one that failed."""
    last = np.array([frames[-1] for frames in positions if frames is not None])
    found = {
        "rmsd_last": Metric(
            *mean_and_deviation(
                heavy_atom_rmsd(system, last, system.positions_b) if len(last) else np.empty(0)
            ),
            "nm",
            "Heavy-atom RMSD after alignment of a path's last frame to minimised B; mean and standard deviation over "
            "paths.",
        )
    }
    contacts = native_contacts(system, last) if len(last) else None
    if contacts is None:
        return found
    native = np.concatenate([contacts > NATIVE, np.zeros(len(positions) - len(last), dtype=bool)])
    what = (
        f"native contacts of the last frame (heavy atoms within {CONTACT_CUTOFF} nm in B, more than {RESIDUES_APART} "
        "residues apart; Best, Hummer, Eaton 2013)"
    )
    return found | {
        "native_contacts": Metric(
            *mean_and_deviation(contacts), "", f"Fraction of {what}; mean and standard deviation over paths."
        ),
        "native_rate": fraction_metric(
            native,
            f"Paths with more than {NATIVE:g} of the {what}, of all paths started; binomial standard error.",
        ),
    }


def _heavy(system: MolecularSystem, frames: NDArray[np.floating]) -> mdtraj.Trajectory:
    """Return the solute's heavy atoms, its molecules whole and side by side."""
    atoms = np.asarray(system.solute)
    solute = system.mdtraj_topology.subset(atoms)
    found = mdtraj.Trajectory(np.asarray(frames)[:, atoms].astype(np.float32), solute)
    set_box(found, system.box)
    image_molecules(found, np.arange(solute.n_atoms))
    return found.atom_slice(solute.select("element != H"))
