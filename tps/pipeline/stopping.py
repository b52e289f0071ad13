"""Ending before the work is done, at a limit of time or when asked: after the block at work, where there are blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class StoppedEarly(KeyboardInterrupt):
    """The program was asked to end, and what was finished is kept: no failure, but no error for others to handle."""


class _Request:
    """What was asked of this process; signals ask, and they are the process's."""

    asked = False
    waits_for_block = False


def ask_to_stop() -> None:
    """Stop at the end of the block at work; where the work has none, at once.

    Raises
    ------
    StoppedEarly
        Where there is no block to wait for.
    """
    _Request.asked = True
    if not _Request.waits_for_block:
        raise StoppedEarly


@contextmanager
def stoppable() -> Iterator[None]:
    """Forget afterwards what was asked."""
    try:
        yield
    finally:
        _Request.asked = False


@contextmanager
def block_by_block() -> Iterator[Callable[[], bool]]:
    """Yield what says whether to stop after the block at work.

    Raises
    ------
    StoppedEarly
        Afterwards, if it did.
    """
    _Request.waits_for_block = True
    try:
        yield lambda: _Request.asked
    finally:
        _Request.waits_for_block = False
    if _Request.asked:
        raise StoppedEarly
