"""Model files: safetensors with the settings as JSON in the header; never a pickle."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from tps.diffusion.denoiser import DenoiserNetwork
from tps.diffusion.log_partition import LogPartitionNetwork
from tps.errors import ModelError

Network = LogPartitionNetwork | DenoiserNetwork


@dataclass(frozen=True)
class ModelSettings:
    """What rebuilds a network: its kind, the names of the torsions it knows, in order, and its size.

    Attributes
    ----------
    kind : {"log-partition", "denoiser"}
    feature_names : tuple of str
    size : dict of str to int
        n_components of a log-partition network; width and depth of a denoiser.
    """

    kind: str
    feature_names: tuple[str, ...]
    size: dict[str, int]

    def __post_init__(self) -> None:
        if self.kind not in _NETWORKS:
            raise ModelError(f"a model is one of {', '.join(_NETWORKS)}, but got {self.kind!r}")

    def build(self) -> Network:
        """Return a network of this kind and size, untrained."""
        return _NETWORKS[self.kind](len(self.feature_names), **self.size)


_NETWORKS: dict[str, Callable[..., Network]] = {
    "log-partition": LogPartitionNetwork,
    "denoiser": DenoiserNetwork,
}


def save_model(path: Path, network: Network, settings: ModelSettings) -> None:
    """Write weights and settings; the same model gives the same bytes."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(to_bytes(tensors, metadata={"tps": json.dumps(asdict(settings), sort_keys=True)}))
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
        settings = ModelSettings(header["kind"], tuple(header["feature_names"]), header["size"])
        network = settings.build()
        network.load_state_dict(state)
    except (SafetensorError, KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path} is not a model of tps, or is damaged ({error}): train again") from error
    network.eval()
    return network, settings
