"""Everything a player shows, as one value that the page holds as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mdtraj
import numpy as np
from numpy.typing import ArrayLike

from tps.report.player.maps import MapAxis
from tps.report.player.tracks import TrackSet


@dataclass(frozen=True)
class Trace:
    """A plot over time: the column it shows, and its label with the unit."""

    column: str
    label: str


@dataclass(frozen=True, eq=False)
class PlayerScene:
    """What a player shows.

    Attributes
    ----------
    name : str
        What downloads are called after.
    axes : sequence of MapAxis
    sets : sequence of TrackSet
    traces : sequence of Trace
    maps, lines : sequences
        What `energy_map` and `line` return.
    states : mapping of str to pieces
        Regions by name: what `MapAxes.pieces` returns.
    avoided : sequence of pieces
    marks : sequence of (label, set, frame)
        Frames of the first path of a set that have a sign on the map, such as transition states.
    topology : mdtraj.Topology or None
        Of the atoms in the tracks; None on a surface.
    box : (3, 3) array or None
        [nm].
    first : int
        The set that is shown first.
    """

    name: str
    axes: Sequence[MapAxis]
    sets: Sequence[TrackSet]
    traces: Sequence[Trace]
    maps: Sequence[Mapping[str, object]] = ()
    lines: Sequence[Mapping[str, object]] = ()
    states: Mapping[str, Any] = field(default_factory=dict)
    avoided: Sequence[Any] = ()
    marks: Sequence[tuple[str, int, int]] = ()
    topology: mdtraj.Topology | None = None
    box: ArrayLike | None = None
    first: int = 0

    def as_json(self) -> str:
        """Return the scene as JSON that may stand in a page."""
        content = {
            "name": self.name,
            "first": self.first,
            "axes": [axis.as_json() for axis in self.axes],
            "maps": self.maps,
            "lines": self.lines,
            "states": self.states,
            "avoided": self.avoided,
            "marks": [{"label": label, "set": number, "frame": frame} for label, number, frame in self.marks],
            "traces": [{"column": trace.column, "label": trace.label} for trace in self.traces],
            "sets": [tracks.as_json() for tracks in self.sets],
            "atoms": None if self.topology is None else _atoms(self.topology),
            "box": None if self.box is None else np.asarray(self.box, dtype=np.float64).tolist(),
        }
        return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _atoms(topology: mdtraj.Topology) -> dict[str, object]:
    """Return the atoms and bonds of a topology, a column for each thing that is said of an atom."""
    atoms = list(topology.atoms)
    return {
        "element": ["" if atom.element is None else atom.element.symbol for atom in atoms],
        "name": [atom.name for atom in atoms],
        "residue": [atom.residue.name for atom in atoms],
        "number": [atom.residue.resSeq for atom in atoms],
        "chain": [atom.residue.chain.index for atom in atoms],
        "bonds": [[a.index, b.index] for a, b in topology.bonds],
    }
