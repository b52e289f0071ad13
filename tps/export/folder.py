"""The folder of an export: never written over without being asked, and written whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tps.errors import RunFolderError


def check_folder(out: Path, force: bool) -> None:
    """Check that an export may be written.

    Raises
    ------
    RunFolderError
        If `out` is a file, or holds something and not `force`.
    """
    if out.exists() and not out.is_dir():
        raise RunFolderError(f"{out} should be a folder, but a file of that name exists: give another name")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise RunFolderError(f"{out} is not empty: give another folder, or --force to replace the export")


@contextmanager
def scratch_beside(out: Path) -> Iterator[Path]:
    """Yield an empty folder on the disk of `out`; it and what is left in it are gone afterwards."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as name:
        yield Path(name)
