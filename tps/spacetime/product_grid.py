"""Sums over weighted points of a product grid, where a tilt factorises: two short exponentials and matrix products."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from tps.diffusion.posterior import TiltedMoments

#: How far apart log-weights may lie, so that nothing that counts leaves the range of double precision.
_LARGEST_RANGE = 600.0
#: Factors below the smallest that can count by more than this many nats are lost in round-off, and set to zero.
_LOST = 60.0
_ROUND_OFF = 1e-12


class ProductGrid:
    """Points (i, j) with T_ij = L_i + R_j, so that e^(eta . T_ij) = e^(eta . L_i) e^(eta . R_j).

    Parameters
    ----------
    left, right : Tensor (n_left, K), (n_right, K)
        L and R.
    log_weights : Tensor (n_left, n_right)
    """

    def __init__(self, left: Tensor, right: Tensor, log_weights: Tensor) -> None:
        self.left, self.right, self.shift = left, right, log_weights.amax()
        self.weights = (log_weights - self.shift).exp()
        self.least = float(log_weights.amin() - self.shift) - _LOST
        self.moving = torch.nonzero((right != 0).any(0))[:, 0]
        self.left_products, self.right_products = (_products(part) for part in (left, right))

    @classmethod
    def of(cls, statistics: Tensor, log_weights: Tensor) -> Self | None:
        """Return the grid whose points, row by row, have statistics (n, K) and log-weights (n,); None if it is none."""
        n = len(statistics)
        if float(log_weights.amax() - log_weights.amin()) > _LARGEST_RANGE:
            return None
        for n_right in range(2, n // 2 + 1):
            if n % n_right:
                continue
            rows = statistics.unflatten(0, (-1, n_right))
            # most lengths fail at the first mesh
            for part in (rows[:2, :2], rows):
                gap = part - part[:1] - part[:, :1] + part[:1, :1]
                if float(gap.abs().max()) > _ROUND_OFF * float(statistics.abs().max()):
                    break
            else:
                # what does not change along a row belongs to the left factor
                right = rows[0] - rows[0, :1]
                return cls(rows[:, 0], right, log_weights.unflatten(0, (-1, n_right)))
        return None

    def moments(self, eta: Tensor) -> TiltedMoments:
        """Map natural parameters (n, K) to psi, mu and Cov[T]."""
        k = eta.shape[1]
        (u, top_u), (v, top_v) = (self._factor(eta, part) for part in (self.left, self.right))
        # of j given all i, of i given all j, and of i weighted by each R that changes with j
        lifted = torch.cat([v[None], v * self.right.T[self.moving][:, None]])
        q, p = (
            v * (u @ self.weights),
            u * (lifted.flatten(0, 1) @ self.weights.T).unflatten(0, (-1, len(eta))),
        )
        total = q.sum(1, keepdim=True)
        on_left, on_right = (p[0] @ self.left_products) / total, (q @ self.right_products) / total
        mu_left, mu_right = on_left[:, :k], on_right[:, :k]
        cross = torch.zeros(len(eta), k, k, dtype=torch.float64)
        cross[:, :, self.moving] = (p[1:] @ self.left / total).movedim(0, -1)
        cross -= mu_left[:, :, None] * mu_right[:, None]
        covariance = cross + cross.mT
        for mean, products in ((mu_left, on_left), (mu_right, on_right)):
            covariance += products[:, k:].unflatten(1, (k, k)) - mean[:, :, None] * mean[:, None]
        psi = total[:, 0].log() + top_u + top_v + self.shift
        return TiltedMoments(psi, mu_left + mu_right, covariance)

    def _factor(self, eta: Tensor, part: Tensor) -> tuple[Tensor, Tensor]:
        """Return e^(eta . part) (n, m) over its largest value, and the logarithm of that (n,)."""
        log = eta @ part.T
        top = log.amax(1)
        log.sub_(top[:, None])
        lost = log < self.least
        return log.clamp_min_(self.least).exp_().masked_fill_(lost, 0.0), top


def _products(part: Tensor) -> Tensor:
    """Return T and T_i T_j of points (m, K): (m, K + K^2)."""
    return torch.cat([part, (part[:, :, None] * part[:, None]).flatten(1)], dim=1)
