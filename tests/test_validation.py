"""The demo against independent references: minutes of dynamics, so only with `make test-slow`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tps.cli import main
from tps.conformations import MetadynamicsSettings, run_metadynamics
from tps.diffusion import posterior_moments
from tps.engine import (
    BIAS_GROUP,
    Dynamics,
    LangevinSettings,
    PlatformChoice,
    local_executor,
    map_tasks,
)
from tps.systems import data_directory, load_system
from tps.units import thermal_energy

pytestmark = pytest.mark.slow
REFERENCE, LANGEVIN = PlatformChoice("Reference"), LangevinSettings(300.0)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """The demo's frames, model and geodesic."""
    run = tmp_path_factory.mktemp("demo") / "run"
    config = data_directory("configs") / "demo.toml"
    result = CliRunner().invoke(main, ["run", str(config), "-o", str(run), "--until", "geodesic"])
    assert result.exit_code == 0, result.output
    return run


def curve_of(run):
    with np.load(run / "geodesic" / "curve.npz") as data:
        return {name: data[name] for name in data.files}


def test_model_agrees_with_an_independent_metadynamics_run(demo):
    """10 ns of sampling with other seeds, on a grid of 3°: mean |μ - μ_grid| ≤ 0.05, ψ differences within 0.5 kT."""
    system = load_system("alanine-dipeptide")
    settings = MetadynamicsSettings(1_500_000, 2_500_000, frame_interval=50)
    with local_executor("processes", 2) as executor:
        walkers, _ = run_metadynamics(
            system.system_xml,
            system.features.variables,
            [system.positions_a, system.positions_b],
            settings,
            LANGEVIN,
            REFERENCE,
            [901, 902, 903, 904],
            executor,
        )
    angles = np.concatenate([system.feature_values(w.positions) for w in walkers])
    weights = np.exp(np.concatenate([w.log_weights for w in walkers]))
    edges = np.linspace(-np.pi, np.pi, 121)
    mass, _, _ = np.histogram2d(angles[:, 0], angles[:, 1], bins=(edges, edges), weights=weights)
    centre = 0.5 * (edges[1:] + edges[:-1])
    first, second = np.meshgrid(centre, centre, indexing="ij")
    seen = mass > 0
    grid = np.stack([first[seen], second[seen]], axis=1)
    log_mass = torch.as_tensor(np.log(mass[seen] / mass.sum()))
    curve = curve_of(demo)
    exact = posterior_moments(
        torch.as_tensor(curve["eta"]), torch.as_tensor(system.space.statistic(grid)), log_mass
    )
    error = np.linalg.norm(curve["mu"] - exact.mu.numpy(), axis=1)
    psi = (curve["psi"] - curve["psi"][0]) - (exact.psi - exact.psi[0]).numpy()
    print(f"mean |mu - mu_grid| {error.mean():.4f}, largest psi difference {np.abs(psi).max():.3f} kT")
    assert error.mean() <= 0.05
    assert np.abs(psi).max() <= 0.5


def restrained_mean(task):
    """Return the mean of T and its standard error (20 blocks) under a fixed tilt."""
    eta, start, seed = task
    system = load_system("alanine-dipeptide")
    features = system.features
    openmm_system = system.create_openmm_system()
    features.add_tilt(openmm_system, thermal_energy(300.0), BIAS_GROUP)
    dynamics = Dynamics(openmm_system, LANGEVIN, REFERENCE, seed)
    features.set_tilt(dynamics.context, eta)
    dynamics.start(start)
    dynamics.step(20_000)
    values = []
    for _ in range(8000):
        dynamics.step(50)
        values.append(features.statistic(dynamics.positions()))
    blocks = np.array(values).reshape(20, 400, -1).mean(axis=1)
    return blocks.mean(axis=0), blocks.std(axis=0, ddof=1) / np.sqrt(20)


def test_restrained_dynamics_reproduces_mu_on_the_low_variance_geodesic(demo):
    """Five points of the geodesic with ln κ ≥ 3: |μ - <T>| within its statistical error (4 of it) plus 0.03."""
    result = CliRunner().invoke(main, ["geodesic", str(demo), "--min-log-snr", "3", "--force"])
    assert result.exit_code == 0, result.output
    assert json.loads((demo / "geodesic" / "result.json").read_text())["status"] == "converged"
    curve = curve_of(demo)
    system = load_system("alanine-dipeptide")
    kappa = np.hypot(curve["eta"][:, 0::2], curve["eta"][:, 1::2])
    assert np.log(kappa).min() >= 3 - 1e-3
    points = [10, 22, 32, 42, 54]
    starts = [system.positions_a if point < 32 else system.positions_b for point in points]
    tasks = [(curve["eta"][p], start, p) for p, start in zip(points, starts, strict=True)]
    with local_executor("processes", 2) as executor:
        found = map_tasks(executor, restrained_mean, tasks)
    for point, (mean, error) in zip(points, found, strict=True):
        gap = np.abs(curve["mu"][point] - mean)
        print(f"point {point}: |mu - <T>| {gap.max():.4f}, standard error {error.max():.4f}")
        assert (gap <= 4 * error + 0.03).all()
