"""The free-energy surface over one or two features, by reweighting all windows to η = 0, and its barriers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tps.analysis.flood_fill import flood_fill
from tps.analysis.free_energy.mbar import WindowAnalysis, jackknife_error
from tps.analysis.metrics import Metric, Metrics
from tps.errors import ParameterError
from tps.features import FeatureSpace


@dataclass(frozen=True, eq=False)
class FreeEnergySurface:
    """F = -kT ln p on a grid of cells, lowest cell 0; NaN where there is no frame.

    Attributes
    ----------
    axes : tuple of (n,) arrays
        Middles of the cells, of one or two features.
    free_energy, error : (n,) or (n, n) arrays
        First feature first; the error is that of -kT ln of the cell's share of all.
    in_a, in_b : bool arrays like `free_energy`
        Cells that hold frames of the state.
    block_free_energy : (R, ...) array
        With one stretch of time left out.
    periodic : tuple of bool
        Which features are angles, whose axes are one turn.
    unit : str
    """

    axes: tuple[NDArray[np.float64], ...]
    free_energy: NDArray[np.float64]
    error: NDArray[np.float64]
    in_a: NDArray[np.bool_]
    in_b: NDArray[np.bool_]
    block_free_energy: NDArray[np.float64]
    periodic: tuple[bool, ...]
    unit: str


def free_energy_surface(
    analysis: WindowAnalysis, space: FeatureSpace, n: int = 36, *, columns: Sequence[int] | None = None
) -> FreeEnergySurface:
    """Return the free energy over one or two features.

    Parameters
    ----------
    analysis : WindowAnalysis
    space : FeatureSpace
        Of all its features.
    n : int
        Cells per feature: of a turn from -π, or of the range of what lies on a line.
    columns : one or two int, optional
        Which features; the first two by default.

    Raises
    ------
    ParameterError
        If there are no such features, or no frame lies within the bounds.
    """
    d = analysis.values.shape[1]
    picked = list(range(min(d, 2)) if columns is None else columns)
    if len(picked) not in (1, 2) or not set(picked) <= set(range(d)) or n < 2:
        raise ParameterError(
            f"a surface needs one or two of {d} features and 2 or more cells, but got {picked} and {n}"
        )
    limits, turns = space.ranges(analysis.values)[picked], np.array(space.periodic)[picked]
    width, values = (limits[:, 1] - limits[:, 0]) / n, analysis.values[:, picked]
    cells = np.floor((values - limits[:, 0]) / width).astype(np.intp)
    cells = np.where(turns, cells % n, np.where(values == limits[:, 1], n - 1, cells))
    here = ((cells >= 0) & (cells < n)).all(axis=1)
    if not here.any():
        raise ParameterError(
            f"no frame lies within {limits.tolist()}: give the bounds of the sampled features"
        )
    shape = (n,) * len(picked)
    index = np.ravel_multi_index(tuple(cells[here].T), shape)

    def summed(amounts: NDArray[np.float64]) -> NDArray[np.float64]:
        counts = np.bincount(index, amounts[here], minlength=n ** len(picked))
        return np.asarray(counts, dtype=np.float64).reshape(shape)

    weight = np.exp(analysis.log_weights)
    share = summed(weight)
    spread = np.sqrt(summed(weight**2 * analysis.statistical_inefficiency[analysis.window]))
    with np.errstate(divide="ignore", invalid="ignore"):
        free_energy = -analysis.kt * np.log(share)
        blocks = np.array([-analysis.kt * np.log(summed(np.exp(w))) for w in analysis.block_log_weights])
        error = np.fmax(analysis.kt * spread / share, jackknife_error(blocks))
    lowest = float(np.min(free_energy))
    seen = share > 0
    return FreeEnergySurface(
        axes=tuple(low + step * (np.arange(n) + 0.5) for (low, _), step in zip(limits, width, strict=True)),
        free_energy=np.where(seen, free_energy - lowest, np.nan),
        error=np.where(seen, error, np.nan),
        in_a=summed(analysis.in_a.astype(np.float64)) > 0,
        in_b=summed(analysis.in_b.astype(np.float64)) > 0,
        block_free_energy=np.where(np.isfinite(blocks), blocks - lowest, np.nan),
        periodic=tuple(turns.tolist()),
        unit=analysis.unit,
    )


def surface_barriers(surface: FreeEnergySurface) -> Metrics:
    """Return the free-energy barrier on the surface against the lowest cell of each state.

    The barrier is the highest free energy on the best path of cells that joins the two lowest cells. No value where
    no path of cells with frames joins them, withheld where none does once a stretch of time is left out.
    """
    found = _heights(surface, surface.free_energy)
    blocks = [_heights(surface, block) for block in surface.block_free_energy]
    complete = [b for b in blocks if b is not None]
    metrics = {}
    for i, label in enumerate("ab"):
        error = None
        if found is not None and len(complete) == len(blocks):
            error = float(np.hypot(jackknife_error(np.array([b[i] for b in complete])), found[2]))
        metrics[f"free_energy_barrier_{label}"] = Metric(
            None if found is None else found[i],
            error,
            surface.unit,
            "Highest free energy (of cells of the surface over the features) on the best path from A to B, minus "
            f"that of the lowest cell of state {label.upper()}; standard error from a jackknife over stretches of "
            "time, and what the grid can miss.",
        ).unless(
            ""
            if found is None or len(complete) == len(blocks)
            else f"without one of {len(blocks)} stretches of time no cells with frames join A and B: sample more"
        )
    return metrics


def _heights(surface: FreeEnergySurface, values: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """Return the barrier above A and above B, and what the grid can miss."""
    u = np.where(np.isfinite(values), values, np.inf)
    inside = [np.where(mask, u, np.inf) for mask in (surface.in_a, surface.in_b)]
    cells = [np.unravel_index(int(np.argmin(v)), v.shape) for v in inside]
    if not all(np.isfinite(v.min()) for v in inside):
        return None
    start, end = ([axis[i] for axis, i in zip(surface.axes, cell, strict=True)] for cell in cells)
    try:
        top = flood_fill(surface.axes, u, start, end, periodic=surface.periodic)
    except ParameterError:  # cells without frames lie between the states
        return None
    return top.energy - float(inside[0].min()), top.energy - float(inside[1].min()), top.error
