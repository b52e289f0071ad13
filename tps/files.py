"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield where to write a file; it takes its place at one stroke once all of it is on the disk."""
    partial = partial_of(path)
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def partial_of(path: Path) -> Path:
    """Return where a file lies before it is whole: a name with the same ending, which no pattern of ours finds."""
    return path.with_name(f".{path.stem}.partial{path.suffix}")


def check_regular(path: Path) -> None:
    """Check that a path is no pipe and no device, on which reading would wait or never end.

    Raises
    ------
    OSError
        If it is one, or is not there.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError("it is a pipe or a device, not a file")


def is_there(path: Path) -> bool:
    """Whether there is a file, or what is none but would be read like one, such as a pipe."""
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):  # a name that no file can have
        return False


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, without a byte-order mark.

    Raises
    ------
    OSError, ValueError
        If it is no file, or no such text.
    """
    check_regular(path)
    return path.read_text(encoding="utf-8-sig")
