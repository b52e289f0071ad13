"""Ensembles of transition paths beside each other: where their frames are, and through which channels they go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from tps.analysis.free_energy.mbar import jackknife_error
from tps.analysis.metrics import FEWEST_EFFECTIVE, Metric, proportion_error
from tps.analysis.paths import channel_name
from tps.analysis.rates import ratio_of_sums
from tps.errors import ParameterError
from tps.paths import Passages, ReweightedPaths, TransitionPaths
from tps.systems import System

N_BINS = 24
#: Frames looked at at once.
_BATCH = 2**16


def frame_ranges(system: System, *ensembles: TransitionPaths) -> NDArray[np.float64]:
    """Return low and high (1 or 2, 2) of the first two features: their bounds, or what the frames span without any.

    Raises
    ------
    ParameterError
        If there are no paths.
    """
    seen = [_span(values) for paths in ensembles for _, values in _batches(system, paths)]
    return system.space.ranges(np.concatenate(seen))[:2]


def frame_histogram(
    system: System,
    paths: TransitionPaths,
    n_bins: int = N_BINS,
    *,
    ranges: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the distribution (n_bins,) or (n_bins, n_bins) of frames over the first two features, summing to 1.

    Every frame counts as often as its path was current; what lies outside counts in the nearest bin.

    Parameters
    ----------
    system : MolecularSystem or SurfaceSystem
    paths : TransitionPaths
    n_bins : int
    ranges : (1 or 2, 2) array, optional
        Those of `frame_ranges`: the same ones for histograms that are compared. By default those of these paths.

    Raises
    ------
    ParameterError
        If there are no paths.
    """
    limits = frame_ranges(system, paths) if ranges is None else ranges
    return _shares(_counts(system, paths, paths.multiplicity[None], limits, n_bins)[0])


def jensen_shannon(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Return the Jensen-Shannon divergence of two distributions of one shape [nats]: from 0 to ln 2.

    References
    ----------
    Lin, IEEE Trans. Inf. Theory 37, 145 (1991).
    """
    if p.shape != q.shape:
        raise ParameterError(f"two distributions need the same bins, but got {p.shape} and {q.shape}")
    middle = (p + q) / 2
    return 0.5 * sum(float(np.sum(x[x > 0] * np.log(x[x > 0] / middle[x > 0]))) for x in (p, q))


def ensemble_divergence(
    system: System, first: TransitionPaths, second: TransitionPaths, n_bins: int = N_BINS
) -> float:
    """Return the Jensen-Shannon divergence [nats] of two ensembles' frame histograms."""
    ranges = frame_ranges(system, first, second)
    return jensen_shannon(*(frame_histogram(system, p, n_bins, ranges=ranges) for p in (first, second)))


def divergence_of_passages(
    system: System, passages: Passages, paths: TransitionPaths, n_bins: int = N_BINS
) -> float | None:
    """Return the Jensen-Shannon divergence [nats] of candidates' passages and an ensemble; None without a passage.

    Passages, not stored frames: which frames are the last in A and the first in B, and whether any lies between,
    depends on how often one looks. Transitions of alanine dipeptide last 0.34 ps, and candidates' frames were stored
    every 0.4 ps. Unbiased paths themselves, looked at so seldom, are 0.33 nats from the ensemble that shooting sees
    every 0.01 ps; looked at every 0.04 ps 0.10, and every 0.01 ps 0.07, which is what sampling leaves.
    """
    if not passages.reactive:
        return None
    values = np.concatenate(passages.reactive)
    seen = [_span(own) for _, own in _batches(system, paths)]
    limits = system.space.ranges(np.concatenate([values, *seen]))[:2]
    cells = _cells(values, limits, n_bins)
    return jensen_shannon(
        _shares(np.bincount(cells, minlength=n_bins ** len(limits)).reshape([n_bins] * len(limits))),
        frame_histogram(system, paths, n_bins, ranges=limits),
    )


def halves(paths: TransitionPaths) -> tuple[TransitionPaths, TransitionPaths]:
    """Return the ensembles of every other chain: their divergence is what sampling alone leaves.

    Raises
    ------
    ParameterError
        If there are fewer than two chains.
    """
    chains = np.unique(paths.chain)
    if len(chains) < 2:
        raise ParameterError(f"halves need paths of at least two chains, but got {len(chains)}")
    even = np.isin(paths.chain, chains[::2])
    return paths.select(even), paths.select(~even)


def path_channels(system: System, paths: TransitionPaths) -> list[str]:
    """Return the channel of every path: see `tps.analysis.channels`."""
    return _names(system, paths.positions) if paths.channels is None else paths.channels.tolist()


def channel_weights(system: System, paths: TransitionPaths) -> dict[str, Metric]:
    """Return each channel's share of the ensemble, the heaviest first, with its standard error over chains.

    Where every chain has the same share, 0 or 1, or there is only one chain, the error is that of a proportion among as
    many independent observations as there are chains.
    """
    names, chains = np.array(path_channels(system, paths)), np.unique(paths.chain)
    moves = np.array([paths.multiplicity[paths.chain == c].sum() for c in chains], dtype=np.float64)
    found: dict[str, tuple[float, float]] = {}
    for name in set(names.tolist()):
        count = np.where(names == name, paths.multiplicity, 0)
        value, error = ratio_of_sums(np.array([count[paths.chain == c].sum() for c in chains], float), moves)
        found[name] = value, error or proportion_error(value, len(chains))
    definition = (
        "Share of the transition-path ensemble in this channel, every path counted for each move after which it was "
        f"current; standard error over {len(chains)} independent chains, binomial where they all say the same."
    )
    return {
        name: Metric(value, error, "", definition)
        for name, (value, error) in sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    }


def reweighted_mean(
    paths: ReweightedPaths, values: NDArray[np.float64], n_blocks: int = 10
) -> tuple[float, float | None]:
    """Return the ensemble mean of a number per path (n_paths,) from independent reweighted paths, and its error.

    The error comes from a jackknife over stretches of the frames shot from; None where fewer than two of them hold a
    value other than zero.
    """
    weights = np.exp(paths.log_weights)
    block = paths.shot * n_blocks // max(paths.n_shots, 1)
    own, total = (np.bincount(block, w, n_blocks) for w in (weights * values, weights))
    with np.errstate(invalid="ignore", divide="ignore"):
        value, left_out = own.sum() / total.sum(), (own.sum() - own) / (total.sum() - total)
    known = np.count_nonzero(own) > 1 and np.isfinite(left_out).all()
    return float(value), float(jackknife_error(left_out)) if known else None


def reweighted_channel_weights(system: System, paths: ReweightedPaths) -> dict[str, Metric]:
    """Return each channel's share of the ensemble from independent reweighted paths, the heaviest first.

    The error is a jackknife's over stretches of the frames; where a single stretch holds all of a channel, that of a
    Poisson number of paths, sqrt(Σ w²)/Σ w; and where all paths are in one channel, that of a proportion among the
    effective number of paths (Kish), which is never 0. With fewer than `FEWEST_EFFECTIVE` of them the shares are
    withheld.
    """
    names, n = np.array(_names(system, paths.positions)), paths.effective_paths
    definition = (
        f"Share of the transition-path ensemble in this channel, from {len(paths)} independent paths ({n:.0f} "
        f"effective ones) among {paths.n_shots} shots from the weighted frames; standard error from a jackknife over "
        "stretches of the frames, binomial where all paths go the same way."
    )
    doubt = "" if n >= FEWEST_EFFECTIVE else _few_paths(n)
    found = {}
    for name in set(names.tolist()):
        inside = names == name
        value, error = reweighted_mean(paths, inside.astype(np.float64))
        if inside.all():
            error = proportion_error(value, n)
        elif error is None:
            error = float(np.exp(logsumexp(2 * paths.log_weights[inside]) / 2 - logsumexp(paths.log_weights)))
        found[name] = Metric(value, error, "", definition)
    by_share = sorted(found.items(), key=lambda item: (-(item[1].value or 0.0), item[0]))
    return {name: share.unless(doubt) for name, share in by_share}


def _few_paths(n: float) -> str:
    return (
        f"only {n:.1f} effective paths from the shots from frames, where {FEWEST_EFFECTIVE} are needed: shoot from "
        "more frames (shooting.n_frame_shots)"
    )


def reweighted_transition_time(paths: ReweightedPaths, frame_time: float, unit: str = "ps") -> Metric:
    """Return the mean time from the last frame in A to the first in B from independent reweighted paths."""
    durations = np.array([(len(p) - 1) * frame_time for p in paths.positions])
    n = paths.effective_paths
    return Metric(
        *reweighted_mean(paths, durations),
        unit,
        f"Mean transition time from {len(paths)} independent paths ({n:.0f} effective ones) among "
        f"{paths.n_shots} shots from the weighted frames: what chains that mix should find too; jackknife error.",
    ).unless("" if n >= FEWEST_EFFECTIVE else _few_paths(n))


def channel_switches(system: System, paths: TransitionPaths) -> dict[tuple[str, str], int]:
    """Return how often chains went from one channel to another: without any, channels' shares mean nothing."""
    names = path_channels(system, paths)
    found: dict[tuple[str, str], int] = defaultdict(int)
    for i in range(1, len(paths)):
        if paths.chain[i] == paths.chain[i - 1] and names[i] != names[i - 1]:
            found[names[i - 1], names[i]] += 1
    return dict(found)


def divergence_by_moves(
    system: System, paths: TransitionPaths, first: TransitionPaths, moves: Sequence[int], n_bins: int = N_BINS
) -> NDArray[np.float64]:
    """Return how far all that the chains have made in their first moves is from the ensemble (n,) [nats].

    Paths made before the end of burn-in count here. So that no path is compared with itself, what every other chain
    has made is compared with the ensemble of the chains between, and the other way round, and the mean taken. NaN
    where a half has no path yet.

    Parameters
    ----------
    system : MolecularSystem or SurfaceSystem
    paths : TransitionPaths
        The ensemble.
    first : TransitionPaths
        What the same chains made in their first moves, as many as the most of `moves`: `ShootingRun.first_paths`.
    moves : sequence of int
        Moves of each chain.

    Raises
    ------
    ParameterError
        As `halves`.
    """
    ranges = frame_ranges(system, paths)
    even, odd = (frame_histogram(system, half, n_bins, ranges=ranges) for half in halves(paths))
    own = np.isin(first.chain, np.unique(paths.chain)[::2])
    current = [np.clip(np.minimum(first.move + first.multiplicity, n) - first.move, 0, None) for n in moves]
    weights = np.array([count * mine for count in current for mine in (own, ~own)])
    counts = _counts(system, first, weights, ranges, n_bins)
    found = []
    for mine, others in zip(counts[::2], counts[1::2], strict=True):
        parts = [
            jensen_shannon(_shares(part), other)
            for part, other in ((mine, odd), (others, even))
            if part.any()
        ]
        found.append(float(np.mean(parts)) if len(parts) == 2 else np.nan)
    return np.array(found)


def _names(system: System, positions: Sequence[NDArray[np.floating]]) -> list[str]:
    return [channel_name(system, system.space.unwrap(system.feature_values(p))) for p in positions]


def _counts(
    system: System,
    paths: TransitionPaths,
    weights: NDArray[np.integer],
    limits: NDArray[np.float64],
    n_bins: int,
) -> NDArray[np.float64]:
    """Return histograms (k, n_bins) or (k, n_bins, n_bins) of all frames by weights (k, n_paths) of their paths."""
    found = np.zeros((len(weights), n_bins ** len(limits)))
    for rows, values in _batches(system, paths):
        cells, lengths = _cells(values, limits, n_bins), paths.lengths[rows]
        for own, weight in zip(found, weights[:, rows], strict=True):
            own += np.bincount(cells, np.repeat(weight, lengths), minlength=len(own))
    return found.reshape(-1, *[n_bins] * len(limits))


def _cells(values: NDArray[np.float64], limits: NDArray[np.float64], n_bins: int) -> NDArray[np.int64]:
    """Return the cell (n,) of each of the values (n, d) on the grid over the first axes; the nearest from outside."""
    edges = [np.linspace(low, high, n_bins + 1) for low, high in limits]
    at = [np.searchsorted(edge, values[:, k], side="right") - 1 for k, edge in enumerate(edges)]
    return np.ravel_multi_index([np.clip(own, 0, n_bins - 1) for own in at], [n_bins] * len(limits))


def _shares(counts: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(counts / counts.sum(), dtype=np.float64)


def _span(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the least and the largest of values (n, d) as rows (2, d)."""
    return np.stack([values.min(axis=0), values.max(axis=0)])


def _batches(system: System, paths: TransitionPaths) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield features (n_frames, d) of as many paths at a time as memory is to hold, and which paths."""
    if not len(paths):
        raise ParameterError("a histogram of path frames needs at least one path: make more shooting moves")
    part = np.cumsum(paths.lengths) // _BATCH
    ends = np.flatnonzero(np.diff(part, append=-1)) + 1
    for start, end in pairwise([0, *ends.tolist()]):
        rows = slice(start, end)
        if paths.values is None:
            yield rows, np.concatenate([system.feature_values(paths.positions[i]) for i in range(start, end)])
        else:
            yield rows, np.concatenate([paths.values[i] for i in range(start, end)])
