"""The solver against the published recipe, Adam on a cubic spline, and how its cost grows: ratios within one run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from tps.conformations import MetadynamicsSettings, run_metadynamics
from tps.diffusion import LogPartitionSection, TrainingSettings, train_model
from tps.engine import LangevinSettings, PlatformChoice, local_executor
from tps.spacetime import (
    Family,
    GaussianMixtureFamily,
    LogPartitionFamily,
    SpacetimeCurve,
    SpacetimePoint,
    StdCeiling,
    distance_matrix,
    find_channels,
    find_geodesic,
    fisher_rao_length,
    point_at,
    resample,
    sequential_quadratic,
    spacetime_of,
    winding_starts,
)
from tps.systems import load_system

pytestmark = pytest.mark.benchmark
torch.set_num_threads(1)


def mixture(n_features: int, n_components: int = 4) -> GaussianMixtureFamily:
    """Return clusters of standard deviation 0.3 at distance about 2, whatever the dimension."""
    rng = torch.Generator().manual_seed(3)
    means = torch.randn(n_components, n_features, generator=rng, dtype=torch.float64)
    means = 1.4 * means / means.norm(dim=1, keepdim=True)
    weights = torch.rand(n_components, generator=rng) + 0.2
    return GaussianMixtureFamily(weights, means, torch.full((n_components,), 0.09))


def ends(family: GaussianMixtureFamily, log_snr: float = 4.0) -> tuple[SpacetimePoint, SpacetimePoint]:
    return SpacetimePoint(family.means[0], log_snr), SpacetimePoint(family.means[1], log_snr)


def adam_on_a_cubic_spline(
    family: GaussianMixtureFamily, a: SpacetimePoint, b: SpacetimePoint, n_points: int, n_steps: int
) -> SpacetimeCurve:
    """Return the curve of the published recipe: 10 nodes in (center, log_snr), Adam on the discrete energy."""
    nodes = np.linspace(0, 1, 10)
    where = np.linspace(0, 1, n_points)
    design = torch.from_numpy(CubicSpline(nodes, np.eye(10), bc_type="natural")(where))
    first = torch.cat([a.center, torch.tensor([a.log_snr], dtype=torch.float64)])
    last = torch.cat([b.center, torch.tensor([b.log_snr], dtype=torch.float64)])
    inner = torch.lerp(first, last, torch.from_numpy(nodes[1:-1])[:, None]).requires_grad_(True)
    optimiser = torch.optim.Adam([inner], lr=0.01)
    for _ in range(n_steps):
        optimiser.zero_grad()
        curve = design @ torch.cat([first[None], inner, last[None]])
        eta = family.spacetime.eta(curve[:, :-1], curve[:, -1])
        energy = 0.5 * (n_points - 1) * (eta.diff(dim=0) * family.mu(eta).diff(dim=0)).sum()
        energy.backward()
        optimiser.step()
    return SpacetimeCurve.from_eta(family, eta)


def timed(function, *arguments, **options):
    """Return the result and the processor's time: all is on one thread, and what else the machine does is left out."""
    start = time.process_time()
    result = function(*arguments, **options)
    return result, time.process_time() - start


def test_twenty_times_faster_than_adam_and_no_longer(record_property):
    """128 points, D = 2: a twentieth of the time of 10,000 Adam steps, at most 0.1 % longer."""
    family = mixture(2)
    a, b = ends(family)
    found, ours = timed(find_geodesic, family, a, b, n_points=128)
    recipe, theirs = timed(adam_on_a_cubic_spline, family, a, b, 128, 10_000)
    # the recipe's points are not at equal steps: compare lengths on the same footing
    length = fisher_rao_length(resample(family, recipe))
    record_property("seconds", (ours, theirs))
    print(f"ours {ours:.2f} s {found.length:.4f}; Adam {theirs:.2f} s {length:.4f}; {theirs / ours:.0f} x")
    assert found.converged
    assert theirs / ours > 20
    assert found.length <= 1.001 * length


def gradient_seconds(family: Family, eta: torch.Tensor, n_repeats: int = 20) -> float:
    """Return the time of one gradient of the curve energy, the least that any solver pays per step."""

    def gradient(number: int) -> None:
        # never twice the same: families remember
        leaf = (eta * (1 + 1e-6 * number)).requires_grad_(True)
        torch.autograd.grad((leaf.diff(dim=0) * family.mu(leaf).diff(dim=0)).sum(), leaf)

    gradient(n_repeats)
    _, seconds = timed(lambda: [gradient(number) for number in range(n_repeats)])
    return seconds / n_repeats


def test_256_features_cost_less_than_one_full_metric():
    """A metric column by column is 257 gradients of the energy; taken by random probes, all is solved in half that."""
    family = mixture(256, 8)
    find_geodesic(family, *ends(family), max_iterations=1)
    found, seconds = timed(find_geodesic, family, *ends(family))
    ratio = seconds / gradient_seconds(family, found.curve.eta)
    print(f"D = 256: {ratio:.0f} gradients' time, {found.n_gradient_evaluations} evaluations, {found.status}")
    assert found.converged
    assert ratio < 257 / 2


def test_cost_grows_linearly_with_points():
    """Free points, 256 and 1024: as many evaluations, each at most four times as dear. Margins: 2 and 1.5."""
    family = mixture(2)
    runs = []
    for n in (256, 1024):
        options = {"n_points": n, "representation": "points"}
        find_geodesic(family, *ends(family), **options)
        found, seconds = timed(find_geodesic, family, *ends(family), **options)
        assert found.converged
        runs.append((found.n_gradient_evaluations, seconds / found.n_gradient_evaluations))
        print(f"{n} points: {seconds:.3f} s, {found.n_gradient_evaluations} gradient evaluations")
    (few, cheap), (many, dear) = runs
    assert many <= 2 * few
    assert dear / cheap <= 1.5 * 4


@pytest.fixture(scope="module")
def alanine() -> tuple[LogPartitionFamily, list[SpacetimePoint]]:
    """A model trained on a short metadynamics run of alanine dipeptide, and 20 of its frames."""
    system = load_system("alanine-dipeptide")
    settings = MetadynamicsSettings(n_build_steps=200_000, n_sample_steps=200_000, frame_interval=50)
    with local_executor("processes", 1) as executor:
        walkers, _ = run_metadynamics(
            system.system_xml,
            system.features.variables,
            [system.positions_a, system.positions_b],
            settings,
            LangevinSettings(system.temperature),
            PlatformChoice("Reference"),
            [1, 2, 3, 4],
            executor,
        )
    values = np.concatenate([system.feature_values(w.positions) for w in walkers])
    log_weights = np.concatenate([w.log_weights for w in walkers])
    rng = torch.Generator().manual_seed(0)
    section, settings = LogPartitionSection(), TrainingSettings(n_steps=300)
    network, _ = train_model(section, system.space, values, log_weights, settings, rng)
    family = LogPartitionFamily(network.double(), spacetime_of(system.space))
    return family, [point_at(system.space, row, 4.0) for row in values[:: len(values) // 20][:20]]


def test_a_constrained_curve_costs_some_hundred_gradients(alanine):
    """A ceiling that is active all along, four ways round, in gradients of the energy along one curve of 64 points."""
    family, points = alanine
    a, b = points[0], points[-1]
    ceiling = StdCeiling(0.4)
    starts = winding_starts(family.spacetime, a, b, 64)
    find_channels(family, a, b, starts=starts, constraints=[ceiling], rank="length", max_iterations=1)
    found, seconds = timed(find_channels, family, a, b, starts=starts, constraints=[ceiling], rank="length")
    ratio = seconds / len(starts) / gradient_seconds(family, found[0].geodesic.curve.eta)
    evaluations = [channel.geodesic.n_gradient_evaluations for channel in found]
    print(
        f"{len(starts)} under a ceiling: {seconds:.1f} s, {ratio:.0f} gradients' time each; evaluations {evaluations}"
    )
    assert all(channel.geodesic.converged for channel in found)
    assert ratio < 900


def test_quadratic_programs_against_the_augmented_lagrangian(alanine, monkeypatch):
    """The same ceiling, four ways round, on the same model: at least twice as fast, and no longer."""
    family, points = alanine
    a, b = points[0], points[-1]
    options = {
        "starts": winding_starts(family.spacetime, a, b, 64),
        "constraints": [StdCeiling(0.4)],
        "rank": "length",
    }
    find_channels(family, a, b, **options, max_iterations=1)
    found, ours = timed(find_channels, family, a, b, **options)
    monkeypatch.setattr(sequential_quadratic, "applies", lambda problem: False)
    before, theirs = timed(find_channels, family, a, b, **options)
    lengths = [[round(channel.geodesic.length, 3) for channel in channels] for channels in (found, before)]
    print(
        f"quadratic programs {ours:.2f} s {lengths[0]}; augmented Lagrangian {theirs:.2f} s {lengths[1]}; "
        f"{theirs / ours:.1f} x"
    )
    assert all(channel.geodesic.converged for channel in found)
    assert lengths[0][0] <= 1.002 * lengths[1][0]
    assert theirs / ours > 2


#: What a checkout of another version can do as well: a ceiling on three wells, twice, the second time measured.
SCRIPT = """
import time, torch
torch.set_num_threads(1)
from tps.spacetime import GaussianMixtureFamily, SpacetimePoint, StdCeiling, find_geodesic
means = torch.tensor([[-1.5, 0.0], [1.3, 0.4], [0.1, 0.3]])
family = GaussianMixtureFamily(torch.tensor([0.5, 0.4, 0.1]), means, torch.tensor([0.1, 0.15, 0.05]))
a, b = SpacetimePoint(means[0], 4.0), SpacetimePoint(means[1], 4.0)
for _ in range(2):
    start = time.process_time()
    found = find_geodesic(family, a, b, constraints=[StdCeiling(0.45)])
print(time.process_time() - start, found.length)
"""


def test_a_constrained_curve_against_another_checkout():
    """TPS_CHECKOUT=folder: the ratio to the version that is checked out there, each in a process of its own."""
    other = os.environ.get("TPS_CHECKOUT")
    if other is None:
        pytest.skip("set TPS_CHECKOUT to a checkout of another version")
    (ours, length), (theirs, before) = (
        [
            float(x)
            for x in subprocess.run(
                [sys.executable, "-c", SCRIPT],
                env={**os.environ, "PYTHONPATH": str(folder)},
                cwd=folder,
                check=True,
                capture_output=True,
                text=True,
            ).stdout.split()
        ]
        for folder in (Path(__file__).parents[2], other)
    )
    print(f"here {ours:.2f} s {length:.4f}; {other} {theirs:.2f} s {before:.4f}; {theirs / ours:.1f} x")
    assert length <= 1.002 * before


def test_distances_of_20_conformations_in_batches(alanine):
    """190 geodesics on a trained model: no dearer than one by one; a metric up to the chords' error."""
    family, points = alanine
    pairs = list(combinations(points, 2))[::10]
    find_geodesic(family, *pairs[0], n_points=32)
    _, single = timed(lambda: [find_geodesic(family, a, b, n_points=32) for a, b in pairs])
    found, seconds = timed(distance_matrix, family, points)
    ratio = (single / len(pairs)) / (seconds / 190)
    print(
        f"distances of 20 conformations: {seconds:.1f} s, {ratio:.1f} times as fast as one by one ({single:.1f} s)"
    )
    assert ratio > 1
    assert bool(found.converged.all())
    d = found.lengths
    # each is the length of a local minimum: the few that a detour beats are longer than the distance
    beaten = (d[:, :, None] + d[None, :, :] < d[:, None, :] * (1 - 0.005)).any(1)
    print(f"{float(beaten.double().mean()):.1%} of the pairs are beaten by a detour through a third point")
    assert float(beaten.double().mean()) < 0.1
