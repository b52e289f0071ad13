"""Groups of features that the data find independent, and the weights of the frames as those of a group alone.

A tilt splits as the features do: where p0 is a product over groups, so is every tilted p(x | η), and E[T_g | η] depends
on η_g alone. Weights of all features together seldom show it: those of a molecule move together along a curve, so
that few frames have one group on its barrier and another in a basin, and frames on all barriers at once say nothing
of one. Under each tilt, though, the frames of a group are what they would be in any company: windows
of that group alone, which MBAR's equations put together.
"""

from __future__ import annotations

import math
from functools import cached_property
from itertools import combinations

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from tps.diffusion.blocks import Blocks
from tps.diffusion.posterior import tilted_weights
from tps.diffusion.spread import farthest_points
from tps.diffusion.training import TrainingFrames
from tps.errors import ModelError

_N_CENTERS = 64
#: ln κ of the tilts that are tried about each center; e^λ of lines is that over their variance.
_LEVELS = (-1.0, 0.0, 1.0, 2.0, 3.0, 4.0)
#: Effective frames that a tilt needs to be looked at.
_ENOUGH_FRAMES = 30.0
#: What is added to the squares of shares, relative to their mean, and rounds per tilt of what is solved with them.
_RIDGE, _MAX_NNLS = 1e-10, 50
#: Chance of two independent features to be taken for dependent, all pairs together.
_FALSE_ALARM = 1e-3
_MAX_ITERATIONS = 100
_TOLERANCE = 1e-8


class TiltedFrames:
    """Frames under tilts that they carry well: about frames far from each other, weak and strong, and no tilt at all.

    Parameters
    ----------
    frames : TrainingFrames

    Attributes
    ----------
    eta : (n_tilts, K) tensor
    share : (n_tilts, n_frames) tensor
        Of each frame under each tilt; the sum over frames is 1.
    size : (n_tilts,) tensor
        Kish's effective number of frames.
    """

    def __init__(self, frames: TrainingFrames) -> None:
        blocks = frames.blocks
        self.statistics = frames.statistics.double().cpu()
        log_weights = frames.log_weights.double().cpu()
        start = int(log_weights.argmax())
        chosen = self.statistics[farthest_points(self.statistics[:, : blocks.n_means], start, _N_CENTERS)]
        snr = torch.tensor(_LEVELS, dtype=torch.float64).exp().repeat_interleave(len(chosen))[:, None]
        pairs, lines, last = blocks.split(chosen.repeat(len(_LEVELS), 1))
        on_lines = snr / frames.line_variance
        tilts = blocks.join(snr[..., None] * pairs, on_lines * lines, -on_lines.expand_as(last) / 2)
        tilts = torch.cat([torch.zeros_like(tilts[:1]), tilts])
        share, size = [], []
        for _, weights, _ in tilted_weights(tilts, self.statistics, log_weights):
            weights /= weights.sum(1, keepdim=True)
            effective = 1 / weights.square().sum(1)
            share.append(weights[effective >= _ENOUGH_FRAMES].clone())
            size.append(effective)
        self.size = torch.cat(size)
        held = self.size >= _ENOUGH_FRAMES
        self.eta, self.share, self.size = tilts[held], torch.cat(share), self.size[held]

    @cached_property
    def windows(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return η (n, K), shares (n, n_frames) and counts (n,) of tilts that the frames look drawn from.

        The counts N_k are those for which Σ_k N_k s_ki, as how many frames each one counts, is nearest to 1 in squares.
        For frames of p0 that is no tilt alone; of windows, or of a bias, tilts that come near them, which nobody names.
        """
        gram = (self.share @ self.share.T).numpy()
        gram += _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
        root = np.linalg.cholesky(gram)
        right = np.linalg.solve(root, np.ones(len(gram)))
        counts = torch.from_numpy(nnls(root.T, right, maxiter=_MAX_NNLS * len(gram))[0])
        used = counts > _TOLERANCE * counts.sum()
        return self.eta[used], self.share[used], counts[used]


def independent_groups(blocks: Blocks, tilted: TiltedFrames) -> list[list[int]]:
    """Return groups of features, angles first, that the frames do not find dependent; all where no tilt is carried.

    The mutual information of two features under a tilt, -Σ ln(1 - ρ²)/2 over the canonical correlations ρ of their
    statistics, is χ²/(2 N) of N frames where they are independent, of as many degrees of freedom as there are pairs of
    statistics (Bartlett). What is compared is the mean over tilts by N, whose spread is at most the mean of theirs.
    """
    n = blocks.n_features
    if not len(tilted.eta):
        return [list(range(n))]
    columns = [blocks.columns([i])[: 2 if i < blocks.n_circles else 1] for i in range(n)]
    covariance = _covariances(tilted)
    pairs = list(combinations(range(n), 2))
    dependent = torch.eye(n, dtype=torch.bool)
    for i, j in pairs:
        information = _mutual_information(covariance, columns[i], columns[j])
        freedom = len(columns[i]) * len(columns[j])
        excess = (tilted.size * information - freedom / 2).sum() / tilted.size.sum()
        deviation = math.sqrt(freedom / 2) / tilted.size.mean()
        threshold = _quantile(freedom, _FALSE_ALARM / len(pairs)) * deviation
        dependent[i, j] = dependent[j, i] = bool(excess > threshold)
    return _components(dependent)


def group_log_weights(tilted: TiltedFrames, columns: list[int]) -> Tensor:
    """Return normalised log-weights (n_frames,) of the frames as those of a group alone, whatever the others do.

    p_i ∝ Σ_k N_k s_ki / Σ_k N_k e^(f_k + η_k·T_i) with the group's entries of η and T, s_ki the share of frame i under
    tilt k, N_k the frames of that tilt, and f_k such that each tilt has its own: MBAR's equations, with shares in place
    of the frames of windows. Where all features are one group, the weights come back as they are.
    """
    eta, share, counts = tilted.windows
    mass = counts @ share
    tilts = eta[:, columns] @ tilted.statistics[:, columns].T
    free = _solve(tilts, counts, mass)
    total = torch.logsumexp(tilts + (free + counts.log())[:, None], dim=0)
    return torch.log_softmax(mass.clamp_min(1e-300).log() - total, dim=0)


def _solve(tilts: Tensor, counts: Tensor, mass: Tensor) -> Tensor:
    """Return f (n_tilts,) that minimises Σ_i c_i ln Σ_k N_k e^(f_k + u_ki) - Σ_k N_k f_k, by Newton's method.

    Parameters
    ----------
    tilts : (n_tilts, n_frames) tensor
        u_ki.
    counts, mass : (n_tilts,), (n_frames,) tensors
        N_k and c_i, of one sum.

    Raises
    ------
    ModelError
        If it does not converge: some tilts share no frame with others.
    """

    def objective(f: Tensor) -> tuple[Tensor, Tensor]:
        log_share = tilts + (f + counts.log())[:, None]
        total = torch.logsumexp(log_share, dim=0)
        return mass @ total - counts @ f, (log_share - total).exp()

    f = -torch.logsumexp(tilts, dim=1)
    value, share = objective(f)
    for _ in range(_MAX_ITERATIONS):
        held = share @ mass
        slope = held - counts
        if float(slope.abs().max()) < _TOLERANCE * float(counts.sum()):
            return f
        hessian = torch.diag(held) - (share * mass) @ share.T
        # adding a number to all f changes nothing
        step = -torch.linalg.lstsq(hessian + counts.mean() / len(f), slope[:, None]).solution[:, 0]
        size = 1.0
        while True:
            trial, trial_share = objective(f + size * step)
            if float(trial - value) <= 1e-4 * size * float(step @ slope) or size < 1e-6:
                break
            size /= 2
        f, value, share = f + size * step, trial, trial_share
    raise ModelError("the frames' groups cannot be weighed apart: tilts share too few frames; sample more")


def _covariances(tilted: TiltedFrames) -> Tensor:
    """Return Cov[T] (n_tilts, K, K) of the frames under every tilt."""
    found = []
    for share in tilted.share:
        centred = tilted.statistics - share @ tilted.statistics
        found.append((share[:, None] * centred).T @ centred)
    return torch.stack(found)


def _mutual_information(covariance: Tensor, one: list[int], other: list[int]) -> Tensor:
    """Return -Σ ln(1 - ρ²)/2 (n_tilts,) of two sets of columns of covariances (n_tilts, K, K)."""
    first, second, both = (
        covariance[:, torch.tensor(rows)[:, None], torch.tensor(rows)].double()
        for rows in (one, other, one + other)
    )
    logarithms = [torch.linalg.slogdet(part).logabsdet for part in (first, second, both)]
    return (logarithms[0] + logarithms[1] - logarithms[2]).nan_to_num(0.0) / 2


def _quantile(freedom: int, chance: float) -> float:
    """Return by how many standard deviations χ² exceeds its mean with a given chance (Wilson and Hilferty)."""
    z = float(torch.special.ndtri(torch.tensor(1 - chance, dtype=torch.float64)))
    value = freedom * (1 - 2 / (9 * freedom) + z * math.sqrt(2 / (9 * freedom))) ** 3
    return (value - freedom) / math.sqrt(2 * freedom)


def _components(dependent: Tensor) -> list[list[int]]:
    """Return the connected components of a graph (n, n), each and all in order."""
    reach = dependent.double()
    for _ in range(len(reach)):
        reach = ((reach @ reach) > 0).double()
    found = {tuple(torch.nonzero(row)[:, 0].tolist()) for row in reach}
    return [list(group) for group in sorted(found)]
