"""The folder of an export: never written over without being asked."""

from __future__ import annotations

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
