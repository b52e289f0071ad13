"""What a set of candidate paths is worth: hits, energies, work, straightness, spread, channels."""

from __future__ import annotations

from collections import Counter

import mdtraj
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from tps.analysis.metrics import (
    Metric,
    Metrics,
    fraction_metric,
    mean_and_deviation,
    mean_and_standard_error,
)
from tps.paths import PathEnsemble
from tps.systems import MolecularSystem, Region
from tps.units import thermal_energy

#: The peers' hit radius in torsions [rad] (transition-path benchmarks on alanine dipeptide).
HIT_RADIUS = 0.75


def hit_metrics(
    system: MolecularSystem, ensemble: PathEnsemble, positions: list[NDArray[np.float32] | None]
) -> Metrics:
    """Return both hit rates and the end RMSD of paths with positions (n_frames, n_atoms, 3) [nm] or None."""
    n = ensemble.n_paths
    in_b, near_b, rmsd_end = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool), np.full(n, np.nan)
    target = np.array(
        [system.collective_variables[f].values(system.positions_b[None])[0] for f in system.feature_names]
    )
    for i, frames in enumerate(positions):
        if frames is None:
            continue
        in_b[i] = bool(system.state_b.region.contains(system.values(frames[-1:]))[0])
        rmsd = heavy_atom_rmsd(system, frames, system.positions_b)
        closest = int(rmsd.argmin())
        rmsd_end[i] = rmsd[closest]
        near_b[i] = np.sum(wrapped(ensemble.torsions[i, closest] - target) ** 2) < HIT_RADIUS**2
    return {
        "hit_rate": fraction_metric(
            in_b,
            "Paths whose last frame is in state B, of all paths started, with the binomial standard error.",
        ),
        "hit_rate_closest_frame": fraction_metric(
            near_b,
            f"Paths whose frame closest to B (heavy-atom RMSD) has Σ Δθ² < {HIT_RADIUS}² rad² over the feature "
            "torsions, of all paths started: the definition of published benchmarks.",
        ),
        "rmsd_end": Metric(
            *mean_and_deviation(rmsd_end[np.isfinite(rmsd_end)]),
            "nm",
            "Heavy-atom RMSD after alignment of a path's closest frame to minimised B; mean and standard deviation "
            "over paths.",
        ),
    }


def energy_metrics(
    ensemble: PathEnsemble, end_energies: dict[str, tuple[float, float]], temperature: float
) -> Metrics:
    """Return u_max, absolute and above each end state.

    Parameters
    ----------
    ensemble : PathEnsemble
    end_energies : dict of str to (mean, standard error)
        Boltzmann mean potential energy of states "a" and "b" [kJ/mol].
    temperature : float
        [K].
    """
    highest = np.array(
        [ensemble.potential_energy[i, ensemble.segment(i)].max() for i in ensemble.reactive_paths]
    )
    mean, deviation = mean_and_deviation(highest)
    over = "maximum of the potential energy (no tilt, no wall) over the stored frames of a path's reactive segment"
    found: dict[str, Metric] = {
        "u_max": Metric(
            mean,
            deviation,
            "kJ/mol",
            f"Mean over paths of the {over}; the error is their standard deviation.",
        )
    }
    kt = thermal_energy(temperature)
    for label, (reference, error) in end_energies.items():
        above = None if mean is None else mean - reference
        found[f"u_max_minus_{label}"] = Metric(
            above,
            deviation,
            "kJ/mol",
            f"u_max minus the Boltzmann mean of U in state {label.upper()} ({reference:.2f} ± {error:.2f} kJ/mol); the "
            "error is the standard deviation over paths.",
        )
        found[f"u_max_minus_{label}_kt"] = Metric(
            None if above is None else above / kt,
            None if deviation is None else deviation / kt,
            "kT",
            f"u_max_minus_{label} in units of kT.",
        )
    return found


def work_metrics(ensemble: PathEnsemble, delta_f: float) -> Metrics:
    """Return the work along the protocol and what of it is dissipated, given ΔF = F(η_B) - F(η_A) [kT]."""
    total = ensemble.cumulative_work[ensemble.completed, -1]
    mean, error = mean_and_standard_error(total)
    return {
        "work": Metric(
            mean,
            error,
            "kT",
            "Work W done by moving the tilt from A to B; mean and standard error over paths.",
        ),
        "dissipated_work": Metric(
            None if mean is None else mean - delta_f,
            error,
            "kT",
            f"Mean W minus ΔF = {delta_f:.2f} kT between the two anchored states from ψ of the model; standard error.",
        ),
    }


def shape_metrics(ensemble: PathEnsemble) -> Metrics:
    """Return straightness, spread and diversity in the feature torsions."""
    rows = ensemble.reactive_paths
    ratio, off_line = [], []
    for i in rows:
        angles = np.unwrap(ensemble.torsions[i, ensemble.segment(i)], axis=0)
        chord = angles[-1] - angles[0]
        length = np.linalg.norm(np.diff(angles, axis=0), axis=1).sum()
        ratio.append(length / np.linalg.norm(chord))
        along = np.clip((angles - angles[0]) @ chord / (chord @ chord), 0.0, 1.0)
        off_line.append(np.linalg.norm(angles - angles[0] - along[:, None] * chord, axis=1).max())
    done = ensemble.torsions[ensemble.completed]
    features = np.concatenate([np.cos(done), np.sin(done)], axis=-1)
    n_frames, n_torsions = done.shape[1], done.shape[2]
    distances = pdist(features.reshape(len(features), -1)) / np.sqrt(n_frames)
    spread = None
    if len(done) > 1:
        resultant = np.hypot(np.cos(done).mean(0), np.sin(done).mean(0))
        spread = float(np.sqrt(np.mean(1 - resultant**2) * n_torsions))
    segment = "of the reactive segment, in unwrapped feature torsions at the stored frames"
    return {
        "path_length_over_chord": Metric(
            *mean_and_deviation(np.array(ratio)),
            "",
            f"Length over end-to-end distance {segment}; mean and standard deviation over paths.",
        ),
        "deviation_from_straight": Metric(
            *mean_and_deviation(np.array(off_line)),
            "rad",
            f"Largest distance from the straight line between the ends {segment}; mean and standard deviation over "
            "paths.",
        ),
        "diversity": Metric(
            *mean_and_deviation(distances),
            "",
            "Mean over pairs of paths of the r.m.s. distance at equal s in (cos θ, sin θ); the error is the standard "
            "deviation over pairs.",
        ),
        "spread": Metric(
            spread,
            None,
            "rad",
            "r.m.s. circular deviation of the paths from their mean at equal s, all feature torsions together: "
            "sqrt(Σ_i (1 - R_i²)) averaged over frames.",
        ),
    }


def channels(system: MolecularSystem, ensemble: PathEnsemble) -> dict[str, float]:
    """Return the channels of the reactive segments and the fraction of reactive paths in each.

    A channel is the way every feature torsion turns from end structure A to end structure B, counted with full turns:
    "phi -153°, psi +160°" and "phi +207°, psi +160°" are two.
    """
    ends = [
        [system.collective_variables[name].values(x[None])[0] for name in system.feature_names]
        for x in (system.positions_a, system.positions_b)
    ]
    direct = np.subtract(ends[1], ends[0])
    found: Counter[str] = Counter()
    for i in ensemble.reactive_paths:
        angles = np.unwrap(ensemble.torsions[i, ensemble.segment(i)], axis=0)
        turns = np.rint((angles[-1] - angles[0] - direct) / (2 * np.pi))
        change = np.rad2deg(direct + 2 * np.pi * turns)
        found[", ".join(f"{n} {c:+.0f}°" for n, c in zip(system.feature_names, change, strict=True))] += 1
    return {name: count / found.total() for name, count in found.most_common()}


def avoidance_metric(
    system: MolecularSystem, positions: list[NDArray[np.float32] | None], regions: list[Region]
) -> Metric:
    """Return the percentage of finished paths with no stored frame in any of the regions to avoid."""
    out = []
    for frames in positions:
        if frames is not None:
            values = system.values(frames)
            out.append(not any(region.contains(values).any() for region in regions))
    return fraction_metric(
        np.array(out, dtype=bool),
        "Finished paths with no stored frame in a region to avoid; binomial standard error.",
    )


def heavy_atom_rmsd(
    system: MolecularSystem, frames: NDArray[np.float32], reference: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the RMSD (n_frames,) [nm] of heavy atoms to a reference (n_atoms, 3), after alignment on them."""
    topology = system.mdtraj_topology
    heavy = topology.select("element != H")
    trajectory = mdtraj.Trajectory(frames[:, heavy], topology.subset(heavy))
    target = mdtraj.Trajectory(reference[None, heavy].astype(np.float32), topology.subset(heavy))
    return np.asarray(mdtraj.rmsd(trajectory, target), dtype=np.float64)


def wrapped(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map angles [rad] to [-π, π)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
