"""Folders that one program at a time writes in, on one machine or on several that share a disk."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tps.errors import RunFolderError
from tps.files import check_regular

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = ".lock"
#: Seconds between two signs of life, and after which a program on another machine that gave none is gone.
_BEAT, _SILENCE = 5.0, 20.0
_BUSY = (errno.EWOULDBLOCK, errno.EACCES)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second program from working in a folder.

    The system's lock on a file ends with the process that holds it, so the number of a process that is given out again
    fools nobody. Some shared disks keep such locks to one machine, or have none: so the file names machine and process,
    and changes every few seconds as long as the program lives. What another machine has left there is waited for, and
    broken when it stands still.

    Raises
    ------
    RunFolderError
        If another program works there.
    """
    with _held(folder / LOCK_FILE) as descriptor, _signs_of_life(descriptor):
        yield


@contextlib.contextmanager
def _held(file: Path) -> Iterator[int]:
    """Yield the file, locked; it is gone afterwards."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _wait_for_silence(file, certain=_lock(file, descriptor))
            if _is_still(file, descriptor):  # and not removed since by the program that had it
                try:
                    yield descriptor
                finally:
                    with contextlib.suppress(OSError):  # left behind, it hinders nobody
                        file.unlink()
                return
        finally:
            os.close(descriptor)


def _lock(file: Path, descriptor: int) -> bool:
    """Take the system's lock; return whether there is one."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        if error.errno in _BUSY:
            raise _taken(file) from None
        raise
    return True


def _is_still(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _wait_for_silence(file: Path, *, certain: bool) -> None:
    """Return where no program that has signed the file lives; `certain`: none on this machine does."""
    before = _said(file)
    if not before or (certain and before.split()[1:2] == [socket.gethostname()]):
        return
    end = time.monotonic() + _SILENCE
    while time.monotonic() < end:
        time.sleep(_BEAT / 5)
        if _said(file) != before:
            raise _taken(file)


@contextlib.contextmanager
def _signs_of_life(descriptor: int) -> Iterator[None]:
    done = threading.Event()

    def sign(beat: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, f"{os.getpid()} {socket.gethostname()} {beat:012d}\n".encode())
        os.fsync(descriptor)  # so that other machines see it

    def keep_signing() -> None:
        beat = 0
        while not done.wait(_BEAT):
            beat += 1
            with contextlib.suppress(OSError):  # of a full disk: the next one may come through
                sign(beat)

    os.ftruncate(descriptor, 0)  # what was there may have been longer
    sign(0)
    signing = threading.Thread(target=keep_signing, daemon=True)
    signing.start()
    try:
        yield
    finally:
        done.set()
        signing.join()


def _said(file: Path) -> str:
    """Return what a program has written into the file, read anew; nothing where it is gone."""
    try:
        check_regular(file)
        return file.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def _taken(file: Path) -> RunFolderError:
    process, machine = (*_said(file).split(), "", "")[:2]
    which = f" (process {process} on {machine})" if machine else ""
    return RunFolderError(f"another tps{which} works in {file.parent}: wait for it, or take another folder")
