"""Keep compiled libraries from writing on standard output, where a program may read our results."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silent_stdout() -> Iterator[None]:
    """Send file descriptor 1 to nowhere for a while (MDTraj's DCD plugin prints there from C).

    The descriptor belongs to the whole process: what other threads print meanwhile is lost as well.
    """
    _flush()
    saved = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        _flush()
        os.dup2(saved, 1)
        os.close(saved)
        os.close(nowhere)


def _flush() -> None:
    """Flush Python's and, on POSIX systems, the C library's buffers (Windows has no common C library)."""
    sys.stdout.flush()
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)
