"""Commands that improve what a verdict finds, from the settings a run has."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: What to begin with where a run has none: moves of shooting, chains, shots from the weighted frames.
FIRST_MOVES = "tps shoot RUN -n 1000"
_CHAINS, _SHOTS = 16, 3000
#: Moves and shots asked for, as multiples of those there: beyond eight the numbers are better looked at on the way.
_LEAST, _MOST = 2.0, 8.0


@dataclass(frozen=True)
class Spent:
    """What of a run's settings its remedies start from.

    Attributes
    ----------
    sampling : str
        How the weighted frames were made: a value of conformations.method, "auto" resolved.
    n_sample_steps, max_grow_steps : int
        MD steps of a walker; of all simulations while frames grow.
    n_path_steps, n_window_frames, n_chains, max_frames : int
        MD steps of a path, frames of a window, chains of shooting, and frames of its longest path.
    n_frame_shots : int
        Shots from the weighted frames.
    method : str
        The curve that the paths follow.
    free_energy_weight : float
        w of the metric it was solved in.
    constraints : tuple of str
        Keys of [geodesic] that hold the curve away from where it would go by itself.
    """

    sampling: str
    n_sample_steps: int
    max_grow_steps: int
    n_path_steps: int
    n_window_frames: int
    n_chains: int
    max_frames: int
    n_frame_shots: int
    method: str = "geodesic"
    free_energy_weight: float = 0.0
    constraints: tuple[str, ...] = ()

    @property
    def more_frames(self) -> str:
        """Sample longer; "" for imported frames, of which only their owner has more."""
        if self.sampling in ("import", "grid"):
            return ""
        if self.sampling == "grow":
            return f"tps conformations RUN --max-steps {2 * self.max_grow_steps} --force"
        return f"tps conformations RUN --n-sample-steps {2 * self.n_sample_steps} --force"

    @property
    def slower_paths(self) -> str:
        """Move the tilt more slowly."""
        return f"tps paths RUN --n-steps {2 * self.n_path_steps} --force"

    @property
    def same_paths(self) -> str:
        """Make the paths anew as they are."""
        return "tps paths RUN --force"

    @property
    def nearer_curve(self) -> str:
        """Take a curve whose paths lie nearer to unbiased ones, without the constraints that keep it away."""
        off = "".join(f" --no-{key.replace('_', '-').removesuffix('s')}" for key in self.constraints)
        if self.method != "geodesic" or self.free_energy_weight < 1:
            return f"tps geodesic RUN --method geodesic --free-energy-weight 1{off} --force"
        return f"tps geodesic RUN --method bridge{off} --force"

    @property
    def chains(self) -> str:
        """Shoot in several chains; "" where there are several."""
        return "" if self.n_chains > 1 else f"tps shoot RUN --n-chains {_CHAINS} --force"

    @property
    def windows(self) -> str:
        """Sample longer in every window."""
        return f"tps free-energy RUN --n-frames {2 * self.n_window_frames} --force"

    @property
    def longer_flights(self) -> str:
        """Let shots fly on until they reach a state."""
        return f"tps shoot RUN --max-frames {2 * self.max_frames} --force"

    def shots(self, factor: float = _LEAST) -> str:
        """Make more shots from the weighted frames, or the first."""
        return f"tps rate RUN -n {_scaled(self.n_frame_shots, factor) if self.n_frame_shots else _SHOTS}"


def supported_curve(needed: float) -> str:
    """Hold the curve to where so many frames carry it."""
    return f"tps geodesic RUN --min-support {math.ceil(needed)} --force"


def more_moves(n_moves: float, factor: float = _LEAST) -> str:
    """Go on with the chains."""
    return f"tps shoot RUN -n {_scaled(n_moves, factor)}"


def _scaled(n: float, factor: float = _LEAST) -> int:
    """Return a number times a factor from 2 to 8, rounded up to two digits."""
    wanted = n * min(max(factor, _LEAST), _MOST)
    digit = 10 ** max(math.floor(math.log10(wanted)) - 1, 0)
    return math.ceil(wanted / digit) * digit
