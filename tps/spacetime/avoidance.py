"""What a curve keeps away from: regions and points, as the tilted molecule sees them and as the tether alone does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from scipy.special import expit, logit
from torch import Tensor

from tps.errors import ParameterError
from tps.spacetime.family import Family
from tps.spacetime.information import kl_along_curve
from tps.spacetime.points import Spacetime, SpacetimePoint, eta_of
from tps.spacetime.tether import TetherBox, tether_kl, tether_kl_to

#: Nats over which what an end has of a region falls by e. A tether that moves straight away from it loses more than e
#: in one nat; the other features take nats too, and the curve needs room.
_NATS = 4.0


class RegionFamily(Protocol):
    """A family that knows how probable a region is: weighted frames and grids (a mask), mixtures (a `Box`)."""

    @property
    def spacetime(self) -> Spacetime:
        """The coordinates of eta."""

    def log_probability(self, eta: Tensor, region: Any, /) -> Tensor:
        """Map natural parameters (n, K) to ln p(region | eta) (n,), differentiable."""


@dataclass(frozen=True, eq=False)
class RegionProbability:
    """p(region | eta) <= p_max, of the tilted molecule. Unit: relative, ln(p / p_max).

    Every tilt gives a barrier little weight, so this alone asks almost nothing of a region that transitions cross: see
    `TetherProbability`.

    Parameters
    ----------
    frames : RegionFamily
        For instance the weighted frames; need not be the family whose geodesic is sought.
    region : Tensor (n_frames,) of bool, or Box
        Which frames lie in the region, or what else the family takes.
    p_max : float
        In (0, 1).
    label : str
        What a report calls the region.
    ends : Tensor (2, K), optional
        Natural parameters of anchored ends that may lie beside the region: see `TetherProbability`.
    """

    frames: RegionFamily
    region: Any
    p_max: float
    label: str = "the region"
    ends: Tensor | None = None

    def __post_init__(self) -> None:
        _check_p_max(self.p_max)
        no_tilt = torch.zeros(1, self.frames.spacetime.n_statistics, dtype=torch.float64)
        self.frames.log_probability(no_tilt, self.region)

    @property
    def name(self) -> str:
        """How a report calls it."""
        return f"probability of {self.label} at most {self.p_max:g}"

    @property
    def unit(self) -> str:
        """None."""
        return ""

    def number(self, value: float) -> float:
        """Return p(region | eta)."""
        return self.p_max * math.exp(value)

    def pointwise(self, family: Family) -> bool:
        """Yes."""
        return True

    def values(self, family: Family, eta: Tensor, mu: Tensor) -> Tensor:
        """Ln p(region | eta) - ln p_max (n, 1)."""
        excess = self.frames.log_probability(eta, self.region) - math.log(self.p_max)
        if self.ends is not None:
            own = self.frames.log_probability(self.ends, self.region) - math.log(self.p_max)
            excess = excess - _beside_the_ends(family.spacetime, self.ends, own, eta)
        return excess[:, None]


@dataclass(frozen=True, eq=False)
class TetherProbability:
    """p_flat(region | eta) <= p_max, of the tether alone. Unit: log-odds, ln(p / (1 - p)) less that of p_max.

    A weak tilt spreads over the region and is forbidden beside it; a tight one must lead round. Log-odds have a slope
    however deep in the region a tilt lies.

    Parameters
    ----------
    box : TetherBox
    p_max : float
        In (0, 1).
    label : str
        What a report calls the region.
    ends : Tensor (2, K), optional
        Natural parameters of anchored ends. One that lies beside the region, with more odds of it than p_max allows,
        adds them to what is allowed, and e^-n of them 4 n nats away from it.
    """

    box: TetherBox
    p_max: float
    label: str = "the region"
    ends: Tensor | None = None

    def __post_init__(self) -> None:
        _check_p_max(self.p_max)

    @property
    def name(self) -> str:
        """How a report calls it."""
        return f"tether's probability of {self.label} at most {self.p_max:g}"

    @property
    def unit(self) -> str:
        """None."""
        return ""

    def number(self, value: float) -> float:
        """Return p_flat(region | eta)."""
        return float(expit(value + logit(self.p_max)))

    def pointwise(self, family: Family) -> bool:
        """Yes."""
        return True

    def values(self, family: Family, eta: Tensor, mu: Tensor) -> Tensor:
        """Log-odds of p_flat(region | eta) less those of the bound (n, 1)."""
        excess = self.box.log_odds(eta) - float(logit(self.p_max))
        if self.ends is not None:
            own = self.box.log_odds(self.ends) - float(logit(self.p_max))
            excess = excess - _beside_the_ends(family.spacetime, self.ends, own, eta)
        return excess[:, None]


@dataclass(frozen=True)
class _Distance:
    """At least so many nats from a point z. Unit: relative, 1 - KL / at_least."""

    point: SpacetimePoint
    at_least: float

    def __post_init__(self) -> None:
        if not self.at_least > 0:
            raise ParameterError(f"a KL threshold must be positive, but got {self.at_least} nats")

    @property
    def unit(self) -> str:
        """Nats."""
        return "nats"

    def number(self, value: float) -> float:
        """Return the KL distance [nats]."""
        return (1 - value) * self.at_least

    def _relative(self, divergence: Tensor) -> Tensor:
        return (1 - divergence / self.at_least)[:, None]


@dataclass(frozen=True)
class KLDistance(_Distance):
    """KL(p(. | z) || p(. | curve)) >= `at_least` nats (Karczewski et al., Eq. 22): keep away from z.

    Absolute. Where the family has no psi, Eq. 62 is integrated: along the straight line in eta from z to the
    curve's first point, and from there along the curve. Unit: relative, 1 - KL / at_least.

    Parameters
    ----------
    point : SpacetimePoint
        z.
    at_least : float
        Threshold [nats].
    """

    @property
    def name(self) -> str:
        """How a report calls it."""
        return f"KL distance of {self.at_least:g} nats"

    def pointwise(self, family: Family) -> bool:
        """Where psi is known; elsewhere the divergence is integrated along the curve."""
        return family.has_psi

    def values(self, family: Family, eta: Tensor, mu: Tensor) -> Tensor:
        """1 - KL / at_least (n, 1)."""
        return self._relative(kl_along_curve(family, eta_of(family.spacetime, self.point), eta, mu))


@dataclass(frozen=True)
class TetherDistance(_Distance):
    """KL(tether at z || tether on the curve) >= `at_least` nats: `KLDistance` for the tethers alone, in closed form.

    Unit: relative, 1 - KL / at_least.

    Parameters
    ----------
    point : SpacetimePoint
        z.
    at_least : float
        Threshold [nats].
    """

    @property
    def name(self) -> str:
        """How a report calls it."""
        return f"tether's KL distance of {self.at_least:g} nats"

    def pointwise(self, family: Family) -> bool:
        """Yes."""
        return True

    def values(self, family: Family, eta: Tensor, mu: Tensor) -> Tensor:
        """1 - KL / at_least (n, 1)."""
        return self._relative(tether_kl(family.spacetime, eta_of(family.spacetime, self.point), eta))


def _beside_the_ends(spacetime: Spacetime, ends: Tensor, own: Tensor, eta: Tensor) -> Tensor:
    """Return the logarithm (n,) by which a bound is raised, where ends (2, K) themselves break it by `own`.

    What an end has is added to what is allowed, less by a factor e for every four nats between the tether at eta and
    the end's. A weak tilt is far from a tight end.
    """
    raised = torch.zeros(len(eta), dtype=torch.float64)
    for end, excess in zip(ends, own.tolist(), strict=True):
        if excess > 0:
            raised = torch.logaddexp(raised, excess - tether_kl_to(spacetime, eta, end) / _NATS)
    return raised


def _check_p_max(p_max: float) -> None:
    if not 0 < p_max < 1:
        raise ParameterError(f"p_max must lie between 0 and 1, but got {p_max}")
