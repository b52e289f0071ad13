"""Surfaces for the tests, made without files."""

import math
from pathlib import Path

import numpy as np

from tps.systems import Axis, Region, State, SurfaceSystem, TablePotential


def make_surface(potential, *, n_axes=1, periodic=False, kt=1.0, width=4.0, a=-1.0, b=1.0, margin=0.5):
    """Return a surface whose states are the first axis' values within `margin` of the end points."""
    bounds = (-math.pi, math.pi) if periodic else (-width / 2, width / 2)
    axes = tuple(Axis(name, i, *bounds, periodic) for i, name in enumerate(("x", "y")[:n_axes]))
    points = [np.array([x] + [0.0] * (n_axes - 1)) for x in (a, b)]
    states = [State(label, Region({"x": (x - margin, x + margin)})) for label, x in (("A", a), ("B", b))]
    return SurfaceSystem("test", "", Path(), potential, axes, kt, "kT", *points, *states)


def table(function, n, periodic, low=-math.pi, high=math.pi):
    """Return a one-dimensional table of a function of an array."""
    grid = np.linspace(low, high, n, endpoint=not periodic)
    return TablePotential((grid,), function(grid), periodic)
