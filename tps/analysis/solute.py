"""The solute's own potential energy along paths, beside that of the whole system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mdtraj
import numpy as np
from numpy.typing import NDArray

from tps.analysis.metrics import Metric, Metrics, mean_and_deviation
from tps.engine import PlatformChoice, potential_energies
from tps.systems import MolecularSystem
from tps.systems.imaging import image_molecules, set_box
from tps.systems.solute import solute_alone

_OWN = (
    "the solute's own potential energy (bonded terms and all pairs within it, as in vacuum, at its positions in the "
    "solution)"
)


def solute_energies(system: MolecularSystem, positions: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the potential energy (n_frames,) [kJ/mol] of the solute alone in frames (n_frames, n_atoms, 3) [nm].

    Molecules that a box has broken are made whole, and those of the solute are put next to one another.

    Raises
    ------
    SystemDefinitionError
        As `solute_alone`.
    """
    alone = solute_alone(system.create_openmm_system(), system.solute)
    topology = system.mdtraj_topology.subset(system.solute)
    frames = mdtraj.Trajectory(np.asarray(positions, dtype=np.float32)[:, system.solute], topology)
    set_box(frames, system.box)
    image_molecules(frames, np.arange(topology.n_atoms))
    return potential_energies(alone, frames.xyz, PlatformChoice("Reference"))


def solute_metrics(
    system: MolecularSystem,
    segments: Sequence[NDArray[np.floating]],
    references: Mapping[str, tuple[float, float]],
) -> Metrics:
    """Return the maximum of the solute's own energy over reactive segments, absolute and above states A and B.

    Parameters
    ----------
    system : MolecularSystem
    segments : sequence of (n_frames, n_atoms, 3) arrays
        [nm].
    references : mapping of str to (energy, error)
        Boltzmann means of the solute's own energy in "a" and "b" [kJ/mol].
    """
    highest = np.array([solute_energies(system, frames).max() for frames in segments])
    mean, deviation = mean_and_deviation(highest)
    found = {
        "solute_u_max": Metric(
            mean,
            deviation,
            system.energy_unit,
            f"Mean over paths of the maximum of {_OWN} over a path's reactive segment; the error is their standard "
            "deviation.",
        )
    }
    for label, (reference, error) in references.items():
        found[f"solute_u_max_minus_{label}"] = Metric(
            None if mean is None else mean - reference,
            deviation,
            system.energy_unit,
            f"solute_u_max minus the Boltzmann mean of the same energy in state {label.upper()} ({reference:.2f} ± "
            f"{error:.2f} {system.energy_unit}); the error is the standard deviation over paths.",
        )
    return found
