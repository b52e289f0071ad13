"""Many copies of a small molecule in one System: a GPU that one copy leaves idle steps thousands of them at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from itertools import combinations
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import numpy as np
import openmm

from tps.errors import ParameterError

#: Forces that are lists of terms, each of which names its particles: where the terms stand in the serialised System.
_TERMS = {
    "HarmonicBondForce": "Bonds",
    "HarmonicAngleForce": "Angles",
    "PeriodicTorsionForce": "Torsions",
    "RBTorsionForce": "Torsions",
    "CMAPTorsionForce": "Torsions",
    "CustomBondForce": "Bonds",
    "CustomAngleForce": "Angles",
    "CustomTorsionForce": "Torsions",
    "CustomCompoundBondForce": "Bonds",
}
#: Attributes of a serialised term that are particles.
_PARTICLE = re.compile(r"[pab]\d+")
#: 1/(4 π ε0) [kJ/mol nm/e²], as in OpenMM's own kernels.
_COULOMB = 138.93545764438198
_PAIR_ENERGY = f"{_COULOMB!r}*qq/r + 4*epsilon*((sigma/r)^12 - (sigma/r)^6)"
#: Pairs of all copies together that a GPU still gains from: 1,024 copies of 22 atoms, 2 of 500.
_MOST_PAIRS = 2**18


def with_copies(system: openmm.System, n_copies: int) -> openmm.System:
    """Return a System of copies, the atoms of one after those of another, that do not see each other.

    Terms of bonds, angles, torsions and collective variables are repeated. A NonbondedForce without a cutoff, through
    which the copies would see each other, becomes a term for each pair, of the same energy and force group. Global
    parameters, and so tilts, are shared. A CMMotionRemover, which would act on all copies together, is left out: the
    centre of mass is decoupled from the rest.

    Raises
    ------
    ParameterError
        If the System cannot be copied: see `why_no_copies`.
    """
    if (why := why_no_copies(system)) or n_copies < 1:
        raise ParameterError(
            f"a System is copied at least once and without {why or 'limits'}: got {n_copies} copies"
        )
    terms_only = deepcopy(system)
    for index in reversed(range(terms_only.getNumForces())):
        force = terms_only.getForce(index)
        if isinstance(force, openmm.NonbondedForce):
            terms_only.addForce(_pair_terms(force))
        if isinstance(force, openmm.NonbondedForce | openmm.CMMotionRemover):
            terms_only.removeForce(index)
    tree = ElementTree.fromstring(openmm.XmlSerializer.serialize(terms_only))
    lists = [tree.find("Particles"), tree.find("Constraints")]
    lists += [force.find(_TERMS[force.attrib["type"]]) for force in tree.iter("Force")]
    repeated = []
    for terms in lists:
        if terms is not None and len(terms):
            repeated.append(_repeated(terms, n_copies, system.getNumParticles()))
            terms[:], terms.text = [], f"@{len(repeated) - 1}@"  # their place in the text
    text = ElementTree.tostring(tree, encoding="unicode")
    text = re.sub(r">@(\d+)@<", lambda place: f">{repeated[int(place[1])]}<", text)
    found: openmm.System = openmm.XmlSerializer.deserialize(text)
    return found


def why_no_copies(system: openmm.System) -> str:
    """Return what keeps a System from being copied, such as an implicit solvent; nothing where it can be."""
    if system.usesPeriodicBoundaryConditions():
        return "a periodic box"
    if any(system.isVirtualSite(i) for i in range(system.getNumParticles())):
        return "virtual sites"
    for force in system.getForces():
        kind = type(force).__name__
        if isinstance(force, openmm.NonbondedForce):
            if force.getNonbondedMethod() != force.NoCutoff:
                return "a cutoff of its NonbondedForce"
            if force.getNumParticleParameterOffsets() or force.getNumExceptionParameterOffsets():
                return "parameter offsets of its NonbondedForce"
        elif kind not in _TERMS and not isinstance(force, openmm.CMMotionRemover):
            return f"a {kind}"
    return ""


def most_copies(system: openmm.System) -> int:
    """Return the copies of a System, a power of two, that are worth trying in one context; 1: none."""
    n = system.getNumParticles()
    fit = _MOST_PAIRS // max(1, n * (n - 1) // 2)
    return 1 if fit < 2 or why_no_copies(system) else 2 ** int(np.log2(fit))


def _pair_terms(force: openmm.NonbondedForce) -> openmm.CustomBondForce:
    terms = openmm.CustomBondForce(_PAIR_ENERGY)
    for name in ("qq", "sigma", "epsilon"):
        terms.addPerBondParameter(name)
    terms.setForceGroup(force.getForceGroup())
    terms.setName(force.getName())
    for i, j, values in _pairs(force):
        if values[0] or values[2]:
            terms.addBond(i, j, values)
    return terms


def _pairs(force: openmm.NonbondedForce) -> Iterator[tuple[int, int, list[float]]]:
    """Yield pairs of particles with charge product [e²], sigma [nm] and epsilon [kJ/mol]."""
    special = {}
    for index in range(force.getNumExceptions()):
        i, j, *values = force.getExceptionParameters(index)
        special[frozenset((i, j))] = [value._value for value in values]
    alone = [
        [value._value for value in force.getParticleParameters(i)] for i in range(force.getNumParticles())
    ]
    for i, j in combinations(range(len(alone)), 2):
        (q1, s1, e1), (q2, s2, e2) = alone[i], alone[j]
        yield i, j, special.get(frozenset((i, j))) or [q1 * q2, (s1 + s2) / 2, (e1 * e2) ** 0.5]


def _repeated(terms: ElementTree.Element, n_copies: int, n_atoms: int) -> str:
    """Return a list of terms again and again, their particles moved on by those of a copy each time."""
    numbers, pattern = [], ""
    for term in terms:
        said = ""
        for key, value in term.items():
            is_particle = _PARTICLE.fullmatch(key) is not None
            numbers += [int(value)] if is_particle else []
            said += f" {key}=" + ('"%d"' if is_particle else quoteattr(value).replace("%", "%%"))
        pattern += f"<{term.tag}{said}/>"
    first = np.array(numbers, dtype=np.int64)
    return "".join(pattern % tuple((first + copy * n_atoms).tolist()) for copy in range(n_copies))
