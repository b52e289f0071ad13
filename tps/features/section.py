"""What a table [collective_variables.NAME] is: a section per kind, which builds the variables it defines."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from openmm import app
from pydantic import Field

from tps.features.variable import CollectiveVariable
from tps.sections import Section

AtomIndex = Annotated[int, Field(ge=0, lt=2**31)]


@dataclass(frozen=True)
class Surroundings:
    """What a definition may refer to: the molecule, the folder of its files, and the table, for messages."""

    topology: app.Topology
    directory: Path
    where: str


class VariableSection(Section):
    """[collective_variables.NAME] One variable, or a group of them."""

    @abstractmethod
    def build(self, name: str, around: Surroundings) -> tuple[CollectiveVariable, ...]:
        """Return the variables that this table defines."""
