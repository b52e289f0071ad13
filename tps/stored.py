"""What a run folder holds, read back: JSON with a file to blame, and what makes a damaged file anew."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TypeVar

from tps.errors import MOST_QUOTED, RunFolderError, reason_of
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


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of a run folder: one object of finite numbers, in which a key that is missed names the file.

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
        raise RunFolderError(f"{path} is damaged, it holds a {type(content).__name__}: {remedy(path)}")
    return content
