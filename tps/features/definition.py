"""From a table [collective_variables.NAME] to collective variables: a new kind is a file, and a row here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tps.errors import SystemDefinitionError
from tps.features.angle import AngleSection
from tps.features.contact import ContactSection
from tps.features.custom import PythonSection
from tps.features.distance import DistanceSection
from tps.features.rmsd import RmsdSection
from tps.features.section import Surroundings, VariableSection
from tps.features.torsion import TorsionSection
from tps.features.torsion_group import TorsionsSection
from tps.features.variable import CollectiveVariable
from tps.sections import validate

#: The kinds there are, by the key that names them in a table.
KINDS: dict[str, type[VariableSection]] = {
    "torsion": TorsionSection,
    "distance": DistanceSection,
    "angle": AngleSection,
    "contact": ContactSection,
    "rmsd": RmsdSection,
    "python": PythonSection,
    "torsions": TorsionsSection,
}


def define_variables(
    name: str, table: Mapping[str, Any], around: Surroundings
) -> tuple[CollectiveVariable, ...]:
    """Return the collective variables that a table defines.

    Raises
    ------
    SystemDefinitionError
        In one sentence that starts with the table: an unknown kind or key, a bad value, atoms that do not exist.
    """
    given = [kind for kind in KINDS if kind in table]
    if len(given) != 1:
        known = ", ".join(KINDS)
        got = " and ".join(given) if given else f"only {', '.join(table) or 'nothing'}"
        raise SystemDefinitionError(f"{around.where}: give one kind out of {known}, but got {got}")
    section = validate(dict(table), KINDS[given[0]], around.where, SystemDefinitionError)
    try:
        return section.build(name, around)
    except SystemDefinitionError as reason:
        text = str(reason)
        raise SystemDefinitionError(
            text if text.startswith(around.where) else f"{around.where}: {text}"
        ) from None
