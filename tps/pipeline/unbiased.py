"""What the analysis says of the unbiased ensemble, and how far the candidates are from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tps.analysis import (
    Metric,
    Metrics,
    channel_switches,
    channel_weights,
    contradict,
    divergence_by_moves,
    divergence_of_passages,
    ensemble_divergence,
    ensemble_energy_metrics,
    halves,
    mean_transition_time,
    path_channels,
)
from tps.paths import Frames, PathEnsemble, ShootingRun, TransitionPaths, load_transition_paths, with_numbers
from tps.pipeline.folder import RunFolder
from tps.pipeline.shooting import FROM_FRAMES, load_chains
from tps.said import Said, SaidShares
from tps.stored import read_json

_DIVERGENCE = (
    "Jensen-Shannon divergence of the histograms over the first two features (24 bins each) of {what} and of the "
    "unbiased ensemble from shooting; at most ln 2 = 0.69."
)


@dataclass(frozen=True, eq=False)
class Unbiased:
    """The ensemble of shooting in a run folder: its chains, and its paths with their features and energies."""

    run: RunFolder
    chains: ShootingRun
    paths: TransitionPaths

    @classmethod
    def load(cls, run: RunFolder) -> Unbiased:
        """Read the ensemble."""
        return cls(run, load_chains(run), load_transition_paths(run.path / "shooting"))

    @property
    def features(self) -> Frames:
        """Features (n_frames, d) of each path, in internal units."""
        return self.paths.values or ()

    @property
    def energies(self) -> Frames:
        """Energies (n_frames,) of each path [the system's unit]."""
        return self.paths.potential_energy or ()

    @property
    def _from_frames(self) -> Metrics:
        """What shots from the weighted frames say of the ensemble; nothing where there are none."""
        there = (self.run.path / "shooting" / FROM_FRAMES).is_file()
        return stored_metrics(self.run, f"shooting/{FROM_FRAMES}", SaidShares) if there else {}

    @property
    def transition_time(self) -> Metric:
        """Mean duration of the paths; withheld where shots from the weighted frames contradict the chains."""
        duration = mean_transition_time(self.paths, self.run.system.time_unit)
        other = self._from_frames.get("transition_time_from_frames")
        if other is None or not contradict(duration, other):
            return duration
        return duration.unless(
            f"chains say {duration.value:.3g} ± {duration.error:.2g} {duration.unit} and shots from the frames "
            f"{other.value:.3g} ± {other.error:.2g}: chains stay in the channels they started in"
        )

    def metrics(self, ends: Mapping[str, tuple[float, float]]) -> Metrics:
        """Return the numbers of the ensemble; `ends` are the mean energies of "a" and "b" with their errors."""
        energies = ensemble_energy_metrics(self.run.system, self.paths, ends)
        return {**energies, **self.chain_metrics()}

    def chain_metrics(self) -> Metrics:
        """Return the numbers of the ensemble that need no energies."""
        found, system = self.chains.statistics, self.run.system
        n_decorrelated = sum(found.n_decorrelated)
        within = ensemble_divergence(system, *halves(self.paths)) if self._two_chains else None
        return {
            **self._from_frames,
            "mean_transition_time": self.transition_time,
            "shooting_moves": Metric(
                found.n_moves + found.n_candidate_moves, None, "count", "Shooting moves of all chains."
            ),
            "shooting_acceptance": Metric(
                100 * found.acceptance,
                None,
                "%",
                "Moves accepted, those left out that start from a candidate, which is no dynamical path.",
            ),
            "decorrelated_paths": Metric(
                n_decorrelated,
                None,
                "count",
                "Paths of the ensemble no two of which, in one chain, share a frame.",
            ),
            "evaluations_per_decorrelated_path": Metric(
                found.steps_per_decorrelated_path,
                None,
                "count",
                "Force evaluations of all moves, burn-in and rejected ones included, per decorrelated path.",
            ),
            "divergence_between_halves": Metric(
                within,
                None,
                "nats",
                _DIVERGENCE.format(what="the paths of every other chain")[:-1]
                + "; here of the two halves of the chains: what sampling alone leaves.",
            ),
        }

    def channels(self) -> dict[str, dict[str, Any]]:
        """Return each channel's share of the ensemble with its error: by shots from frames, or else by the chains."""
        file = self.run.path / "shooting" / FROM_FRAMES
        return dict(read_json(file, SaidShares)["channels"]) if file.is_file() else self.channels_of_chains()

    def channels_of_chains(self) -> dict[str, dict[str, Any]]:
        """Return each channel's share of the moves of all chains, with its error."""
        return {name: m.as_dict() for name, m in channel_weights(self.run.system, self.paths).items()}

    def rows_by_channel(self) -> dict[str, NDArray[np.int64]]:
        """Return which of the paths go through each channel, in the order of the channels' shares."""
        names = np.array(path_channels(self.run.system, self.paths))
        found = {name: np.flatnonzero(names == name) for name in self.channels_of_chains()}
        return {name: rows for name, rows in found.items() if len(rows)}

    def n_switches(self) -> int:
        """Return how often chains went from one channel to another."""
        return sum(channel_switches(self.run.system, self.paths).values())

    def divergence_of(self, method: str, ensemble: PathEnsemble) -> Metric:
        """Return how far a method's candidates are from the ensemble."""
        passages, unit = ensemble.passages, self.run.system.time_unit
        what = "the reactive segments of the paths"
        if passages is None:
            missing = "these paths were made before their passages were kept: make them anew with `tps paths --force`"
            return Metric(None, None, "nats", _DIVERGENCE.format(what=what), missing)
        seen = f"{what}, looked at every {passages.interval:.3g} {unit},"
        value = divergence_of_passages(self.run.system, passages, self.paths)
        return Metric(value, None, "nats", _DIVERGENCE.format(what=seen))

    def convergence(self) -> dict[str, list[float | None]]:
        """Return how far what chains have made in their first moves is from the ensemble, by moves of all chains."""
        if not self._two_chains:
            return {"moves": [], "divergence": []}
        counts = self.chains.counts.values()
        n_chains, longest = len(counts), min(own.all_moves for own in counts)
        marks = np.unique(np.geomspace(1, longest, 12).astype(int))
        first = with_numbers(self.chains.first_paths(longest))
        values = divergence_by_moves(self.run.system, self.paths, first, marks.tolist())
        return {
            "moves": (marks * n_chains).tolist(),
            "divergence": [float(v) if np.isfinite(v) else None for v in values],
        }

    @property
    def _two_chains(self) -> bool:
        return len(np.unique(self.paths.chain)) > 1


def stored_metrics(run: RunFolder, file: str, said: type[Said]) -> dict[str, Metric]:
    """Return the metrics that a stage has written to a JSON file, which holds what is said."""
    content = read_json(run.path / file, said)
    return {name: Metric(**metric) for name, metric in content.get("metrics", content).items()}
