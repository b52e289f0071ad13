"""Programs that are struck at moments chance chooses, a number of times in each of their stages."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import pairwise

#: What comes before the first stage: starting Python, checks, the birth of the folder.
START = "start"
_STARTS, _ENDS = re.compile(r"(\S+) starts\b"), re.compile(r"(\S+): .*; used ")
#: Seconds after which no process may be left, on a machine that has nothing else to do.
_LONGEST = 5.0


class Program:
    """`tps` in a session of its own; what it says tells the stage it is in."""

    def __init__(self, *arguments, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tps", *map(str, arguments)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=environment or None,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.stages = [(START, time.monotonic())]
        self.said = []
        self._lines = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def reaches(self, moment_in):
        """Wait until a moment in a stage, `moment_in(stage)` seconds after it began or never; whether it came."""
        moment = self._next(moment_in)
        while True:
            try:
                line = self._lines.get(
                    timeout=None if moment is None else max(0.0, moment - time.monotonic())
                )
            except queue.Empty:
                return True
            if line is None:
                self._lines.put(None)
                return False
            if self._hears(line):
                moment = self._next(moment_in)

    def ends(self):
        """Wait for its end and return its exit code; workers hold the other end of the pipe, so they are gone too."""
        while (line := self._lines.get()) is not None:
            self._hears(line)
        return self.process.wait()

    def strike(self, number):
        """Send a signal to the program alone, and return the stage it fell in; workers must notice by themselves."""
        self.process.send_signal(number)
        busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        end = time.monotonic() + busy * _LONGEST
        while (left := alive(self.process.pid)) and time.monotonic() < end:
            time.sleep(0.05)
        assert not left, (self.stages[-1], left)
        self.ends()
        return self.stages[-1][0]

    def lengths(self):
        """Return the seconds that each stage took."""
        ends = [*(since for _, since in self.stages[1:]), time.monotonic()]
        return {stage: end - since for (stage, since), end in zip(self.stages, ends, strict=True)}

    def _next(self, moment_in):
        stage, since = self.stages[-1]
        seconds = moment_in(stage)
        return None if seconds is None else since + seconds

    def _hears(self, line):
        self.said.append(line)
        starts, ends = _STARTS.match(line), _ENDS.match(line)
        if starts or ends:
            self.stages.append((starts[1] if starts else f"after {ends[1]}", time.monotonic()))
        return starts or ends

    def _listen(self):
        for line in self.process.stderr:
            self._lines.put(line)
        self._lines.put(None)


def alive(session):
    """Return the processes of a session that are more than an entry in a table."""
    shown = subprocess.run(["ps", "-eo", "sid=,pid=,stat=,args="], capture_output=True, text=True, check=True)
    rows = [row.split(maxsplit=3) for row in shown.stdout.splitlines()]
    return [row[1:] for row in rows if int(row[0]) == session and not row[2].startswith("Z")]


def finished(*arguments, **environment):
    """Run a program to its end, and return the seconds that each stage took."""
    program = Program(*arguments, **environment)
    assert program.ends() == 0, program.said
    return program.lengths()


def struck(due, lengths, rng, start, check, strike=lambda program: program.strike(signal.SIGKILL)):
    """Strike a program as often as is due in each stage, letting it go on; print and return where the blows fell.

    Parameters
    ----------
    due : mapping of str to int
    lengths : mapping of str to float
        Seconds after the start of a stage within which the moment is drawn, all equally likely.
    rng : numpy.random.Generator
    start : callable
        Returns the program, started; `start(anew=True)` as if nothing had been done yet.
    check : callable
        Called where it has come to its end.
    strike : callable
        Strikes a program and returns the stage that was hit.
    """
    left, fell, lengths = Counter(due), Counter(), dict(lengths)
    program = start(anew=True)
    while +left:
        came = program.reaches(lambda stage: rng.uniform(0.0, lengths[stage]) if left[stage] > 0 else None)
        for (stage, since), (_, until) in pairwise(program.stages):
            if left[stage] > 0:  # over before its moment came: the machine is faster now
                lengths[stage] = max(until - since, lengths[stage] / 2)
        if came:
            stage = strike(program)
            fell[stage] += 1
            left[stage] -= 1
            program = start(anew=False)
        else:
            assert program.ends() == 0, program.said
            check()
            program = start(anew=True)
    assert program.ends() == 0, program.said
    check()
    print("blows that fell in", dict(fell))
    return fell
