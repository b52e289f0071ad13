"""The natural gradient of a whole curve: the inverse of the energy's Gauss-Newton Hessian, from banded Choleskys."""

from __future__ import annotations

import torch
from scipy.linalg import cho_solve_banded, cholesky_banded
from torch import Tensor

#: Up to this many statistics the metric is taken whole; above, one number for each group of chart entries.
MAX_FULL_METRIC = 32

#: Eigenvalues of a metric are kept above this fraction of the largest one.
_SMALLEST_EIGENVALUE = 1e-6
_RIDGE = 1e-9


def clip_metric(metric: Tensor) -> Tensor:
    """Return the nearest well-conditioned positive definite metric (..., K, K) to one that may be neither."""
    values, vectors = torch.linalg.eigh((metric + metric.mT) / 2)
    floor = _SMALLEST_EIGENVALUE * values.abs().amax(-1, keepdim=True)
    values = torch.maximum(values.abs(), floor.clamp_min(1e-300))
    return (vectors * values[..., None, :]) @ vectors.mT


class CurvePreconditioner:
    """Inverse of P = sum_k (N-1) dA_k' M_k dA_k + A_k' C_k A_k for coefficients c with chart points y = A c.

    Parameters
    ----------
    design : Tensor (N, n)
        A, for the coefficients that move.
    metric : Tensor (B, N, K, K)
        Fisher metric in the chart at the points of B curves.
    extra : Tensor (B, N, K, K) or None
        C: what constraints add to the Hessian at each point.
    """

    def __init__(self, design: Tensor, metric: Tensor, extra: Tensor | None = None) -> None:
        self.n, self.width = design.shape[1], metric.shape[-1]
        n_points = len(design)
        chords = (n_points - 1) * (metric[:, 1:] + metric[:, :-1]) / 2
        slopes = design.diff(dim=0)
        overlap = (slopes.abs().T @ slopes.abs() + design.abs().T @ design.abs()) > 0
        reach = max(int((torch.nonzero(overlap)[:, 0] - torch.nonzero(overlap)[:, 1]).max()), 0)
        k, size = self.width, self.n * self.width
        bands = torch.zeros(len(metric), (reach + 1) * k, size + reach * k + k, dtype=torch.float64)
        rows, columns = torch.meshgrid(torch.arange(k), torch.arange(k), indexing="ij")
        for offset in range(reach + 1):
            count = self.n - offset
            pairs = slopes[:, :count] * slopes[:, offset:]
            block = torch.einsum("pn,bpij->bnij", pairs, chords)
            if extra is not None:
                block += torch.einsum("pn,bpij->bnij", design[:, :count] * design[:, offset:], extra)
            below = offset * k + rows - columns
            keep = below >= 0
            starts = torch.arange(count)[:, None] * k + columns[keep][None, :]
            bands[:, below[keep].expand_as(starts), starts] = block[:, :, rows[keep], columns[keep]]
        bands = bands[:, :, :size]
        bands[:, 0] += _RIDGE * bands[:, 0].mean(-1, keepdim=True)
        self.factors = [cholesky_banded(band.numpy(), lower=True, check_finite=False) for band in bands]

    def __call__(self, gradient: Tensor, index: Tensor) -> Tensor:
        """Map gradients (b, n, K * m) of the curves `index` (b,) to steps of the same shape (m right-hand sides)."""
        out = torch.empty_like(gradient)
        columns = gradient.shape[-1] // self.width
        for row, problem in enumerate(index.tolist()):
            rhs = gradient[row].reshape(self.n * self.width, columns).numpy()
            solved = cho_solve_banded((self.factors[problem], True), rhs, check_finite=False)
            out[row] = torch.from_numpy(solved).reshape(gradient.shape[1:])
        return out


class GroupedPreconditioner:
    """The same with one number per point for each group of chart entries: for many features.

    Parameters
    ----------
    design : Tensor (N, n)
    scales : Tensor (B, N, n_groups)
        Mean diagonal of the metric in each group.
    groups : tuple of slice
    extra : Tensor (B, N, n_groups) or None
    """

    def __init__(
        self, design: Tensor, scales: Tensor, groups: tuple[slice, ...], extra: Tensor | None = None
    ) -> None:
        self.groups = groups
        floor = _SMALLEST_EIGENVALUE * scales.abs().amax(dim=(1, 2), keepdim=True)
        scales = torch.maximum(scales.abs(), floor)
        self.parts = [
            CurvePreconditioner(
                design,
                scales[:, :, g, None, None],
                None if extra is None else extra[:, :, g, None, None],
            )
            for g in range(len(groups))
        ]

    def __call__(self, gradient: Tensor, index: Tensor) -> Tensor:
        """Map gradients (b, n, K) of the curves `index` (b,) to steps of the same shape."""
        out = torch.empty_like(gradient)
        for part, group in zip(self.parts, self.groups, strict=True):
            out[:, :, group] = part(gradient[:, :, group].contiguous(), index)
        return out
