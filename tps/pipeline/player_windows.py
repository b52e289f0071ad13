"""Windows as the player shows them: those of the free energy, and those of the last round in which frames grew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tps.conformations import read_dcd
from tps.paths import WindowSamples, evenly
from tps.paths.ensemble import COMPLETED
from tps.pipeline.folder import RunFolder
from tps.pipeline.player_tracks import TrackMaker, kept_text
from tps.report.player import Share, Track, TrackSet

_NOTE = "Tilts that stand still: frames of one window are samples of p0 times its tilt."
_EXCHANGED = (
    " Neighbours exchange their replicas, so that one frame of a window need not follow from the one before."
)


@dataclass(frozen=True, eq=False)
class KeptWindows:
    """Windows of which positions were kept.

    Attributes
    ----------
    name : str
        What the player calls them.
    samples : WindowSamples
        With positions.
    """

    name: str
    samples: WindowSamples

    @classmethod
    def of(cls, run: RunFolder) -> list[KeptWindows]:
        """Return a run's, those of the free energy first; a set of which none was finished is left out."""
        folders = {
            "windows of the free energy": run.path / "free_energy",
            "windows of growing": _last_round(run),
        }
        read = {name: _with_positions(run, folder) for name, folder in folders.items()}
        found = [cls(name, samples) for name, samples in read.items() if samples is not None]
        return [windows for windows in found if windows.size[0]]

    @property
    def size(self) -> tuple[int, int]:
        """Windows of all ladders, and frames of each."""
        return int((self.samples.status == COMPLETED).sum()), len(self.samples.kept_frames)

    def tracks(self, maker: TrackMaker, share: Share) -> TrackSet:
        """Return windows as paths, by s, one ladder after the other."""
        samples, (n_done, n_kept) = self.samples, self.size
        assert samples.positions is not None
        shown, found = evenly(n_kept, share.n_frames), []
        done = np.argwhere((samples.status == COMPLETED).T)
        for window, ladder in done[evenly(n_done, share.n_paths)].tolist():
            frames = samples.kept_frames[shown]
            columns = {
                "time": frames,
                "energy": samples.potential_energy[ladder, frames, window],
                **maker.columns(samples.values[ladder, frames, window]),
            }
            positions = maker.place(samples.positions[ladder, shown, window])
            name = f"window {window} {self._place(window)}, ladder {ladder}"
            found.append(Track(name, frames, columns, positions))
        kept = kept_text(len(found), n_done, share.n_frames, samples.n_frames)
        note = f"{_NOTE}{_EXCHANGED} {kept}{maker.place.note}"
        return TrackSet(self.name, note, "number of the frame [-]", tuple(found), joined=False)

    def _place(self, window: int) -> str:
        windows = self.samples.windows
        if np.isfinite(windows.s[window]):
            return f"at s = {windows.s[window]:.2f}"
        return "about the barrier" if windows.eta[window].any() else "without a tilt"


def _last_round(run: RunFolder) -> Path:
    """Return the folder of the last round in which frames grew, which is not there where they did not."""
    rounds = run.path / "conformations" / "rounds"
    done = (folder for folder in rounds.glob("*") if folder.name.isdigit())
    return max(done, key=lambda folder: int(folder.name), default=rounds)


def _with_positions(run: RunFolder, folder: Path) -> WindowSamples | None:
    """Return the windows of a folder with what it keeps of their positions; None where it keeps none."""
    file, frames = folder / "samples.npz", folder / "frames.dcd"
    if not (file.is_file() if run.surface else frames.is_file()):
        return None
    samples = WindowSamples.load(file)
    if run.surface:
        return replace(samples, positions=samples.values)
    stored = read_dcd(frames)
    shape = samples.n_ladders, -1, samples.windows.n_windows, *stored.shape[1:]
    return replace(samples, positions=stored.reshape(shape))
