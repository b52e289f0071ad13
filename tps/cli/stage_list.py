"""The stages of a run as a list, with the time used and the time left: live on a terminal, lines in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from tps.cli.console import ConsoleProgress, task_bars
from tps.prepare import StageEstimate, seconds_left, spoken_time

_TO_COME, _AT_WORK, _ENDED = "○", "▸", "●"
#: Columns of the names of stages.
_NAME = 16


class StageList(ConsoleProgress):
    """Shows what a run has done, does and has yet to do; on a terminal while it is entered, in a log by lines.

    Parameters
    ----------
    stages : sequence of str
        Those that are asked for, in order.
    estimates : sequence of StageEstimate
        What they were thought to take; a stage that has none counts nothing.
    taken : mapping of str to float
        Seconds of those that are there already.
    console, clock
        As `ConsoleProgress` takes them.
    """

    def __init__(
        self,
        stages: Sequence[str],
        estimates: Sequence[StageEstimate],
        taken: Mapping[str, float],
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(console, clock)
        self._said = {name: "up to date" if name in taken else "" for name in stages}
        self._estimates = {stage.stage: stage for stage in estimates}
        self._taken = dict(taken)
        self._start = clock()
        self._at_work, self._since = "", self._start
        self._bars = task_bars(self.console)
        self._live = (
            Live(console=self.console, get_renderable=self._list) if self.console.is_terminal else None
        )

    def __enter__(self) -> StageList:
        """Begin to show the list, where there is a terminal."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the list as it is in the end."""
        if self._live is not None:
            self._live.stop()

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar below the list, or lines."""
        if self._live is None:
            with super().task(description, total) as advance:
                yield advance
            return
        bar = self._bars.add_task(description, total=total)
        try:
            yield lambda done: self._bars.update(bar, completed=done)
        finally:
            self._bars.remove_task(bar)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[str], None]]:
        """Show that a stage is at work, and what is yielded takes how it ended."""
        self._at_work, self._since = name, self.clock()
        if self._live is None and not self._said[name]:
            self.say(f"{name} starts{self._thought(name)}")
        try:
            yield lambda outcome: self._end(name, outcome)
        finally:
            self._at_work = ""

    def _end(self, name: str, outcome: str) -> None:
        self._said[name], self._at_work = outcome, ""
        self._taken.setdefault(name, self.clock() - self._since)
        if self._live is None:
            self.say(f"{name}: {outcome}; {self._times()}")

    def _thought(self, name: str) -> str:
        estimate = self._estimates.get(name)
        return "" if estimate is None else f", estimated {spoken_time(estimate.seconds)}"

    def _times(self) -> str:
        """Return the time this command has used, and what the stages to come will take."""
        now, estimates = self.clock(), self._estimates
        used = f"used {counted_time(now - self._start)}"
        to_come = [estimates[name] for name in self._said if name in estimates and name not in self._taken]
        if not to_come:
            return used
        finished = [(estimates[name], seconds) for name, seconds in self._taken.items() if name in estimates]
        at_work = now - self._since if self._at_work == to_come[0].stage else 0.0
        shot_already = any(estimate.assumed for estimate, _ in finished)
        if_so = "" if shot_already else next((f" {stage.assumed}" for stage in to_come if stage.assumed), "")
        return f"{used}, about {spoken_time(seconds_left(to_come, finished, at_work))} left{if_so}"

    def _list(self) -> Group:
        """Return the list as it is now."""
        return Group(*(Text(line) for line in self.rows()), self._bars)

    def rows(self) -> list[str]:
        """Return a line for each stage, and one for the time."""
        rows = []
        for name, said in self._said.items():
            mark = _AT_WORK if name == self._at_work else _ENDED if said else _TO_COME
            text = said or self._thought(name).removeprefix(", ")
            if name == self._at_work:
                text = counted_time(self.clock() - self._since) + self._thought(name)
            rows.append(f"{mark} {name:{_NAME}}{text}")
        return [*rows, f"  {self._times()}"]


def counted_time(seconds: float) -> str:
    """Return a time that goes on as a clock tells it: 8 s, 1 min 2 s, 2 h 5 min."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
