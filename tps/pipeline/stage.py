"""What a stage of a run is, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tps.config import RunConfig
from tps.pipeline.folder import RunFolder
from tps.pipeline.progress import Progress


@dataclass(frozen=True)
class StageResult:
    """What a stage says of itself for the manifest.

    Attributes
    ----------
    force_evaluations : int
        Evaluations of the molecule's forces, of energies alone included.
    platform : str or None
        OpenMM platform, where one was used.
    notes : tuple of str
        What a reader must know: frames or paths lost, a geodesic that did not converge.
    details : dict
        More for the manifest, JSON.
    failure : str
        Why what was asked for does not exist, although the stage left its files to look at.
    """

    force_evaluations: int = 0
    platform: str | None = None
    notes: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes
    ----------
    name : str
        Its verb.
    outputs : tuple of str
        Folders and files it writes.
    needs : str or None
        The stage whose result it cannot do without.
    sections : tuple of str
        What it reads of the run file: sections, or single keys as "section.key".
    function : callable
    uses : tuple of str
        Stages whose results it takes in where they are there.
    wanted : callable
        Whether a configuration asks for it.
    side : bool
        Whether a run goes on to its report when this stage fails.
    derived : bool
        Whether its result follows from the others at no cost, so that a new one replaces it unasked.
    grows : str
        Key "section.key" that may rise: the stage then goes on from what is there, written in place, block by block.
    chooses : tuple of str
        Keys "section.key" that only choose among what the stage has found: another choice starts from what is there.
    edition : int
        Raised where the stage writes more than it did: what an earlier tps left is then out of date.
    """

    name: str
    outputs: tuple[str, ...]
    needs: str | None
    sections: tuple[str, ...]
    function: Callable[[RunFolder, Path, Progress], StageResult]
    uses: tuple[str, ...] = ()
    wanted: Callable[[RunConfig], bool] = lambda config: True
    side: bool = False
    derived: bool = False
    grows: str = ""
    chooses: tuple[str, ...] = ()
    edition: int = 0

    @property
    def open_keys(self) -> tuple[str, ...]:
        """Keys that may change while the stage goes on from its result."""
        return (*((self.grows,) if self.grows else ()), *self.chooses)
