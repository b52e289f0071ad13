"""MBAR over tilted windows: ψ of every window, weights that undo the tilts, and errors that know of correlation.

Every error is the larger of two. One is MBAR's asymptotic error over frames thinned by their statistical inefficiency,
measured about the mean of all ladders, so ladders that disagree count as correlated. The other is a jackknife over
stretches of time that are left out of all windows together, which sees what replica exchange ties across windows.
Frames from before the ladders forgot where they started are left out of everything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from tps.analysis.free_energy.memory import inefficiencies, load_pymbar, relaxed_from, slowest
from tps.analysis.free_energy.solver import first_guess, overlap_matrix, solve_mbar
from tps.errors import ParameterError, SimulationError
from tps.paths import Windows, WindowSamples


@dataclass(frozen=True, eq=False)
class WindowAnalysis:
    """What MBAR says of N frames from K windows; the untilted state is the zero of all free energies.

    Attributes
    ----------
    windows : Windows
    kt : float
        [kJ/mol, or the surface's unit].
    unit : str
        Of `kt` and of potential energies.
    psi : (K,) array
        ψ(η_k), with ψ(0) = 0.
    log_weights : (N,) array
        Logarithms of the frames' weights without any tilt, normalised.
    block_psi, block_log_weights : (R, K), (R, N) arrays
        The same with one stretch of time left out, for jackknife errors; -inf for the frames left out.
    sampling_error : (K + 3, K + 3) array
        Asymptotic errors of the differences in ln Z [1] of the windows, the untilted state, and the untilted state
        confined to A and to B, in this order.
    overlap : (K, K) array
        MBAR's overlap matrix: probability that a frame of window i is found in j.
    statistical_inefficiency : (K,) array
        Frames per independent one of each window by itself.
    ladder_inefficiency : float
        Moments per independent one of all windows of a ladder together, whose walkers exchange hides from each.
    start_share : float
        Share of each ladder's time, its first, that is left out because it remembers the start: see `relaxed_from`.
    window, block : (N,) int arrays
        Where the frames are from.
    statistics, values, potential_energy, in_a, in_b
        The frames, as in `WindowSamples`.
    """

    windows: Windows
    kt: float
    unit: str
    psi: NDArray[np.float64]
    log_weights: NDArray[np.float64]
    block_psi: NDArray[np.float64]
    block_log_weights: NDArray[np.float64]
    sampling_error: NDArray[np.float64]
    overlap: NDArray[np.float64]
    statistical_inefficiency: NDArray[np.float64]
    ladder_inefficiency: float
    start_share: float
    window: NDArray[np.int64]
    block: NDArray[np.int64]
    statistics: NDArray[np.float64]
    values: NDArray[np.float64]
    potential_energy: NDArray[np.float64]
    in_a: NDArray[np.bool_]
    in_b: NDArray[np.bool_]

    @property
    def n_blocks(self) -> int:
        """Number of stretches of time."""
        return len(self.block_psi)

    @property
    def n_frames(self) -> NDArray[np.int64]:
        """Frames of each window (K,)."""
        return np.bincount(self.window, minlength=self.windows.n_windows)

    @property
    def effective_samples(self) -> NDArray[np.float64]:
        """Independent frames of each window (K,) for free energies: of itself, and of its ladder's walkers."""
        return self.n_frames / slowest(self.statistical_inefficiency, self.ladder_inefficiency, self.n_frames)

    @property
    def neighbour_overlap(self) -> NDArray[np.float64]:
        """Overlap of neighbouring windows on the curve (on_curve - 1,)."""
        return np.diag(self.overlap, 1)[: self.windows.on_curve - 1]

    def warnings(self, smallest_overlap: float = 0.03, fewest_samples: float = 30.0) -> tuple[str, ...]:
        """Say in sentences what makes these free energies doubtful; empty where nothing does."""
        found = []
        i = int(np.argmin(self.neighbour_overlap))
        if self.neighbour_overlap[i] < smallest_overlap:
            found.append(
                f"windows at s = {self.windows.s[i]:.2f} and {self.windows.s[i + 1]:.2f} overlap by "
                f"{self.neighbour_overlap[i]:.3f}, less than {smallest_overlap}: take more windows"
            )
        k = int(np.argmin(self.effective_samples))
        if self.effective_samples[k] < fewest_samples:
            found.append(
                f"{int((self.effective_samples < fewest_samples).sum())} windows hold fewer than {fewest_samples:.0f} "
                f"independent frames (the least: {self.effective_samples[k]:.1f}): they cross between humps seldom; "
                "sample longer, or add windows that bridge the barrier"
            )
        return tuple(found)


def analyse_windows(
    samples: WindowSamples,
    kt: float,
    *,
    unit: str = "kJ/mol",
    n_blocks: int = 10,
    start: int | None = None,
) -> WindowAnalysis:
    """Solve the MBAR equations for all frames of all windows from `start` on.

    Parameters
    ----------
    samples : WindowSamples
    kt : float
        Thermal energy [kJ/mol, or the surface's unit].
    unit : str
        Its unit.
    n_blocks : int
        Stretches of time for the jackknife; all ladders one after another are cut into so many.
    start : int, optional
        Frames of each ladder, its first, that are left out; those that remember where it started unless given.

    Raises
    ------
    ParameterError
        If there are fewer than two blocks, or no frames to start with.
    SimulationError
        If a window has no frame.

    References
    ----------
    Shirts, Chodera, J. Chem. Phys. 129, 124105 (2008).
    """
    first = relaxed_from(samples, n_blocks) if start is None else start
    n_kept, eta = samples.n_frames - first, samples.windows.eta
    n_rounds = samples.n_ladders * n_kept
    if not 2 <= n_blocks <= n_rounds or not kt > 0 or first < 0:
        raise ParameterError(
            f"an analysis needs kT > 0, a start from 0 on and 2 to {n_rounds} blocks of time, but got {kt}, {first} "
            f"and {n_blocks}"
        )
    valid = samples.valid & (np.arange(samples.n_frames) >= first)[:, None]
    empty = np.flatnonzero(~valid.any(axis=(0, 1)))
    if len(empty):
        raise SimulationError(
            f"{len(empty)} of {len(eta)} windows have no frame after the first {first} of {samples.n_frames}, window "
            f"{empty[0]} among them: {samples.status[0, empty[0]]}; sample again with a shorter time step, or other "
            "windows"
        )
    ladder, frame, window = np.nonzero(valid)
    order = np.argsort(window, kind="stable")
    ladder, frame, window = ladder[order], frame[order], window[order]
    at = (ladder, frame, window)
    block = (ladder * n_kept + frame - first) * n_blocks // n_rounds
    statistics = samples.statistics[at]
    in_a, in_b = samples.in_a[at], samples.in_b[at]
    tilts = eta @ statistics.T
    counts = np.bincount(window, minlength=len(eta))
    inefficiency, together = inefficiencies(samples, valid)
    means = np.array([statistics[window == k].mean(axis=0) for k in range(len(eta))])
    f = solve_mbar(first_guess(eta, means), tilts, counts)
    thin = _thinned(window, slowest(inefficiency, together, counts))
    psi, log_weights = _untilted(f, tilts, counts)
    blocks = [_untilted(*_left_out(f, tilts, window, block != b)) for b in range(n_blocks)]
    return WindowAnalysis(
        windows=samples.windows,
        kt=kt,
        unit=unit,
        psi=psi,
        log_weights=log_weights,
        block_psi=np.array([p for p, _ in blocks]),
        block_log_weights=np.array([w for _, w in blocks]),
        sampling_error=_asymptotic(f, tilts[:, thin], window[thin], in_a[thin], in_b[thin]),
        overlap=overlap_matrix(f, tilts, counts),
        statistical_inefficiency=inefficiency,
        ladder_inefficiency=together,
        start_share=first / samples.n_frames,
        window=window,
        block=block,
        statistics=statistics,
        values=samples.values[at],
        potential_energy=samples.potential_energy[at],
        in_a=in_a,
        in_b=in_b,
    )


def jackknife_error(left_out: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard error of an estimate from its values (R, ...) with one of R blocks left out each."""
    n = len(left_out)
    with np.errstate(invalid="ignore"):  # an estimate that a block leaves without any frame has no error: NaN
        return np.asarray(np.sqrt((n - 1) / n * np.sum((left_out - left_out.mean(axis=0)) ** 2, axis=0)))


def _left_out(
    f: NDArray[np.float64], tilts: NDArray[np.float64], window: NDArray[np.int64], kept: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    counts = np.bincount(window[kept], minlength=len(f))
    if counts.min() == 0:
        raise SimulationError(
            f"window {int(np.argmin(counts))} has frames in one stretch of time only: sample again, or longer"
        )
    return solve_mbar(f, tilts[:, kept], counts), tilts, counts, kept


def _untilted(
    f: NDArray[np.float64],
    tilts: NDArray[np.float64],
    counts: NDArray[np.int64],
    kept: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ψ of the windows with ψ(0) = 0, and normalised log-weights of the frames at η = 0."""
    log_weights = -logsumexp(f[:, None] + tilts, axis=0, b=counts[:, None])
    if kept is not None:
        log_weights[~kept] = -np.inf
    total = logsumexp(log_weights)
    return -f - total, log_weights - total


def _thinned(window: NDArray[np.int64], inefficiency: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return one frame out of every g of each window, and at least one of each."""
    rows = [np.flatnonzero(window == k) for k in range(len(inefficiency))]
    return np.concatenate(
        [
            frames[np.floor(np.arange(max(1.0, len(frames) / g)) * g).astype(np.intp)]
            for frames, g in zip(rows, inefficiency, strict=True)
        ]
    )


def _asymptotic(
    f: NDArray[np.float64],
    tilts: NDArray[np.float64],
    window: NDArray[np.int64],
    in_a: NDArray[np.bool_],
    in_b: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return pymbar's errors (K + 3, K + 3) for independent frames; NaN for a region without any."""
    counts, pymbar = np.bincount(window, minlength=len(f)), load_pymbar()
    try:
        solved = pymbar.MBAR(
            -tilts,
            counts,
            initial_f_k=solve_mbar(f, tilts, counts),
            solver_protocol=({"method": "L-BFGS-B"},),  # which only confirms it
        )
    except pymbar.utils.ParameterError as failed:
        raise SimulationError(
            f"the {len(window)} independent frames of {len(f)} windows are too few for free energies (pymbar: "
            f"{str(failed).splitlines()[0]}): sample longer"
        ) from failed
    states = np.concatenate([-tilts, np.zeros((3, tilts.shape[1]))])
    there = np.ones(len(states), dtype=np.bool_)
    for row, inside in ((-2, in_a), (-1, in_b)):
        states[row, ~inside] = np.inf
        there[row] = inside.any()
    error = np.full((len(states), len(states)), np.nan)
    found = solved.compute_perturbed_free_energies(states[there], warning_cutoff=np.inf)["dDelta_f"]
    error[np.ix_(there, there)] = found
    return error
