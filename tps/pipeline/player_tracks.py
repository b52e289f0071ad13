"""The paths of a run as its player shows them: candidates, unbiased paths by channel, transition states."""

from __future__ import annotations

from dataclasses import dataclass

import mdtraj
import numpy as np
from numpy.typing import NDArray

from tps.arrays import load_array
from tps.conformations import Conformations, read_finite_dcd
from tps.export.source import heavy_atoms, structure
from tps.paths import PathEnsemble, evenly
from tps.pipeline.candidates import path_folder
from tps.pipeline.committor import TRANSITION_STATES, load_committors
from tps.pipeline.folder import RunFolder
from tps.pipeline.geodesic import load_curve
from tps.pipeline.unbiased import Unbiased
from tps.report.player import PROGRESS, MapAxes, Share, Track, TrackSet, thinned
from tps.systems.imaging import superpose

_CANDIDATES = "Candidates: driven along the curve by a protocol, whose time is not physical time."
#: Paths, spread over all, that the slowest directions are found on.
_MOST_PROJECTED = 2000
_UNBIASED = "Transition paths of unbiased dynamics, from shooting: time is physical."


@dataclass(frozen=True, eq=False)
class Placing:
    """Puts positions [nm] where the player shows them: solute only, superposed on A, or in the middle of the box."""

    run: RunFolder
    reference: mdtraj.Trajectory | None

    @classmethod
    def of(cls, run: RunFolder) -> Placing:
        """Take end structure A for reference, where there is a molecule."""
        return cls(run, None if run.surface else structure(run.molecule, run.molecule.positions_a))

    @property
    def topology(self) -> mdtraj.Topology | None:
        """Of the atoms that are shown."""
        return None if self.reference is None else self._solute(self.reference).topology

    @property
    def n_atoms(self) -> int:
        """Atoms that are shown; 0 on a surface."""
        return 0 if self.topology is None else int(self.topology.n_atoms)

    @property
    def note(self) -> str:
        """What is left out of the molecule, and how it lies; empty on a surface."""
        if self.reference is None:
            return ""
        lies = "superposed on A" if self.run.box is None else "whole, in the middle of its cell"
        left_out = self.run.molecule.n_atoms - self.n_atoms
        alone = f" without the {left_out} atoms of the solvent (`tps export --atoms all` writes them)"
        return f" The solute is {lies}{',' + alone if left_out else ''}."

    def __call__(self, positions: NDArray[np.floating]) -> NDArray[np.floating] | None:
        """Return positions (n_frames, n_shown, 3); None on a surface."""
        if self.reference is None:
            return None
        frames = structure(self.run.molecule, positions)
        if self.run.box is None:
            superpose(frames, self.reference, heavy_atoms(frames.topology, self.run.molecule.solute))
        return np.asarray(self._solute(frames).xyz)

    def _solute(self, frames: mdtraj.Trajectory) -> mdtraj.Trajectory:
        return frames.atom_slice(self.run.molecule.solute)


@dataclass(frozen=True, eq=False)
class TrackMaker:
    """Makes the paths of a player from a run's."""

    run: RunFolder
    axes: MapAxes
    place: Placing

    @classmethod
    def of(cls, run: RunFolder, frames: Conformations, unbiased: Unbiased | None = None) -> TrackMaker:
        """Take the axes from the weighted frames, and from unbiased paths where there are any."""
        paths = []
        if unbiased is not None:
            spread = evenly(len(unbiased.paths), _MOST_PROJECTED)
            paths = [unbiased.features[i] for i in spread.tolist()]
        axes = MapAxes.of_frames(run.system.space, frames.values, frames.log_weights, paths)
        return cls(run, axes, Placing.of(run))

    @property
    def bytes_per_frame(self) -> int:
        """Coordinates of two bytes, and numbers of four: time, energy, work or committor, frame, and the axes."""
        return 6 * self.place.n_atoms + 4 * (4 + len(self.axes.axes))

    def columns(self, values: NDArray[np.floating]) -> dict[str, NDArray[np.floating]]:
        """Return the axes' columns of features (n, d), progress included: s of the curve's nearest mean."""
        curve, space = load_curve(self.run), self.run.system.space
        apart = space.difference(values[:, None], space.center(curve.mu)[None]) / np.array(space.scale)
        nearest = np.sum(apart**2, axis=-1).argmin(axis=1)
        return {**self.axes.columns(values), PROGRESS: curve.s[nearest]}

    def candidates(self, method: str, spoken: str, ensemble: PathEnsemble, share: Share) -> TrackSet:
        """Return finished paths of a method, those that go from A to B first."""
        done = np.flatnonzero(ensemble.completed)
        reactive = ensemble.reactive[done]
        chosen = np.concatenate([done[reactive], done[~reactive]])[: share.n_paths]
        tracks = tuple(self._candidate(method, ensemble, index, share) for index in sorted(chosen.tolist()))
        first = "; those between A and B come first"
        kept = kept_text(len(tracks), len(done), share.n_frames, len(ensemble.s), first)
        note = f"{_CANDIDATES} {kept}"
        return TrackSet(
            spoken, note + self.place.note, f"time of the protocol [{ensemble.time_unit}]", tracks
        )

    def _candidate(self, method: str, ensemble: PathEnsemble, index: int, share: Share) -> Track:
        segment = ensemble.segment(index)
        passage = np.arange(segment.start, segment.stop) if ensemble.reactive[index] else None
        frames = thinned(len(ensemble.s), share.n_frames, passage)
        columns = {
            "time": (frames + 1) * ensemble.frame_interval,
            "energy": ensemble.potential_energy[index, frames],
            "work": ensemble.cumulative_work[index, frames],
            **self.columns(ensemble.values[index, frames]),
        }
        file = self.run.path / path_folder(method) / f"{index:04d}.dcd"
        positions = None if self.run.surface else self.place(read_finite_dcd(file)[frames])
        said = "" if ensemble.reactive[index] else ", does not reach B"
        return Track(f"path {index}{said}", frames, columns, positions)

    def unbiased(self, unbiased: Unbiased, name: str, rows: NDArray[np.int64], share: Share) -> TrackSet:
        """Return unbiased paths of a channel."""
        longest = int(unbiased.paths.lengths[rows].max())
        chosen = rows[evenly(len(rows), share.n_paths)]
        tracks = tuple(self._unbiased_path(unbiased, index, share) for index in chosen.tolist())
        note = f"{_UNBIASED} {kept_text(len(tracks), len(rows), share.n_frames, longest)}"
        unit = self.run.system.time_unit
        return TrackSet(f"unbiased, {name}", note + self.place.note, f"time [{unit}]", tracks, dynamical=True)

    def _unbiased_path(self, unbiased: Unbiased, index: int, share: Share) -> Track:
        positions = unbiased.paths.positions[index]
        known, p_b = self._committors(unbiased.paths.lengths, index)
        frames = thinned(len(positions), share.n_frames, known)
        committor = np.full(len(positions), np.nan)
        committor[known] = p_b
        values = unbiased.features[index]
        columns = {
            "time": frames * unbiased.paths.frame_time,
            "energy": unbiased.energies[index][frames],
            "committor": committor[frames],
            **self.columns(values[frames]),
        }
        return Track(f"path {index}", frames, columns, self.place(positions[frames]))

    def _committors(
        self, lengths: NDArray[np.int64], index: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return frames of an unbiased path that were shot from, and their p_B."""
        frames, p_b = [np.empty(0, np.int64)], [np.empty(0)]
        states, path = (
            self.run.path / TRANSITION_STATES,
            self.run.path / "committor" / f"path-{index:04d}.npz",
        )
        if (states / "committor.npz").is_file():
            data = load_committors(states / "committor.npz", lengths)
            here = data["path_index"] == index
            frames.append(data["frame"][here])
            p_b.append(data["p_b"][here])
        if path.is_file():
            data = load_committors(path, lengths[[index]])
            frames.append(data["frame"])
            p_b.append(data["p_b"])
        return np.concatenate(frames), np.concatenate(p_b)

    def transition_states(self, unbiased: Unbiased) -> tuple[TrackSet, list[str]]:
        """Return the transition states as one path, and what each is called."""
        folder = self.run.path / TRANSITION_STATES
        data = load_committors(folder / "committor.npz", unbiased.paths.lengths)
        order = np.argsort(data["path_index"], kind="stable")
        file = folder / "states.dcd"
        stored = load_array(folder / "states.npy") if self.run.surface else read_finite_dcd(file)
        rows, at, p_b = data["path_index"][order], data["frame"][order], data["p_b"][order]
        columns = {
            "time": np.arange(len(order)),
            "energy": np.array([unbiased.energies[row][k] for row, k in zip(rows, at, strict=True)]),
            "committor": p_b,
            **self.columns(data["values"][order]),
        }
        track = Track("all of them", np.arange(len(order)), columns, self.place(stored[order]))
        note = "Found on unbiased paths by bisection; p_B by shots of their own with fresh velocities."
        names = [
            f"p_B = {p:.2f}, path {row}, frame {frame}" for p, row, frame in zip(p_b, rows, at, strict=True)
        ]
        return TrackSet(
            "transition states", note + self.place.note, "number of the state [-]", (track,), joined=False
        ), names


def kept_text(n_shown: int, n_paths: int, n_frames: int, longest: int, first: str = "") -> str:
    """Return what of a set the page holds, and which frames come first where some are left out."""
    paths = f"All {n_paths} are here" if n_shown == n_paths else f"{n_shown} of {n_paths} are here"
    if n_frames >= longest:
        return f"{paths}, with every frame."
    return f"{paths}, with about {n_frames} frames each at most, of up to {longest}{first}."
