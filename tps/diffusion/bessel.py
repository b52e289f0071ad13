"""Bessel functions of von Mises distributions, κ real and not negative: ln I0(κ) and A(κ) = I1(κ)/I0(κ)."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

#: The table: Taylor series of this degree about nodes so far apart, up to here. The terms left out are below
#: (step/2)^7 / 7 = 3e-14 times the largest derivative, which the zeros of I0 at κ = ±2.4 i bound: 1e-14 in A.
_DEGREE, _STEP, _LARGEST = 6, 1 / 32, 256


class _LogBesselI0(torch.autograd.Function):
    """log I0(κ), with I1/I0 as its derivative."""

    @staticmethod
    def forward(ctx: Any, kappa: Tensor) -> Tensor:
        ctx.save_for_backward(kappa)
        return torch.log(torch.special.i0e(kappa)) + kappa

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (kappa,) = ctx.saved_tensors
        return grads[0] * bessel_ratio(kappa)


class _BesselRatio(torch.autograd.Function):
    """A(κ) = I1(κ)/I0(κ), with A' = 1 - A/κ - A²."""

    @staticmethod
    def forward(ctx: Any, kappa: Tensor) -> Tensor:
        ratio = torch.special.i1e(kappa) / torch.special.i0e(kappa)
        ctx.save_for_backward(kappa, ratio)
        return ratio

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        kappa, ratio = ctx.saved_tensors
        return grads[0] * (1 - ratio / kappa - ratio.square())


def log_bessel_i0(kappa: Tensor) -> Tensor:
    """Return log I0(κ), elementwise: ψ of one free angle (Mardia and Jupp, Directional Statistics, 3.5.17)."""
    value: Tensor = _LogBesselI0.apply(kappa)
    return value


def bessel_ratio(kappa: Tensor) -> Tensor:
    """Return I1(κ)/I0(κ), elementwise: the mean resultant length of one von Mises distribution."""
    value: Tensor = _BesselRatio.apply(kappa)
    return value


def tabulated_bessel(kappa: Tensor) -> tuple[Tensor, Tensor]:
    """Return log I0(κ) and A(κ) of κ (any shape, float64), without derivatives, several times as fast."""
    if kappa.numel() and float(kappa.amax()) >= _LARGEST:
        return log_bessel_i0(kappa), bessel_ratio(kappa)
    flat = kappa.detach().flatten()
    place = (flat / _STEP).round_()
    dt = flat.sub(place, alpha=_STEP)
    row = place.to(torch.int64)
    *lower, last = (column.index_select(0, row) for column in _table())
    value, slope = torch.addcmul(lower.pop(), last, dt), last
    slope = torch.addcmul(value, slope, dt)
    torch.addcmul(lower.pop(), value, dt, out=value)
    for coefficient in reversed(lower):
        torch.addcmul(value, slope, dt, out=slope)
        torch.addcmul(coefficient, value, dt, out=value)
    return value.view_as(kappa), slope.view_as(kappa)


@cache
def _table() -> tuple[Tensor, ...]:
    """Taylor coefficients of log I0, each (n_nodes,), lowest first: from A' = 1 - A/κ - A² term by term."""
    nodes = torch.arange(round(_LARGEST / _STEP) + 1, dtype=torch.float64) * _STEP
    ratio, quotient = [bessel_ratio(nodes)], torch.zeros_like(nodes)
    for n in range(_DEGREE - 1):
        square = torch.stack([ratio[i] * ratio[n - i] for i in range(n + 1)]).sum(0)
        rest = (1.0 if n == 0 else 0.0) - square
        quotient = (ratio[n] - quotient) / nodes  # the coefficients of A/κ
        # about κ = 0 they are those of A, shifted by one
        quotient[0] = rest[0] / (n + 2)
        ratio.append((rest - quotient) / (n + 1))
    return (log_bessel_i0(nodes), *(a / (n + 1) for n, a in enumerate(ratio)))
