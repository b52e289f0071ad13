"""How frames grew: what each round said of F(B) - F(A), and of the curve."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tps.errors import ParameterError
from tps.report.style import BLUE, FAINT, INK, VERMILLION, new_figure, styled


@styled
def growth_figure(
    difference: NDArray[np.floating],
    difference_error: NDArray[np.floating],
    by_ladder: NDArray[np.floating],
    from_b: NDArray[np.bool_],
    support: NDArray[np.floating],
    moved: NDArray[np.floating],
    moved_error: NDArray[np.floating],
    *,
    needed: float,
) -> Figure:
    """Draw what rounds of growing frames said, round by round; NaN where one said nothing.

    Parameters
    ----------
    difference, difference_error : (n,) arrays
        F(B) - F(A) of the regions by all frames up to each round, and its error [kT].
    by_ladder : (n, L) array
        The same by each independent ladder [kT].
    from_b : (L,) bool array
        Which of them started from B.
    support : (n,) array
        Least effective number of frames along the curve.
    moved, moved_error : (n,) arrays
        How far the curve moved since the round before, and how far curves of either half of the ladders lie apart
        [Fisher-Rao length].
    needed : float
        Support that the curve must have.

    Raises
    ------
    ParameterError
        If there is no round, or shapes do not fit.
    """
    n = len(difference)
    if n == 0 or by_ladder.shape != (n, len(from_b)):
        raise ParameterError(
            f"growing needs at least one round, and differences of ladders {(n, len(from_b))}, but got "
            f"{by_ladder.shape}"
        )
    rounds = np.arange(1, n + 1)
    figure = new_figure(8.4, 3.0, gap=0.1)
    left, middle, right = figure.subplots(1, 3)
    _ladders(left, rounds, by_ladder, from_b)
    left.errorbar(
        rounds, difference, difference_error, fmt="o-", color=INK, ms=4, capsize=3, label="all frames"
    )
    left.set_ylabel("F(B) − F(A) [kT]")
    left.legend(fontsize=8)
    middle.semilogy(rounds, support, "o-", color=BLUE, ms=4)
    middle.axhline(needed, color=INK, lw=0.9, ls=(0, (4, 3)))
    middle.set_ylabel("least support [frames]")
    right.plot(rounds, moved, "o-", color=BLUE, ms=4, label="moved")
    right.plot(rounds, moved_error, "s--", color=FAINT, ms=4, label="its error")
    right.set_ylabel("curve [Fisher-Rao length]")
    right.set_ylim(bottom=0)
    if np.isfinite(moved).any():
        right.legend(fontsize=8)
    for ax in (left, middle, right):
        ax.set_xlabel("round")
        ax.set_xlim(0.5, n + 0.5)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _ladders(
    ax: Axes, rounds: NDArray[np.int64], by_ladder: NDArray[np.floating], from_b: NDArray[np.bool_]
) -> None:
    for side, color, name, shift in ((False, BLUE, "A", -0.12), (True, VERMILLION, "B", 0.12)):
        values = by_ladder[:, from_b == side]
        at = np.broadcast_to(rounds[:, None] + shift, values.shape)
        ax.plot(at.ravel(), values.ravel(), ".", color=color, alpha=0.7, label=f"ladders from {name}")
