"""What a family of tilted distributions p(x | eta) = p0(x) exp(eta . T(x) - psi(eta)) must offer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, Protocol, runtime_checkable

import torch
from torch import Tensor

from tps.diffusion.posterior import TiltedMoments
from tps.errors import ParameterError
from tps.spacetime.one_pass import OnePass
from tps.spacetime.points import Spacetime


class Family(Protocol):
    """An exponential family over clean conformations; differentiable in eta. Bring your own with these four names."""

    @property
    def spacetime(self) -> Spacetime:
        """The coordinates of eta."""

    @property
    def has_psi(self) -> bool:
        """Whether `psi` is known."""

    def mu(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, K) to expectation parameters E[T | eta] (n, K)."""

    def psi(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, K) to the log-partition function (n,); raises where it is not known."""


@runtime_checkable
class HasMetric(Protocol):
    """A family that knows its Fisher metric in closed form."""

    def metric(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, K) to Cov[T | eta] (n, K, K)."""


@runtime_checkable
class HasMean(Protocol):
    """A log-partition function that knows its gradient in closed form."""

    def mu(self, eta: Tensor) -> Tensor:
        """Map natural parameters (n, K) to the gradient (n, K), differentiable."""


@runtime_checkable
class HasMoments(HasMean, Protocol):
    """A log-partition function that gives itself, its gradient and its Hessian in one pass."""

    def moments(self, eta: Tensor) -> TiltedMoments:
        """Map natural parameters (n, K) to psi, mu and Cov[T], in float64 and without derivatives."""


def fisher_metric(family: Family, eta: Tensor) -> Tensor:
    """Return the Fisher-Rao metric G = d mu / d eta = Cov[T | eta], not symmetrised.

    Parameters
    ----------
    family : Family
    eta : Tensor (n, K)

    Returns
    -------
    Tensor (n, K, K)
        Row i holds the derivatives of mu_i.
    """
    if isinstance(family, HasMetric):
        return family.metric(eta)
    return row_jacobian(family.mu, eta)


def row_jacobian(function: Callable[[Tensor], Tensor], eta: Tensor) -> Tensor:
    """Return the derivatives (n, L, K) of a function that maps each row of eta (n, K) to a row of length L."""
    with torch.enable_grad():
        leaf = eta.detach().requires_grad_(True)
        mu = function(leaf)
        rows = [torch.autograd.grad(mu[:, i].sum(), leaf, retain_graph=True)[0] for i in range(mu.shape[1])]
    return torch.stack(rows, dim=1)


class LogPartitionFamily:
    """A family given by its log-partition function alone, for instance a trained network.

    mu is the gradient of psi, so the metric is a Hessian and symmetric by construction.

    Parameters
    ----------
    psi : callable
        Maps eta (n, K) to (n,), twice differentiable. Where it has a method `mu`, that is used for its gradient, and
        where it has `moments`, that gives all three at once.
    spacetime : Spacetime
    dtype : torch.dtype
        What `psi` computes in; results come back in float64.
    """

    has_psi = True

    def __init__(
        self, psi: Callable[[Tensor], Tensor], spacetime: Spacetime, dtype: torch.dtype = torch.float64
    ) -> None:
        self._psi = psi
        self.spacetime = spacetime
        self.dtype = dtype
        self._moments = OnePass(psi.moments, self.slow_mu) if isinstance(psi, HasMoments) else None

    def psi(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to psi (n,).

        Raises
        ------
        ParameterError
            If eta has another width than the spacetime, or psi returns another shape.
        """
        if eta.ndim != 2 or eta.shape[1] != self.spacetime.n_statistics:
            raise ParameterError(
                f"eta must be (n, {self.spacetime.n_statistics}), but got {tuple(eta.shape)}; one row per point"
            )
        if self._moments is not None:
            return self._moments.psi(eta)
        value = self._psi(eta.to(self.dtype)).to(torch.float64)
        if value.shape != eta.shape[:1]:
            raise ParameterError(
                f"psi must return one number per point, ({eta.shape[0]},), but returned {tuple(value.shape)}"
            )
        return value if eta.requires_grad else value.detach()

    def mu(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to grad psi (n, K)."""
        return self.slow_mu(eta) if self._moments is None else self._moments.mu(eta)

    def slow_mu(self, eta: Tensor) -> Tensor:
        """The same by automatic differentiation, as often differentiable as psi."""
        if isinstance(self._psi, HasMean):
            mu = self._psi.mu(eta.to(self.dtype)).to(torch.float64)
        else:
            with torch.enable_grad():
                leaf = eta if eta.requires_grad else eta.detach().requires_grad_(True)
                (mu,) = torch.autograd.grad(self.psi(leaf).sum(), leaf, create_graph=True)
        return mu if eta.requires_grad else mu.detach()

    def metric(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to Cov[T] (n, K, K), the Hessian of psi."""
        return row_jacobian(self.mu, eta) if self._moments is None else self._moments(eta).covariance


class MeanFamily:
    """A family given by E[T | eta] alone, for instance a trained network; psi is not known.

    The metric is symmetric only as far as the means are those of a true family.

    Parameters
    ----------
    mean : callable
        Maps eta (n, K) to (n, K), differentiable.
    spacetime : Spacetime
    dtype : torch.dtype
        What `mean` computes in; results come back in float64.
    """

    has_psi = False

    def __init__(
        self, mean: Callable[[Tensor], Tensor], spacetime: Spacetime, dtype: torch.dtype = torch.float64
    ) -> None:
        self._mean, self.spacetime, self.dtype = mean, spacetime, dtype

    def mu(self, eta: Tensor) -> Tensor:
        """Map eta (n, K) to E[T] (n, K).

        Raises
        ------
        ParameterError
            If the means are of another shape.
        """
        mu = self._mean(eta.to(self.dtype)).to(torch.float64)
        if mu.shape != eta.shape:
            raise ParameterError(f"the means of T must be {tuple(eta.shape)}, but are {tuple(mu.shape)}")
        return mu if eta.requires_grad else mu.detach()

    def psi(self, eta: Tensor) -> NoReturn:
        """Not known."""
        raise no_psi()


def no_psi() -> ParameterError:
    """Return what a family says that does not know psi."""
    return ParameterError(
        "a denoiser does not know psi: use differences along a curve (kl_along_curve), or a log-partition network"
    )
