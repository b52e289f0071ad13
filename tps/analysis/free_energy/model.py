"""The model's free-energy difference of the anchored states: its error, and when it is withheld."""

from __future__ import annotations

import numpy as np

from tps.analysis.metrics import Metric

#: Largest difference from the frames' own number at which the model's is believed [kT].
LARGEST_GAP = 1.0


def model_difference(
    delta_psi: float,
    delta_psi_frames: float,
    *,
    frames_error: float | None,
    largest_gap: float | None,
    support: float,
    needed: float,
) -> Metric:
    """Return F(η_B) - F(η_A) = -(ψ(η_B) - ψ(η_A)) of a model [kT] with its error, or withhold it.

    The model is fitted to the weighted frames, so what it gets wrong is what it leaves of them, and what they get
    wrong themselves: ψ - ψ_true = (ψ - ψ_frames) + (ψ_frames - ψ_true). The first term is known all along the curve; a
    fit that strays by its maximum somewhere may be right at the ends by luck alone, so the maximum stands for it. The
    second is the frames' statistical error. The two are independent, and add in squares.

    Parameters
    ----------
    delta_psi, delta_psi_frames : float
        ψ(η_B) - ψ(η_A) of the model and of the weighted frames.
    frames_error : float or None
        Standard error of the frames' difference [kT]; 0 for a grid, None where it is not known.
    largest_gap : float or None
        max |ψ - ψ_frames| along the curve, both counted from A; None where the model knows μ alone.
    support : float
        Least effective number of frames along the curve.
    needed : float
        What it must be.

    Returns
    -------
    Metric
        Withheld where the frames carry the curve nowhere near enough, where their own difference has no error, or
        where the two differ by more than `LARGEST_GAP`.
    """
    gap = abs(delta_psi - delta_psi_frames)
    known = frames_error is not None
    error = float(np.hypot(max(gap, largest_gap or 0.0), frames_error or 0.0))
    definition = (
        "-(ψ(η_B) - ψ(η_A)) of the diffusion model; the error adds, in squares, the largest |ψ_model - ψ_frames| along "
        "the curve and the standard error of the weighted frames' own difference."
    )
    doubt = ""
    if support < needed:
        doubt = (
            f"only {support:.1f} effective frames carry the weakest point of the curve, where {needed:.0f} are needed: "
            "the model guesses there; sample more"
        )
    elif gap > LARGEST_GAP:
        doubt = (
            f"the model's {-delta_psi:.1f} kT and the weighted frames' {-delta_psi_frames:.1f} kT are {gap:.1f} kT "
            f"apart, where {LARGEST_GAP:g} is allowed: train longer, or sample more"
        )
    elif not known:
        doubt = "one stretch of the frames holds all of one end, so that nothing is known of the error: sample longer"
    return Metric(-delta_psi, error if known and error > 0 else None, "kT", definition).unless(doubt)
