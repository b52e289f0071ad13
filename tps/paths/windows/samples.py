"""Frames sampled in windows, and their file."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tps.arrays import load_arrays, save_arrays
from tps.errors import ParameterError, RunFolderError
from tps.paths.ensemble import COMPLETED
from tps.paths.windows.windows import Windows, evenly

#: What its file holds: see `load_arrays`.
_LAYOUT = {
    "s": "F k",
    "eta": "f k t",
    "values": "F l f k d",
    "statistics": "F l f k t",
    "potential_energy": "F l f k",
    "in_a": "b l f k",
    "in_b": "b l f k",
    "replica": "n l f k",
    "status": "U l k",
    "n_evaluations": "n",
}


@dataclass(frozen=True, eq=False)
class WindowSamples:
    """Frames of K windows in L independent ladders, L x K x n_frames of them; NaN where a simulation failed.

    Attributes
    ----------
    windows : Windows
    values : (L, n_frames, K, d) array
        The features, in internal units.
    statistics : (L, n_frames, K, n_statistics) array
        T(x): all that the reduced potentials -η·T need.
    potential_energy : (L, n_frames, K) array
        Without the tilt [kJ/mol, or the surface's unit].
    in_a, in_b : (L, n_frames, K) bool arrays
        Whether the frame lies in state A, in state B.
    replica : (L, n_frames, K) int array
        Which replica of the ladder the frame is of; replica k started in window k.
    status : (L, K) str array
        "completed", or "failed: why".
    n_evaluations : int
        Force evaluations, all together.
    positions : (L, n_kept, K, ...) array or None
        Of `kept_frames`, as `System.values` takes them; the file does not hold them.
    """

    windows: Windows
    values: NDArray[np.float64]
    statistics: NDArray[np.float64]
    potential_energy: NDArray[np.float64]
    in_a: NDArray[np.bool_]
    in_b: NDArray[np.bool_]
    replica: NDArray[np.int64]
    status: NDArray[np.str_]
    n_evaluations: int
    positions: NDArray[np.floating] | None = None

    def __post_init__(self) -> None:
        shape = (*self.potential_energy.shape[:2], self.windows.n_windows)
        for name in ("potential_energy", "in_a", "in_b", "replica"):
            if getattr(self, name).shape != shape:
                raise ParameterError(
                    f"window samples need {name} {shape}, but got {getattr(self, name).shape}"
                )
        if self.statistics.shape != (*shape, self.windows.eta.shape[1]) or self.values.shape[:3] != shape:
            raise ParameterError(
                f"window samples need statistics and values {shape} and one more axis, but got "
                f"{self.statistics.shape} and {self.values.shape}"
            )
        if self.positions is not None and self._misfits(self.positions):
            raise ParameterError(
                f"window samples need positions {shape} and more, of as many frames or fewer, but got "
                f"{self.positions.shape}"
            )

    def _misfits(self, positions: NDArray[np.floating]) -> bool:
        ladders, n_kept, windows = positions.shape[:3]
        return (ladders, windows) != (self.n_ladders, self.windows.n_windows) or n_kept > self.n_frames

    @property
    def n_ladders(self) -> int:
        """Number of independent ladders L."""
        return len(self.statistics)

    @property
    def n_frames(self) -> int:
        """Number of frames of each window and ladder."""
        return self.statistics.shape[1]

    @property
    def kept_frames(self) -> NDArray[np.int64]:
        """The frames that positions are of."""
        return evenly(self.n_frames, 0 if self.positions is None else self.positions.shape[1])

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Which frames there are, (L, n_frames, K)."""
        return np.isfinite(self.statistics).all(axis=-1) & np.isfinite(self.potential_energy)

    @property
    def n_failed(self) -> int:
        """Windows whose simulation failed, summed over ladders."""
        return int((self.status != COMPLETED).sum())

    @property
    def acceptance(self) -> NDArray[np.float64]:
        """Mean probability to accept a swap of neighbours on the curve, (on_curve - 1,)."""
        n = self.windows.on_curve
        tilt, frames = np.diff(self.windows.eta[:n], axis=0), np.diff(self.statistics[:, :, :n], axis=2)
        gain = -np.einsum("ks,lfks->lfk", tilt, frames)
        return np.asarray(np.nanmean(np.exp(np.minimum(gain, 0.0)), axis=(0, 1)))

    @property
    def n_traversals(self) -> int:
        """How often a replica went from one end of the curve to the other, either way, all ladders together."""
        last, total = self.windows.on_curve - 1, 0
        for ladder in self.replica:
            for r in range(self.windows.n_windows):
                place = np.argmax(ladder == r, axis=1)
                ends = place[(place == 0) | (place == last)]
                total += int(np.count_nonzero(np.diff(ends)))
        return total

    def save(self, path: Path) -> None:
        """Write an npz file."""
        apart = ("windows", "positions")
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in apart}
        save_arrays(path, s=self.windows.s, eta=self.windows.eta, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        RunFolderError
            If it is not there, or of another version of tps.
        """
        if not path.is_file():
            raise RunFolderError(f"there are no window samples at {path}: sample the windows first")
        arrays = load_arrays(path, layout=_LAYOUT)
        windows, n_evaluations = Windows(arrays.pop("s"), arrays.pop("eta")), arrays.pop("n_evaluations")
        return cls(windows=windows, n_evaluations=int(n_evaluations), **arrays)
