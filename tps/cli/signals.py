"""Signals that end the program: its workers end with it, and no traceback tells of it."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: Ctrl-C, a scheduler, a terminal that closes (the last is not there on Windows).
ENDING = tuple(s for s in signal.Signals if s.name in ("SIGINT", "SIGTERM", "SIGHUP"))
#: Seconds that what is being done may take to be left in order: workers are to be gone within five.
_GRACE = 3.0


class EndedBySignal(KeyboardInterrupt):
    """The program is to end at once, because of signal `number`."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell says of a program that a signal has ended."""
        return 128 + self.number


@contextmanager
def ending_on_signals(say: Callable[[EndedBySignal], None]) -> Iterator[None]:
    """Raise `EndedBySignal` in the main thread at the first signal that ends the program, `say` it and exit.

    Where the main thread is deep in compiled code, or threads are, the program ends without them after a few seconds.
    Signals that this process was born deaf to (nohup) stay unheard.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[EndedBySignal] = []

    def end(number: int, _: FrameType | None) -> None:
        if not heard:  # a second one would only disturb the first
            heard.append(EndedBySignal(number))
            raise heard[0]

    before = {number: signal.getsignal(number) for number in ENDING}
    answered = [number for number, handler in before.items() if handler != signal.SIG_IGN]
    with _watched(answered, say) as settled:
        for number in answered:
            signal.signal(number, end)
        try:
            yield
        except EndedBySignal as ended:
            settled(ended)
            raise SystemExit(ended.exit_code) from None
        finally:
            if not heard:
                for number in answered:
                    signal.signal(number, before[number])


@contextmanager
def _watched(
    answered: list[signal.Signals], say: Callable[[EndedBySignal], None]
) -> Iterator[Callable[[EndedBySignal], None]]:
    """Have a thread hear signals as well, which ends the program where the main thread does not; yield `say`, once."""
    once, reader, writer = threading.Lock(), *socket.socketpair()

    def say_once(ended: EndedBySignal) -> None:
        if once.acquire(blocking=False):
            say(ended)

    def watch() -> None:
        with reader:
            while said := reader.recv(1):
                if said[0] in answered:
                    time.sleep(_GRACE)
                    ended = EndedBySignal(said[0])
                    say_once(ended)
                    os._exit(ended.exit_code)

    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield say_once
    finally:
        signal.set_wakeup_fd(before)
        writer.close()
