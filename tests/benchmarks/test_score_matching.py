"""Geodesics of networks trained by plain score matching, against 10,000 steps of Adam on a 10-node cubic spline.

    pytest -m benchmark tests/benchmarks/test_score_matching.py -s

All are judged by the energy whose terms are clamped at zero per coordinate. Eq. 14 of the paper has no clamp, and Adam
on it finds the model's errors. The published code does minimise the clamped energy, with the rate below
(github.com/rafalkarczewski/spacetime-geometry, molecular_experiments/mol_utils.py): there both look for the same
minimum, and nothing is much below ours. In plane 0, 0 to 2, it is 0.85 of Adam's: 30 starts at all depths, bent at
random, and Adam's own end, as well as the cheapest ways through graphs of 60,000 random points, all descend to within
1 % of that; so it is with plane 1, 0 to 2, 0.90. The best of 16 starts, refined with no regard for time, is 0.57 to
0.96 of Adam's over the 24 cases, 0.82 on average, and ours 0.58 to 0.96, 0.82 on average: 0.75 in every case is not
there to be had.

Energies at 64 points alone say less: with every point free they fall to 0.60, and the smooth curve through those points
has 1.25 times Adam's. So the curves through the points are compared too, looked at four times as often.
"""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor, nn

from tps.spacetime import (
    DenoiserFamily,
    Family,
    SpacetimeCurve,
    SpacetimePoint,
    TorusDenoiserFamily,
    TorusSpacetime,
    clamped_energy,
    curve_energy,
    find_geodesic,
)

pytestmark = pytest.mark.benchmark
torch.set_num_threads(1)
WELLS = torch.tensor([(-1.4, 1.2), (-2.6, 2.8), (1.1, -0.9), (0.9, 2.4)], dtype=torch.float64)
SHARES = torch.tensor([0.4, 0.25, 0.2, 0.15])
PAIRS = ((0, 1), (0, 2), (1, 2), (0, 3))
N_POINTS, N_STEPS, LOG_SNR, RATE = 64, 10_000, 4.0, 0.1


class ResidualMLP(nn.Module):
    """E[f | x] from a prediction of the noise."""

    def __init__(self, n_features: int, width: int = 128, n_blocks: int = 3) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(n_features + 3, width), nn.Linear(width, n_features)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(n_blocks)
        )

    def forward(self, x: Tensor, log_snr: Tensor) -> Tensor:
        level = torch.stack([log_snr / 4, (log_snr / 2).sin(), (log_snr / 2).cos()], dim=-1)
        hidden = self.first(torch.cat([x, level], dim=-1))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        alpha, sigma = torch.sigmoid(log_snr).sqrt()[:, None], torch.sigmoid(-log_snr).sqrt()[:, None]
        return (x - sigma * self.last(nn.functional.silu(hidden))) / alpha


def features(kind: str, angles: Tensor) -> Tensor:
    """The angles themselves in the plane, or their cosines and sines."""
    if kind == "plane":
        return angles
    return torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(-2)


def trained(kind: str, seed: int, n_steps: int = 4000) -> Family:
    """Return the family of a network trained on the wells, wrapped into one period, by plain score matching."""
    torch.manual_seed(seed)
    angles = WELLS[torch.multinomial(SHARES, 20_000, replacement=True)] + 0.35 * torch.randn(
        20_000, 2, dtype=torch.float64
    )
    data = features(kind, torch.remainder(angles + math.pi, 2 * math.pi) - math.pi).float()
    network = ResidualMLP(data.shape[1])
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps)
    for _ in range(n_steps):
        clean = data[torch.randint(len(data), (256,))]
        log_snr = -6 + 14 * torch.rand(256)
        alpha, sigma = torch.sigmoid(log_snr).sqrt()[:, None], torch.sigmoid(-log_snr).sqrt()[:, None]
        found = network(alpha * clean + sigma * torch.randn_like(clean), log_snr)
        loss = ((found - clean) * alpha / sigma).square().sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    network.requires_grad_(False)
    if kind == "plane":
        return DenoiserFamily(network, 2, reference_variance=2.0, dtype=torch.float32)
    return TorusDenoiserFamily(network, TorusSpacetime(2), dtype=torch.float32)


def recipe(
    family: Family, a: SpacetimePoint, b: SpacetimePoint, n_steps: int, *, clamped: bool
) -> SpacetimeCurve:
    """Return the curve of Adam on 10 nodes in (center, log_snr)."""
    nodes, where = np.linspace(0, 1, 10), np.linspace(0, 1, N_POINTS)
    design = torch.from_numpy(CubicSpline(nodes, np.eye(10), bc_type="natural")(where))
    first, last = (torch.cat([p.center, torch.tensor([p.log_snr], dtype=torch.float64)]) for p in (a, b))
    inner = torch.lerp(first, last, torch.from_numpy(nodes[1:-1])[:, None]).requires_grad_(True)
    optimiser = torch.optim.Adam([inner], lr=RATE)
    for _ in range(n_steps):
        curve = design @ torch.cat([first[None], inner, last[None]])
        eta = family.spacetime.eta(curve[:, :-1], curve[:, -1])
        terms = eta.diff(dim=0) * family.mu(eta).diff(dim=0)
        energy = 0.5 * (N_POINTS - 1) * (terms.clamp_min(0) if clamped else terms).sum()
        optimiser.zero_grad()
        energy.backward()
        optimiser.step()
    return SpacetimeCurve.from_eta(family, eta)


def between(family: Family, curve: SpacetimeCurve) -> float:
    """Return the clamped energy of the smooth curve through the points, looked at four times as often."""
    chart = family.spacetime.to_chart(curve.eta).numpy()
    n = curve.n_points
    smooth = CubicSpline(np.linspace(0, 1, n), chart)(np.linspace(0, 1, 4 * (n - 1) + 1))
    return clamped_energy(SpacetimeCurve.from_eta(family, family.spacetime.from_chart(torch.tensor(smooth))))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", ["plane", "torus"])
def test_geodesics_of_plain_networks_against_the_recipe(kind: str, seed: int) -> None:
    family = trained(kind, seed)
    points = [SpacetimePoint(row, LOG_SNR) for row in features(kind, WELLS)]
    rows = []
    for i, j in PAIRS:
        start = time.process_time()
        found = find_geodesic(family, points[i], points[j], n_points=N_POINTS)
        ours = time.process_time() - start
        print(
            f"{kind} {seed}, {i} to {j}: {found.clamped_energy:.2f} (total {found.curve_energy:.2f}, "
            f"{found.doubtful:.0%} doubtful, {found.status})"
        )
        ratios, speeds, smooth = [], [], between(family, found.curve)
        for clamped in (False, True):
            start = time.process_time()
            theirs = recipe(family, points[i], points[j], N_STEPS, clamped=clamped)
            speeds.append((time.process_time() - start) / ours)
            ratios.append(found.clamped_energy / clamped_energy(theirs))
            print(
                f"    Adam on the {'clamped' if clamped else 'plain'} energy: {clamped_energy(theirs):.2f} "
                f"(total {curve_energy(theirs):.2f}); ratio {ratios[-1]:.2f}, between the points "
                f"{smooth / between(family, theirs):.2f}, {speeds[-1]:.0f} times as fast",
                flush=True,
            )
        rows.append((found, ratios, smooth / between(family, theirs), speeds))
    for found, (plain, published), smooth, speeds in rows:
        assert found.converged
        assert found.curve_energy >= 0
        assert plain <= 0.85  # 0.00 to 0.78
        assert published <= 1  # 0.58 to 0.96
        assert smooth <= 1  # 0.58 to 0.98
        assert min(speeds) >= 15
