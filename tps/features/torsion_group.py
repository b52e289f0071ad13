"""The kind `torsions`: all torsions of a group of a peptide in one table, such as those of its backbone."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from openmm import app
from pydantic import BeforeValidator, Field

from tps.errors import SystemDefinitionError, quoted
from tps.features.peptides import TORSION_NAMES, named_torsions
from tps.features.section import Surroundings, VariableSection
from tps.features.torsion import Torsion
from tps.features.variable import CollectiveVariable
from tps.sections import nearest

GROUPS: dict[str, tuple[str, ...]] = {
    "backbone": ("phi", "psi"),
    "sidechains": ("chi1", "chi2", "chi3", "chi4"),
}


def _expand(value: object) -> object:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names:
        raise ValueError(
            f"should be 'backbone', 'sidechains', or names such as ['phi', 'psi'], but got {quoted(value)}"
        )
    found: list[str] = []
    for name in names:
        if not isinstance(name, str) or name not in {*GROUPS, *TORSION_NAMES}:
            raise ValueError(
                f"no torsion or group is named {quoted(name)}{nearest(str(name), (*GROUPS, *TORSION_NAMES))}"
            )
        found += GROUPS.get(name, (name,))
    return tuple(dict.fromkeys(found))


class TorsionsSection(VariableSection):
    """Torsions of a group, named by kind and residue: phi2, psi2, or phi2_A where chains share numbers."""

    torsions: Annotated[tuple[str, ...], BeforeValidator(_expand)] = Field(
        description="'backbone', 'sidechains', or a list of torsion names."
    )
    residues: tuple[int, ...] | None = Field(None, description="Residue numbers; all unless given.")

    def build(self, name: str, around: Surroundings) -> tuple[CollectiveVariable, ...]:
        """Return the torsions in the order of the chain.

        Raises
        ------
        SystemDefinitionError
            If no residue has one of them.
        """
        found = [
            (residue, torsion, atoms)
            for torsion in self.torsions
            for residue, atoms in named_torsions(around.topology, torsion)
            if self.residues is None or residue.id in {str(number) for number in self.residues}
        ]
        if not found:
            where = "" if self.residues is None else f" in residues {', '.join(map(str, self.residues))}"
            raise SystemDefinitionError(
                f"{around.where}: the molecule has no {', '.join(self.torsions)}{where}"
            )
        found.sort(key=lambda item: item[0].index)
        shared = Counter((torsion, residue.id) for residue, torsion, _ in found)
        return tuple(
            Torsion(_name(torsion, residue, shared[torsion, residue.id] > 1), atoms)
            for residue, torsion, atoms in found
        )


def _name(torsion: str, residue: app.topology.Residue, shared: bool) -> str:
    number = residue.id.replace("-", "m")
    return f"{torsion}{number}_{residue.chain.id}" if shared else f"{torsion}{number}"
