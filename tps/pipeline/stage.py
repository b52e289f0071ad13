"""What a stage of a run is, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    """One stage: its verb, the folders it writes, the stage it needs, and the sections of the run file it reads."""

    name: str
    outputs: tuple[str, ...]
    needs: str | None
    sections: tuple[str, ...]
    function: Callable[[RunFolder, Path, Progress], StageResult]
