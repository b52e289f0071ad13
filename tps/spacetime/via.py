"""Starting curves through points that people write down."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from tps.errors import ConfigError
from tps.features import FeatureSpace
from tps.spacetime.frames import named_point
from tps.spacetime.points import Spacetime, SpacetimePoint, eta_of
from tps.spacetime.starts import chart_line


def via_curves(
    space: FeatureSpace,
    spacetime: Spacetime,
    a: SpacetimePoint,
    b: SpacetimePoint,
    via: Sequence[str],
    *,
    log_snr: float,
    n_points: int,
    key: str = "geodesic.via",
) -> dict[str, Tensor]:
    """Return starting curves from a to b, each through the points that a text names.

    Parameters
    ----------
    space : FeatureSpace
    spacetime : Spacetime
    a, b : SpacetimePoint
    via : sequence of str
        Such as "x=0,y=1; x=0.7,y=0.7": points of one curve with ";" between, values in the features' user units.
    log_snr : float
        Of the points.
    n_points : int
        Of each leg.
    key : str
        Where the texts were asked for.

    Returns
    -------
    dict of str to Tensor (n, K)
        Natural parameters by name.

    Raises
    ------
    ConfigError
        If a point cannot be read or lacks a feature.
    """
    curves = {}
    for text in via:
        points = [a, *(_point(space, part, log_snr, key) for part in text.split(";")), b]
        legs = [chart_line(spacetime, p, q, n_points)[:-1] for p, q in pairwise(points)]
        curves[f"via {text}"] = torch.cat([*legs, eta_of(spacetime, b)[None]])
    return curves


def _point(space: FeatureSpace, text: str, log_snr: float, key: str) -> SpacetimePoint:
    try:
        values = {name.strip(): float(value) for name, value in (part.split("=") for part in text.split(","))}
    except ValueError:
        raise ConfigError(
            f'{key} takes points such as "x=0,y=1" (angles in degrees), several of one curve with ";" between, '
            f"but got {text!r}"
        ) from None
    return named_point(space, values, log_snr, key)
