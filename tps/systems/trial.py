"""A System that no honest program may have written, tried in a process of its own: some crash OpenMM, or hang it.

`python -P trial.py SECONDS < system.xml` makes a context and evaluates it somewhere. Indices beyond the particles are
read as they are; the parser of expressions recurses once for each parenthesis, and simplifies for ever one in which a
constant part is no number, such as 0/0*x.
"""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import openmm

#: Larger systems are not evaluated: that takes seconds on the Reference platform.
MOST_FOR_REFERENCE = 5000
#: CPU time in which any honest System is set up, and evaluated, beside what each particle and each pair takes [s].
_SECONDS, _SECONDS_PER_PARTICLE, _SECONDS_PER_PAIR = 3, 1e-4, 2e-6
#: Times as long by the clock of a busy machine.
_PATIENCE = 100
#: Room for each particle where it is evaluated, about that of an atom of water [nm].
_SPACING = 0.22
_ENDLESS = "it never ends to simplify an expression: is a constant part of one no number, such as 0/0?"
_CRASH = "it crashes: an index beyond the particles, or thousands of parentheses in an expression?"


def reason_against(system: openmm.System) -> str:
    """Return why OpenMM cannot simulate a System, "" where it can."""
    n = system.getNumParticles()
    seconds = _SECONDS + round(
        _SECONDS_PER_PARTICLE * n + _SECONDS_PER_PAIR * min(n, MOST_FOR_REFERENCE) ** 2
    )
    command = [sys.executable, "-P", "-W", "ignore", __file__, str(seconds)]
    text = openmm.XmlSerializer.serialize(system)
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, errors="replace", timeout=_PATIENCE * seconds
        )
    except subprocess.TimeoutExpired:
        return _ENDLESS
    if done.returncode < 0:
        return _ENDLESS if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL) else _CRASH
    return (done.stderr.strip().splitlines() or ["no reason is given"])[-1] if done.returncode else ""


def has_expressions(system: openmm.System) -> bool:
    """Whether forces of a System are given by expressions."""
    names = {type(force).__name__ for force in system.getForces()}
    return any(name.startswith("Custom") or name == "ATMForce" for name in names)


def expressions_alone(system: openmm.System) -> openmm.System:
    """Return a System of one particle with those forces of another, of none, that are given by expressions."""
    alone = openmm.System()
    alone.addParticle(1.0)
    for force in system.getForces():
        name = type(force).__name__
        if name.startswith("Custom"):
            clone = openmm.XmlSerializer.clone(force)
            if name in ("CustomNonbondedForce", "CustomGBForce", "CustomManyParticleForce"):
                clone.addParticle([0.0] * clone.getNumPerParticleParameters())
            alone.addForce(clone)
    return alone


def _main(seconds: int) -> int:
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    system = openmm.XmlSerializer.deserialize(sys.stdin.read())
    n = system.getNumParticles()
    try:
        platform = openmm.Platform.getPlatformByName("Reference")
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
        if 0 < n <= MOST_FOR_REFERENCE:
            context.setPositions(np.random.default_rng(1).uniform(0, _SPACING * n ** (1 / 3), (n, 3)))
            context.getState(getEnergy=True, getForces=True)
    except openmm.OpenMMException as reason:
        print(" ".join(str(reason).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(int(sys.argv[1])))
