"""How far a curve can be trusted: what a true family guarantees, and a learned one may lack."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tps.spacetime.curve import SpacetimeCurve, curve_energy, fisher_rao_length, negative_chord_fraction
from tps.spacetime.doubt import asymmetry_of, doubtful_share
from tps.spacetime.empirical import EmpiricalFamily
from tps.spacetime.family import Family, fisher_metric

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
    doubtful : float
        Share of the length that the model's own error could have made; 0 for a true family.
    effective_sample_size : Tensor (n_points,) or None
        Of the frames, where given; below 30 the curve is not supported by data.
    """

    negative_chords: float
    jacobian_asymmetry: float
    indefinite_points: float
    constant_speed: float
    doubtful: float = 0.0
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
    asymmetry = asymmetry_of(metric)
    values = torch.linalg.eigvalsh(metric + metric.mT)
    indefinite = values[:, 0] < -1e-9 * values[:, -1].abs()
    length = fisher_rao_length(curve)
    return CurveHealth(
        negative_chords=negative_chord_fraction(curve),
        jacobian_asymmetry=float(asymmetry.max()),
        indefinite_points=float(indefinite.double().mean()),
        constant_speed=2 * curve_energy(curve) / length**2 if length > 0 else 1.0,
        doubtful=doubtful_share(family, curve),
        effective_sample_size=None if frames is None else frames.effective_sample_size(curve.eta),
    )


def anchor_sensitivity(family: Family, curve: SpacetimeCurve) -> float:
    """Return d length / d log_snr of a geodesic when both anchors move together.

    For anchors deep in their wells each end adds sqrt(D / 2) per unit of log-SNR, D the number of features (angles
    count one each): the distance depends on the anchor, and this says how much.

    A geodesic is stationary, so only its ends count, which move as d eta / d log_snr = eta: the derivative is that with
    respect to them. Constraints change nothing where they do not depend on the anchors.

    Parameters
    ----------
    family : Family
    curve : SpacetimeCurve
        Of a converged geodesic, at equal Fisher-Rao steps.

    Returns
    -------
    float
        [1 per unit of log_snr]
    """
    ends, inner = [0, -1], [1, -2]
    metric = fisher_metric(family, curve.eta[ends])
    chord, slope = curve.eta[ends] - curve.eta[inner], curve.mu[ends] - curve.mu[inner]
    pull = slope + (metric @ chord[..., None])[..., 0]
    step = (chord * slope).sum(-1).clamp_min(1e-300).sqrt()
    return float((0.5 * (pull * curve.eta[ends]).sum(-1) / step).sum())
