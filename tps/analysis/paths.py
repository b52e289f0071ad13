"""What a set of candidate paths is worth: hits, energies, work, straightness, spread, channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

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
from tps.systems import MolecularSystem, Region, System

#: Positions of each path as `system.values` takes them, None for one that failed.
Positions = Sequence[NDArray[np.floating] | None]

#: The peers' hit radius in torsions [rad] (transition-path benchmarks on alanine dipeptide).
HIT_RADIUS = 0.75


def hit_metrics(system: System, positions: Positions) -> Metrics:
    """Return the hit rate of paths with positions as `system.values` takes them, or None for one that failed."""
    inside = system.state_b.region
    in_b = [
        frames is not None and bool(inside.contains(system.values(frames[-1:]))[0]) for frames in positions
    ]
    return {
        "hit_rate": fraction_metric(
            np.array(in_b, dtype=bool),
            "Paths whose last frame is in state B, of all paths started, with the binomial standard error.",
        )
    }


def closest_frame_metrics(system: MolecularSystem, ensemble: PathEnsemble, positions: Positions) -> Metrics:
    """Return what published benchmarks report: hits and RMSD of the frame closest to B, positions in nm."""
    n = ensemble.n_paths
    near_b, rmsd_end = np.zeros(n, dtype=bool), np.full(n, np.nan)
    target = system.feature_values(system.positions_b)
    for i, frames in enumerate(positions):
        if frames is None:
            continue
        rmsd = heavy_atom_rmsd(system, frames, system.positions_b)
        closest = int(rmsd.argmin())
        rmsd_end[i] = rmsd[closest]
        near_b[i] = np.sum(wrapped(ensemble.torsions[i, closest] - target) ** 2) < HIT_RADIUS**2
    return {
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
    system: System, ensemble: PathEnsemble, references: Mapping[str, tuple[float, float, str]]
) -> Metrics:
    """Return u_max, absolute and above reference energies.

    Parameters
    ----------
    system : MolecularSystem or SurfaceSystem
    ensemble : PathEnsemble
    references : mapping of str to (energy, error, definition)
        By label, such as "a" for the Boltzmann mean of U in state A [the system's unit of energy]; an error of NaN is
        one that is not known.
    """
    unit = system.energy_unit
    highest = np.array(
        [ensemble.potential_energy[i, ensemble.segment(i)].max() for i in ensemble.reactive_paths]
    )
    mean, deviation = mean_and_deviation(highest)
    over = "maximum of the potential energy (no tilt, no wall) over the stored frames of a path's reactive segment"
    found: dict[str, Metric] = {
        "u_max": Metric(
            mean,
            deviation,
            unit,
            f"Mean over paths of the {over}; the error is their standard deviation.",
        )
    }
    for label, (reference, error, definition) in references.items():
        above = None if mean is None else mean - reference
        level = f"{reference:.2f}" + (f" ± {error:.2f}" if np.isfinite(error) else "")
        found[f"u_max_minus_{label}"] = Metric(
            above,
            deviation,
            unit,
            f"u_max minus {definition} ({level} {unit}); the error is the standard deviation over paths.",
        )
        found[f"u_max_minus_{label}_kt"] = Metric(
            None if above is None else above / system.kt,
            None if deviation is None else deviation / system.kt,
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


def shape_metrics(system: System, ensemble: PathEnsemble) -> Metrics:
    """Return straightness, spread and diversity in the features: unwrapped torsions, or the axes of a surface."""
    torus = system.spacetime_kind == "torus"
    unit, name = ("rad", "unwrapped feature torsions") if torus else ("", "the axes")
    ratio, off_line = [], []
    for i in ensemble.reactive_paths:
        values = _segment_values(system, ensemble, i)
        chord = values[-1] - values[0]
        length = np.linalg.norm(np.diff(values, axis=0), axis=1).sum()
        ratio.append(length / np.linalg.norm(chord))
        along = np.clip((values - values[0]) @ chord / (chord @ chord), 0.0, 1.0)
        off_line.append(np.linalg.norm(values - values[0] - along[:, None] * chord, axis=1).max())
    done = ensemble.torsions[ensemble.completed]
    features = np.concatenate([np.cos(done), np.sin(done)], axis=-1) if torus else done
    distances = pdist(features.reshape(len(features), -1)) / np.sqrt(done.shape[1])
    spread = None
    if len(done) > 1 and torus:
        resultant = np.hypot(np.cos(done).mean(0), np.sin(done).mean(0))
        spread = float(np.sqrt(np.mean(1 - resultant**2) * done.shape[2]))
    elif len(done) > 1:
        spread = float(np.sqrt(done.var(axis=0).sum(axis=-1).mean()))
    segment = f"of the reactive segment, in {name} at the stored frames"
    return {
        "path_length_over_chord": Metric(
            *mean_and_deviation(np.array(ratio)),
            "",
            f"Length over end-to-end distance {segment}; mean and standard deviation over paths.",
        ),
        "deviation_from_straight": Metric(
            *mean_and_deviation(np.array(off_line)),
            unit,
            f"Largest distance from the straight line between the ends {segment}; mean and standard deviation over "
            "paths.",
        ),
        "diversity": Metric(
            *mean_and_deviation(distances),
            "",
            f"Mean over pairs of paths of the r.m.s. distance at equal s in {'(cos θ, sin θ)' if torus else name}; the "
            "error is the standard deviation over pairs.",
        ),
        "spread": Metric(
            spread,
            None,
            unit,
            "r.m.s. circular deviation of the paths from their mean at equal s, all feature torsions together: "
            "sqrt(Σ_i (1 - R_i²)) averaged over frames."
            if torus
            else "r.m.s. deviation of the paths from their mean at equal s, all axes together, averaged over frames.",
        ),
    }


def channels(system: System, ensemble: PathEnsemble) -> dict[str, float]:
    """Return the channels of the reactive segments and the fraction of reactive paths in each.

    With torsions a channel is the way every one of them turns from end A to end B, counted with full turns: "phi -153°,
    psi +160°" and "phi +207°, psi +160°" are two. On a plane it is the side of the straight line from A to B, looking
    towards B, on which a segment encloses more area. In one dimension there is one.
    """
    found: Counter[str] = Counter(
        channel_name(system, _segment_values(system, ensemble, i)) for i in ensemble.reactive_paths
    )
    return {name: count / found.total() for name, count in found.most_common()}


def channel_name(system: System, values: NDArray[np.float64]) -> str:
    """Return the channel of a segment from A to B with feature values (n_frames, d), angles unwrapped [rad]."""
    a, b = system.feature_values(system.ends)
    if system.spacetime_kind == "torus":
        turns = np.rint((values[-1] - values[0] - (b - a)) / (2 * np.pi))
        change = np.rad2deg(b - a + 2 * np.pi * turns)
        return ", ".join(f"{n} {c:+.0f}°" for n, c in zip(system.feature_names, change, strict=True))
    if len(a) == 1:
        return "direct"
    loop = np.concatenate([a[None], values, b[None]])
    after = np.roll(loop, -1, axis=0)
    area = np.sum(loop[:, 0] * after[:, 1] - loop[:, 1] * after[:, 0])
    return "right of A → B" if area > 0 else "left of A → B"


def avoidance_metric(system: System, positions: Positions, regions: Sequence[Region]) -> Metric:
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


def _segment_values(system: System, ensemble: PathEnsemble, path: int) -> NDArray[np.float64]:
    """Return the feature values (n, d) of a path's reactive segment, angles unwrapped [rad]."""
    values = ensemble.torsions[path, ensemble.segment(path)]
    return np.unwrap(values, axis=0) if system.spacetime_kind == "torus" else values


def heavy_atom_rmsd(
    system: MolecularSystem, frames: NDArray[np.floating], reference: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the RMSD (n_frames,) [nm] of heavy atoms to a reference (n_atoms, 3), after alignment on them."""
    topology = system.mdtraj_topology
    heavy = topology.select("element != H")
    trajectory = mdtraj.Trajectory(frames[:, heavy].astype(np.float32), topology.subset(heavy))
    target = mdtraj.Trajectory(reference[None, heavy].astype(np.float32), topology.subset(heavy))
    return np.asarray(mdtraj.rmsd(trajectory, target), dtype=np.float64)


def wrapped(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map angles [rad] to [-π, π)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
