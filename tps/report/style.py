"""The look of every figure: colours that colour-blind readers can tell apart, sizes, and saving."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke

from tps.files import whole

P = ParamSpec("P")

#: Okabe and Ito's colours; the first entries tell methods apart.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
)
METHOD_COLORS = (VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY)
INK, FAINT, NO_DATA = "#222222", "#9a9a9a", "#dedede"
#: What lies in a region to avoid.
VEIL = "#cc79a733"
#: A white rim that keeps text legible on top of lines.
HALO = (withStroke(linewidth=2.5, foreground="white"),)

_SETTINGS: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.titlesize": 10.0,
    "axes.labelsize": 10.0,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.6,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw with our settings on top of Matplotlib's defaults, whatever the user's own settings are."""

    @wraps(draw)
    def with_settings(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _our_settings():
            return draw(*args, **kwargs)

    return with_settings


def new_figure(width: float, height: float, *, gap: float = 0.04) -> Figure:
    """Return an empty figure of `width` times `height` inches, its panels `gap` apart, in no window."""
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=gap))
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path, *, dpi: int = 160) -> Path:
    """Write `figure` as PNG, the same bytes every time, and return its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _our_settings(), whole(path) as partial:
        figure.savefig(partial, format="png", dpi=dpi, metadata={"Software": None})
    return path


@contextmanager
def _our_settings() -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield
