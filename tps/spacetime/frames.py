"""From a feature space and its weighted values to the family of the frames, and to points of its spacetime."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from tps.errors import ConfigError
from tps.features import FeatureSpace
from tps.spacetime.empirical import EmpiricalFamily
from tps.spacetime.points import Spacetime, SpacetimePoint
from tps.spacetime.product import spacetime_of


def empirical_family(space: FeatureSpace, values: ArrayLike, log_weights: ArrayLike) -> EmpiricalFamily:
    """Return the family of weighted frames themselves.

    Parameters
    ----------
    space : FeatureSpace
    values : array (n_frames, d)
        Feature values, in internal units.
    log_weights : array (n_frames,)
        ln w_i of weights that sum to one.

    Returns
    -------
    EmpiricalFamily
        Its chart is that of the frames' mean and variance.

    Raises
    ------
    ParameterError
        If the shapes do not match or a number is not finite.
    """
    statistics = torch.as_tensor(space.statistic(values))
    weights = torch.as_tensor(np.asarray(log_weights, dtype=np.float64))
    return EmpiricalFamily(statistics, weights, fitted_spacetime(space, statistics, weights.exp()))


def fitted_spacetime(space: FeatureSpace, statistics: Tensor, share: Tensor) -> Spacetime:
    """Return the spacetime of a feature space with the chart of data: T (n_frames, K) and weights (n_frames,)."""
    if not space.n_lines:
        return spacetime_of(space)
    lines, share = statistics[:, 2 * space.n_circles : -1], share[:, None]
    mean = (share * lines).sum(0)
    spread = float((share * (lines - mean).square()).sum() / space.n_lines)
    return spacetime_of(space, spread, mean.tolist())


def point_at(space: FeatureSpace, values: ArrayLike, log_snr: float) -> SpacetimePoint:
    """Return the spacetime point at feature values.

    Parameters
    ----------
    space : FeatureSpace
    values : array (d,)
        In internal units.
    log_snr : float
        Angles get the stiffness e^log_snr.

    Returns
    -------
    SpacetimePoint
    """
    return SpacetimePoint(
        torch.as_tensor(space.statistic(values)[: 2 * space.n_circles + space.n_lines]), log_snr
    )


def anchors(
    space: FeatureSpace, ends_values: ArrayLike, log_snr: float
) -> tuple[SpacetimePoint, SpacetimePoint]:
    """Return the spacetime points of the two ends.

    Parameters
    ----------
    space : FeatureSpace
    ends_values : array (2, d)
        Feature values of A and B, in internal units.
    log_snr : float

    Returns
    -------
    tuple of SpacetimePoint
        A and B.
    """
    a, b = np.asarray(ends_values, dtype=np.float64)
    return point_at(space, a, log_snr), point_at(space, b, log_snr)


def named_point(space: FeatureSpace, values: Mapping[str, float], log_snr: float, key: str) -> SpacetimePoint:
    """Return the spacetime point at feature values that people write.

    Parameters
    ----------
    space : FeatureSpace
    values : mapping of str to float
        One for each feature, in its user unit (degree for an angle).
    log_snr : float
    key : str
        Where it was asked for.

    Returns
    -------
    SpacetimePoint

    Raises
    ------
    ConfigError
        If not every feature has a value, or another one has.
    """
    if set(values) != set(space.names):
        raise ConfigError(
            f"{key} needs a value for each of {', '.join(space.names)}, but got {', '.join(values) or 'none'}"
        )
    given = np.array([values[name] for name in space.names], dtype=np.float64)
    return point_at(space, given * space.user_scale, log_snr)
