"""The manifest of a run folder: what each stage was made of, and the digests of the files it left."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tps.arrays import FORMAT_VERSION
from tps.errors import RunFolderError, quoted
from tps.files import check_regular
from tps.stored import read_json

MANIFEST_FILE = "manifest.json"


class _Entry(BaseModel):
    """What the program reads of a stage's entry; there is more for people."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, strict=True)

    status: Literal["done", "failed"]
    failure: str
    seconds: float
    force_evaluations: int
    platform: str | None
    notes: list[str]
    details: dict[str, Any]
    key: str
    growth_key: str


class _Manifest(BaseModel):
    """A whole manifest."""

    model_config = ConfigDict(extra="allow", strict=True)

    format_version: int = 1
    stages: dict[str, _Entry]
    files: dict[str, dict[str, str]] = {}


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a run folder.

    Raises
    ------
    RunFolderError
        If it is missing or damaged, or the folder has the layout of another version of tps.
    """
    file = path / MANIFEST_FILE
    try:
        content = read_json(file)
        version = content.get("format_version", 1)
        if version == FORMAT_VERSION:
            _Manifest.model_validate(content)
    except (RunFolderError, ValidationError) as error:
        raise RunFolderError(
            f"{file} is missing or damaged ({_short(error)}): the stages of this run cannot be trusted, "
            "start a new run folder"
        ) from error
    if version != FORMAT_VERSION:
        raise RunFolderError(
            f"run folder {path} has the layout of another version of tps (version {quoted(version)}, this one reads "
            f"{FORMAT_VERSION}): start a new run folder"
        )
    return content


def _short(error: RunFolderError | ValidationError) -> str:
    if isinstance(error, RunFolderError):
        return str(error)
    first = error.errors()[0]
    return f"{quoted('.'.join(map(str, first['loc'])))}: {first['msg']}"


def digests(run: Path, outputs: Iterable[str]) -> dict[str, str]:
    """Return the digest of every file below the outputs of a stage, by its place in the run folder."""
    files = sorted(file for name in outputs for file in _files(run / name))
    return {file.relative_to(run).as_posix(): _digest_now(file) for file in files}


def damaged(run: Path, files: Mapping[str, str]) -> list[str]:
    """Return which of the files are no longer what their digests say."""
    return [name for name, said in files.items() if _digest_now(run / name) != said]


def _files(place: Path) -> list[Path]:
    """Return the files at or below a place, but for hidden ones, such as locks."""
    found = [place] if place.is_file() else place.rglob("*")
    return [file for file in found if file.is_file() and not file.name.startswith(".")]


def _digest_now(file: Path) -> str:
    """Return the digest of a file as it is; "" where it is none that can be read."""
    try:
        check_regular(file)
        said = file.stat()
        return _digest(file, said.st_size, said.st_mtime_ns, said.st_ino)
    except OSError:
        return ""


@cache
def _digest(file: Path, *_: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
