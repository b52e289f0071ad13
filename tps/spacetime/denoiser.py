"""Families made of a denoiser: any callable that maps noisy features and log-SNR to the mean of the clean ones."""

from __future__ import annotations

from typing import NoReturn, Protocol

import torch
from torch import Tensor

from tps.diffusion.schedule import alpha_sigma
from tps.errors import ParameterError
from tps.spacetime.euclidean import EuclideanSpacetime
from tps.spacetime.family import no_psi
from tps.spacetime.points import Spacetime

#: Up to this many features the divergence is exact unless told otherwise.
MAX_EXACT_DIVERGENCE = 32
_DEFAULT_PROBES = 8


class Denoiser(Protocol):
    """Posterior mean E[f | x] of clean features at any noise level; differentiable in x and log_snr."""

    def __call__(self, x: Tensor, log_snr: Tensor) -> Tensor:
        """Map x (n, n_features) at log_snr (n,) to E[f | x], shaped like x."""


class DenoiserFamily:
    """T = (f, |f|**2) from a denoiser under the variance-preserving convention alpha**2 = sigmoid(log_snr).

    E[|f|**2] = |d|**2 + (sigma**2 / alpha) div d, with d the denoiser's output. psi is not known, and the metric is
    symmetric only as far as the denoiser is a true posterior mean.

    Parameters
    ----------
    denoise : Denoiser
    n_features : int
    n_probes : int, optional
        Random probes (Hutchinson) for the divergence, the same for all points and calls; 0 for the exact trace.
        Exact up to 32 features, and 8 probes above, unless given.
    seed : int
        Of the probes.
    reference_variance : float
        Typical variance of a feature, for the solver's chart.
    dtype : torch.dtype
        What the denoiser computes in; results come back in float64.

    References
    ----------
    Karczewski et al., ICLR 2026, Eq. 16.
    """

    has_psi = False

    def __init__(
        self,
        denoise: Denoiser,
        n_features: int,
        *,
        n_probes: int | None = None,
        seed: int = 0,
        reference_variance: float = 1.0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.spacetime: Spacetime = EuclideanSpacetime(n_features, reference_variance)
        self.denoise, self.dtype = denoise, dtype
        if n_probes is None:
            n_probes = 0 if n_features <= MAX_EXACT_DIVERGENCE else _DEFAULT_PROBES
        if n_probes < 0:
            raise ParameterError(f"n_probes must be 0 (exact) or more, but got {n_probes}")
        if n_probes == 0:
            self._probes = torch.eye(n_features, dtype=torch.float64)
        else:
            generator = torch.Generator().manual_seed(seed)
            signs = torch.randint(0, 2, (n_probes, n_features), generator=generator, dtype=torch.float64)
            self._probes = (2 * signs - 1) / n_probes**0.5

    def mu(self, eta: Tensor) -> Tensor:
        """Map eta (n, D + 1) to E[f] and E[|f|**2] (n, D + 1).

        Raises
        ------
        ParameterError
            If a point has no signal (eta_last >= 0), or the denoiser returns another shape.
        """
        if not bool((eta[:, -1] < 0).all()):
            raise ParameterError(
                f"a denoiser needs a positive signal, eta[-1] < 0, but {int((eta[:, -1] >= 0).sum())} of {len(eta)} "
                "points have none; add a LogSnrFloor"
            )
        with torch.enable_grad():
            center, log_snr = self.spacetime.split(eta)
            alpha, sigma = alpha_sigma(log_snr)
            x = alpha[:, None] * center
            x = x if x.requires_grad else x.detach().requires_grad_(True)
            mean = checked_denoise(self.denoise, x, log_snr, self.dtype)
            k, n = self._probes.shape[0], len(x)
            copies = x.repeat(k, 1)
            probes = self._probes.repeat_interleave(n, dim=0)
            again = checked_denoise(self.denoise, copies, log_snr.repeat(k), self.dtype)
            (products,) = torch.autograd.grad((again * probes).sum(), copies, create_graph=eta.requires_grad)
            divergence = (products * probes).sum(1).view(k, n).sum(0)
            mu = torch.cat([mean, (mean.square().sum(1) + sigma**2 / alpha * divergence)[:, None]], dim=1)
        return mu if eta.requires_grad else mu.detach()

    def psi(self, eta: Tensor) -> NoReturn:
        """Not known."""
        raise no_psi()


class TorusDenoiserFamily:
    """Angles from a denoiser of their features (cos t, sin t), under the variance-preserving convention.

    Only eta = e^l x / alpha matters to the posterior; the denoiser is asked at the noise level for which features of
    that eta are typical, |x/alpha|**2 = 1 + 2 e^-l per angle, so that e^l = sqrt(1 + mean kappa**2) - 1.

    Parameters
    ----------
    denoise : Denoiser
        Of 2 n_circles features, interleaved per angle.
    spacetime : Spacetime
        Of angles alone.
    dtype : torch.dtype
        What the denoiser computes in; results come back in float64.

    Raises
    ------
    ParameterError
        If some features are no angles.
    """

    has_psi = False
    #: No noisier than this is asked of the denoiser.
    _SMALLEST_SNR = 1e-4

    def __init__(
        self, denoise: Denoiser, spacetime: Spacetime, *, dtype: torch.dtype = torch.float64
    ) -> None:
        n_lines = spacetime.n_features - 2 * spacetime.n_circles
        if n_lines:
            raise ParameterError(
                f"a torus denoiser takes angles alone, but {n_lines} of the features are none; use DenoiserFamily"
            )
        self.spacetime = spacetime
        self.denoise, self.dtype = denoise, dtype

    def mu(self, eta: Tensor) -> Tensor:
        """Map eta (n, 2 n_circles) to E[(cos t, sin t)], shaped like eta.

        Raises
        ------
        ParameterError
            If the denoiser returns another shape.
        """
        kappa2 = 2 * eta.square().mean(1)
        # sqrt(1 + k) - 1 without cancellation
        snr = (kappa2 / ((1 + kappa2).sqrt() + 1)).clamp_min(self._SMALLEST_SNR)
        log_snr = snr.log()
        x = alpha_sigma(log_snr)[0][:, None] * eta / snr[:, None]
        return checked_denoise(self.denoise, x, log_snr, self.dtype)

    def psi(self, eta: Tensor) -> NoReturn:
        """Not known."""
        raise no_psi()


def checked_denoise(denoise: Denoiser, x: Tensor, log_snr: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the denoiser's output (n, n_features) in float64."""
    mean = denoise(x.to(dtype), log_snr.to(dtype)).to(torch.float64)
    if mean.shape != x.shape:
        raise ParameterError(
            f"a denoiser must return the shape it is given, {tuple(x.shape)}, but returned {tuple(mean.shape)}"
        )
    return mean
