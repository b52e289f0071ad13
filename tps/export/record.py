"""What an export wrote, as a value and as the file export.json beside the trajectories."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tps.errors import RunFolderError, reason_of
from tps.stored import read_json

RECORD_FILE = "export.json"
TOPOLOGY_FILE = "topology.pdb"

#: Reason for leaving out a path when only reactive segments are asked for.
NO_SEGMENT = "no reactive segment"

#: Said wherever an exported candidate is shown.
CANDIDATE_TIME_NOTE = (
    "A generated path is a candidate. Its frames are ordered by the protocol that made it: frame index times "
    "frame_interval_ps is protocol time, not physical time."
)

#: Said wherever an exported path of shooting is shown.
DYNAMICAL_TIME_NOTE = (
    "A path of the unbiased ensemble, made by shooting: frame index times frame_interval_ps is physical time."
)


#: Said wherever an aligned export has a unit cell.
TURNED_NOTE = "Frames are superposed, and so turned against their unit cell: it tells sizes, not images."


@dataclass(frozen=True, slots=True)
class ExportedPath:
    """One trajectory file: path `index` of the run, from its frame `first_frame` on."""

    index: int
    file: str
    n_frames: int
    first_frame: int
    potential_energy_max: float | None
    """Largest potential energy over the exported frames [kJ/mol], of the whole system."""


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """The files of an export folder and what was left out of it."""

    format: str
    n_atoms: int
    atoms: str | None
    """MDTraj selection, or None for the solute."""
    aligned: bool
    """Whether every frame was superposed on the solute's heavy atoms in topology.pdb."""
    reactive_only: bool
    dynamical: bool
    """Whether the paths are those of shooting, whose time is physical."""
    periodic: bool
    """Whether frames have a unit cell."""
    frame_interval_ps: float
    paths: tuple[ExportedPath, ...]
    end_states: Mapping[str, str]
    """File of each end structure, by the state's name."""
    left_out: Mapping[int, str]
    """Why a path of the run is not here, by its index."""

    @property
    def note(self) -> str:
        """What the time of a frame means, and its unit cell."""
        note = DYNAMICAL_TIME_NOTE if self.dynamical else CANDIDATE_TIME_NOTE
        return f"{note} {TURNED_NOTE}" if self.periodic and self.aligned else note

    @property
    def n_frames(self) -> int:
        """Frames in all files together."""
        return sum(path.n_frames for path in self.paths)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of every molecule file in the folder."""
        return (TOPOLOGY_FILE, *self.end_states.values(), *(path.file for path in self.paths))

    @property
    def n_failed(self) -> int:
        """Paths left out because their dynamics failed."""
        return sum(reason.startswith("failed") for reason in self.left_out.values())

    @property
    def n_without_reactive_segment(self) -> int:
        """Paths left out because they hold no reactive segment."""
        return sum(reason == NO_SEGMENT for reason in self.left_out.values())

    def sentence(self) -> str:
        """Return one line for a summary."""
        text = (
            f"{len(self.paths)} paths, {self.n_frames} frames of {self.n_atoms} atoms as {self.format}"
            + (", reactive segments only" if self.reactive_only else "")
            + (", aligned on heavy atoms" if self.aligned else "")
        )
        reasons = [
            f"{count} {what}"
            for count, what in (
                (self.n_failed, "failed"),
                (self.n_without_reactive_segment, "without a reactive segment"),
            )
            if count
        ]
        return text + (f"; left out: {', '.join(reasons)}" if reasons else "")


def write_record(record: ExportRecord, folder: Path) -> Path:
    """Write `record` as export.json into `folder` and return its path."""
    target = folder / RECORD_FILE
    content = {"note": record.note, **asdict(record)}
    target.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return target


def read_record(folder: Path) -> ExportRecord:
    """Return the record of an export folder.

    Raises
    ------
    RunFolderError
        If `folder` holds no export, or its export.json is damaged.
    """
    source = Path(folder) / RECORD_FILE
    if not source.is_file():
        raise RunFolderError(f"{folder} holds no {RECORD_FILE}: export the paths of a run there first")
    try:
        content = dict(read_json(source))
        content.pop("note")
        content["paths"] = tuple(ExportedPath(**path) for path in content["paths"])
        content["left_out"] = {int(index): reason for index, reason in content["left_out"].items()}
        return ExportRecord(**content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunFolderError(
            f"{source} is damaged ({reason_of(error)}): export again with --force"
        ) from error
