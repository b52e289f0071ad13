"""Gaussians on lines, tilted: closed forms that keep their digits where |x|² and its tilt are large."""

from __future__ import annotations

from torch import Tensor


def tilted_gaussians(
    slope: Tensor, last: Tensor, center: Tensor, precision: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, variance and ln E[e^(a x + b x²)] of N(m, 1/p) tilted by e^(a x + b x²), elementwise.

    ln E[e^(a x + b x²)] = (a m + b m² + a²/(2 p)) g + ln(g)/2 with g = p/(p - 2 b).

    Parameters
    ----------
    slope, last : tensors
        a and b; b below p/2.
    center, precision : tensors
        m and p.
    """
    gain = precision / (precision - 2 * last)
    spread = slope / precision
    log_z = gain * (slope * (center + spread / 2) + last * center.square()) + 0.5 * gain.log()
    return gain * (center + spread), gain / precision, log_z
