"""The family of a trained network."""

from __future__ import annotations

from tps.diffusion import Model, ModelSettings
from tps.errors import ModelError
from tps.features import FeatureSpace
from tps.spacetime.family import Family, LogPartitionFamily, MeanFamily
from tps.spacetime.product import spacetime_of


def model_family(space: FeatureSpace, network: Model, settings: ModelSettings) -> Family:
    """Return the family of a trained network, in float64.

    Parameters
    ----------
    space : FeatureSpace
        Of the system.
    network : Model
        Changed: it computes in float64 and learns no more.
    settings : ModelSettings
        What the network knows.

    Returns
    -------
    Family

    Raises
    ------
    ModelError
        If the model is one of other features.
    """
    if not settings.knows(space):
        raise ModelError(
            f"the model knows the features {describe(settings.space)}, but the system has {describe(space)}: "
            "train again"
        )
    network = network.double()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    spacetime = spacetime_of(space)
    return LogPartitionFamily(network, spacetime) if network.has_psi else MeanFamily(network.mu, spacetime)


def describe(space: FeatureSpace) -> str:
    """Return the names of features, with what counts as one where that is no angle."""
    rows = zip(space.names, space.periodic, space.scale, space.units, strict=True)
    return ", ".join(
        name if circle else f"{name} (scale {f'{scale:g} {unit}'.strip()})"
        for name, circle, scale, unit in rows
    )
