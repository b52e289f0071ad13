"""What a set of candidate paths is worth: hits, energies, work, straightness, spread, channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from tps.analysis.metrics import (
    Metric,
    Metrics,
    Positions,
    fraction_metric,
    mean_and_deviation,
    mean_and_standard_error,
)
from tps.analysis.structure import heavy_atom_rmsd
from tps.features import FeatureSpace
from tps.paths import PathEnsemble
from tps.systems import MolecularSystem, Region, System

#: The peers' hit radius in torsions [rad] (transition-path benchmarks on alanine dipeptide); on lines, in scales.
HIT_RADIUS = 0.75
#: Features of a plane, which has two sides.
_PLANE = 2


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
    space, target = system.space, system.feature_values(system.positions_b)
    circles_only = space.n_lines == 0
    near = (
        f"Σ Δθ² < {HIT_RADIUS}² rad² over the feature torsions"
        if circles_only
        else f"Σ Δ² < {HIT_RADIUS}² over the features, angles in rad and the others over their scales"
    )
    for i, frames in enumerate(positions):
        if frames is None:
            continue
        rmsd = heavy_atom_rmsd(system, frames, system.positions_b)
        closest = int(rmsd.argmin())
        rmsd_end[i] = rmsd[closest]
        apart = space.difference(target, ensemble.values[i, closest]) / space.scale
        near_b[i] = np.sum(apart**2) < HIT_RADIUS**2
    return {
        "hit_rate_closest_frame": fraction_metric(
            near_b,
            f"Paths whose frame closest to B (heavy-atom RMSD) has {near}, of all paths started"
            + (": the definition of published benchmarks." if circles_only else "."),
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
    over = f"maximum of the {system.energy_name} (no tilt, no wall) over the stored frames of a path's reactive segment"
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


def work_metrics(ensemble: PathEnsemble, delta_f: Metric) -> Metrics:
    """Return the work along the protocol and what of it is dissipated, given ΔF = F(η_B) - F(η_A) [kT].

    The error of the dissipated work adds, in squares, the standard error of the work and the error of ΔF; where ΔF is
    withheld, so is it.
    """
    total = ensemble.cumulative_work[ensemble.completed, -1]
    mean, error = mean_and_standard_error(total)
    known = mean is not None and delta_f.value is not None
    spoken = "ΔF" if delta_f.value is None else f"ΔF = {delta_f.value:.2f}"
    spoken += "" if delta_f.error is None else f" ± {delta_f.error:.2f}"
    return {
        "work": Metric(
            mean,
            error,
            "kT",
            "Work W done by moving the tilt from A to B; mean and standard error over paths.",
        ),
        "dissipated_work": Metric(
            float(mean or 0.0) - float(delta_f.value or 0.0) if known else None,
            float(np.hypot(error, delta_f.error or 0.0)) if known and error is not None else None,
            "kT",
            f"Mean W minus {spoken} kT between the two anchored states from ψ of the model; the error adds the "
            "standard error of W and that of ΔF in squares.",
        ).unless(delta_f.withheld),
    }


def shape_metrics(system: System, ensemble: PathEnsemble) -> Metrics:
    """Return straightness, spread and diversity in the features, angles unwrapped.

    Features of different units or scales are divided by their scales, angles being in rad.
    """
    space = system.space
    weight, unit, name = _yardstick(space)
    ratio, off_line = [], []
    for i in ensemble.reactive_paths:
        values = _segment_values(system, ensemble, i) * weight
        chord = values[-1] - values[0]
        length = np.linalg.norm(np.diff(values, axis=0), axis=1).sum()
        ratio.append(length / np.linalg.norm(chord))
        along = np.clip((values - values[0]) @ chord / (chord @ chord), 0.0, 1.0)
        off_line.append(np.linalg.norm(values - values[0] - along[:, None] * chord, axis=1).max())
    done = ensemble.values[ensemble.completed]
    angles, rest = done[..., space.circles], done[..., space.lines] * weight[space.lines]
    around = [np.cos(angles), np.sin(angles)] if space.n_circles else []
    embedded = np.concatenate([*around, rest], axis=-1)
    distances = pdist(embedded.reshape(len(done), -1)) / np.sqrt(done.shape[1])
    segment = f"of the reactive segment, in {name} at the stored frames"
    how = f"{name}, angles as (cos θ, sin θ)" if space.n_circles and space.n_lines else name
    how = how if space.n_lines else "(cos θ, sin θ)"
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
            "" if space.n_circles else unit,
            f"Mean over pairs of paths of the r.m.s. distance at equal s in {how}; the error is the standard deviation "
            "over pairs.",
        ),
        "spread": Metric(_spread(angles, rest), None, unit, _spread_definition(space, name)),
    }


def _yardstick(space: FeatureSpace) -> tuple[NDArray[np.float64], str, str]:
    """Return what features are multiplied by before lengths are taken (d,), the unit of these, and the space's name."""
    if space.n_lines == 0:
        return np.ones(space.n_features), "rad", "unwrapped feature torsions"
    kinds = set(zip(space.units, space.scale, strict=True))
    if len(kinds) == 1:
        return np.ones(space.n_features), space.units[0], "the features"
    name = "the features over their scales" + (", angles unwrapped" if space.n_circles else "")
    return 1 / np.array(space.scale), "", name


def _spread(angles: NDArray[np.float64], rest: NDArray[np.float64]) -> float | None:
    """Return the r.m.s. deviation of paths from their mean at equal s, angles (n, m, ·) by their directions."""
    if len(angles) < 2:
        return None
    total = float(rest.var(axis=0).sum(axis=-1).mean())
    if angles.shape[2]:
        resultant = np.hypot(np.cos(angles).mean(0), np.sin(angles).mean(0))
        total += float(np.mean(1 - resultant**2) * angles.shape[2])
    return float(np.sqrt(total))


def _spread_definition(space: FeatureSpace, name: str) -> str:
    if space.n_lines == 0:
        return (
            "r.m.s. circular deviation of the paths from their mean at equal s, all feature torsions together: "
            "sqrt(Σ_i (1 - R_i²)) averaged over frames."
        )
    how = ", with 1 - R² for the variance of an angle" if space.n_circles else ""
    return (
        f"r.m.s. deviation of the paths from their mean at equal s, all of {name} together{how}, averaged over "
        "frames."
    )


def channels(system: System, ensemble: PathEnsemble) -> dict[str, float]:
    """Return the channels of the reactive segments and the fraction of reactive paths in each.

    With angles a channel is the way every one of them turns from end A to end B, counted with full turns: "phi -153°,
    psi +160°" and "phi +207°, psi +160°" are two. With two features on lines and nothing else it is the side of the
    straight line from A to B, looking towards B, on which a segment encloses more area. Otherwise there is one.
    """
    found: Counter[str] = Counter(
        channel_name(system, _segment_values(system, ensemble, i)) for i in ensemble.reactive_paths
    )
    return {name: count / found.total() for name, count in found.most_common()}


def channel_name(system: System, values: NDArray[np.float64]) -> str:
    """Return the channel of a segment from A to B with feature values (n_frames, d), angles unwrapped [rad]."""
    space = system.space
    a, b = system.feature_values(system.ends)
    if space.n_circles:
        at = space.circles
        turns = np.rint((values[-1, at] - values[0, at] - (b - a)[at]) / (2 * np.pi))
        change = np.rad2deg((b - a)[at] + 2 * np.pi * turns)
        return ", ".join(f"{space.names[i]} {c:+.0f}°" for i, c in zip(at, change, strict=True))
    if space.n_lines != _PLANE:
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
    return system.space.unwrap(ensemble.values[path, ensemble.segment(path)])
