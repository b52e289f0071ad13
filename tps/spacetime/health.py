"""How far a curve can be trusted: what a true family guarantees, and a learned one may lack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor

from tps.errors import ParameterError
from tps.spacetime.curve import SpacetimeCurve, curve_energy, fisher_rao_length, negative_chord_fraction
from tps.spacetime.empirical import EmpiricalFamily
from tps.spacetime.family import Family, fisher_metric
from tps.spacetime.geodesic import find_geodesics
from tps.spacetime.points import SpacetimePoint
from tps.spacetime.solver_settings import SolverOptions
from tps.spacetime.starts import Start

#: Below this effective number of frames a point of a curve counts as unsupported.
SUPPORTED_FRAMES = 30.0


@dataclass(frozen=True, eq=False)
class CurveHealth:
    """Numbers that are trivial for a true, well-sampled family.

    Parameters
    ----------
    negative_chords : float
        Fraction of chords with d eta . d mu < 0; 0 for a true family.
    jacobian_asymmetry : float
        Largest |G - G'| / |G + G'| (Frobenius) of the metric along the curve; 0 for a true family.
    indefinite_points : float
        Fraction of points where the symmetrised metric has a negative eigenvalue; 0 for a true family.
    constant_speed : float
        2 E / length**2: 1 at equal steps, above otherwise.
    effective_sample_size : Tensor (n_points,) or None
        Of the frames, where given; below 30 the curve is not supported by data.
    """

    negative_chords: float
    jacobian_asymmetry: float
    indefinite_points: float
    constant_speed: float
    effective_sample_size: Tensor | None = None

    @property
    def supported(self) -> bool | None:
        """Whether at least 30 effective frames carry every point; None where no frames were given."""
        if self.effective_sample_size is None:
            return None
        return bool(self.effective_sample_size.min() >= SUPPORTED_FRAMES)


def curve_health(family: Family, curve: SpacetimeCurve, frames: EmpiricalFamily | None = None) -> CurveHealth:
    """Return the health of a curve.

    Parameters
    ----------
    family : Family
    curve : SpacetimeCurve
    frames : EmpiricalFamily, optional
        Weighted frames the family was learned from.

    Returns
    -------
    CurveHealth
    """
    metric = fisher_metric(family, curve.eta)
    total = metric + metric.mT
    asymmetry = (metric - metric.mT).norm(dim=(1, 2)) / total.norm(dim=(1, 2)).clamp_min(1e-300)
    values = torch.linalg.eigvalsh(total)
    indefinite = values[:, 0] < -1e-9 * values[:, -1].abs()
    length = fisher_rao_length(curve)
    return CurveHealth(
        negative_chords=negative_chord_fraction(curve),
        jacobian_asymmetry=float(asymmetry.max()),
        indefinite_points=float(indefinite.double().mean()),
        constant_speed=2 * curve_energy(curve) / length**2 if length > 0 else 1.0,
        effective_sample_size=None if frames is None else frames.effective_sample_size(curve.eta),
    )


def anchor_sensitivity(
    family: Family,
    a: SpacetimePoint,
    b: SpacetimePoint,
    *,
    step: float = 0.25,
    start: Start | None = None,
    **options: Unpack[SolverOptions],
) -> float:
    """Return d length / d log_snr when both anchors move together, by a central difference of two more solves.

    For anchors deep in their wells each end adds sqrt(D / 2) per unit of log-SNR, D the number of features (angles
    count one each): the distance depends on the anchor, and this says how much.

    Parameters
    ----------
    family : Family
    a, b : SpacetimePoint
    step : float
        Of log_snr, either way.
    start : optional
        As for `find_geodesic`. Give the geodesic whose sensitivity is asked for (its curve), so that both solves
        stay in its channel; they are short then.
    **options
        As for `find_geodesic`: those of that geodesic.

    Returns
    -------
    float
        [1 per unit of log_snr]

    Raises
    ------
    ParameterError
        If the step is not positive.
    CurveError
        If the start cannot be used, or a moved anchor violates a constraint: take a smaller step.
    """
    if not step > 0:
        raise ParameterError(f"the step of log_snr must be positive, but got {step}")
    ends = {d: [SpacetimePoint(p.center, p.log_snr + d) for p in (a, b)] for d in (-step, step)}
    starts: list[Start | None] = [start, start]
    if isinstance(start, SpacetimeCurve | Tensor):
        eta = start.eta if isinstance(start, SpacetimeCurve) else start
        # eta is proportional to e^log_snr: lift the ends to the moved anchors, and leave the middle where it is
        s = torch.linspace(-1, 1, len(eta), dtype=torch.float64)[:, None]
        starts = [(d * s.abs()).exp() * eta for d in ends]
    low, high = find_geodesics(family, [(p, q) for p, q in ends.values()], starts=starts, **options)
    return (high.length - low.length) / (2 * step)
