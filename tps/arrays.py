"""Arrays on disk: npz files that carry the version of their layout, so that older ones are refused and not misread."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tps.errors import RunFolderError

#: Of every npz file that tps writes and reads back; raised when what is stored, or what it is called, changes.
FORMAT_VERSION = 3
_KEY = "format_version"


def save_arrays(path: Path, **arrays: Any) -> None:
    """Write named arrays to an npz file, with the version of the layout."""
    np.savez(path, allow_pickle=False, **{_KEY: np.array(FORMAT_VERSION), **arrays})


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read what `save_arrays` wrote.

    Raises
    ------
    RunFolderError
        If the file is missing or damaged, or has the layout of another version of tps.
    """
    try:
        with np.load(path) as data:
            found = {name: data[name] for name in data.files}
    except FileNotFoundError:
        raise RunFolderError(f"{path} does not exist") from None
    except (OSError, ValueError, zipfile.BadZipFile) as reason:
        raise RunFolderError(f"{path} cannot be read as an npz file: {reason}") from None
    version = int(found.pop(_KEY, 1))
    if version != FORMAT_VERSION:
        raise RunFolderError(
            f"{path} has the layout of {'an older' if version < FORMAT_VERSION else 'a newer'} tps (version {version}, "
            f"this one reads {FORMAT_VERSION}): make it anew with this one, in a new folder or with --force"
        )
    return found
