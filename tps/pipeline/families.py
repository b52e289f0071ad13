"""From a system and its weighted frames to families and anchors: where features meet the geometry."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tps.conformations import Conformations
from tps.diffusion import LogPartitionNetwork, ModelSettings, Network, torsion_statistics
from tps.errors import ConfigError, ModelError
from tps.spacetime import (
    EmpiricalFamily,
    EuclideanSpacetime,
    Family,
    LogPartitionFamily,
    Spacetime,
    SpacetimePoint,
    TorusDenoiserFamily,
    TorusSpacetime,
)
from tps.systems import System


def empirical_family(system: System, frames: Conformations) -> EmpiricalFamily:
    """Return the family of the weighted frames themselves."""
    values = torch.as_tensor(frames.torsions)
    spacetime: Spacetime
    if system.spacetime_kind == "torus":
        spacetime = TorusSpacetime(values.shape[1])
        statistics = torsion_statistics(values)
    else:
        share = torch.as_tensor(frames.log_weights).exp()[:, None]
        mean = (share * values).sum(0)
        spread = float((share * (values - mean).square()).sum() / values.shape[1])
        spacetime = EuclideanSpacetime(values.shape[1], spread, tuple(mean.tolist()))
        statistics = torch.cat([values, values.square().sum(1, keepdim=True)], dim=1)
    return EmpiricalFamily(statistics, torch.as_tensor(frames.log_weights), spacetime)


def model_family(system: System, network: Network, model: ModelSettings) -> Family:
    """Return the family of a trained network, in float64.

    Raises
    ------
    ModelError
        If the model is one of other features.
    """
    if model.feature_names != system.feature_names:
        raise ModelError(
            f"the model knows the torsions {', '.join(model.feature_names)}, but {system.name} has "
            f"{', '.join(system.feature_names)}: train again"
        )
    network = network.double()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    if isinstance(network, LogPartitionNetwork):
        return LogPartitionFamily(network, TorusSpacetime(len(system.feature_names)))
    return TorusDenoiserFamily(network, len(system.feature_names))


def anchors(system: System, log_snr: float) -> tuple[SpacetimePoint, SpacetimePoint]:
    """Return the spacetime points of the two ends."""
    a, b = system.feature_values(system.ends)
    return SpacetimePoint(_features(system, a), log_snr), SpacetimePoint(_features(system, b), log_snr)


def named_point(system: System, values: Mapping[str, float], log_snr: float, key: str) -> SpacetimePoint:
    """Return the spacetime point at feature values [degree for angles, the axis' unit otherwise].

    Raises
    ------
    ConfigError
        If not every feature has a value; `key` says where it was asked for.
    """
    if set(values) != set(system.feature_names):
        raise ConfigError(
            f"{key} needs a value for each of {', '.join(system.feature_names)}, but got "
            f"{', '.join(values) or 'none'}"
        )
    given = np.array([values[name] for name in system.feature_names])
    return SpacetimePoint(
        _features(system, np.deg2rad(given) if system.spacetime_kind == "torus" else given), log_snr
    )


def _features(system: System, values: NDArray[np.float64]) -> Tensor:
    found = torch.as_tensor(values, dtype=torch.float64)
    return torsion_statistics(found) if system.spacetime_kind == "torus" else found
