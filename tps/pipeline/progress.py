"""How a stage tells what it is doing; the command line shows it, a script may ignore it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """Receives what a stage has to say while it works."""

    def say(self, text: str) -> None:
        """Take one line."""

    def task(self, description: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Open a bar of `total` units; what it yields is called with the number of units done so far."""

    def stage(self, name: str) -> AbstractContextManager[Callable[[str], None]]:
        """Open a stage of a run; what it yields is called with how the stage ended."""


class Silent:
    """Progress that nobody watches."""

    def say(self, text: str) -> None:
        """Drop the line."""

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        """Yield a function that does nothing."""
        yield lambda done: None

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[str], None]]:
        """Yield a function that does nothing."""
        yield lambda outcome: None


def counted(advance: Callable[[int], None]) -> Callable[[], None]:
    """Turn a bar that takes the number done into a callback for each thing done."""
    count = itertools.count(1)
    return lambda: advance(next(count))


def summed(advance: Callable[[int], None]) -> Callable[[int], None]:
    """Turn a bar that takes the number done into a callback that takes how many more are done."""
    total = 0

    def add(more: int) -> None:
        nonlocal total
        total += more
        advance(total)

    return add
