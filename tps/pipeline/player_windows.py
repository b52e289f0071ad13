"""Windows as the player shows them: of the last round in which frames grew, the only ones whose positions are kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tps.conformations import read_dcd
from tps.paths import WindowSamples
from tps.pipeline.folder import RunFolder
from tps.pipeline.player_tracks import TrackMaker, kept_text
from tps.report.player import Share, Track, TrackSet, spread

_NOTE = "Tilts that stand still along the curve: frames of one window are samples of p0 times its tilt."


@dataclass(frozen=True, eq=False)
class RoundWindows:
    """The windows of one round of growth.

    Attributes
    ----------
    folder : Path
    samples : WindowSamples
        Without positions.
    """

    folder: Path
    samples: WindowSamples

    @classmethod
    def last(cls, run: RunFolder) -> RoundWindows | None:
        """Return the last round's; None where frames did not grow."""
        rounds = [
            p
            for p in (run.path / "conformations" / "rounds").glob("*/samples.npz")
            if p.parent.name.isdigit()
        ]
        if not rounds:
            return None
        file = max(rounds, key=lambda path: int(path.parent.name))
        return cls(file.parent, WindowSamples.load(file))

    @property
    def size(self) -> tuple[int, int]:
        """Windows of all ladders, and frames of each."""
        return int((self.samples.status == "completed").sum()), self.samples.values.shape[1]

    def tracks(self, maker: TrackMaker, share: Share) -> TrackSet:
        """Return windows as paths, by s, one ladder after the other."""
        samples = self.samples
        n_ladders, n_frames, n_windows, _ = samples.values.shape
        stored = samples.values if maker.run.surface else read_dcd(self.folder / "frames.dcd")
        each = samples.values.shape[3:] if maker.run.surface else stored.shape[1:]
        positions = stored.reshape(n_ladders, n_frames, n_windows, *each)
        frames, found = spread(n_frames, share.n_frames), []
        done = np.argwhere((samples.status == "completed").T)
        for window, ladder in done[spread(len(done), share.n_paths)].tolist():
            columns = {
                "time": frames,
                "energy": samples.potential_energy[ladder, frames, window],
                **maker.columns(samples.values[ladder, frames, window]),
            }
            s = samples.windows.s[window]
            place = "without a tilt" if np.isnan(s) else f"at s = {s:.2f}"
            name = f"window {window} {place}, ladder {ladder}"
            found.append(Track(name, frames, columns, maker.place(positions[ladder, frames, window])))
        note = f"{_NOTE} {kept_text(len(found), len(done), share.n_frames, n_frames)}{maker.place.note}"
        return TrackSet("windows", note, "number of the frame [-]", tuple(found), joined=False)
