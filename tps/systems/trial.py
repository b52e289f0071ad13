"""A System whose expressions OpenMM has never seen, tried in a process of its own: some crash its parser, or hang it.

`python -P trial.py < system.xml` makes a context. Lepton recurses once for each parenthesis, and simplifies for ever an
expression in which a constant part is no number, such as 0/0*x.
"""

from __future__ import annotations

import signal
import subprocess
import sys

import openmm

#: CPU time in which any honest set of expressions is compiled, beside what each particle takes [s].
_SECONDS, _SECONDS_PER_PARTICLE = 3, 1e-4
#: Times as long by the clock of a busy machine.
_PATIENCE = 100
_ENDLESS = "it never ends to simplify an expression: is a constant part of one no number, such as 0/0?"
_CRASH = "it crashes on an expression: are there thousands of parentheses in one?"


def reason_against(system: openmm.System) -> str:
    """Return why no context can be made of a System with expressions, "" where one can be, or it has none."""
    text = openmm.XmlSerializer.serialize(system)
    if 'type="Custom' not in text and 'type="ATMForce"' not in text:
        return ""
    seconds = _SECONDS + round(_SECONDS_PER_PARTICLE * system.getNumParticles())
    command = [sys.executable, "-P", "-W", "ignore", __file__, str(seconds)]
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, errors="replace", timeout=_PATIENCE * seconds
        )
    except subprocess.TimeoutExpired:
        return _ENDLESS
    if done.returncode < 0:
        return _ENDLESS if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL) else _CRASH
    return (done.stderr.strip().splitlines() or ["no reason is given"])[-1] if done.returncode else ""


def _main(seconds: int) -> int:
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    system = openmm.XmlSerializer.deserialize(sys.stdin.read())
    try:
        openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    except openmm.OpenMMException as reason:
        print(" ".join(str(reason).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(int(sys.argv[1])))
