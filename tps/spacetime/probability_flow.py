"""The probability-flow ODE, and the geodesic of the metric it pulls back from clean data."""

from __future__ import annotations

import torch
from torch import Tensor

from tps.errors import ParameterError
from tps.spacetime.curve import SpacetimeCurve
from tps.spacetime.family import Family
from tps.spacetime.points import SpacetimePoint
from tps.spacetime.score import posterior_mean


def probability_flow(
    family: Family, center: Tensor, *, log_snr_from: float, log_snr_to: float, n_steps: int = 100
) -> Tensor:
    """Carry centers along the probability-flow ODE, towards the data (decode) or away from them (encode).

    In centers c = x / alpha the ODE is dc/dl = (E[f | c, l] - c) / 2, l = log_snr, whatever the schedule.

    Parameters
    ----------
    family : Family
    center : Tensor (n, n_features)
    log_snr_from, log_snr_to : float
    n_steps : int
        Classical Runge-Kutta steps, equal in log-SNR.

    Returns
    -------
    Tensor (n, n_features)

    Raises
    ------
    ParameterError
        If n_steps is not positive.

    References
    ----------
    Song et al., ICLR 2021, Eq. 13; Karras et al., NeurIPS 2022, Eq. 1, with sigma = e^(-l/2).
    """
    if n_steps < 1:
        raise ParameterError(f"n_steps must be at least 1, but got {n_steps}")
    step = (log_snr_to - log_snr_from) / n_steps

    def slope(c: Tensor, level: float) -> Tensor:
        levels = torch.full((len(c),), level, dtype=c.dtype)
        return 0.5 * (posterior_mean(family, c, levels) - c)

    c = center.detach().to(torch.float64)
    with torch.no_grad():
        for number in range(n_steps):
            level = log_snr_from + number * step
            k_1 = slope(c, level)
            k_2 = slope(c + 0.5 * step * k_1, level + 0.5 * step)
            k_3 = slope(c + 0.5 * step * k_2, level + 0.5 * step)
            k_4 = slope(c + step * k_3, level + step)
            c = c + step / 6 * (k_1 + 2 * k_2 + 2 * k_3 + k_4)
    return c


def pullback_geodesic(
    family: Family,
    a: SpacetimePoint,
    b: SpacetimePoint,
    *,
    log_snr: float,
    data_log_snr: float = 8.0,
    n_points: int = 64,
    n_steps: int = 100,
) -> SpacetimeCurve:
    """Return the geodesic of the Euclidean metric of clean data, pulled back to noise level `log_snr` by the ODE.

    Decoding is a bijection, so the geodesic is whatever decodes to a straight segment: no shorter way exists, and the
    data have no say in it.

    Parameters
    ----------
    family : Family
    a, b : SpacetimePoint
        Whose centers are the clean ends.
    log_snr : float
        Noise level of the curve.
    data_log_snr : float
        Noise level that counts as clean.
    n_points : int
    n_steps : int

    Returns
    -------
    SpacetimeCurve
        At `log_snr` everywhere.

    References
    ----------
    Karczewski et al., ICLR 2026, Section 3.
    """
    s = torch.linspace(0, 1, n_points, dtype=torch.float64)
    segment = torch.lerp(a.center, b.center, s[:, None])
    encoded = probability_flow(
        family, segment, log_snr_from=data_log_snr, log_snr_to=log_snr, n_steps=n_steps
    )
    levels = torch.full((n_points,), log_snr, dtype=torch.float64)
    return SpacetimeCurve.from_eta(family, family.spacetime.eta(encoded, levels), s)
