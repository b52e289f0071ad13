"""Model files: safetensors with the settings as JSON in the header; never a pickle."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from tps.diffusion.denoiser import DenoiserNetwork
from tps.diffusion.log_partition import LogPartitionNetwork
from tps.errors import ModelError
from tps.features import FeatureSpace

Network = LogPartitionNetwork | DenoiserNetwork


@dataclass(frozen=True)
class ModelSettings:
    """What rebuilds a network: its kind, the features it knows, and its size.

    Attributes
    ----------
    kind : {"log-partition", "denoiser"}
    space : FeatureSpace
    size : dict of str to int
        n_components of a log-partition network; width and depth of a denoiser.
    """

    kind: str
    space: FeatureSpace
    size: dict[str, int]

    def __post_init__(self) -> None:
        if self.kind not in _NETWORKS:
            raise ModelError(f"a model is one of {', '.join(_NETWORKS)}, but got {self.kind!r}")

    def build(self) -> Network:
        """Return a network of this kind and size, untrained."""
        return _NETWORKS[self.kind](self.space.n_circles, **self.size)

    def knows(self, space: FeatureSpace) -> bool:
        """Return whether these are the features of `space`, whatever its bounds: they matter to pictures only."""
        return all(getattr(self.space, name) == getattr(space, name) for name in _MATTER)


#: What tells feature spaces apart.
_MATTER = ("names", "periodic", "units", "scale")
_NETWORKS: dict[str, Callable[..., Network]] = {
    "log-partition": LogPartitionNetwork,
    "denoiser": DenoiserNetwork,
}


def save_model(path: Path, network: Network, settings: ModelSettings) -> None:
    """Write weights and settings; the same model gives the same bytes."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    space = {name: getattr(settings.space, name) for name in _MATTER} | {
        "bounds": settings.space.bounds.tolist()
    }
    header = json.dumps({"kind": settings.kind, "space": space, "size": settings.size}, sort_keys=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(to_bytes(tensors, metadata={"tps": header}))
    partial.replace(path)


def load_model(path: Path) -> tuple[Network, ModelSettings]:
    """Return the network (float32, on the CPU, in evaluation mode) and its settings.

    Raises
    ------
    ModelError
        If the file is not there, is damaged, or was not written by `save_model`.
    """
    if not path.is_file():
        raise ModelError(f"there is no model at {path}: run `tps train` first")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["tps"])
            names = list(file.keys())
            state = {name: file.get_tensor(name) for name in names}
        given = header["space"]
        space = FeatureSpace(
            **{name: tuple(given[name]) for name in _MATTER}, bounds=np.array(given["bounds"])
        )
        settings = ModelSettings(header["kind"], space, header["size"])
        network = settings.build()
        network.load_state_dict(state)
    except (SafetensorError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ModelError(f"{path} is not a model of tps, or is damaged ({error}): train again") from error
    network.eval()
    return network, settings
