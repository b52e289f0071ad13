"""The tether alone: e^{eta . T} over flat space, how far it is from another, and how likely it lies in a box.

What a tilt would do if every conformation were as likely as any other. For angles it is the von Mises distribution,
for features on lines a Gaussian. Integrals over intervals are sums over Gauss-Legendre panels that start where the
integrand is largest and grow away from there, so that they are as exact for a tilt of 1e4 as for none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tps.errors import ParameterError
from tps.features import FeatureSpace
from tps.spacetime.points import Spacetime

#: Where panels end, in lengths over which the integrand falls by e: what lies beyond the last is below 1e-12 of all.
_PANELS = torch.tensor([0.0, 2.5, 8.0, 30.0], dtype=torch.float64)
_NODES, _WEIGHTS = (torch.from_numpy(x) / 2 for x in np.polynomial.legendre.leggauss(14))
_NODES = _NODES + 0.5


def tether_kl(spacetime: Spacetime, target: Tensor, eta: Tensor) -> Tensor:
    """Return KL(tether at target || tether at eta) [nats], the Bregman divergence of psi_flat.

    Parameters
    ----------
    spacetime : Spacetime
    target : Tensor (K,)
    eta : Tensor (n, K)

    Returns
    -------
    Tensor (n,)
        Differentiable in eta.
    """
    with torch.enable_grad():
        leaf = target.detach()[None].requires_grad_(True)
        psi = spacetime.flat_psi(leaf)
        (mu,) = torch.autograd.grad(psi.sum(), leaf)
    return ((target - eta) * mu).sum(-1) - psi.detach() + spacetime.flat_psi(eta)


def tether_kl_to(spacetime: Spacetime, eta: Tensor, target: Tensor) -> Tensor:
    """Return KL(tether at eta || tether at target) [nats] (n,): `tether_kl` the other way."""
    with torch.enable_grad():
        leaf = eta if eta.requires_grad else eta.detach().requires_grad_(True)
        psi = spacetime.flat_psi(leaf)
        (mu,) = torch.autograd.grad(psi.sum(), leaf, create_graph=True)
        nats = ((leaf - target) * mu).sum(-1) - psi + spacetime.flat_psi(target[None])
    return nats if eta.requires_grad else nats.detach()


def tether_lengths(spacetime: Spacetime, eta: Tensor) -> Tensor:
    """Return the Fisher-Rao length of the tether alone along a curve, up to each of its points.

    Parameters
    ----------
    spacetime : Spacetime
    eta : Tensor (n, K)
        Natural parameters of a curve; features on lines need a tilt at every point.

    Returns
    -------
    Tensor (n,)
        From 0: how far apart windows along the curve are, as far as can be told before anything is sampled.
    """
    with torch.enable_grad():
        leaf = eta.detach().requires_grad_(True)
        (mu,) = torch.autograd.grad(spacetime.flat_psi(leaf).sum(), leaf)
    steps = (leaf.detach().diff(dim=0) * mu.diff(dim=0)).sum(-1).clamp_min(0).sqrt()
    return torch.cat([steps.new_zeros(1), steps.cumsum(0)])


@dataclass(frozen=True, eq=False)
class TetherBox:
    """A box of features, as the tether sees it.

    Parameters
    ----------
    space : FeatureSpace
    ranges : mapping of str to (low, high)
        By feature, in internal units; a range of an angle with low > high wraps through pi.
    support : array (d, 2)
        Least and largest value of every feature, in internal units: flat space ends there. Without, a weak tether on
        a line spreads to infinity and has no probability anywhere. Angles go round, whatever stands here.

    Raises
    ------
    ParameterError
        If a range is not of a feature, the box lies outside the support, or it takes in all of it.
    """

    space: FeatureSpace
    ranges: Mapping[str, tuple[float, float]]
    support: NDArray[np.float64]
    _circles: list[tuple[int, float, float]] = field(init=False, repr=False)
    _lines: list[tuple[int, list[float]]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        circles: list[tuple[int, float, float]] = []
        lines: list[tuple[int, list[float]]] = []
        for name, (low, high) in self.ranges.items():
            if name not in self.space.names:
                raise ParameterError(
                    f"a tether knows features only, {', '.join(self.space.names)}, and {name!r} is none of them"
                )
            column = self.space.names.index(name)
            if self.space.periodic[column]:
                turn = (high - low) if high > low else high - low + 2 * math.pi
                if turn < 2 * math.pi:
                    circles.append((int(np.searchsorted(self.space.circles, column)), low, low + turn))
                continue
            least, most = (float(x) for x in self.support[column])
            inner, outer = max(low, least), min(high, most)
            if not math.isfinite(most - least) or not inner < outer:
                raise ParameterError(
                    f"the range {low:g}..{high:g} of {name} must overlap the finite range {least:g}..{most:g} of flat "
                    "space"
                )
            if (inner, outer) != (least, most):
                scale = self.space.scale[column]
                edges = [x / scale for x in (least, inner, outer, most)]
                lines.append((int(np.searchsorted(self.space.lines, column)), edges))
        if not circles and not lines:
            raise ParameterError("the box takes in all of flat space: leave something outside")
        object.__setattr__(self, "_circles", circles)
        object.__setattr__(self, "_lines", lines)

    def log_odds(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to ln p - ln(1 - p) of p = p_flat(box | eta) (n,), differentiable, exact in both tails."""
        at = 2 * self.space.n_circles
        odds = [
            _circle_log_integral(eta[:, 2 * i : 2 * i + 2], low, high)
            - _circle_log_integral(eta[:, 2 * i : 2 * i + 2], high, low + 2 * math.pi)
            for i, low, high in self._circles
        ]
        for j, (least, low, high, most) in self._lines:
            pair = torch.stack([eta[:, at + j], eta[:, -1]], dim=1)
            outside = [
                _line_log_integral(pair, *ends) for ends in ((least, low), (high, most)) if ends[0] < ends[1]
            ]
            odds.append(_line_log_integral(pair, low, high) - torch.stack(outside).logsumexp(0))
        return _box_log_odds(torch.stack(odds))

    def log_probability(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to ln p_flat(box | eta) (n,), differentiable."""
        return torch.nn.functional.logsigmoid(self.log_odds(eta))

    def probability(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to p_flat(box | eta) (n,)."""
        return self.log_odds(eta).sigmoid()


def _box_log_odds(odds: Tensor) -> Tensor:
    """Return the log-odds (n,) that all of d independent things happen, from the log-odds (d, n) of each.

    1 - p1 p2 ... = q1 + p1 q2 + p1 p2 q3 + ..., a sum of positive terms.
    """
    log_p, log_q = torch.nn.functional.logsigmoid(odds), torch.nn.functional.logsigmoid(-odds)
    before = log_p.cumsum(0)
    return before[-1] - (log_q + before - log_p).logsumexp(0)


def _circle_log_integral(pair: Tensor, low: float, high: float) -> Tensor:
    """Return ln of the integral of exp(pair . (cos x, sin x)) over low < x < high (n,); pair (n, 2)."""
    with torch.no_grad():
        center, kappa = torch.atan2(pair[:, 1], pair[:, 0]), pair.norm(dim=1)
        first = torch.remainder(low - center + math.pi, 2 * math.pi) - math.pi
        last = first + (high - low)
        # distances from a maximum: from the first one down to pi, and from the second one, 2 pi on, on either side
        early, zero = first < 0, torch.zeros_like(first)
        one = torch.ones_like(first)
        pieces = [
            (first.clamp_min(0), last, one),
            ((2 * math.pi - last).clamp_min(0), 2 * math.pi - first, -one),
            (
                torch.where(early, (-last).clamp_min(0), zero),
                torch.where(early, -first, last - 2 * math.pi),
                torch.where(early, -one, one),
            ),
        ]
        x, log_weight = [], []
        for near, far, sign in pieces:
            slope = kappa * near.clamp_max(math.pi).sin()
            step = 1 / torch.maximum(slope, kappa.sqrt()).clamp_min(1 / math.pi)
            distance, weight = _panels(near, far.clamp_max(math.pi), step)
            x.append(center[:, None] + sign[:, None] * distance)
            log_weight.append(weight)
        at, log_weights = torch.cat(x, 1), torch.cat(log_weight, 1)
        cos, sin = at.cos(), at.sin()
    return (log_weights + pair[:, :1] * cos + pair[:, 1:] * sin).logsumexp(1)


def _line_log_integral(pair: Tensor, low: float, high: float) -> Tensor:
    """Return ln of the integral of exp(pair . (x, x^2)) over low < x < high (n,); pair (n, 2), its last at most 0."""
    with torch.no_grad():
        slope, snr = pair[:, 0], -2 * pair[:, 1]
        peak = (slope / snr.clamp_min(1e-300)).clamp(low, high)
        fall = torch.maximum(snr.clamp_min(0).sqrt(), (slope - snr * peak).abs())
        step = 1 / fall.clamp_min(1 / (high - low))
        none = torch.zeros_like(peak)
        before, weight_before = _panels(none, peak - low, step)
        after, weight_after = _panels(none, high - peak, step)
        x = torch.cat([peak[:, None] - before, peak[:, None] + after], 1)
        log_weights = torch.cat([weight_before, weight_after], 1)
        square = x.square()
    return (log_weights + pair[:, :1] * x + pair[:, 1:] * square).logsumexp(1)


def _panels(near: Tensor, far: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """Return distances (n, m) between near and far (n,), and the logarithms of their weights: -inf where near > far."""
    far = torch.maximum(near, far)
    ends = torch.minimum(near[:, None] + step[:, None] * _PANELS, far[:, None])
    ends = torch.cat([ends, far[:, None]], 1)
    width = ends.diff(dim=1)[..., None]
    places = ends[:, :-1, None] + width * _NODES
    return places.flatten(1), (width * _WEIGHTS).log().flatten(1)
