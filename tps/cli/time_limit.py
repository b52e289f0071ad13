"""A soft stop, before a scheduler's limit of time or when SIGUSR1 asks for it: finish the block, write, exit with 0."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import click

from tps.pipeline.stopping import ask_to_stop, stoppable

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_FORM = re.compile("".join(rf"(?:(?P<{name}>\d{{1,6}}){unit})?" for unit, name in _UNITS.items()))
#: What asks; the second is the alarm of `--time-limit`. Not there on Windows.
_ASKING = tuple(s for s in signal.Signals if s.name in ("SIGUSR1", "SIGALRM"))


def seconds(text: str) -> int:
    """Return a time such as 3h50m in seconds.

    Raises
    ------
    click.BadParameter
        If it is no time, or none at all.
    """
    found = _FORM.fullmatch(text.strip())
    given = {} if found is None else {name: int(n) for name, n in found.groupdict().items() if n}
    total = int(timedelta(**given).total_seconds())
    if not total:
        raise click.BadParameter(f"should be a time such as 3h50m, 2d or 90s, but is {text[:80]!r}")
    return total


def _set_alarm(context: click.Context, option: click.Parameter, text: str | None) -> None:
    if text is None:
        return
    if not hasattr(signal, "setitimer"):
        raise click.BadParameter("this system has no timer for it: stop the program with Ctrl-C instead")
    signal.setitimer(signal.ITIMER_REAL, seconds(text))


TIME_LIMIT = click.option(
    "--time-limit",
    expose_value=False,
    callback=_set_alarm,
    metavar="TIME",
    help="Stop after so long, such as 3h50m, with what is finished (after the block of shooting at work).",
)


@contextmanager
def stopping_when_asked() -> Iterator[None]:
    """Take SIGUSR1, and the alarm that `--time-limit` sets, as the wish to stop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: ask_to_stop()) for number in _ASKING}
    try:
        with stoppable():
            yield
    finally:
        if _ASKING:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
