"""Model files: safetensors with what rebuilds the network as JSON in the header; never a pickle."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from tps.diffusion.kinds import KINDS
from tps.diffusion.model import Model
from tps.diffusion.product_model import ProductModel
from tps.errors import ModelError, quoted, reason_of
from tps.features import FeatureSpace
from tps.files import whole
from tps.stored import remedy


@dataclass(frozen=True)
class ModelSettings:
    """What a trained model is of.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    space : FeatureSpace
        The features it knows.
    """

    kind: str
    space: FeatureSpace

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ModelError(f"a model is one of {', '.join(KINDS)}, but got {self.kind!r}")

    def knows(self, space: FeatureSpace) -> bool:
        """Return whether these are the features of `space`, whatever its bounds: they matter to pictures only."""
        return all(getattr(self.space, name) == getattr(space, name) for name in _MATTER)


#: What tells feature spaces apart.
_MATTER = ("names", "periodic", "units", "scale")


def save_model(path: Path, network: Model, settings: ModelSettings) -> None:
    """Write weights and settings; the same model gives the same bytes."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    space = {name: getattr(settings.space, name) for name in _MATTER} | {
        "bounds": settings.space.bounds.tolist()
    }
    header = {"kind": settings.kind, "space": space, "size": network.size}
    with whole(path) as partial:
        partial.write_bytes(to_bytes(tensors, metadata={"tps": json.dumps(header, sort_keys=True)}))


def load_model(path: str | Path) -> tuple[Model, ModelSettings]:
    """Return the network (on the CPU, in evaluation mode) and its settings.

    Raises
    ------
    ModelError
        If the file is not there, is damaged, or was not written by `save_model`.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"there is no model at {path}: run `tps train` first")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["tps"])
            names = list(file.keys())
            state = {name: file.get_tensor(name) for name in names}
        if _least(header["size"]) > sum(tensor.numel() for tensor in state.values()):
            raise ValueError("its header describes a larger network than it holds")
        given = header["space"]
        space = FeatureSpace(
            **{name: tuple(given[name]) for name in _MATTER}, bounds=np.array(given["bounds"])
        )
        settings = ModelSettings(header["kind"], space)
        network = _build(KINDS[settings.kind].network, space, header["size"])
        network.load_state_dict(state)
        strange = [name for name, tensor in state.items() if not _finite(tensor)]
        if strange:
            raise ValueError(f"{quoted(strange[0])} has values that are not finite real numbers")
    except (
        SafetensorError,
        KeyError,
        IndexError,
        TypeError,
        RuntimeError,
        ValueError,
        AttributeError,
        MemoryError,
        OSError,
    ) as error:  # headers lead torch and safetensors into all of them
        raise ModelError(
            f"{path} is not a model of tps, or is damaged ({reason_of(error)}): {remedy(path)}"
        ) from None
    network.eval()
    return network, settings


def _least(size: dict[str, Any]) -> int:
    """Return how many numbers a network of a size has at least: torch makes room for all of them at once."""
    if "sizes" in size:
        return sum(map(_least, size["sizes"]))
    return max(int(size.get("width", 0)) ** 2, int(size.get("depth", 0)), int(size.get("n_components", 0)))


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_complex() and bool(torch.isfinite(tensor).all())


def _build(network: Callable[..., Model], space: FeatureSpace, size: dict[str, Any]) -> Model:
    """Return an untrained network of a kind, or the product of several."""
    if "groups" in size:
        return ProductModel.build(network, space.n_circles, space.n_lines, **size)
    return network(space.n_circles, space.n_lines, **size)
