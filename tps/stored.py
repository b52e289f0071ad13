"""What a run folder holds, read back: JSON with a file to blame, and what makes a damaged file anew."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tps.errors import MOST_QUOTED, RunFolderError, quoted, reason_of
from tps.files import read_text

#: Folder of a run -> the command that writes what lies in it.
_MADE_BY = {
    "conformations": "conformations",
    "model": "train",
    "geodesic": "geodesic",
    "paths": "paths",
    "baselines": "paths",
    "shooting": "shoot",
    "committor": "committor",
    "free_energy": "free-energy",
    "rate": "rate",
    "analysis": "analyse",
    "figures": "report",
}
#: pydantic's words, and those of JSON.
_SPOKEN = {"Input should": "should", "a valid dictionary": "an object", "Field required": "is missing"}
_VALUE = TypeVar("_VALUE")


class Stored(dict[str, _VALUE]):
    """Named values of a file, which is named where one is looked for that it lacks."""

    def __init__(self, path: Path, values: dict[str, _VALUE]) -> None:
        super().__init__(values)
        self.path = path

    def __missing__(self, key: str) -> _VALUE:
        """Say which file lacks what."""
        raise RunFolderError(f"{self.path} is damaged, it has no {key}: {remedy(self.path)}")


def remedy(path: Path) -> str:
    """Return how a file of a run folder is made anew."""
    for folder in path.parents:
        if folder.name in _MADE_BY and (folder.parent / "run.toml").is_file():
            return f"make it anew with `tps {_MADE_BY[folder.name]} {folder.parent} --force`"
    return "make it anew"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _finite(word: str) -> float:
    number = float(word)
    if not math.isfinite(number):
        raise ValueError(f"{word[:MOST_QUOTED]} is no finite number")
    return number


def read_json(path: Path, said: type[BaseModel] | None = None) -> dict[str, Any]:
    """Read a JSON file of a run folder: one object of finite numbers, in which a key that is missed names the file.

    Parameters
    ----------
    path : Path
    said : type of pydantic.BaseModel, optional
        What the object must hold.

    Raises
    ------
    RunFolderError
        If it is missing or damaged.
    """
    try:
        content = json.loads(
            read_text(path),
            object_pairs_hook=lambda pairs: Stored(path, _once(pairs)),
            parse_constant=_finite,
            parse_float=_finite,
        )
    except RecursionError:
        raise RunFolderError(
            f"{path} is damaged, its lists lie too deep in each other: {remedy(path)}"
        ) from None
    except FileNotFoundError:
        raise RunFolderError(f"{path} does not exist: {remedy(path)}") from None
    except (OSError, ValueError) as reason:
        raise RunFolderError(f"{path} cannot be read ({reason_of(reason)}): {remedy(path)}") from None
    if not isinstance(content, dict):
        held = "a list" if isinstance(content, list) else quoted(content)
        raise RunFolderError(f"{path} is damaged, it holds {held}, no object: {remedy(path)}")
    if said is not None:
        check_said(path, content, said)
    return content


def check_said(path: Path, content: dict[str, Any], said: type[BaseModel]) -> None:
    """Check that what a JSON file holds is of the kind that is read from it.

    Raises
    ------
    RunFolderError
        Naming the first key that is not.
    """
    try:
        said.model_validate(content)
    except ValidationError as failure:
        first = failure.errors()[0]
        key, why = quoted(".".join(map(str, first["loc"]))), first["msg"].partition(" or instance of ")[0]
        for pydantic, ours in _SPOKEN.items():
            why = why.replace(pydantic, ours)
        raise RunFolderError(f"{path} is damaged, its {key} {why}: {remedy(path)}") from None
