"""Progress on standard error, results on standard output."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tps.prepare import spoken_time

#: Least time between two lines of one task, where there is no terminal to draw a bar on [s].
_LINE_SECONDS = 30.0


def task_bars(console: Console) -> Progress:
    """Return bars that vanish when they are done."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


class ConsoleProgress:
    """Shows bars while a stage works and keeps its notes, all on standard error; in a log file lines for bars.

    Parameters
    ----------
    console : rich.console.Console, optional
        Standard error by default.
    clock : callable
        Returns the time [s].
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self.clock = clock

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(text, markup=False)

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar; what is yielded takes the number of units done."""
        if not self.console.is_terminal:
            yield self._lines(description, total)
            return
        with task_bars(self.console) as bars:
            bar = bars.add_task(description, total=total)
            yield lambda done: bars.update(bar, completed=done)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[str], None]]:
        """Print how the stage ended."""
        yield lambda outcome: self.say(f"{name}: {outcome}")

    def _lines(self, description: str, total: int) -> Callable[[int], None]:
        """Return what prints a line for a number of units done, one in a while, with the time left at this pace."""
        start = last = self.clock()

        def advance(done: int) -> None:
            nonlocal last
            now = self.clock()
            if not 0 < done < total or now - last < _LINE_SECONDS:
                return
            last = now
            left = spoken_time((now - start) * (total - done) / done)
            self.say(f"{description}: {done} of {total}, about {left} left")

        return advance
