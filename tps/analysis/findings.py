"""A finding of the verdict on a run, and what of the run it is found in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tps.analysis.metrics import Metric, Metrics
from tps.analysis.remedies import Spent

State = Literal["good", "doubtful", "bad", "unknown"]


@dataclass(frozen=True)
class Finding:
    """What one rule says.

    Attributes
    ----------
    rule : str
        Its name.
    state : str
        "good", "doubtful", "bad" or "unknown".
    sentence : str
    evidence : mapping of str to Metric
        The numbers it rests on, by what a reader calls them.
    remedy : str
        The command that improves it, for a run folder called RUN; "" where none does.
    """

    rule: str
    state: State
    sentence: str
    evidence: Metrics
    remedy: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        evidence = [
            {"label": label, "value": m.value, "error": m.error, "unit": m.unit}
            for label, m in self.evidence.items()
        ]
        return {
            "rule": self.rule,
            "state": self.state,
            "sentence": self.sentence,
            "evidence": evidence,
            "remedy": self.remedy,
        }


@dataclass(frozen=True)
class Intermediate:
    """A third basin that walkers were seen in.

    Attributes
    ----------
    place : str
        Where it is, as people write it.
    share : float
        Of the weight of all frames.
    longest : float
        The longest stay, in `unit`: "ps", or "frames" where the time between them is not known.
    unit : str
    n_stays, n_left : int
        Long stays, and those that ended before their walker's time.
    """

    place: str
    share: float
    longest: float
    unit: str
    n_stays: int
    n_left: int


@dataclass(frozen=True)
class Judged:
    """What the rules read of a run.

    Attributes
    ----------
    metrics : mapping of str to Metric
        Of the main paths, of the curve, and of the stages that are done.
    kt : float
        In the system's unit of energy.
    needed_support : float
        Effective frames, or points of a grid, that every point of the curve needs.
    spent : Spent
        The settings that remedies start from.
    weightless : str
        Why the frames do not tell how likely A is against B; "" if they do.
    roads : mapping of str to mapping of str to Metric
        By title of the difference, the roads to it; nothing where there are no windows.
    shares : tuple of (Metric, Metric)
        Of each channel, the share by the chains and by shots from the frames, where both are.
    looked_for_third : bool
        Whether walkers were there to show a third basin.
    third : Intermediate or None
    """

    metrics: Metrics
    kt: float
    needed_support: float
    spent: Spent
    weightless: str = ""
    roads: Mapping[str, Metrics] = field(default_factory=dict)
    shares: tuple[tuple[Metric, Metric], ...] = ()
    looked_for_third: bool = False
    third: Intermediate | None = None

    @property
    def on_grid(self) -> bool:
        """Whether the weighted frames are the points of a grid, whose weights are exact."""
        return self.spent.sampling == "grid"

    def known(self, name: str) -> float | None:
        """Return the value of a metric; None where it is missing or withheld."""
        return self.metrics[name].value if name in self.metrics else None

    def shown(self, **labels: str) -> dict[str, Metric]:
        """Return the metrics of some names that have a value, by what a reader calls them."""
        return {text: self.metrics[name] for name, text in labels.items() if self.known(name) is not None}
