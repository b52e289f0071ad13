"""The natural gradient of a whole curve: the inverse of its energy's Hessian, by banded Cholesky factors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.linalg import LinAlgError
from scipy.linalg import cho_solve_banded, cholesky_banded, solveh_banded
from torch import Tensor

#: Up to this many statistics the metric is taken whole; above, one number for each group of chart entries.
MAX_FULL_METRIC = 32

#: Eigenvalues of a metric are kept above this fraction of the largest one.
_SMALLEST_EIGENVALUE = 1e-6
_RIDGE = 1e-9
_SAFE_SHARES = (1e-3, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)

#: Up to this many statistics the true Hessian is worth K gradients more.
MAX_NEWTON = 8


def clip_metric(metric: Tensor) -> Tensor:
    """Return the nearest well-conditioned positive definite metric (..., K, K) to one that may be neither."""
    values, vectors = torch.linalg.eigh((metric + metric.mT) / 2)
    floor = _SMALLEST_EIGENVALUE * values.abs().amax(-1, keepdim=True)
    values = torch.maximum(values.abs(), floor.clamp_min(1e-300))
    return (vectors * values[..., None, :]) @ vectors.mT


class CurvePreconditioner:
    """Inverse of the block-tridiagonal Hessian of curves, projected on their coefficients: c with chart points y = A c.

    Parameters
    ----------
    design : Tensor (N, n)
        A, for the coefficients that move.
    diagonal : Tensor (B, N, K, K)
        A positive definite Hessian's blocks (j, j) for B curves.
    above : Tensor (B, N - 1, K, K)
        Its blocks (j, j + 1).
    newton : tuple of Tensor, optional
        Diagonal and upper blocks of the true Hessian, which may be indefinite: mixed with the positive
        definite one only as far as needed.
    """

    def __init__(
        self,
        design: Tensor,
        diagonal: Tensor,
        above: Tensor,
        newton: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.n, self.width = design.shape[1], diagonal.shape[-1]
        safe = hessian_bands(design, diagonal, above)
        safe[:, 0] += _RIDGE * safe[:, 0].mean(-1, keepdim=True)
        true = None if newton is None else hessian_bands(design, *newton)
        self.factors = []
        for curve, band in enumerate(safe):
            found = None if true is None else _mixed_factor(true[curve], band)
            self.factors.append(found if found is not None else _factor(band))

    def __call__(self, gradient: Tensor, index: Tensor) -> Tensor:
        """Map gradients (b, n, K m) of the curves `index` (b,) to steps of the same shape (m right-hand sides)."""
        out = torch.empty_like(gradient)
        columns = gradient.shape[-1] // self.width
        for row, problem in enumerate(index.tolist()):
            rhs = gradient[row].reshape(self.n * self.width, columns).numpy()
            solved = cho_solve_banded((self.factors[problem], True), rhs, check_finite=False)
            out[row] = torch.tensor(solved).reshape(gradient.shape[1:])
        return out


def hessian_bands(design: Tensor, diagonal: Tensor, above: Tensor) -> Tensor:
    """Project the blocks of curves' Hessians on their coefficients.

    Parameters
    ----------
    design : Tensor (N, n)
    diagonal, above : Tensor (B, N, K, K), (B, N - 1, K, K)
        As for `CurvePreconditioner`.

    Returns
    -------
    Tensor (B, bands, n K)
        A' H A in LAPACK's lower banded form.
    """
    n, k = design.shape[1], diagonal.shape[-1]
    reach, points = _support(design)
    bands = torch.zeros(len(diagonal), (reach + 1) * k, n * k, dtype=torch.float64)
    # the next point's row, and none behind the last
    after = torch.cat([design[1:], torch.zeros_like(design[:1])])
    above = torch.cat([above, torch.zeros_like(above[:, :1])], dim=1)
    rows, columns = torch.meshgrid(torch.arange(k), torch.arange(k), indexing="ij")
    for offset in range(reach + 1):
        count = n - offset
        # sums run over the few points that the lower of the two coefficients moves, or their neighbours do
        rows_of, first = points[:count], torch.arange(count)[:, None]
        here, there = design[rows_of, first], design[rows_of, first + offset]
        block = torch.einsum("np,bnpij->bnij", here * there, diagonal[:, rows_of])
        block += torch.einsum("np,bnpij->bnij", after[rows_of, first] * there, above[:, rows_of])
        block += torch.einsum("np,bnpij->bnji", here * after[rows_of, first + offset], above[:, rows_of])
        below = offset * k + rows - columns
        keep = below >= 0
        starts = torch.arange(count)[:, None] * k + columns[keep][None, :]
        bands[:, below[keep].expand_as(starts), starts] = block[:, :, rows[keep], columns[keep]]
    return bands


def _support(design: Tensor) -> tuple[int, Tensor]:
    """Return how far apart coefficients may be that share a chord, and the points (n, w) around each one's own."""
    n_points, n = design.shape
    touched = design != 0
    number = torch.arange(n)
    low = torch.where(touched, number, n).amin(1)
    high = torch.where(touched, number, -1).amax(1)
    reach = torch.maximum(high[1:], high[:-1]) - torch.minimum(low[1:], low[:-1])
    place = torch.arange(n_points)[:, None]
    first = torch.where(touched, place, n_points).amin(0) - 1
    last = torch.where(touched, place, -1).amax(0)
    width = min(int((last - first).max()) + 1, n_points)
    starts = first.clamp(0, n_points - width)
    return max(0, min(int(reach.max()), n - 1)), starts[:, None] + torch.arange(width)


def least_squares(design: Tensor, points: Tensor) -> Tensor:
    """Return the coefficients c (B, n, K) of a banded design (N, n) with A c nearest to points (B, N, K)."""
    reach, _ = _support(design)
    gram = torch.stack(
        [
            torch.cat([(design[:, d:] * design[:, : design.shape[1] - d]).sum(0), torch.zeros(d).double()])
            for d in range(reach + 1)
        ]
    )
    right = (design.T @ points).movedim(0, 1)
    solved = solveh_banded(gram.numpy(), right.flatten(1).numpy(), lower=True)
    return torch.from_numpy(solved).unflatten(1, right.shape[1:]).movedim(1, 0)


def _factor(band: Tensor) -> np.ndarray:
    return cholesky_banded(band.numpy(), lower=True, check_finite=False)


def _mixed_factor(true: Tensor, safe: Tensor) -> np.ndarray | None:
    """Return the Cholesky factor of (true + t safe) / (1 + t) for the first t that makes it positive definite."""
    for share in _SAFE_SHARES:
        try:
            return _factor((true + share * safe) / (1 + share))
        except LinAlgError:
            continue
    return None


def chord_blocks(metric: Tensor) -> tuple[Tensor, Tensor]:
    """Return Gauss-Newton Hessian blocks of the curve energy for metrics (B, N, K, K) in the chart."""
    n_points = metric.shape[1]
    chords = (n_points - 1) * (metric[:, 1:] + metric[:, :-1]) / 2
    diagonal = torch.zeros_like(metric)
    diagonal[:, 1:] += chords
    diagonal[:, :-1] += chords
    return diagonal, -chords


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
        self.parts = []
        for g in range(len(groups)):
            diagonal, above = chord_blocks(scales[:, :, g, None, None])
            if extra is not None:
                diagonal += extra[:, :, g, None, None]
            self.parts.append(CurvePreconditioner(design, diagonal, above))

    def __call__(self, gradient: Tensor, index: Tensor) -> Tensor:
        """Map gradients (b, n, K) of the curves `index` (b,) to steps of the same shape."""
        out = torch.empty_like(gradient)
        for part, group in zip(self.parts, self.groups, strict=True):
            out[:, :, group] = part(gradient[:, :, group].contiguous(), index)
        return out
