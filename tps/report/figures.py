"""Figures along the curve and along the paths: potential energy, work, log-SNR, and the learning curve."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tps.errors import ParameterError
from tps.features import FeatureSpace
from tps.report.style import BLUE, FAINT, HALO, INK, METHOD_COLORS, VERMILLION, new_figure, styled
from tps.report.tilt import WEAK_TILT, tilt_strength
from tps.spacetime import WEAK_SPREAD_DEGREE

_TIME_LABEL = "part of the protocol's time [-]"


@styled
def potential_energy_along_paths(
    s: NDArray[np.floating],
    potential_energy: Mapping[str, NDArray[np.floating]],
    *,
    mean_a: float | None = None,
    mean_b: float | None = None,
    unit: str = "kJ/mol",
) -> Figure:
    """Draw the potential energy along the paths of one or several methods, side by side.

    Parameters
    ----------
    s : ndarray (n_frames,)
        Part of the protocol's time, 0 to 1.
    potential_energy : mapping of str to ndarray (n_paths, n_frames)
        By method; failed paths (NaN) are left out.
    mean_a, mean_b : float, optional
        Mean potential energy of the end states.
    unit : str
        Of all these energies.

    Raises
    ------
    ParameterError
        If there is nothing to draw or a shape does not fit.
    """
    figure, panels = _panels(s, potential_energy)
    levels = [(level, name) for level, name in ((mean_a, "A"), (mean_b, "B")) if level is not None]
    for ax, (method, values), color in zip(panels, potential_energy.items(), _colors(), strict=False):
        _band(ax, s, values, method, color)
        for order, (level, name) in enumerate(sorted(levels)):
            ax.axhline(level, color=INK, lw=0.9, ls=(0, (4, 3)), zorder=1)
            above = order == 1  # the lower mean is written below its line, the higher one above
            ax.annotate(
                f"mean of {name}",
                (0.02 if name == "A" else 0.98, level),
                xycoords=("axes fraction", "data"),
                xytext=(0, 2 if above else -2),
                textcoords="offset points",
                ha="left" if name == "A" else "right",
                va="bottom" if above else "top",
                size=9,
                path_effects=HALO,
            )
    panels[0].set_ylabel(f"Potential energy [{unit}]")
    _legend(figure, panels)
    return figure


@styled
def work_along_paths(
    s: NDArray[np.floating],
    cumulative_work: Mapping[str, NDArray[np.floating]],
    *,
    free_energy: Mapping[str, NDArray[np.floating]] | None = None,
) -> Figure:
    """Draw the work done by moving the tilt, of one or several methods, side by side.

    Parameters
    ----------
    s : ndarray (n_frames,)
    cumulative_work : mapping of str to ndarray (n_paths, n_frames)
        [kT] by method; failed paths (NaN) are left out.
    free_energy : mapping of str to ndarray (n_frames,), optional
        Free energy of the tilted ensemble along the protocol [kT]; mean work minus it is dissipated.

    Raises
    ------
    ParameterError
        If there is nothing to draw or a shape does not fit.
    """
    figure, panels = _panels(s, cumulative_work)
    for ax, (method, values), color in zip(panels, cumulative_work.items(), _colors(), strict=False):
        kept = _band(ax, s, values, method, color)
        mean = kept.mean(axis=0)
        ax.plot(s, mean, color=INK, lw=1.2, ls=(0, (1, 1.2)), label="mean")
        if free_energy is not None and method in free_energy:
            level = np.asarray(free_energy[method])
            ax.plot(s, level, color=INK, lw=1.2, ls=(0, (4, 3)), label="free energy")
            ax.set_title(f"{ax.get_title()}, {mean[-1] - level[-1]:.1f} kT dissipated")
    panels[0].set_ylabel("Work [kT]")
    _legend(figure, panels)
    return figure


@styled
def log_snr_along_curve(
    s: NDArray[np.floating], eta: NDArray[np.floating], space: FeatureSpace, *, floor: float | None = None
) -> Figure:
    """Draw how strong the tilt is along the curve: ln kappa of each angle, and the log-SNR of the features on lines.

    Parameters
    ----------
    s : ndarray (n_points,)
    eta : ndarray (n_points, K)
        Natural parameters.
    space : FeatureSpace
    floor : float, optional
        Lowest log-SNR allowed.

    Raises
    ------
    ParameterError
        If a shape does not fit.
    """
    if np.shape(eta) != (len(s), space.n_statistics):
        raise ParameterError(
            f"eta needs shape ({len(s)}, {space.n_statistics}) like s, but has {np.shape(eta)}"
        )
    strength = tilt_strength(space, eta)
    curves = {space.names[i]: strength[:, i] for i in space.circles}
    if space.n_lines:
        curves[", ".join(space.names[i] for i in space.lines)] = strength[:, space.lines[0]]
    figure = new_figure(6.4, 3.8)
    ax = figure.add_subplot()
    styles = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 2, 1, 2)))
    for i, (name, values) in enumerate(curves.items()):
        color = METHOD_COLORS[(i + 1) % len(METHOD_COLORS)]
        ax.plot(s, values, color=color, ls=styles[(i // len(METHOD_COLORS)) % len(styles)], label=name)
    if floor is not None:
        ax.axhline(floor, color=INK, lw=1.0, ls=(0, (4, 3)), label=f"floor {floor:g}")
    lowest = min(float(strength.min()), np.inf if floor is None else floor)
    if space.n_circles and lowest < WEAK_TILT:
        label = f"weak tilt\n(spread > {WEAK_SPREAD_DEGREE:g}°)"
        ax.axhspan(lowest - 1, WEAK_TILT, color=FAINT, alpha=0.18, lw=0, label=label)
        ax.set_ylim(bottom=lowest - 0.3)
    what = "Log-SNR, ln $\\kappa$ [-]" if space.n_circles else "Log-SNR [-]"
    ax.set(xlim=(0, 1), xlabel="s along the curve [-]", ylabel=what)
    figure.legend(loc="outside right upper", ncols=1 + len(curves) // 12)
    return figure


@styled
def friction_along_curve(
    s: NDArray[np.floating],
    friction: NDArray[np.floating],
    error: NDArray[np.floating],
    metric: NDArray[np.floating],
    *,
    clocks: Mapping[str, tuple[NDArray[np.floating], NDArray[np.floating]]],
    time_unit: str = "ps",
) -> Figure:
    """Draw friction and Fisher-Rao metric along a curve, their ratio, and the clocks that follow from them.

    Parameters
    ----------
    s : ndarray (n,)
        Places on the curve.
    friction, error : ndarray (n,)
        η'ᵀ ζ η' and its standard error [time unit].
    metric : ndarray (n,)
        η'ᵀ Cov[T] η'.
    clocks : mapping of str to (ndarray (m,), ndarray (m,))
        s on the curve and the part of the time that is gone there, by name.
    time_unit : str

    Raises
    ------
    ParameterError
        If a shape does not fit.
    """
    if not np.shape(s) == np.shape(friction) == np.shape(error) == np.shape(metric):
        raise ParameterError(
            f"friction along a curve needs arrays of one shape, but got {np.shape(s)}, {np.shape(friction)}, "
            f"{np.shape(error)} and {np.shape(metric)}"
        )
    figure = new_figure(6.4, 5.4)
    top, bottom = figure.subplots(2, 1, sharex=True)
    seen = friction > 0
    top.errorbar(
        s[seen],
        friction[seen],
        error[seen],
        color=VERMILLION,
        marker="o",
        ms=3,
        label=f"friction [{time_unit}]",
    )
    top.plot(s, metric, color=BLUE, label="Fisher-Rao metric [-]")
    relaxation = f"relaxation time [{time_unit}]"
    top.plot(s[seen], friction[seen] / metric[seen], color=FAINT, ls=(0, (5, 1.5)), label=relaxation)
    top.set(yscale="log", ylabel="Along the curve, per $\\mathrm{d}s^2$")
    top.legend(loc="best", fontsize=9)
    for (name, (at, gone)), color in zip(clocks.items(), (BLUE, VERMILLION), strict=False):
        bottom.plot(at, gone, color=color, label=f"{name} clock")
    bottom.set(xlim=(0, 1), ylim=(0, 1), xlabel="s along the curve [-]", ylabel="Part of the time [-]")
    bottom.legend(loc="upper left", fontsize=9)
    return figure


@styled
def learning_curve(
    steps: NDArray[np.integer],
    train: NDArray[np.floating],
    held_out: NDArray[np.floating],
    *,
    best_step: int | None = None,
) -> Figure:
    """Draw the loss of training and of held-out points against the optimiser's steps.

    Parameters
    ----------
    steps, train, held_out : ndarray (n_records,)
        NaN marks a step at which a loss was not computed.
    best_step : int, optional
        The step whose parameters were kept.

    Raises
    ------
    ParameterError
        If the lengths differ.
    """
    if not len(steps) == len(train) == len(held_out) or len(steps) == 0:
        raise ParameterError(
            "a learning curve needs as many losses as steps, but got "
            f"{len(steps)} steps, {len(train)} training and {len(held_out)} held-out losses"
        )
    figure = new_figure(6.4, 3.6)
    ax = figure.add_subplot()
    for values, label, color, line in (
        (train, "training", FAINT, "-"),
        (held_out, "held out", BLUE, (0, (5, 1.5))),
    ):
        known = np.isfinite(values)
        ax.plot(np.asarray(steps)[known], np.asarray(values)[known], color=color, ls=line, label=label)
    if best_step is not None:
        ax.axvline(best_step, color=VERMILLION, lw=1.0, label=f"kept: step {best_step:,}")
    together = np.concatenate([train, held_out])
    if np.nanmin(together) > 0:
        ax.set_yscale("log")
    ax.set(xlabel="Optimiser step", ylabel="Loss [-]")
    ax.legend()
    return figure


def _panels(
    s: NDArray[np.floating], by_method: Mapping[str, NDArray[np.floating]]
) -> tuple[Figure, list[Axes]]:
    """Return one panel for each method, on one y axis; refuse arrays that do not fit `s`."""
    for method, values in by_method.items():
        if np.ndim(values) != 2 or np.shape(values)[1] != len(s):
            raise ParameterError(
                f"{method} needs shape (n_paths, {len(s)}) like s, but has {np.shape(values)}"
            )
        if not np.isfinite(values).all(axis=1).any():
            raise ParameterError(f"{method} has no completed path to draw")
    if not by_method:
        raise ParameterError("a figure along the paths needs at least one method, but got none")
    n = len(by_method)
    figure = new_figure(6.4 if n == 1 else 2.9 * n + 0.7, 3.8, gap=0.12)
    panels = figure.subplots(1, n, sharex=True, sharey=True, squeeze=False)[0]
    for ax in panels:
        ax.set(xlim=(0, 1), xticks=(0, 0.5, 1))
        ax.set_xlabel(_TIME_LABEL)
    return figure, list(panels)


def _band(
    ax: Axes, s: NDArray[np.floating], values: NDArray[np.floating], method: str, color: str
) -> NDArray[np.floating]:
    """Draw a few paths, the band of 90 % of them and their median; return the completed ones."""
    values = np.asarray(values)
    kept = values[np.isfinite(values).all(axis=1)]
    low, middle, high = np.percentile(kept, [5, 50, 95], axis=0)
    for order, path in enumerate(kept[:2]):
        label = "_" if order else "single paths"
        ax.plot(s, path, color=FAINT, lw=0.4, alpha=0.6, zorder=1, label=label)
    ax.fill_between(s, low, high, color=color, alpha=0.25, lw=0, label="5 to 95 % of paths")
    ax.plot(s, middle, color=color, label="median")
    n_lost = len(values) - len(kept)
    count = f"{len(kept)} paths" + (f", {n_lost} failed" if n_lost else "")
    ax.set_title("\n".join([*textwrap.wrap(method, 30, break_on_hyphens=False), count]), color=INK)
    return kept


def _colors() -> Sequence[str]:
    return METHOD_COLORS * 4


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """Explain the lines below the panels, one entry for each label (in the first panel's colour)."""
    found: dict[str, Artist] = {}
    for ax in panels:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=len(found))
