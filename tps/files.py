"""Files that are there whole or not at all."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

#: Numbers of a simulation are packed a few times, equal ones a thousand times: so much may a file hold [bytes], or so
#: many times its size.
_MOST_UNPACKED, _MOST_FOLD = 2**28, 100
_OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


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


def check_fold(path: Path, n_bytes: int) -> None:
    """Check that a file holds no more than it may, unpacked.

    Raises
    ------
    OSError
        If it does.
    """
    if n_bytes > max(_MOST_UNPACKED, _MOST_FOLD * path.stat().st_size):
        raise OSError(f"unpacked it is more than {_MOST_FOLD} times its size: no numbers of a simulation are")


def check_unpacked(path: Path) -> None:
    """Check that a file of gzip, bzip2 or xz, by its name, holds no more than it may; others are not looked at.

    Raises
    ------
    OSError
        If it does, or cannot be unpacked.
    """
    opener = _OPENERS.get(path.suffix.lower())
    if opener is None:
        return
    n_bytes = 0
    try:
        with opener(path, "rb") as unpacked:
            while chunk := unpacked.read(2**20):
                n_bytes += len(chunk)
                check_fold(path, n_bytes)
    except (EOFError, zlib.error, lzma.LZMAError) as reason:
        raise OSError(f"it cannot be unpacked: {reason}") from None


def opened(path: Path) -> TextIO:
    """Open a text file, unpacked where its name says that it is packed; what is no UTF-8 is replaced."""
    opener = _OPENERS.get(path.suffix.lower(), open)
    return cast(TextIO, opener(path, "rt", encoding="utf-8", errors="replace"))


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
