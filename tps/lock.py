"""Folders that one program at a time writes in, on one machine or on several that share a disk."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
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
#: In place of a count of these signs: waits whether there are others.
_WAITS = "waits"
_BUSY = (errno.EWOULDBLOCK, errno.EACCES)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second program from working in a folder, which is made if it is not there.

    The system's lock on a file ends with the process that holds it, so the number of a process that is given out again
    fools nobody. Some shared disks keep such locks to one machine, or have none: so the file names machine and process,
    and is signed anew every few seconds as long as the program lives. Where another machine's stands there, a program
    signs over it, and waits whether that one does the same.

    Raises
    ------
    RunFolderError
        If another program works there.
    """
    with _held(folder / LOCK_FILE) as descriptor, _signs_of_life(descriptor):
        yield


@contextlib.contextmanager
def scratch_beside(folder: Path) -> Iterator[Path]:
    """Yield an empty folder on the disk of `folder`; it and what is left in it are gone afterwards.

    What a killed program has left there goes first.

    Raises
    ------
    RunFolderError
        If another program is making the same folder.
    """
    place = folder.parent / f".{folder.name}.partial"
    scratch = place / "new"
    try:
        with locked(place):
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            try:
                yield scratch
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    finally:
        with contextlib.suppress(OSError):  # another program has it now
            place.rmdir()


@contextlib.contextmanager
def _held(file: Path) -> Iterator[int]:
    """Yield the file, locked and signed; it is gone afterwards."""
    while True:
        descriptor, made = _opened(file)
        try:
            alone_here = _lock(file, descriptor)
            if not (made or (alone_here and _was_signed_here(file))):
                _wait_for_silence(file, descriptor)
            if _is_still(file, descriptor):  # and not removed since by the program that had it
                _sign(descriptor, "0")
                try:
                    yield descriptor
                finally:
                    with contextlib.suppress(OSError):  # left behind, it hinders nobody
                        file.unlink()
                return
        finally:
            os.close(descriptor)


def _opened(file: Path) -> tuple[int, bool]:
    """Open the file, and say whether this program has made it: of several, on whatever machine, one has."""
    while True:
        file.parent.mkdir(parents=True, exist_ok=True)
        for exclusive in (os.O_EXCL, 0):
            with contextlib.suppress(FileExistsError, FileNotFoundError):  # the folder is gone: once more
                return os.open(file, os.O_RDWR | os.O_CREAT | exclusive, 0o644), bool(exclusive)


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


def _was_signed_here(file: Path) -> bool:
    """Return whether a program on this machine was the last in the folder, and not only waited for it."""
    said = _said(file)
    return _who(said)[1] == socket.gethostname() and _WAITS not in said.split()


def _wait_for_silence(file: Path, descriptor: int) -> None:
    """Sign, and return if nobody signs over it: who works here does, and so does who came later to wait as well."""
    end = time.monotonic() + (
        _SILENCE if _said(file) else _BEAT
    )  # who has just made the file signs it at once
    _sign(descriptor, _WAITS)
    while time.monotonic() < end:
        time.sleep(_BEAT / 5)
        said = _said(file)
        if not said:  # gone with the program that had it
            return
        if _who(said) != (str(os.getpid()), socket.gethostname()):
            raise _taken(file)


@contextlib.contextmanager
def _signs_of_life(descriptor: int) -> Iterator[None]:
    done = threading.Event()

    def keep_signing() -> None:
        beat = 0
        while not done.wait(_BEAT):
            beat += 1
            with contextlib.suppress(OSError):  # of a full disk: the next one may come through
                _sign(descriptor, str(beat))

    signing = threading.Thread(target=keep_signing, daemon=True)
    signing.start()
    try:
        yield
    finally:
        done.set()
        signing.join()


def _sign(descriptor: int, what: str) -> None:
    """Write process and machine in place, never nothing."""
    said = f"{os.getpid()} {socket.gethostname()} {what:>12}\n".encode()
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, said)
    os.ftruncate(descriptor, len(said))
    os.fsync(descriptor)  # so that other machines see it


def _who(said: str) -> tuple[str, str]:
    """Return the process and the machine that have signed; both empty where none has."""
    process, machine = (*said.split(), "", "")[:2]
    return process, machine


def _said(file: Path) -> str:
    """Return what a program has written into the file, read anew; nothing where it is gone."""
    try:
        check_regular(file)
        return file.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def _taken(file: Path) -> RunFolderError:
    process, machine = _who(_said(file))
    if not machine:  # it has the lock, and is about to sign
        time.sleep(_BEAT / 5)
        process, machine = _who(_said(file))
    which = f" (process {process} on {machine})" if machine else ""
    return RunFolderError(f"another tps{which} works in {file.parent}: wait for it, or take another folder")
