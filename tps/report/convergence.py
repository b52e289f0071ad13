"""How far chains have come from their candidates towards the transition-path ensemble, and how long its paths take."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tps.errors import ParameterError
from tps.report.style import BLUE, FAINT, INK, METHOD_COLORS, VERMILLION, new_figure, styled


@styled
def convergence_figure(
    moves: NDArray[np.integer],
    divergence: Mapping[str, NDArray[np.floating]],
    *,
    floor: float | None = None,
    durations: NDArray[np.floating] | None = None,
    weights: NDArray[np.floating] | None = None,
    time_unit: str = "ps",
) -> Figure:
    """Draw how the chains' paths approach the unbiased ensemble, and how long the transition paths take.

    Parameters
    ----------
    moves : ndarray (n,)
        Numbers of moves made, increasing; 0 are the candidates.
    divergence : mapping of str to ndarray (n,)
        Jensen-Shannon divergence [nats] of the chains' current paths to the ensemble, by what the candidates are;
        NaN is left out.
    floor : float, optional
        Divergence between the two halves of the chains [nats]: what sampling alone leaves.
    durations : ndarray (n_paths,), optional
        Of transition paths, in `time_unit`.
    weights : ndarray (n_paths,), optional
        How often each path counts.
    time_unit : str

    Raises
    ------
    ParameterError
        If a shape does not fit.
    """
    n = np.asarray(moves)
    shapes = [np.shape(values) for values in divergence.values()]
    if n.ndim != 1 or not shapes or set(shapes) != {n.shape} or (np.diff(n) <= 0).any() or n.min() < 0:
        raise ParameterError(
            f"convergence needs increasing numbers of moves and divergences of their shape {n.shape}, but got {shapes}"
        )
    if durations is not None and weights is not None and np.shape(weights) != np.shape(durations):
        raise ParameterError(f"{np.shape(durations)} durations need as many weights: {np.shape(weights)}")
    figure = new_figure(6.0 if durations is None else 9.2, 4.0, gap=0.1)
    panels = figure.subplots(1, 1 if durations is None else 2, squeeze=False)[0]
    ax = panels[0]
    for (label, values), color, marker in zip(
        divergence.items(), METHOD_COLORS * len(divergence), "os^Dv<" * len(divergence), strict=False
    ):
        known = np.isfinite(values)
        ax.plot(
            n[known], np.asarray(values)[known], marker + "-", color=color, ms=4, label=label, clip_on=False
        )
    if floor is not None:
        ax.axhline(floor, color=INK, lw=1.0, ls=(0, (4, 3)), label="between halves of the chains")
    ax.axhline(np.log(2), color=FAINT, lw=1.0, ls=(0, (1, 1.2)), label="most possible, ln 2")
    _move_axis(ax, n)
    ax.set(ylim=(0, 0.75), ylabel="Jensen–Shannon divergence [nats]")
    figure.legend(loc="outside lower center", ncols=3)
    if durations is not None:
        times = np.asarray(durations, dtype=np.float64)
        mean = float(np.average(times, weights=weights))
        panels[1].hist(times, bins=24, weights=weights, density=True, color=BLUE, alpha=0.6)
        panels[1].axvline(mean, color=VERMILLION, lw=1.4)
        panels[1].set_title(f"mean {mean:.3g} {time_unit}", color=VERMILLION)
        panels[1].set(
            xlabel=f"Duration of a transition path [{time_unit}]", ylabel=f"Density [1/{time_unit}]"
        )
    return figure


def _move_axis(ax: Axes, moves: NDArray[np.integer]) -> None:
    """Make the axis of moves logarithmic, with the candidates at its left end."""
    made = moves[moves > 0]
    first, last = (int(made[0]), int(made[-1])) if len(made) else (1, 1)
    ax.set_xscale("symlog", linthresh=first, linscale=0.5)
    decades = [10**k for k in range(len(str(last))) if first <= 10**k <= last]
    ticks = made.tolist() if len(made) <= 7 else decades
    ax.set_xticks([0, *ticks] if moves[0] == 0 else ticks, minor=False)
    ax.set_xticklabels([*(["candidates"] if moves[0] == 0 else []), *(f"{tick:,}" for tick in ticks)])
    ax.minorticks_off()
    ax.set(xlim=(int(moves[0]), max(last, int(moves[0]) + 1)), xlabel="Moves of all chains")
