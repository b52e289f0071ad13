"""Worker processes that end with the program that started them, however it ends.

Nothing here is long to import, so a worker that has just been born knows of its parent's end as well.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.synchronize import Event

#: What a terminal or a scheduler sends to all processes at once, and the program alone answers.
_FOR_THE_PROGRAM = ("SIGINT", "SIGUSR1")


class Worker(SpawnProcess):
    """A process that starts anew, and leaves interrupts to the program that started it."""

    def start(self) -> None:
        """Start with those signals blocked, which the new process inherits."""
        with _blocked():
            super().start()


class _Context(SpawnContext):
    Process = Worker


class Workers(ProcessPoolExecutor):
    """Processes that start anew, and so read the user's script again before anything else.

    Attributes
    ----------
    started : multiprocessing.Event
        Set once any of them has come through that.
    """

    def __init__(self, n_workers: int) -> None:
        context = _Context()
        with _tracked_quietly():
            self.started = context.Event()
        super().__init__(n_workers, context, initializer=_begin, initargs=(self.started,))

    @staticmethod
    def kill() -> None:
        """End all workers of this program at once; they write nothing, so nothing is left half done."""
        for child in multiprocessing.active_children():
            if isinstance(child, Worker):
                child.kill()


def _begin(started: Event) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    started.set()


def _end_with_parent() -> None:
    """Wait for the end of a pipe that the parent's system closes, also where the parent was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _tracked_quietly() -> Iterator[None]:
    """Let the process that removes what killed workers leave, which Python starts here, do so without a warning."""
    name, before = "PYTHONWARNINGS", os.environ.get("PYTHONWARNINGS")
    quiet = "ignore::UserWarning:multiprocessing.resource_tracker"
    os.environ[name] = f"{before},{quiet}" if before else quiet
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


@contextmanager
def _blocked() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):  # Windows, where Ctrl-C alone is of this kind
        yield
        return
    signals = {getattr(signal, name) for name in _FOR_THE_PROGRAM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
