"""The command line on one malformed input, in a process that may crash or hang, and the verdict on what came of it."""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

#: Longest CPU time of one case [s], and by the clock of a busy machine.
MOST_SECONDS, MOST_CLOCK_SECONDS = 10.0, 120.0
#: A message quotes no more of what it was given.
MOST_QUOTED = 80
#: A message is no longer; the place of a file is in it, and what a library said.
MOST_SAID = 600
#: What a case may allocate [byte]: more is a mistake of the program, not of the machine.
MEMORY = 16 * 2**30
#: A worker is replaced after so many cases, so that nothing piles up in it.
CASES_PER_WORKER = 250
_RUN_ON = re.compile(rf"(.)\1{{{MOST_QUOTED}}}")


@dataclass(frozen=True)
class Case:
    """One malformed input: the command that meets it, whether it must be refused, the word for that, and its bytes."""

    label: str
    arguments: tuple[str, ...]
    folder: Path
    bad: bool
    noticed: str = "Error: "
    given: bytes = b""


@dataclass(frozen=True)
class Outcome:
    """What a command did: its exit code, what it wrote, its traceback or signal where it had one, and its time."""

    code: int
    out: str
    err: str
    trace: str = ""
    seconds: float = 0.0


def complaint_about(case: Case, found: Outcome) -> str:
    """Return what is wrong with an outcome, "" where nothing is."""
    if found.trace:
        return found.trace
    if "Traceback" in found.err or "Traceback" in found.out:
        return "a traceback is printed"
    if found.code == 0:
        return "known-bad input is accepted" if case.bad and case.noticed not in found.out + found.err else ""
    if not found.err.strip():
        return f"exit code {found.code} without a word"
    said = [line for line in found.err.splitlines() if line.startswith("Error: ")]
    if len(said) != 1 or found.err.rstrip().splitlines()[-1] != said[0]:
        return "not one sentence"
    if max(map(len, found.err.splitlines())) > MOST_SAID:
        return "says too much"
    return "quotes too much" if _RUN_ON.search(found.err) or _quotes(found.err, case.given) else ""


def _quotes(said: str, given: bytes) -> bool:
    """Whether a message repeats more than it may of what it was given, the place of a file excepted."""
    text = " ".join(given.decode(errors="replace").split())
    shown = [
        line[i : i + MOST_QUOTED + 1] for line in said.splitlines() for i in range(len(line) - MOST_QUOTED)
    ]
    return any(part in text for part in shown if " " in part or "/" not in part)


class Judge:
    """Runs command lines in a worker process, which is replaced when it dies or takes too long."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["fuzz.preload"])
        self._worker: multiprocessing.process.BaseProcess | None = None
        self._done = 0

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def run(self, case: Case) -> Outcome:
        """Return what comes of one case."""
        if self._worker is None or self._done >= CASES_PER_WORKER:
            self._start()
        self._done += 1
        self._pipe.send((case.arguments, str(case.folder)))
        begun, before = time.monotonic(), self._cpu()
        while not self._pipe.poll(0.5):
            if not self._worker.is_alive():
                self._worker.join()
                code = self._worker.exitcode
                self._stop()
                return Outcome(-1, "", "", f"crash: the process ended with {code}")
            if self._cpu() - before > MOST_SECONDS or time.monotonic() - begun > MOST_CLOCK_SECONDS:
                self._stop()
                return Outcome(-1, "", "", f"hang: more than {MOST_SECONDS:g} s")
        try:
            return self._pipe.recv()
        except (EOFError, ConnectionError):
            self._worker.join()
            code = self._worker.exitcode
            self._stop()
            return Outcome(-1, "", "", f"crash: the process ended with {code}")

    def _start(self) -> None:
        self._stop()
        self._pipe, theirs = self._context.Pipe()
        self._worker = self._context.Process(target=_work, args=(theirs,), daemon=False)
        self._worker.start()
        theirs.close()
        self._done = 0

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.join()
            self._pipe.close()
        self._worker = None

    def _cpu(self) -> float:
        """Return the CPU time of the worker [s]."""
        fields = Path(f"/proc/{self._worker.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _work(pipe: Connection) -> None:
    """Run command lines that come through a pipe, until it closes."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        for arguments, folder in _received(pipe):
            for file in (out, err):
                os.ftruncate(file.fileno(), 0)
                os.lseek(file.fileno(), 0, os.SEEK_SET)
            os.chdir(folder)
            begun = time.process_time()
            code, trace = _invoke(arguments)
            sys.stdout.flush()
            sys.stderr.flush()
            pipe.send(
                Outcome(code, _text(out.fileno()), _text(err.fileno()), trace, time.process_time() - begun)
            )


def _received(pipe: Connection) -> Iterator[tuple[Sequence[str], str]]:
    while True:
        try:
            yield pipe.recv()
        except EOFError:
            return


def _text(descriptor: int) -> str:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    return os.pread(descriptor, size, 0).decode(errors="replace")


def _invoke(arguments: Sequence[str]) -> tuple[int, str]:
    """Return the exit code of a command, and the end of its traceback where it has one."""
    from tps.cli import main

    try:
        main.main(list(arguments), prog_name="tps", standalone_mode=True)
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None), ""
    except BaseException as error:
        last = [frame for frame in traceback.extract_tb(error.__traceback__) if "/tps/" in frame.filename]
        where = f"{Path(last[-1].filename).name}:{last[-1].lineno}" if last else "?"
        return -1, f"traceback: {type(error).__name__} at {where}: {' '.join(str(error).split())[:200]}"
    return 0, ""
